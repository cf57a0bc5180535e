"""From AdaGrad to Adafactor: methods with a second moment and no first, from their papers.

Every function yields the parameter after each gradient, in float64. `g` includes coupled weight decay where the method
couples. What the paper leaves open, or its authors' code does otherwise, is as the catalogue says.
"""

import math

import numpy as np


def adagrad(theta, grads, lr, eps, weight_decay, initial_accumulator_value):
    total = initial_accumulator_value
    for raw in grads:
        g = raw + weight_decay * theta
        total = total + g**2
        theta = theta - lr * g / (np.sqrt(total) + eps)
        yield theta


def adadelta(theta, grads, lr, rho, eps, weight_decay):
    n = moves = 0.0
    for raw in grads:
        g = raw + weight_decay * theta
        n = rho * n + (1 - rho) * g**2
        move = np.sqrt(moves + eps) / np.sqrt(n + eps) * g
        moves = rho * moves + (1 - rho) * move**2
        theta = theta - lr * move
        yield theta


def rmsprop(theta, grads, lr, alpha, eps, weight_decay, momentum, centered):
    n = mean = buffer = 0.0
    for raw in grads:
        g = raw + weight_decay * theta
        n, mean = alpha * n + (1 - alpha) * g**2, alpha * mean + (1 - alpha) * g
        buffer = momentum * buffer + g / (np.sqrt(n - mean**2 if centered else n) + eps)
        theta = theta - lr * buffer
        yield theta


def rms(x):
    return np.sqrt(np.mean(x**2))


def adafactor(theta, grads, lr, beta2_decay, eps2, clip_threshold, weight_decay):
    """Algorithms 4 (two dimensions) and 5 (one), with the paper's eps1 of 1e-30."""
    rows = columns = n = 0.0
    for t, g in enumerate(grads, 1):
        rate = max(eps2, rms(theta)) * min(lr, 1 / math.sqrt(t))
        theta = theta * (1 - lr * weight_decay)
        b2, square = 1 - t**beta2_decay, g**2 + 1e-30
        if g.ndim == 2:
            rows = b2 * rows + (1 - b2) * square.sum(axis=1)
            columns = b2 * columns + (1 - b2) * square.sum(axis=0)
            n = np.outer(rows, columns) / rows.sum()
        else:
            n = b2 * n + (1 - b2) * square
        u = g / np.sqrt(n)
        theta = theta - rate * u / max(1.0, rms(u) / clip_threshold)
        yield theta
