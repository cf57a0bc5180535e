"""The Triton kernel: its numbers (under Triton's interpreter, and on a GPU where there is one), the code generated for
GPUs that need not be there, and what only a GPU can show: graphs, synchronisation, memory, recompilation."""

import re
import subprocess
import sys
import time

import gpu_kernel_checks as checks
import pytest
import torch
from gpu_kernel_checks import HYPER, ON_GPU, assert_same_bits, contents, make_slots, set_gradients
from gpu_kernel_code import CAPABILITIES, compiled, variant

from adan.kernels import gpu
from adan.kernels.compilation import KernelUnavailable
from adan.kernels.gpu import Launch, Launcher, prepare_arguments, unavailable

triton = pytest.importorskip("triton", reason="Triton is not installed: it comes with torch's builds for CUDA")

FP32, FP64, BF16, FP16 = torch.float32, torch.float64, torch.bfloat16, torch.float16


@pytest.mark.parametrize("no_prox", [False, True], ids=["prox", "no_prox"])
@pytest.mark.parametrize(
    ("param", "tolerance"),
    [(FP32, 2e-6), (FP64, 1e-12), (BF16, 0.05), (FP16, 0.006)],
    ids=["fp32", "fp64", "bf16", "fp16"],
)
def test_follows_the_reference(passes, param, tolerance, no_prox):
    passes(checks.follows_the_reference, param, no_prox, 0, False, tolerance)


def test_misaligned_tensors_and_a_learning_rate_in_a_tensor(passes):
    passes(checks.follows_the_reference, FP32, False, 1, True, 2e-6)


def test_mixed_types_in_one_step(passes):
    passes(checks.mixed_types_in_one_step)


@pytest.mark.parametrize(
    ("param", "state", "stochastic"),
    [(FP32, FP32, False), (FP32, BF16, False), (FP32, BF16, True), (BF16, BF16, True), (FP16, BF16, False)],
)
def test_states_have_the_bits_of_the_formula(passes, param, state, stochastic):
    passes(checks.states_have_these_bits, param, state, stochastic)


@pytest.mark.parametrize("param", [BF16, FP16])
def test_parameters_in_half_precision_are_rounded_to_nearest(passes, param):
    passes(checks.parameters_in_half_precision_are_rounded_to_nearest, param)


@pytest.mark.parametrize("found", [1.0, float("nan")])
def test_overflow_changes_nothing(passes, found):
    passes(checks.overflow_changes_nothing, found)


@pytest.mark.parametrize("no_prox", [False, True], ids=["prox", "no_prox"])
def test_decay_keeps_its_digits(passes, no_prox):
    passes(checks.decay_keeps_its_digits, no_prox)


@pytest.mark.parametrize(
    "check",
    [
        checks.bias_corrections_keep_their_digits,
        checks.zero_betas,
        checks.not_a_number_stays,
        checks.gradients_may_move,
        checks.random_words_count_modulo_32_bits,
    ],
    ids=lambda check: check.__name__,
)
def test_that(passes, check):
    passes(check)


# What is generated for a GPU, without one.


def arguments(**changes):
    hyper = {name: HYPER[name] for name in ("lr", "betas", "eps", "weight_decay")}
    given = hyper | {"scale": None, "squares": None, "max_grad_norm": 0.0, "found_inf": None, "no_prox": False}
    given = given | changes
    return prepare_arguments(**given, device=torch.device("cpu"))


def launches(param=FP32, state=FP32, stochastic=False, sizes=(100, 7), **changes):
    return Launcher().launches(make_slots("cpu", sizes, param, state), arguments(**changes), stochastic)


@CAPABILITIES
@pytest.mark.parametrize(
    ("param", "state", "stochastic", "loads", "stores"),
    [
        (FP32, FP32, False, {"v4.b32": 6}, {"v4.b32": 5}),
        (FP64, FP64, False, {"v2.b64": 6}, {"v2.b64": 5}),
        (BF16, FP32, False, {"v4.b32": 4, "v2.b32": 2}, {"v4.b32": 4, "v2.b32": 1}),
        (FP32, BF16, True, {"v4.b32": 2, "v2.b32": 4}, {"v4.b32": 1, "v2.b32": 4}),
        (BF16, BF16, True, {"v2.b32": 6}, {"v2.b32": 5}),
    ],
)
def test_generated_code_moves_each_tensor_once_in_the_widest_words(
    tmp_path, monkeypatch, capability, param, state, stochastic, loads, stores
):
    """Four fp32 or two fp64 elements a thread; whatever else is in bf16 moves with them.

    No spills, no exchange between threads, no fp64 in a step in fp32, nothing fused that IEEE rounds twice.
    """
    _, update = launches(param, state, stochastic)
    kernel = compiled(update, capability, tmp_path, monkeypatch)
    ptx, machine_code = kernel.asm["ptx"], kernel.asm["sass"]
    for kind, expected in (("ld", loads), ("st", stores)):
        vectors = re.findall(rf"{kind}\.global[\w.:]*\.(v\d\.b\d+)", ptx)
        assert {width: vectors.count(width) for width in vectors} == expected
    assert not re.search(r"\b(STL|LDL)\b", machine_code)
    assert "bar.sync" not in ptx
    assert "fma." not in ptx
    assert (".f64" in ptx) == (param is FP64)


