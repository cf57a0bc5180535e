"""Adam and its corrections, from their papers.

Every function yields the parameter after each gradient, in float64. `g` includes coupled weight decay where the method
couples. What the paper leaves open, or its authors' code does otherwise, is as the catalogue says.
"""

import math

import numpy as np


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


def amsgrad(theta, grads, lr, betas, eps, weight_decay, bias_correction, decoupled=False):
    b1, b2 = betas
    m = n = n_max = 0.0
    for t, raw in enumerate(grads, 1):
        g = raw if decoupled else raw + weight_decay * theta
        if decoupled:
            theta = theta * (1 - lr * weight_decay)
        m, n = b1 * m + (1 - b1) * g, b2 * n + (1 - b2) * g**2
        n_max = np.maximum(n_max, n)
        c1, c2 = (1 - b1**t, 1 - b2**t) if bias_correction else (1.0, 1.0)
        theta = theta - lr * (m / c1) / (np.sqrt(n_max / c2) + eps)
        yield theta


def nadam(theta, grads, lr, betas, eps, weight_decay, momentum_decay, decoupled=False):
    b1, b2 = betas
    m = n = 0.0
    product = 1.0
    for t, raw in enumerate(grads, 1):
        g = raw if decoupled else raw + weight_decay * theta
        theta = theta * (1 - lr * weight_decay) if decoupled else theta
        mu, following = (b1 * (1 - 0.5 * 0.96 ** (s * momentum_decay)) for s in (t, t + 1))
        product *= mu
        m, n = b1 * m + (1 - b1) * g, b2 * n + (1 - b2) * g**2
        m_bar = following * m / (1 - product * following) + (1 - mu) * g / (1 - product)
        theta = theta - lr * m_bar / (np.sqrt(n / (1 - b2**t)) + eps)
        yield theta


def nadamw(theta, grads, lr, betas, eps, weight_decay):
    b1, b2 = betas
    m = n = 0.0
    for t, g in enumerate(grads, 1):
        theta = theta * (1 - lr * weight_decay)
        m, n = b1 * m + (1 - b1) * g, b2 * n + (1 - b2) * g**2
        ahead = b1 * m + (1 - b1) * g
        theta = theta - lr * (ahead / (1 - b1**t)) / (np.sqrt(n / (1 - b2**t)) + eps)
        yield theta


def radam(theta, grads, lr, betas, eps, weight_decay, threshold, decoupled=True):
    b1, b2 = betas
    m = n = 0.0
    rho_inf = 2 / (1 - b2) - 1
    for t, raw in enumerate(grads, 1):
        g = raw if decoupled else raw + weight_decay * theta
        theta = theta * (1 - lr * weight_decay) if decoupled else theta
        m, n = b1 * m + (1 - b1) * g, b2 * n + (1 - b2) * g**2
        m_hat = m / (1 - b1**t)
        rho = rho_inf - 2 * t * b2**t / (1 - b2**t)
        if rho > threshold:
            r = math.sqrt((rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho))
            theta = theta - lr * r * m_hat * math.sqrt(1 - b2**t) / (np.sqrt(n) + eps)
        else:
            theta = theta - lr * m_hat
        yield theta
