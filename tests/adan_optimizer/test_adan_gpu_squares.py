"""The norm on a GPU: its numbers (under Triton's interpreter, and on a GPU where there is one), what it costs, and the
code generated for GPUs that need not be there."""

import re

import gpu_squares_checks as checks
import pytest
import torch
from gpu_kernel_code import CAPABILITIES, compiled, variant

from adan.kernels.gpu_squares import SumOfSquares, readable

FP32, FP64, BF16, FP16 = checks.TYPES


@pytest.mark.parametrize("offset", [0, 1], ids=["aligned", "misaligned"])
@pytest.mark.parametrize(
    "dtypes", [(FP32,), (FP64,), (BF16,), (FP16,), checks.TYPES], ids=["fp32", "fp64", "bf16", "fp16", "mixed"]
)
def test_equals_the_exact_sum(passes, dtypes, offset):
    passes(checks.equals_the_exact_sum, dtypes, offset)


@pytest.mark.parametrize(
    "check",
    [
        checks.sees_every_element_once,
        checks.has_no_smallest_and_largest_number,
        checks.is_always_the_same_bits,
        checks.is_one_over_all_groups,
        checks.takes_gradients_of_any_layout,
        checks.follows_the_reference_where_it_clips,
        checks.a_norm_is_two_launches_whatever_it_is_of,
        checks.a_step_that_clips_is_launches_alone,
        checks.launches_replayed_are_eager_steps,
    ],
    ids=lambda check: check.__name__,
)
def test_the_norm(passes, check):
    passes(check)


def test_memory_with_gaps_and_unknown_types_cannot_be_read():
    dense = torch.zeros(2, 3, 4, 5)
    assert all(map(readable, (dense, dense.to(memory_format=torch.channels_last), dense.half(), dense[:0])))
    assert not any(map(readable, (dense[:, ::2], dense[0, 0, 0, 0].expand(7), dense.to(torch.float8_e5m2))))


@CAPABILITIES
@pytest.mark.parametrize(("dtype", "width"), [(FP32, "v4.b32"), (FP64, "v2.b64"), (BF16, "v4.b32"), (FP16, "v4.b32")])
def test_generated_code_reads_in_the_widest_words_and_adds_in_one_order(
    tmp_path, monkeypatch, capability, dtype, width
):
    """16 bytes a thread, sums in fp64 without fusing, no atomic addition whose order chance decides, no spills."""
    launches, _ = SumOfSquares().launches([torch.zeros(9000, dtype=dtype)])
    squares, total = (compiled(launch, capability, tmp_path, monkeypatch) for launch in launches)
    vectors = re.findall(r"ld\.global[\w.:]*\.(v\d\.b\d+)", squares.asm["ptx"])
    assert set(vectors) == {width}
    for kernel in (squares, total):
        assert "add.f64" in kernel.asm["ptx"] or "add.rn.f64" in kernel.asm["ptx"]
        assert not re.search(r"\b(atom|red)\.", kernel.asm["ptx"])
        assert "fma." not in kernel.asm["ptx"]
        assert not re.search(r"\b(STL|LDL)\b", kernel.asm["sass"])


def test_no_number_is_compiled_in():
    first = [variant(launch) for launch in SumOfSquares().launches([torch.zeros(100)])[0]]
    for sizes in ((16,) * 16, (1,), (5000, 3), (70000,) * 3):
        assert [
            variant(launch) for launch in SumOfSquares().launches([torch.zeros(size) for size in sizes])[0]
        ] == first