@CAPABILITIES
@pytest.mark.parametrize("with_tensors", [False, True])
def test_first_kernel_compiles_with_and_without_tensor_arguments(tmp_path, monkeypatch, capability, with_tensors):
    one = torch.tensor(1.0)
    squares = torch.tensor(1.0, dtype=FP64)
    tensors = {"lr": one, "scale": one, "squares": squares, "found_inf": one} if with_tensors else {}
    prepare, _ = launches(**tensors)
    ptx = compiled(prepare, capability, tmp_path, monkeypatch).asm["ptx"]
    assert "div.rn.f64" in ptx


def test_no_number_is_compiled_in():
    """Triton makes variants for integers that are 1 or multiples of 16, unless told not to."""
    first = [variant(launch) for launch in launches()]
    for change in (
        {"lr": 1.0},
        {"lr": 1},
        {"lr": 0},
        {"betas": (0.0, 0.5, 0.9)},
        {"eps": 0},
        {"weight_decay": 16},
        {"max_grad_norm": 1},
        {"sizes": (5,)},
        {"sizes": (5,) * 16},
    ):
        assert [variant(launch) for launch in launches(**change)] == first


def test_numbers_reach_the_device_in_double_precision():
    prepare, _ = launches()
    types = [
        kind for (kind, *_), value in zip(variant(prepare), prepare.arguments, strict=True) if type(value) is float
    ]
    assert types == ["fp64"] * 10


# What the launcher promises.


class FakeKernel:
    """Stands for a kernel whose compilation takes a call of `compilation`."""

    def __init__(self, compilation):
        self.compilation, self.compilations = compilation, 0

    def warmup(self, *arguments, grid, **options):
        self.compilations += 1
        self.compilation()
        return self

    run = None


def test_a_long_compilation_is_announced_on_stderr_and_made_once(monkeypatch, capsys):
    monkeypatch.setattr(gpu, "SECONDS_BEFORE_TELLING", 0.0)
    printed = []

    def wait_for_the_line():
        give_up = time.monotonic() + 60
        while not printed and time.monotonic() < give_up:
            time.sleep(0.01)
            printed.extend(capsys.readouterr().err.splitlines())

    kernel = FakeKernel(wait_for_the_line)
    launch = Launch(kernel, 1, (), {}, ("kinds",))
    launch.compile_once(torch.device("cpu"))
    launch.compile_once(torch.device("cpu"))
    assert printed == ["adan: compiling the GPU kernel (Triton; kept in its cache, so once a machine) ..."]
    assert kernel.compilations == 1


def test_a_kernel_from_the_cache_is_not_announced(monkeypatch, capsys):
    monkeypatch.setattr(gpu, "SECONDS_BEFORE_TELLING", 3600.0)
    Launch(FakeKernel(lambda: None), 1, (), {}, ()).compile_once(torch.device("cpu"))
    assert capsys.readouterr().err == ""


def test_a_failed_compilation_says_why_before_anything_changes(monkeypatch):
    def fail():
        raise FileNotFoundError("no C compiler")

    slots = make_slots("cpu", (10,))
    set_gradients(slots, 0)
    before = contents(slots)
    launch = Launch(FakeKernel(fail), 1, (), {}, ())
    monkeypatch.setattr(Launcher, "launches", lambda *_: [launch])
    with pytest.raises(KernelUnavailable, match="no C compiler"):
        Launcher().step(slots, **HYPER)
    for found, expected in zip(contents(slots)[0], before[0], strict=True):
        assert_same_bits(found, expected)


def test_a_graph_has_the_table_of_the_step_before_and_keeps_it(monkeypatch):
    """Nothing is copied to the device in a capture unless something has moved, and what graphs read is never freed."""
    slots, captured = make_slots("cpu", (100, 7)), []
    launcher = Launcher(captured)

    def table():
        return launcher.launches(slots, arguments(), False)[0].arguments[0]

    first = table()
    with monkeypatch.context() as capturing:
        capturing.setattr(gpu, "_capturing", lambda device: True)
        assert table() is first and table() is first and len(captured) == 1
        slots[0].grad = slots[0].grad.clone()
        moved = table()
        assert moved is not first and len(captured) == 2
    slots[0].grad = slots[0].grad.clone()
    assert table() is not moved and len(captured) == 2
    assert [kept._table for kept in captured] == [first, moved]


def test_unsupported_types_are_refused_with_those_there_are():
    slots = make_slots("cpu", (10,), FP64, BF16)
    with pytest.raises(TypeError, match=r"float64 parameters with bfloat16 states; there are: .*float16 with"):
        Launcher().step(slots, **HYPER)


