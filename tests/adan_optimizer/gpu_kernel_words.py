"""A kernel that writes the random words of `adan.kernels.gpu_triton`, for elements that no test's memory can hold."""

import triton
import triton.language as tl

from adan.kernels.gpu_triton import random_words


@triton.jit
def write_words(out, first_and_stream, COUNT: tl.constexpr):
    offsets = tl.arange(0, COUNT)
    first = tl.load(first_and_stream)
    stream = tl.load(first_and_stream + 1).to(tl.uint32)
    tl.store(out + offsets, random_words(first, offsets, stream).to(tl.int64))
