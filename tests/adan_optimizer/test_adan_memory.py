"""Memory of steps on a CPU, as the system counts it: none that grows with the model, none that stays."""

from pathlib import Path

import pytest
from adan_implementations import needs_compiler

CLEAR = Path("/proc/self/clear_refs")
pytestmark = [
    needs_compiler,
    pytest.mark.skipif(not CLEAR.exists(), reason="reads peak memory from Linux's /proc"),
]

MEASURE = """
import re, sys, torch
from pathlib import Path
from adan import Adan
torch.set_num_threads(2)
MILLION = 1 << 20

def resident(name="VmRSS"):
    return int(re.search(name + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024

def peak_of(step):
    # Mebibytes beyond what was resident before.
    Path("/proc/self/clear_refs").write_text("5")
    before = resident()
    step()
    return resident("VmHWM") - before

def optimizer_of(*params, **hyper):
    params = list(map(torch.nn.Parameter, params))
    for param in params:
        param.grad = torch.ones_like(param)
    return params, Adan(params, max_grad_norm=1.0, weight_decay=0.1, **{"fused": True, **hyper})
"""


@pytest.fixture
def measured(processes):
    """Numbers printed by a process."""

    def measured(code):
        (done,) = processes.run(MEASURE + code)
        assert done.returncode == 0, done.stderr
        return [float(number) for number in done.stdout.split()]

    return measured


def test_a_step_needs_no_memory_that_grows_with_the_model(measured):
    """32 MiB of parameters; foreach shows that the test sees what there is."""
    fused, bf16, listed = measured("""
for hyper in ({}, {"state_dtype": torch.bfloat16}, {"foreach": True, "fused": False}):
    params, optimizer = optimizer_of(*[torch.ones(MILLION) for _ in range(8)], **hyper)
    optimizer.step()
    print(peak_of(optimizer.step))
    del params, optimizer
""")
    assert fused < 2 and bf16 < 2
    assert listed > 16


def test_steps_leave_nothing_behind(measured):
    """300 steps with gradients made anew, some in another layout, one of a view, some absent: 0.7 MiB a step."""
    first, last = measured("""
params, optimizer = optimizer_of(torch.ones(256, 256), torch.ones(512, 128), torch.ones(256, 512)[:, ::2])
for step in range(310):
    if step == 10:
        print(resident())
    for index, param in enumerate(params):
        param.grad = torch.ones(*param.shape[::-1]).t() if (step + index) % 2 else torch.ones_like(param)
    if step % 3 == 0:
        params[step % 2].grad = None
    optimizer.step()
    optimizer.zero_grad()
print(resident())
""")
    assert last - first < 8


def test_copies_of_tensors_in_other_layouts_are_freed_after_the_step(measured):
    """A gradient and a parameter of 32 MiB that the kernel cannot read as they lie; states take 128 MiB."""
    before, after, peak = measured("""
params, optimizer = optimizer_of(torch.ones(8 * MILLION, 2)[:, 0])
params[0].grad = torch.ones(1).expand(8 * MILLION)
before = resident()
optimizer.step()
print(before, resident(), peak_of(optimizer.step))
""")
    assert peak > 50, "copies are made"
    assert after - before < 128 + 24


def test_optimizers_that_are_dropped_are_freed(measured):
    first, last = measured("""
import gc
for count in range(10):
    params, optimizer = optimizer_of(torch.ones(MILLION))
    optimizer.step()
    del params, optimizer
    gc.collect()
    if count == 3:
        print(resident())
print(resident())
""")
    assert last - first < 8
