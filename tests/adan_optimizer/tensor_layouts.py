"""Ways in which the same numbers can lie in memory, for tests of kernels that read it directly."""

import torch

SHAPE, SHAPE_3D = (3, 2, 5, 7), (2, 3, 2, 4, 3)


def contiguous(values):
    return values.clone(memory_format=torch.contiguous_format)


def with_gaps(values):
    """Every second element of a buffer, whose others are 99."""
    return torch.full((*values.shape, 2), 99.0, dtype=values.dtype)[..., 0].copy_(values)


def sliced(values):
    """A block inside a larger tensor."""
    *front, last = values.shape
    return torch.full((*front, last + 3), 99.0, dtype=values.dtype)[..., 1 : last + 1].copy_(values)


def transposed(values):
    return values.transpose(0, -1).contiguous().transpose(0, -1)


def channels_last(values):
    return values.contiguous(memory_format=torch.channels_last if values.dim() == 4 else torch.channels_last_3d)


def unaligned(values):
    """One element after the start of an aligned buffer."""
    return torch.empty(values.numel() + 1, dtype=values.dtype)[1:].view_as(values).copy_(values)


LAYOUTS = [contiguous, with_gaps, sliced, transposed, channels_last, unaligned]
