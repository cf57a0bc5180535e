"""Rounding fp32 to bf16: to nearest, or stochastically by a counter, the same bits on every device.

A moment in bf16 has eight significant bits. Where its change in a step is under half of their spacing, rounding to
nearest loses it every time; stochastic rounding keeps it in expectation. The random bits are a hash of the tensor's
number, its step and the element's index, so that a step is a function of its inputs: resumed runs, threads and kernels
agree bit by bit, and no generator's state needs saving.

    stream  = mix(mix(tensor + 0x9e3779b9) + step)
    x       = i ^ stream                         all in 32 bits
    y       = (x ^ x >> 16) * 0x7feb352d
    word(i) = y ^ y >> 15
    added   = word & 0xffff for m, word >> 16 for v, (word * 0x9e3779b1) >> 16 for n
    bf16(x) = the upper half of bits(x) + added

For one element the words of all steps are uniform and independent, because the stream is. `mix` is the 32-bit hash
`lowbias32` (github.com/skeeto/hash-prospector), the word its first half. The kernels in `adan.kernels` do the same.
"""

from __future__ import annotations

import torch
from torch import Tensor

MASK = 0xFFFFFFFF
FIELDS = ("exp_avg", "exp_avg_diff", "exp_avg_sq")


def stream(tensor: int, step: int) -> int:
    """32 bits that stand for one tensor (its number in the optimizer, from 0) at one step."""
    return int(_mix(_mix(torch.tensor(tensor + 0x9E3779B9) & MASK) + step & MASK))


def words(count: int, stream: int, device: torch.device) -> Tensor:
    """`count` hashed counters, 32 bits each in int64."""
    return _half_mix(torch.arange(count, device=device) & MASK ^ stream)


def stochastic(value: Tensor, words: Tensor, field: str) -> Tensor:
    """Round an fp32 tensor of n elements to bf16, up with the probability of the part cut off.

    `words` (n) come from `words`, counted in the order of memory; `field` is one of `FIELDS` and says which sixteen
    bits to make of them. NaN and infinities stay what they are.
    """
    added = {"exp_avg": words & 0xFFFF, "exp_avg_diff": words >> 16, "exp_avg_sq": (words * 0x9E3779B1 & MASK) >> 16}
    rounded = torch.empty_like(value, dtype=torch.bfloat16)
    flat = _in_memory_order(value)
    bits = flat.view(torch.int32).to(torch.int64) & MASK
    raised = (bits + added[field]) & 0xFFFF0000
    signed = torch.where(raised >= 1 << 31, raised - (1 << 32), raised).to(torch.int32)
    upper = signed.view(torch.float32)
    _in_memory_order(rounded).copy_(torch.where(flat.isfinite(), upper, flat))
    return rounded


def _in_memory_order(tensor: Tensor) -> Tensor:
    """A flat view of a tensor without gaps, element by element as memory has them (channels last, say)."""
    return tensor.as_strided((tensor.numel(),), (1,))


def _half_mix(x: Tensor) -> Tensor:
    x = (x ^ (x >> 16)) * 0x7FEB352D & MASK
    return x ^ (x >> 15)


def _mix(x: Tensor) -> Tensor:
    """The hash of 32-bit values held in int64."""
    x = _half_mix(x) * 0x846CA68B & MASK
    return x ^ (x >> 16)