def test_says_why_it_cannot_run(monkeypatch):
    assert "on cuda devices, not on cpu" in unavailable(torch.device("cpu"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "Triton is not installed" in unavailable(torch.device("cuda"))


def test_importing_does_not_import_triton():
    code = "import sys, adan.kernels.gpu; sys.exit('triton' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


# What only a GPU can show.


def twins(sizes=(5000, 33)):
    return make_slots("cuda", sizes), make_slots("cuda", sizes)


def assert_equal_twins(one, other):
    for a, b in zip(contents(one), contents(other), strict=True):
        for found, expected in zip(a, b, strict=True):
            assert_same_bits(found, expected)


@ON_GPU
def test_a_step_never_waits_for_the_device():
    slots, launcher = make_slots("cuda"), Launcher()
    one, zero, lr = (torch.tensor(value, device="cuda") for value in (1.0, 0.0, 0.01))
    arguments = HYPER | {"lr": lr, "scale": one, "found_inf": zero}
    launcher.step(slots, **arguments)
    kept = []
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(3):
            kept += [slot.grad for slot in slots]
            for slot in slots:
                slot.grad = slot.grad.clone()
            launcher.step(slots, **arguments)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert [float(slot.step) for slot in slots] == [4.0] * len(slots)


@ON_GPU
def test_graphs_replay_with_changed_gradients_and_learning_rate_between_eager_steps():
    graphed, eager = twins()
    launcher, other = Launcher(), Launcher()
    lr = torch.tensor(0.01, device="cuda")
    hyper = {name: value for name, value in HYPER.items() if name != "lr"}

    def eager_step(step):
        set_gradients(eager, step)
        other.step(eager, lr=lr, **hyper)

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        set_gradients(graphed, 0)
        launcher.step(graphed, lr=lr, **hyper)
    torch.cuda.current_stream().wait_stream(side)
    eager_step(0)

    graphs, sources, static = [], [], []
    for _ in range(2):
        sources.append([torch.empty_like(slot.grad) for slot in graphed])
        graphs.append(torch.cuda.CUDAGraph())
        outside = [slot.grad for slot in graphed]
        with torch.cuda.graph(graphs[-1]):
            for slot, source in zip(graphed, sources[-1], strict=True):
                slot.grad = source * 1.0  # in the graph's own memory
            launcher.step(graphed, lr=lr, **hyper)
        static.append([slot.grad for slot in graphed])
        for slot, grad in zip(graphed, outside, strict=True):
            slot.grad = grad
    assert_equal_twins(graphed, eager)  # capturing runs nothing

    for step in range(1, 7):
        lr.fill_(0.01 / step)
        set_gradients(graphed, step)
        if step % 3 == 0:  # an eager step with gradients that have moved, and memory that is soon given out again
            for slot in graphed:
                slot.grad = slot.grad.clone()
            launcher.step(graphed, lr=lr, **hyper)
        else:
            for source, slot in zip(sources[step % 2], graphed, strict=True):
                source.copy_(slot.grad)
            graphs[step % 2].replay()
        eager_step(step)
        assert_equal_twins(graphed, eager)


@ON_GPU
def test_a_capture_before_the_first_step_says_what_to_do(monkeypatch):
    monkeypatch.setattr(Launch, "_compiled", set())
    slots = make_slots("cuda")
    with torch.cuda.graph(torch.cuda.CUDAGraph()), pytest.raises(RuntimeError, match="step before the capture"):
        Launcher().step(slots, **HYPER)


@ON_GPU
def test_a_step_takes_no_memory_that_grows_with_the_model():
    slots, launcher = make_slots("cuda", (1 << 24,)), Launcher()
    launcher.step(slots, **HYPER)
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    for slot in slots:
        slot.grad = slot.grad.view(-1)
    launcher.step(slots, **HYPER, scale=torch.ones((), device="cuda"))
    assert torch.cuda.max_memory_allocated() - before <= 1 << 16


@ON_GPU
def test_changed_numbers_compile_nothing():
    from adan.kernels import gpu_triton

    def variants():
        device = torch.cuda.current_device()
        return [len(kernel.device_caches[device][0]) for kernel in (gpu_triton.prepare, gpu_triton.update)]

    Launcher().step(make_slots("cuda"), **HYPER)
    first = variants()
    for change in ({"lr": 1.0}, {"lr": 0.0}, {"betas": (0.9, 0.8, 0.7)}, {"eps": 1.0}, {"weight_decay": 0.0}):
        for sizes in ((16,), (3,) * 16, (40000,)):
            Launcher().step(make_slots("cuda", sizes), **HYPER | change)
    assert variants() == first


@ON_GPU
def test_more_elements_than_32_bits_count():
    elements = (1 << 31) + 4099
    if torch.cuda.mem_get_info()[0] < 16 * elements:
        pytest.skip("needs 34 GB of device memory")
    slots = make_slots("cuda", (0,), BF16, BF16)
    names = ("param", "grad", *checks.MOMENTS, "pre_grad")
    for name in names:
        setattr(slots[0], name, torch.full((elements,), 0.5 if name == "grad" else 0.0, dtype=BF16, device="cuda"))
    Launcher().step(slots, **HYPER)
    for name in names:
        values = getattr(slots[0], name)
        assert values[0] != 0 or name == "exp_avg_diff"
        assert values.min() == values.max()
