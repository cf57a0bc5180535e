"""Proximal policy optimisation (Schulman et al. 2017, arXiv 1707.06347) over a batch of seeds.

Every tensor here begins with the dimension of seeds: S runs are one batch of S, a run of its own a batch of one. Sums
over seeds keep their gradients apart, since no parameter belongs to two of them.
"""
