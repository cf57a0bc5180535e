"""Measure what a step of Adan costs: `python scripts/bench_optimizer.py [--threads 1 2] [--authors PATH] [--output
FILE.md]`.

Every contender steps parameters of the same shapes, in turn, in one process; each round gives a ratio to AdamW fused
of that round, and the medians and quartiles of these ratios are what is reported. Contenders: ours (by default, with
states in bf16, with clipping), torch's AdamW, timm's and pytorch_optimizer's Adan, the authors' file where `--authors`
names a copy of its adan.py, and the limit: a loop that only moves the 44 bytes a parameter that Adan in fp32 must move
(`memory_limit.cpp`; on a GPU, those bytes at the speed of a copy measured in the same round). On a GPU also steps that
are replayed from CUDA graphs, as in a run with `capture`, which no host can hold up: AdamW's and ours, with rates in
tensors.

Also measured, in processes of their own: memory that a step needs beyond states and gradients, and what the first step
costs more than with foreach once the kernel is in the cache. `--device cuda` for a GPU.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib.util
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import checkout  # noqa: F401
import torch
from torch import Tensor

from adan import Adan
from experiments.record.provenance import cpu_name

MEMORY_LIMIT = Path(__file__).with_name("memory_limit.cpp")
BYTES_OF_ADAN, BYTES_OF_A_COPY = 44, 8
SECONDS_A_MEASUREMENT = 0.02
REFERENCE = "torch AdamW fused"
CAPTURED_REFERENCE = "torch AdamW fused, captured"
LIMIT = "limit (44 bytes a parameter)"

Shapes = list[tuple[int, ...]]
Build = Callable[[list[Tensor]], Callable[[], object]]


@dataclass
class Case:
    """Parameters to step, with the targets of issues 3 and 14: name, what is divided by what, and the bound."""

    title: str
    shapes: Shapes
    contenders: Sequence[str]
    targets: Sequence[tuple[str, str, str, float]] = ()
    reference: str = REFERENCE
    times: dict[str, list[float]] = field(default_factory=dict)

    @property
    def parameters(self) -> int:
        return sum(torch.Size(shape).numel() for shape in self.shapes)

    def ratios(self, name: str, to: str) -> list[float]:
        return [a / b for a, b in zip(self.times[name], self.times[to], strict=True)]


def vit_small() -> Shapes:
    """Parameters of timm's vit_small_patch16_224: 152 tensors, 22.05 M."""
    import timm

    with torch.device("meta"):
        return [tuple(p.shape) for p in timm.create_model("vit_small_patch16_224").parameters()]


def ppo_network() -> Shapes:
    """CleanRL's actor, critic and log standard deviation for HalfCheetah: 13 tensors, 11 k."""
    trunk = [(64, 17), (64,), (64, 64), (64,)]
    return [*trunk, (1, 64), (1,), *trunk, (6, 64), (6,), (1, 6)]


def captured_contenders() -> dict[str, Build]:
    """By name: from parameters on a GPU to the function that replays a step of them from a CUDA graph."""

    def in_a_graph(build: Callable[[list[Tensor], Tensor], torch.optim.Optimizer]) -> Build:
        def replay(params: list[Tensor]) -> Callable[[], object]:
            optimizer = build(params, torch.tensor(1e-5, device=params[0].device))
            optimizer.step()  # compiles kernels and makes states
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                optimizer.step()

            def step(kept: torch.optim.Optimizer = optimizer) -> None:  # the graph holds addresses alone
                graph.replay()

            return step

        return replay

    def adan(params: list[Tensor], lr: Tensor, **settings: Any) -> Adan:
        return Adan(params, lr=lr, weight_decay=0.02, capturable=True, **settings)

    return {
        CAPTURED_REFERENCE: in_a_graph(lambda params, lr: torch.optim.AdamW(params, lr, fused=True, capturable=True)),
        "ours, captured": in_a_graph(adan),
        "ours, clipping, captured": in_a_graph(partial(adan, max_grad_norm=1.0)),
        "ours, bf16 states, captured": in_a_graph(partial(adan, state_dtype=torch.bfloat16)),
    }


