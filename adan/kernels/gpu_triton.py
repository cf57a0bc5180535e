"""The Triton kernels of `adan.kernels.gpu`: `prepare`, one lane a tensor, then `update`, one program a chunk; and of
`adan.kernels.gpu_squares`: `squares`, one program a chunk, then `total`, one program.

The arithmetic is that of adan/update.py, element by element, in IEEE operations: square root and division round to
nearest, and the launcher forbids fused multiply-adds. Every element is read and written once. Nothing that changes
from step to step is an argument of `update`, so nothing that changes compiles it anew: hyper-parameters, corrections
and the gradient's scale reach it through `coefficients`, which `prepare` computes in fp64 on the device.

Arrays on the device, a column a tensor:

    table         int64            rows: addresses of the tensors, elements, first chunk, number in the optimizer
    coefficients  fp32 or fp64     rows: see the names below
    flags         int32            rows: what to do with the tensor, and its stream of random bits
    gradients     int64            rows: addresses of tensors of one type, elements, first chunk

Imports triton; compiles nothing by itself.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

# Rows of the table.
PARAM = tl.constexpr(0)
GRAD = tl.constexpr(1)
EXP_AVG = tl.constexpr(2)
EXP_AVG_DIFF = tl.constexpr(3)
EXP_AVG_SQ = tl.constexpr(4)
PRE_GRAD = tl.constexpr(5)
STEP = tl.constexpr(6)
ELEMENTS = tl.constexpr(7)
FIRST_CHUNK = tl.constexpr(8)
NUMBER = tl.constexpr(9)
TABLE_ROWS = 10

# Rows of the gradients.
ADDRESS = tl.constexpr(0)
LENGTH = tl.constexpr(1)
BEGUN = tl.constexpr(2)

# Rows of the coefficients. REST is 1 - beta, MOVE the learning rate over a bias correction, SHRINK what the parameter
# loses to weight decay: added up apart from 1, a small one keeps its digits.
SCALE = tl.constexpr(0)
BETA1 = tl.constexpr(1)
REST1 = tl.constexpr(2)
BETA2 = tl.constexpr(3)
REST2 = tl.constexpr(4)
BETA3 = tl.constexpr(5)
REST3 = tl.constexpr(6)
EPS = tl.constexpr(7)
ROOT = tl.constexpr(8)
MOVE_M = tl.constexpr(9)
MOVE_V = tl.constexpr(10)
SHRINK_BEFORE = tl.constexpr(11)
SHRINK_AFTER = tl.constexpr(12)
COEFFICIENT_ROWS = 13

# Rows of the flags, and the values of the first.
ACTION = tl.constexpr(0)
STREAM = tl.constexpr(1)
FLAG_ROWS = 2
SKIP = tl.constexpr(0)
FIRST_STEP = tl.constexpr(1)
LATER_STEP = tl.constexpr(2)

_TYPES = {
    torch.float32: tl.float32,
    torch.float64: tl.float64,
    torch.bfloat16: tl.bfloat16,
    torch.float16: tl.float16,
}


def triton_type(dtype: torch.dtype) -> tl.dtype:
    """Triton's name of a torch type."""
    return _TYPES[dtype]


@triton.jit
def _half_mix(x):
    x = (x ^ (x >> 16)) * 0x7FEB352D
    return x ^ (x >> 15)


@triton.jit
def _mix(x):
    x = _half_mix(x) * 0x846CA68B
    return x ^ (x >> 16)


@triton.jit
def random_words(first, offsets, stream):
    """The hashed counters of adan/rounding.py for elements `first + offsets` (int64 and int32), as uint32."""
    return _half_mix((first.to(tl.uint32) + offsets.to(tl.uint32)) ^ stream)


@triton.jit
def _bfloat16(value, STOCHASTIC: tl.constexpr, random):
    """fp32 to bf16 to nearest (ties to even), or as adan/rounding.py does. In integers, because Triton's interpreter
    has no faithful conversion and the tests should run what a GPU runs."""
    bits = value.to(tl.uint32, bitcast=True)
    added = random if STOCHASTIC else 0x7FFF + ((bits >> 16) & 1)
    upper = tl.where(value == value, (bits + added) >> 16, 0x7FC0)
    return upper.to(tl.uint16).to(tl.bfloat16, bitcast=True)


@triton.jit
def _load(pointers, mask, EVICTION: tl.constexpr, COMPUTE: tl.constexpr):
    return tl.load(pointers, mask=mask, eviction_policy=EVICTION).to(COMPUTE)


@triton.jit
def _store_state(pointers, value, mask):
    # Not needed before the next step: leaves the L2 cache before parameters, which the next forward pass reads.
    tl.store(pointers, value, mask=mask, eviction_policy="evict_first")


