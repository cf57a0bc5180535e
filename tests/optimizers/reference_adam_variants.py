"""Variants of Adam: bounds, other denominators, layer-wise rates; from their papers.

Every function yields the parameter after each gradient, in float64. `g` includes coupled weight decay where the method
couples. What the paper leaves open, or its authors' code does otherwise, is as the catalogue says.
"""

import math

import numpy as np


def adabound(theta, grads, lr, betas, eps, weight_decay, final_lr, gamma, amsbound=False):
    b1, b2 = betas
    m = n = n_max = 0.0
    for t, raw in enumerate(grads, 1):
        g = raw + weight_decay * theta
        m, n = b1 * m + (1 - b1) * g, b2 * n + (1 - b2) * g**2
        n_max = np.maximum(n_max, n)
        low, high = final_lr * (1 - 1 / (gamma * t + 1)), final_lr * (1 + 1 / (gamma * t))
        step = lr * math.sqrt(1 - b2**t) / (1 - b1**t) / (np.sqrt(n_max if amsbound else n) + eps)
        theta = theta - np.clip(step, low, high) * m
        yield theta


def adamod(theta, grads, lr, betas, eps, weight_decay, as_the_paper=False):
    """The authors' code; or the paper, which corrects the moment where the code corrects the rate that it bounds."""
    b1, b2, b3 = betas
    m = n = s = 0.0
    for t, g in enumerate(grads, 1):
        theta = theta * (1 - lr * weight_decay)
        m, n = b1 * m + (1 - b1) * g, b2 * n + (1 - b2) * g**2
        if as_the_paper:
            rate, moment = lr / (np.sqrt(n / (1 - b2**t)) + eps), m / (1 - b1**t)
        else:
            rate, moment = lr * math.sqrt(1 - b2**t) / (1 - b1**t) / (np.sqrt(n) + eps), m
        s = b3 * s + (1 - b3) * rate
        theta = theta - np.minimum(rate, s) * moment
        yield theta


def padam(theta, grads, lr, betas, eps, weight_decay, partial, bias_correction):
    b1, b2 = betas
    m = n = n_max = 0.0
    for t, raw in enumerate(grads, 1):
        g = raw + weight_decay * theta
        m, n = b1 * m + (1 - b1) * g, b2 * n + (1 - b2) * g**2
        n_max = np.maximum(n_max, n)
        correction = math.sqrt(1 - b2**t) / (1 - b1**t) if bias_correction else 1.0
        theta = theta - lr * correction * m / (np.sqrt(n_max) + eps) ** (2 * partial)
        yield theta


def adabelief(theta, grads, lr, betas, eps, weight_decay, decoupled=True, rectify=False):
    b1, b2 = betas
    m = s = 0.0
    rho_inf = 2 / (1 - b2) - 1
    for t, raw in enumerate(grads, 1):
        g = raw if decoupled else raw + weight_decay * theta
        theta = theta * (1 - lr * weight_decay) if decoupled else theta
        m = b1 * m + (1 - b1) * g
        s = b2 * s + (1 - b2) * (g - m) ** 2 + eps
        step = (m / (1 - b1**t)) / (np.sqrt(s / (1 - b2**t)) + eps)
        if rectify:
            rho = rho_inf - 2 * t * b2**t / (1 - b2**t)
            if rho > 5:
                r = math.sqrt((rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho))
                step = r * (m / (1 - b1**t)) * math.sqrt(1 - b2**t) / (np.sqrt(s) + eps)
            else:
                step = m / (1 - b1**t)
        theta = theta - lr * step
        yield theta


def yogi(theta, grads, lr, betas, eps, weight_decay, initial_accumulator):
    b1, b2 = betas
    m = n = initial_accumulator
    for t, raw in enumerate(grads, 1):
        g = raw + weight_decay * theta
        m = b1 * m + (1 - b1) * g
        n = n - (1 - b2) * np.sign(n - g**2) * g**2
        theta = theta - lr * (m / (1 - b1**t)) / (np.sqrt(n / (1 - b2**t)) + eps)
        yield theta


def lamb(theta, grads, lr, betas, eps, weight_decay, max_grad_norm, always_adapt):
    b1, b2 = betas
    m = n = 0.0
    for t, raw in enumerate(grads, 1):
        g = raw / max(1.0, np.linalg.norm(raw) / max_grad_norm) if max_grad_norm else raw
        m, n = b1 * m + (1 - b1) * g, b2 * n + (1 - b2) * g**2
        u = (m / (1 - b1**t)) / (np.sqrt(n / (1 - b2**t)) + eps) + weight_decay * theta
        trust = np.linalg.norm(theta) / np.linalg.norm(u) if weight_decay or always_adapt else 1.0
        theta = theta - lr * trust * u
        yield theta