def contenders(authors: Path | None) -> dict[str, Build]:
    """By name: from parameters to the function that steps them."""
    found: dict[str, Build] = {
        REFERENCE: lambda params: torch.optim.AdamW(params, lr=1e-5, fused=True).step,
        "torch AdamW foreach": lambda params: torch.optim.AdamW(params, lr=1e-5, foreach=True).step,
        "ours": lambda params: Adan(params, lr=1e-5, weight_decay=0.02).step,
        "ours, clipping": lambda params: Adan(params, lr=1e-5, weight_decay=0.02, max_grad_norm=1.0).step,
        "ours, foreach": lambda params: Adan(params, lr=1e-5, weight_decay=0.02, foreach=True).step,
        "ours, bf16 states": lambda params: Adan(params, lr=1e-5, state_dtype=torch.bfloat16).step,
        "ours, bf16 states to nearest": lambda params: (
            Adan(params, lr=1e-5, state_dtype=torch.bfloat16, state_rounding="nearest").step
        ),
    }
    if importlib.util.find_spec("timm"):
        from timm.optim.adan import Adan as TimmAdan

        found["timm Adan"] = lambda params: TimmAdan(params, lr=1e-5, weight_decay=0.02).step
        found["timm Adan, single tensor"] = lambda params: TimmAdan(params, lr=1e-5, foreach=False).step
    if importlib.util.find_spec("pytorch_optimizer"):
        from pytorch_optimizer import Adan as PytorchOptimizerAdan

        found["pytorch_optimizer Adan"] = lambda params: PytorchOptimizerAdan(params, lr=1e-5, weight_decay=0.02).step
    if authors is not None:
        spec = importlib.util.spec_from_file_location("authors_adan", authors)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        found["authors' Adan"] = lambda params: module.Adan(params, lr=1e-5, weight_decay=0.02).step
    return found


def memory_limit(params: Sequence[Tensor]) -> Callable[[], object]:
    """A function that moves what a step of Adan moves, and computes nothing."""
    if params[0].is_cuda:
        values = torch.cat([param.detach().flatten() for param in params])
        copy = torch.empty_like(values)
        return lambda: copy.copy_(values)
    from adan.kernels.compilation import library

    tensors: list[Tensor] = []
    for param in params:
        assert param.grad is not None
        tensors += [param, param.grad, *(torch.zeros_like(param) for _ in range(4))]
    tables = (ctypes.c_void_p * len(tensors))(*[tensor.data_ptr() for tensor in tensors])
    elements = (ctypes.c_int64 * len(params))(*[param.numel() for param in params])
    move = library(MEMORY_LIMIT).move_bytes
    count, threads = ctypes.c_int64(len(params)), ctypes.c_int64(torch.get_num_threads())

    def step(kept: list[Tensor] = tensors) -> object:  # the table holds addresses alone
        return move(tables, elements, count, threads)

    return step


def measure(case: Case, available: dict, device: str, repeats: int) -> None:
    """Time `repeats` interleaved rounds of all contenders of the case; the order turns by one each round."""
    steps = {}
    for name in case.contenders:
        if name in available or name == LIMIT:
            generator = torch.Generator().manual_seed(0)
            params = [torch.nn.Parameter(torch.randn(s, generator=generator).to(device)) for s in case.shapes]
            for param in params:
                param.grad = 1e-3 * torch.randn(param.shape, generator=generator).to(device)
            steps[name] = memory_limit(params) if name == LIMIT else available[name](params)
    counts = {}
    for name, step in steps.items():
        for _ in range(3):
            seconds = time_of(step, 1, device)
        counts[name] = max(1, min(1000, int(SECONDS_A_MEASUREMENT / seconds)))
    names = list(steps)
    case.times = {name: [] for name in names}
    for repeat in range(repeats):
        turn = repeat % len(names)
        for name in names[turn:] + names[:turn]:
            time_of(steps[name], 1, device)  # brings its code and small tensors back into the caches
            seconds = time_of(steps[name], counts[name], device) / counts[name]
            case.times[name].append(seconds * BYTES_OF_ADAN / BYTES_OF_A_COPY if gpu_limit(name, device) else seconds)


def gpu_limit(name: str, device: str) -> bool:
    return name == LIMIT and device == "cuda"