@triton.jit
def _rounded(value, TYPE: tl.constexpr, STOCHASTIC: tl.constexpr, random):
    if TYPE == tl.bfloat16:  # noqa: SIM300 - a constexpr compares from the left
        return _bfloat16(value.to(tl.float32), STOCHASTIC, random)
    else:
        return value.to(TYPE)


@triton.jit(do_not_specialize=["count"], do_not_specialize_on_alignment=["lr_tensor", "scale", "squares", "found_inf"])
def prepare(
    table,
    coefficients,
    flags,
    count,
    lr: tl.float64,
    lr_tensor,
    beta1: tl.float64,
    log_beta1: tl.float64,
    beta2: tl.float64,
    log_beta2: tl.float64,
    beta3: tl.float64,
    log_beta3: tl.float64,
    eps: tl.float64,
    weight_decay: tl.float64,
    scale,
    squares,
    max_grad_norm: tl.float64,
    found_inf,
    NO_PROX: tl.constexpr,
    LANES: tl.constexpr,
):
    """Count the steps of `count` tensors and write their coefficients and flags; nothing if `found_inf` is not 0.

    `lr_tensor`, `scale`, `squares` and `found_inf` point to one number each, or are None. Gradients count `scale`
    times, and with `squares`, the sum of the squares of all as they are, at most so much that their norm is
    `max_grad_norm`.
    """
    tensor = tl.program_id(0) * LANES + tl.arange(0, LANES)
    exists = tensor < count
    counts = tl.load(table + STEP * count + tensor, mask=exists, other=0).to(tl.pointer_type(tl.float32))
    step = tl.load(counts, mask=exists, other=0.0) + 1.0
    number = tl.load(table + NUMBER * count + tensor, mask=exists, other=0)

    action = tl.where(step == 1.0, FIRST_STEP, LATER_STEP)
    if found_inf is not None:
        finite = tl.load(found_inf) == 0
        action = tl.where(finite, action, SKIP)
    seed = number.to(tl.uint32) + 0x9E3779B9
    stream = _mix(_mix(seed) + step.to(tl.int32).to(tl.uint32)).to(tl.int32, bitcast=True)
    tl.store(counts, step, mask=exists & (action != SKIP))
    tl.store(flags + ACTION * count + tensor, action, mask=exists)
    tl.store(flags + STREAM * count + tensor, stream, mask=exists)

    one = tl.full((LANES,), 1.0, tl.float64)
    steps = step.to(tl.float64)
    rate = one * lr if lr_tensor is None else one * tl.load(lr_tensor).to(tl.float64)
    factor = one if scale is None else one * tl.load(scale).to(tl.float64)
    if squares is not None:
        clip = max_grad_norm / (tl.sqrt(one * tl.load(squares)) * factor + eps)
        factor *= tl.where(clip > 1.0, 1.0, clip)  # so that a norm that is NaN makes everything NaN
    decay = rate * weight_decay
    TYPE: tl.constexpr = coefficients.dtype.element_ty
    row = coefficients + tensor
    tl.store(row + SCALE * count, factor.to(TYPE), mask=exists)
    tl.store(row + BETA1 * count, (one * beta1).to(TYPE), mask=exists)
    tl.store(row + REST1 * count, (one - beta1).to(TYPE), mask=exists)
    tl.store(row + BETA2 * count, (one * beta2).to(TYPE), mask=exists)
    tl.store(row + REST2 * count, (one - beta2).to(TYPE), mask=exists)
    tl.store(row + BETA3 * count, (one * beta3).to(TYPE), mask=exists)
    tl.store(row + REST3 * count, (one - beta3).to(TYPE), mask=exists)
    tl.store(row + EPS * count, (one * eps).to(TYPE), mask=exists)
    tl.store(row + ROOT * count, (one / tl.sqrt(one - tl.exp(steps * log_beta3))).to(TYPE), mask=exists)
    tl.store(row + MOVE_M * count, (rate / (one - tl.exp(steps * log_beta1))).to(TYPE), mask=exists)
    tl.store(row + MOVE_V * count, (rate * beta2 / (one - tl.exp(steps * log_beta2))).to(TYPE), mask=exists)
    if NO_PROX:
        tl.store(row + SHRINK_BEFORE * count, decay.to(TYPE), mask=exists)
        tl.store(row + SHRINK_AFTER * count, (one * 0.0).to(TYPE), mask=exists)
    else:
        tl.store(row + SHRINK_BEFORE * count, (one * 0.0).to(TYPE), mask=exists)
        tl.store(row + SHRINK_AFTER * count, (decay / (one + decay)).to(TYPE), mask=exists)


