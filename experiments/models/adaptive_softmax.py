"""The softmax over a large vocabulary sorted by frequency, in two steps: a word, or its cluster and then the word.

Grave et al. 2017 (arXiv 1609.04309), as Transformer-XL has it: all clusters have the width of the model and share the
weights of the embedding, so torch's `AdaptiveLogSoftmaxWithLoss`, whose clusters have projections of their own, is
another model.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from experiments.data.columns import NO_TARGET


class AdaptiveSoftmax(nn.Module):
    """Probabilities of words from hidden states. The weights [vocabulary, d_model] belong to the embedding and are
    given with every call; here are the biases and the vectors of the clusters."""

    def __init__(self, vocabulary: int, d_model: int, cutoffs: Sequence[int]) -> None:
        """Words below the first cutoff are in the first step; each further one ends a cluster. Cutoffs that the
        vocabulary does not reach are left out; without any this is a softmax."""
        super().__init__()
        ends = [*(cutoff for cutoff in cutoffs if cutoff < vocabulary), vocabulary]
        self.first, self.clusters = ends[0], list(pairwise(ends))
        self.bias = nn.Parameter(torch.zeros(vocabulary))
        self.cluster_weight = nn.Parameter(torch.zeros(len(self.clusters), d_model))
        self.cluster_bias = nn.Parameter(torch.zeros(len(self.clusters)))

    def forward(self, hidden: Tensor, targets: Tensor, weight: Tensor) -> Tensor:
        """Negative log-likelihood [n] of `targets` [n] after `hidden` [n, d_model]; 0 where they are `NO_TARGET`."""
        choice = targets
        for index, (begin, end) in enumerate(self.clusters):
            choice = torch.where((targets >= begin) & (targets < end), self.first + index, choice)
        loss = F.cross_entropy(self._first_logits(hidden, weight), choice, reduction="none", ignore_index=NO_TARGET)
        for index, (begin, _) in enumerate(self.clusters):
            rows = (choice == self.first + index).nonzero().squeeze(1)
            logits = self._cluster_logits(hidden[rows], weight, index)
            inner = F.cross_entropy(logits, targets[rows] - begin, reduction="none")
            loss = loss.index_add(0, rows, inner.to(loss.dtype))
        return loss

    def log_probabilities(self, hidden: Tensor, weight: Tensor) -> Tensor:
        """Log-probability of every word: [n, vocabulary]."""
        first = self._first_logits(hidden, weight).log_softmax(-1)
        parts = [first[:, : self.first]]
        for index in range(len(self.clusters)):
            inner = self._cluster_logits(hidden, weight, index).log_softmax(-1)
            parts.append(first[:, self.first + index, None] + inner)
        return torch.cat(parts, dim=-1)

    def _first_logits(self, hidden: Tensor, weight: Tensor) -> Tensor:
        """[n, words of the first step + clusters]"""
        weights = torch.cat([weight[: self.first], self.cluster_weight])
        return F.linear(hidden, weights, torch.cat([self.bias[: self.first], self.cluster_bias]))

    def _cluster_logits(self, hidden: Tensor, weight: Tensor, index: int) -> Tensor:
        """[n, words of the cluster]"""
        begin, end = self.clusters[index]
        return F.linear(hidden, weight[begin:end], self.bias[begin:end])