def time_of(step: Callable[[], object], count: int, device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    begin = time.perf_counter()
    for _ in range(count):
        step()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - begin


def cpu_cases(threads: int) -> list[Case]:
    adans = ["timm Adan", "timm Adan, single tensor", "pytorch_optimizer Adan", "authors' Adan"]
    ours = ["ours", "ours, clipping", "ours, bf16 states", "ours, bf16 states to nearest"]
    everyone = [REFERENCE, LIMIT, *ours, "ours, foreach", "torch AdamW foreach", *adans]
    words = f"{threads} thread{'s' if threads > 1 else ''}"
    vit = Case(f"ViT-S, fp32, {words}", vit_small(), everyone)
    if threads == 1:
        vit.targets = [
            ("at most 1.40x AdamW fused", "ours", REFERENCE, 1.40),
            ("at least 5x faster than timm's", "ours", "timm Adan", 1 / 5),
            ("at least 0.95 of the limit", "ours", LIMIT, 1 / 0.95),
            ("bf16 states: at most 1.20x AdamW fp32 fused", "ours, bf16 states", REFERENCE, 1.20),
        ]
    elif threads == 2:
        vit.targets = [
            ("at most 1.45x AdamW fused", "ours", REFERENCE, 1.45),
            ("bf16 states: at most 1.05x AdamW fp32 fused", "ours, bf16 states", REFERENCE, 1.05),
        ]
    cases = [vit]
    if threads == 1:
        targets = [
            ("at most 0.35x AdamW fused", "ours", REFERENCE, 0.35),
            ("at least 10x faster than timm's", "ours", "timm Adan", 1 / 10),
        ]
        cases.append(Case(f"PPO network, fp32, {words}", ppo_network(), everyone, targets))
        cases.append(Case(f"one tensor of 50 M, fp32, {words}", [(50_000_000,)], [REFERENCE, LIMIT, *ours, *adans]))
    return cases


def gpu_cases() -> list[Case]:
    names = [REFERENCE, LIMIT, "ours", "ours, clipping", "ours, bf16 states", "ours, foreach", "timm Adan"]
    targets = [
        ("at most 1.6x AdamW fused", "ours", REFERENCE, 1.6),
        ("at least 4x faster than timm's foreach", "ours", "timm Adan", 1 / 4),
        ("at most 11.4 / 10.2 of the limit", "ours", LIMIT, 11.4 / 10.2),
    ]
    captured = [LIMIT, *captured_contenders()]
    captured_targets = [
        ("at most 1.6x AdamW fused", "ours, captured", CAPTURED_REFERENCE, 1.6),
        ("with clipping at most 2.0x", "ours, clipping, captured", CAPTURED_REFERENCE, 2.0),
    ]
    return [
        Case("ViT-S, fp32", vit_small(), names),
        Case("ViT-S, fp32, in CUDA graphs", vit_small(), captured, captured_targets, CAPTURED_REFERENCE),
        Case("60 M in 48 tensors, fp32", [(1280, 1000)] * 48, names, targets),
        Case("one tensor of 200 M, fp32", [(200_000_000,)], names, targets),
    ]


def report(case: Case) -> list[str]:
    """The case's table in Markdown."""
    per_step = case.parameters < 1_000_000
    unit = "us a step" if per_step else "ns a parameter"
    has_limit = LIMIT in case.times
    lines = [
        f"## {case.title} ({case.parameters:,} parameters, {len(case.shapes)} tensors)",
        "",
        f"| | {unit} | ratio to AdamW fused | quartiles | {'ratio to the limit |' if has_limit else ''}",
        f"|---|---|---|---|{'---|' if has_limit else ''}",
    ]
    for name, times in case.times.items():
        median = statistics.median(times)
        value = f"{1e6 * median:.1f}" if per_step else f"{1e9 * median / case.parameters:.3f}"
        ratios = case.ratios(name, case.reference)
        low, _, high = statistics.quantiles(ratios, n=4)
        row = f"| {name} | {value} | {statistics.median(ratios):.3f} | {low:.3f} to {high:.3f} |"
        lines.append(row + (f" {statistics.median(case.ratios(name, LIMIT)):.3f} |" if has_limit else ""))
    if case.targets:
        lines += ["", "| target | ratio must be at most | measured | quartiles | |", "|---|---|---|---|---|"]
    for words, name, to, bound in case.targets:
        if name not in case.times or to not in case.times:
            continue
        ratios = case.ratios(name, to)
        low, ratio, high = statistics.quantiles(ratios, n=4)
        reached = "reached" if ratio <= bound else "**not reached**"
        lines.append(f"| {words} | {bound:.3f} | {ratio:.3f} | {low:.3f} to {high:.3f} | {reached} |")
    return [*lines, ""]


FIRST_STEP = """
import sys, time, torch
from adan import Adan
torch.set_num_threads(1)
params = [torch.nn.Parameter(torch.randn(384, 384)) for _ in range(20)]
for p in params: p.grad = torch.randn_like(p)
begin = time.perf_counter()
Adan(params, foreach=True if sys.argv[1] == "foreach" else None, fused=True if sys.argv[1] == "fused" else None).step()
print(time.perf_counter() - begin)
"""

TRANSIENT_MEMORY = """
import re, sys, torch
from pathlib import Path
from adan import Adan
torch.set_num_threads(1)
count = int(sys.argv[1])
params = [torch.nn.Parameter(torch.randn(1000, 1000)) for _ in range(count)]
for p in params: p.grad = torch.randn_like(p)
optimizer = Adan(params, fused=True, max_grad_norm=1.0, weight_decay=0.1)
optimizer.step()
status = lambda name: int(re.search(name + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024
Path("/proc/self/clear_refs").write_text("5")
before = status("VmRSS")
optimizer.step()
print(status("VmHWM") - before)
"""


def in_a_process(code: str, argument: str) -> float:
    done = subprocess.run([sys.executable, "-c", code, argument], capture_output=True, text=True, check=True)
    return float(done.stdout)


def report_once() -> list[str]:
    """Report what is measured in processes of their own, in Markdown."""
    first = {kind: [in_a_process(FIRST_STEP, kind) for _ in range(5)] for kind in ("fused", "foreach")}
    extra = statistics.median(a - b for a, b in zip(first["fused"], first["foreach"], strict=True))
    lines = [
        "## First step and memory",
        "",
        f"- First step with the kernel in the cache, 20 tensors of 384 x 384: {extra:+.3f} s against foreach (target: "
        f"under 0.3 s more; medians {statistics.median(first['fused']):.3f} s and "
        f"{statistics.median(first['foreach']):.3f} s, n = 5 fresh processes each).",
    ]
    if Path("/proc/self/clear_refs").exists():
        grown = {count: in_a_process(TRANSIENT_MEMORY, str(count)) for count in (10, 100, 400)}
        text = ", ".join(f"{mebibytes:.1f} MiB at {count} M parameters" for count, mebibytes in grown.items())
        lines.append(
            f"- Peak resident memory in a step beyond what was resident before it, clipping on: {text} "
            "(target: none that grows with the model)."
        )
    return [*lines, ""]


def heading(arguments: argparse.Namespace) -> list[str]:
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "timm", "pytorch_optimizer"))
    hardware = torch.cuda.get_device_name() if arguments.device == "cuda" else cpu_name()
    command = "python scripts/bench_optimizer.py " + " ".join(
        "--authors adan.py" if word == str(arguments.authors) else word
        for word in sys.argv[1:]
        if word not in ("--authors", "--output", str(arguments.output))
    )
    kernel = Adan([torch.nn.Parameter(torch.zeros(1, device=arguments.device))]).implementation
    return [
        f"# What a step of Adan costs ({'GPU' if arguments.device == 'cuda' else 'CPU'})",
        "",
        f"`{command.strip()}`; {arguments.repeats} interleaved rounds; medians, and quartiles of the ratios within a "
        f"round. {hardware}, {os.cpu_count()} logical CPUs, {platform.system()}, Python {platform.python_version()}, "
        f"{versions}; ours ran `{kernel}`.",
        "",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=15, help="interleaved rounds")
    parser.add_argument("--authors", type=Path, help="a copy of adan.py of github.com/sail-sg/Adan")
    parser.add_argument("--output", type=Path, help="write the tables there, too")
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: torch sees no GPU")
    if arguments.authors is not None and not arguments.authors.is_file():
        parser.error(f"--authors: there is no file {arguments.authors}")
    available = contenders(arguments.authors) | (captured_contenders() if arguments.device == "cuda" else {})
    lines = heading(arguments)
    print("\n".join(lines))
    settings = [(0, case) for case in gpu_cases()] if arguments.device == "cuda" else []
    if arguments.device == "cpu":
        settings = [(threads, case) for threads in arguments.threads for case in cpu_cases(threads)]
    for threads, case in settings:
        if threads:
            torch.set_num_threads(threads)
        measure(case, available, arguments.device, arguments.repeats)
        lines += (part := report(case))
        print("\n".join(part), flush=True)
    if arguments.device == "cpu":
        lines += (part := report_once())
        print("\n".join(part))
    if arguments.output is not None:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text("\n".join(lines))


if __name__ == "__main__":
    main()
