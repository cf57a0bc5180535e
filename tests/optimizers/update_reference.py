"""Each baseline's update in float64 numpy, from its paper (or, where the catalogue says so, its authors' code).

Every function yields the parameter after each gradient. `g` includes coupled weight decay where the method couples.
"""

import math

import numpy as np


def sgd(theta, grads, lr, momentum, nesterov, weight_decay):
    m = None
    for raw in grads:
        g = raw + weight_decay * theta
        m = g if m is None else momentum * m + g
        theta = theta - lr * (g + momentum * m if nesterov else m)
        yield theta


def adam(theta, grads, lr, betas, eps, weight_decay, decoupled=False):
    b1, b2 = betas
    m = n = 0.0
    for t, raw in enumerate(grads, 1):
        g = raw if decoupled else raw + weight_decay * theta
        if decoupled:
            theta = theta * (1 - lr * weight_decay)
        m, n = b1 * m + (1 - b1) * g, b2 * n + (1 - b2) * g**2
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


def nadam(theta, grads, lr, betas, eps, weight_decay, momentum_decay):
    b1, b2 = betas
    m = n = 0.0
    product = 1.0
    for t, raw in enumerate(grads, 1):
        g = raw + weight_decay * theta
        mu, following = (b1 * (1 - 0.5 * 0.96 ** (s * momentum_decay)) for s in (t, t + 1))
        product *= mu
        m, n = b1 * m + (1 - b1) * g, b2 * n + (1 - b2) * g**2
        m_bar = following * m / (1 - product * following) + (1 - mu) * g / (1 - product)
        theta = theta - lr * m_bar / (np.sqrt(n / (1 - b2**t)) + eps)
        yield theta


def adabound(theta, grads, lr, betas, eps, weight_decay, final_lr, gamma):
    b1, b2 = betas
    m = n = 0.0
    for t, raw in enumerate(grads, 1):
        g = raw + weight_decay * theta
        m, n = b1 * m + (1 - b1) * g, b2 * n + (1 - b2) * g**2
        low, high = final_lr * (1 - 1 / (gamma * t + 1)), final_lr * (1 + 1 / (gamma * t))
        step = lr * math.sqrt(1 - b2**t) / (1 - b1**t) / (np.sqrt(n) + eps)
        theta = theta - np.clip(step, low, high) * m
        yield theta


def radam(theta, grads, lr, betas, eps, weight_decay, threshold):
    b1, b2 = betas
    m = n = 0.0
    rho_inf = 2 / (1 - b2) - 1
    for t, g in enumerate(grads, 1):
        theta = theta * (1 - lr * weight_decay)
        m, n = b1 * m + (1 - b1) * g, b2 * n + (1 - b2) * g**2
        m_hat = m / (1 - b1**t)
        rho = rho_inf - 2 * t * b2**t / (1 - b2**t)
        if rho > threshold:
            r = math.sqrt((rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho))
            theta = theta - lr * r * m_hat * math.sqrt(1 - b2**t) / (np.sqrt(n) + eps)
        else:
            theta = theta - lr * m_hat
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


def adabelief(theta, grads, lr, betas, eps, weight_decay):
    b1, b2 = betas
    m = s = 0.0
    for t, g in enumerate(grads, 1):
        theta = theta * (1 - lr * weight_decay)
        m = b1 * m + (1 - b1) * g
        s = b2 * s + (1 - b2) * (g - m) ** 2 + eps
        theta = theta - lr * (m / (1 - b1**t)) / (np.sqrt(s / (1 - b2**t)) + eps)
        yield theta
