"""Momentum methods, and SAM's gradients for any of them, from their papers.

Every function yields the parameter after each gradient, in float64. `g` includes coupled weight decay where the method
couples. What the paper leaves open, or its authors' code does otherwise, is as the catalogue says.
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


def lars(theta, grads, lr, momentum, nesterov, weight_decay, trust_coeff, eps, always_adapt):
    m = None
    for raw in grads:
        g = raw
        if weight_decay or always_adapt:
            size, slope = np.linalg.norm(theta), np.linalg.norm(raw)
            local = trust_coeff * size / (slope + weight_decay * size + eps) if size and slope else 1.0
            g = local * (raw + weight_decay * theta)
        m = g if m is None else momentum * m + g
        theta = theta - lr * (g + momentum * m if nesterov else m)
        yield theta


def msvag(theta, grads, lr, beta, weight_decay, second_beta=None):
    """Algorithm 1 of Balles and Hennig; with `second_beta` line by line MSVAG.py of AdaBelief's repository."""
    m = v = 0.0
    for t, raw in enumerate(grads, 1):
        g = raw + weight_decay * theta
        m, v = beta * m + (1 - beta) * g, beta * v + (1 - beta) * g**2
        mean, square = m / (1 - beta**t), v / (1 - (second_beta or beta) ** t)
        rho = (1 - beta) / (1 + beta) * (1 + beta**t) / (1 - beta**t)
        if t == 1:
            gamma = 0.0 if second_beta else 1.0  # theirs divides by 1 - rho = 0, the paper says 1
        else:
            s = (square - mean**2) / (1 - rho)
            gamma = mean**2 / (mean**2 + rho * s)
        theta = theta - lr * gamma * mean
        yield theta


def fromage(theta, grads, lr, weight_decay):
    for raw in grads:
        g = raw + weight_decay * theta
        theta = (theta - lr * np.linalg.norm(theta) / np.linalg.norm(g) * g) / math.sqrt(1 + lr**2)
        yield theta


def lion(theta, grads, lr, betas, weight_decay):
    b1, b2 = betas
    m = 0.0
    for g in grads:
        theta = theta - lr * (np.sign(b1 * m + (1 - b1) * g) + weight_decay * theta)
        m = b2 * m + (1 - b2) * g
        yield theta


def newton_schulz(g, steps):
    """Towards the nearest semi-orthogonal matrix, by the quintic of Jordan et al.; exact, where theirs is in bf16."""
    x = g / max(np.linalg.norm(g), 1e-7)
    x = x if g.shape[0] <= g.shape[1] else x.T
    for _ in range(steps):
        a = x @ x.T
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return x if g.shape[0] <= g.shape[1] else x.T


def muon(theta, grads, lr, weight_decay, momentum, nesterov, ns_steps, adjust_lr):
    rows, columns = theta.shape
    scale = math.sqrt(max(1.0, rows / columns)) if adjust_lr == "original" else 0.2 * math.sqrt(max(rows, columns))
    m = 0.0
    for g in grads:
        m = momentum * m + (1 - momentum) * g
        direction = newton_schulz(momentum * m + (1 - momentum) * g if nesterov else m, ns_steps)
        theta = theta * (1 - lr * weight_decay) - lr * scale * direction
        yield theta


def at_perturbed(gradient, path, rho, adaptive=False):
    """Gradients for any method of this folder to step with: SAM's, at the last of `path` plus the perturbation.

    `gradient` maps a parameter to its gradient; the caller appends each new parameter to `path`.
    """
    while True:
        theta = path[-1]
        g = gradient(theta)
        direction, slope = (theta**2 * g, theta * g) if adaptive else (g, g)
        yield gradient(theta + rho * direction / (np.linalg.norm(slope) + 1e-12))