@triton.jit
def _update_block(
    bases,
    averaging,
    moving,
    start,
    elements,
    first_step,
    stream,
    STOCHASTIC: tl.constexpr,
    BLOCK: tl.constexpr,
    WHOLE: tl.constexpr,
):
    """Elements [start, start + BLOCK) of one tensor, all of them there and aligned if `WHOLE`."""
    param, grad, exp_avg, exp_avg_diff, exp_avg_sq, pre_grad = bases
    scale, beta1, rest1, beta2, rest2, beta3, rest3 = averaging
    eps, root, move_m, move_v, shrink_before, shrink_after = moving
    STATE: tl.constexpr = exp_avg.dtype.element_ty
    PARAM_TYPE: tl.constexpr = param.dtype.element_ty
    COMPUTE: tl.constexpr = scale.dtype
    offsets = tl.arange(0, BLOCK)
    params = param + start
    grads = grad + start
    exp_avgs = exp_avg + start
    exp_avg_diffs = exp_avg_diff + start
    exp_avg_sqs = exp_avg_sq + start
    pre_grads = pre_grad + start
    if WHOLE:
        mask = None
        params = tl.multiple_of(params, 16)
        grads = tl.multiple_of(grads, 16)
        exp_avgs = tl.multiple_of(exp_avgs, 16)
        exp_avg_diffs = tl.multiple_of(exp_avg_diffs, 16)
        exp_avg_sqs = tl.multiple_of(exp_avg_sqs, 16)
        pre_grads = tl.multiple_of(pre_grads, 16)
    else:
        mask = start + offsets < elements

    theta = _load(params + offsets, mask, "", COMPUTE)
    g = _load(grads + offsets, mask, "evict_first", COMPUTE) * scale
    m = _load(exp_avgs + offsets, mask, "evict_first", COMPUTE)
    v = _load(exp_avg_diffs + offsets, mask, "evict_first", COMPUTE)
    n = _load(exp_avg_sqs + offsets, mask, "evict_first", COMPUTE)
    previous = _load(pre_grads + offsets, mask, "evict_first", COMPUTE)

    difference = g - tl.where(first_step, g, previous)
    look_ahead = g + beta2 * difference
    m = beta1 * m + rest1 * g
    v = beta2 * v + rest2 * difference
    n = beta3 * n + rest3 * look_ahead * look_ahead
    numerator = move_m * m + move_v * v
    if COMPUTE == tl.float64:  # noqa: SIM300
        move = numerator / (tl.sqrt(n) * root + eps)
    else:
        move = tl.div_rn(numerator, tl.sqrt_rn(n) * root + eps)
    theta = theta - theta * shrink_before - move
    theta = theta - theta * shrink_after

    words = random_words(start, offsets, stream)
    tl.store(params + offsets, _rounded(theta, PARAM_TYPE, False, 0), mask=mask)
    _store_state(exp_avgs + offsets, _rounded(m, STATE, STOCHASTIC, words & 0xFFFF), mask)
    _store_state(exp_avg_diffs + offsets, _rounded(v, STATE, STOCHASTIC, words >> 16), mask)
    _store_state(exp_avg_sqs + offsets, _rounded(n, STATE, STOCHASTIC, (words * 0x9E3779B1) >> 16), mask)
    _store_state(pre_grads + offsets, _rounded(g, STATE, False, 0), mask)


@triton.jit
def _tensor_of(chunk, first_chunks, count):
    """The last tensor that begins at or before this chunk: empty ones have none."""
    tensor = 0
    above = count
    while above - tensor > 1:
        middle = (tensor + above) // 2
        begun = tl.load(first_chunks + middle) <= chunk
        tensor = tl.where(begun, middle, tensor)
        above = tl.where(begun, above, middle)
    return tensor


@triton.jit(do_not_specialize=["count"])
def update(
    table,
    coefficients,
    flags,
    count,
    PARAM_TYPE: tl.constexpr,
    STATE_TYPE: tl.constexpr,
    STOCHASTIC: tl.constexpr,
    BLOCK: tl.constexpr,
    BLOCKS: tl.constexpr,
    TAIL: tl.constexpr,
):
    """Step one chunk of BLOCKS * BLOCK elements of one tensor: that of the program's number among the chunks of all."""
    chunk = tl.program_id(0)
    tensor = _tensor_of(chunk, table + FIRST_CHUNK * count, count)
    action = tl.load(flags + ACTION * count + tensor)
    if action == SKIP:
        return
    stream = tl.load(flags + STREAM * count + tensor).to(tl.uint32, bitcast=True)
    column = table + tensor
    param = tl.load(column + PARAM * count)
    grad = tl.load(column + GRAD * count)
    exp_avg = tl.load(column + EXP_AVG * count)
    exp_avg_diff = tl.load(column + EXP_AVG_DIFF * count)
    exp_avg_sq = tl.load(column + EXP_AVG_SQ * count)
    pre_grad = tl.load(column + PRE_GRAD * count)
    elements = tl.load(column + ELEMENTS * count)
    first_chunk = tl.load(column + FIRST_CHUNK * count)
    given = coefficients + tensor
    averaging = (
        tl.load(given + SCALE * count),
        tl.load(given + BETA1 * count),
        tl.load(given + REST1 * count),
        tl.load(given + BETA2 * count),
        tl.load(given + REST2 * count),
        tl.load(given + BETA3 * count),
        tl.load(given + REST3 * count),
    )
    moving = (
        tl.load(given + EPS * count),
        tl.load(given + ROOT * count),
        tl.load(given + MOVE_M * count),
        tl.load(given + MOVE_V * count),
        tl.load(given + SHRINK_BEFORE * count),
        tl.load(given + SHRINK_AFTER * count),
    )
    bases = (
        param.to(tl.pointer_type(PARAM_TYPE)),
        grad.to(tl.pointer_type(PARAM_TYPE)),
        exp_avg.to(tl.pointer_type(STATE_TYPE)),
        exp_avg_diff.to(tl.pointer_type(STATE_TYPE)),
        exp_avg_sq.to(tl.pointer_type(STATE_TYPE)),
        pre_grad.to(tl.pointer_type(STATE_TYPE)),
    )
    begin = (chunk - first_chunk) * (BLOCK * BLOCKS)
    end = tl.minimum(begin + BLOCK * BLOCKS, elements)
    misaligned = (param | grad | exp_avg | exp_avg_diff | exp_avg_sq | pre_grad) & 15
    whole = tl.where(misaligned == 0, (end - begin) // BLOCK, 0)
    for block in range(0, whole):
        start = begin + block * BLOCK
        _update_block(bases, averaging, moving, start, elements, action == FIRST_STEP, stream, STOCHASTIC, BLOCK, True)
    begin += whole * BLOCK
    for block in range(0, tl.cdiv(end - begin, TAIL)):
        start = begin + block * TAIL
        _update_block(bases, averaging, moving, start, elements, action == FIRST_STEP, stream, STOCHASTIC, TAIL, False)


@triton.jit
def _square(value):
    if value.dtype == tl.float64:
        return value * value
    else:
        exact = value.to(tl.float32).to(tl.float64)
        return exact * exact


@triton.jit(do_not_specialize=["count"], do_not_specialize_on_alignment=["sums"])
def squares(gradients, sums, count, TYPE: tl.constexpr, BLOCK: tl.constexpr, BLOCKS: tl.constexpr, TAIL: tl.constexpr):
    """Sum the squares of one chunk of BLOCKS * BLOCK elements of one tensor into the chunk's place of `sums` (fp64)."""
    # Backwards: what is read last may still be in the cache when `update` begins with it.
    chunk = tl.num_programs(0) - 1 - tl.program_id(0)
    tensor = _tensor_of(chunk, gradients + BEGUN * count, count)
    address = tl.load(gradients + ADDRESS * count + tensor)
    length = tl.load(gradients + LENGTH * count + tensor)
    values = address.to(tl.pointer_type(TYPE))
    begin = (chunk - tl.load(gradients + BEGUN * count + tensor)) * (BLOCK * BLOCKS)
    end = tl.minimum(begin + BLOCK * BLOCKS, length)
    whole = tl.where((address & 15) == 0, (end - begin) // BLOCK, 0)
    of_blocks = tl.zeros((BLOCK,), tl.float64)
    for block in range(0, whole):
        start = tl.multiple_of(values + begin + block * BLOCK, 16)
        of_blocks += _square(tl.load(start + tl.arange(0, BLOCK)))
    begin += whole * BLOCK
    of_tail = tl.zeros((TAIL,), tl.float64)
    for block in range(0, tl.cdiv(end - begin, TAIL)):
        places = begin + block * TAIL + tl.arange(0, TAIL)
        of_tail += _square(tl.load(values + places, mask=places < end, other=0.0))
    tl.store(sums + chunk, tl.sum(of_blocks) + tl.sum(of_tail))


@triton.jit(do_not_specialize=["count"])
def total(sums, out, count, BLOCK: tl.constexpr):
    """Sum `count` numbers into one, always in the same order."""
    lanes = tl.zeros((BLOCK,), tl.float64)
    for first in range(0, count, BLOCK):
        places = first + tl.arange(0, BLOCK)
        lanes += tl.load(sums + places, mask=places < count, other=0.0)
    tl.store(out, tl.sum(lanes))
