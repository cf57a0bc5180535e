"""The whole way of a step to the GPU kernel, without a GPU: Triton interprets it on CPU tensors, in a process apart."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from gpu_kernel_checks import require_interpreter

pytest.importorskip("triton", reason="Triton is not installed: it comes with torch's builds for CUDA")

STEPS = """
import numpy as np, torch
from adan import Adan, group_step
from experiments.conformance.reference import ReferenceAdan

group_step._choose = lambda group, param, small=False: group_step.FUSED_GPU
random = np.random.default_rng(0)
shapes = [(3, 4), (5,), (), (2, 3, 4, 4)]
start = [random.standard_normal(shape) for shape in shapes]
hyper = {"lr": 0.01, "weight_decay": 0.1}
for channels_last in (False, True):
    reference = ReferenceAdan([{"params": start[:2], "max_grad_norm": 1.0}, {"params": start[2:]}], **hyper)
    params = [torch.nn.Parameter(torch.tensor(values)) for values in start]
    if channels_last:
        params[3].data = params[3].data.contiguous(memory_format=torch.channels_last)
    optimizer = Adan([{"params": params[:2], "max_grad_norm": 1.0}, {"params": params[2:]}], **hyper)
    for update in range(5):
        grads = [random.standard_normal(shape) for shape in shapes]
        if update == 2:
            grads[1] = None
        reference.step([grads[:2], grads[2:]])
        for param, grad in zip(params, grads):
            param.grad = None if grad is None else 4 * torch.tensor(grad)
        optimizer.grad_scale, optimizer.found_inf = torch.tensor(4.0), torch.tensor(0.0)
        optimizer.step()
        optimizer.found_inf = torch.tensor(1.0)
        optimizer.step()
    assert optimizer.implementation == "fused-triton"
    assert [int(optimizer.state[param]["step"]) for param in params] == [5, 4, 5, 5]
    for param, expected in zip(params, reference.params):
        np.testing.assert_allclose(param.detach().numpy(), expected, rtol=1e-12, atol=1e-12)
"""

COMPILER_FAILS = """
import torch
from adan import Adan, group_step
from adan.kernels import gpu
from adan.kernels.compilation import KernelUnavailable

group_step._choose = lambda group, param, small=False: group_step.FUSED_GPU
def fail(*arguments, **keywords):
    raise KernelUnavailable("as on a GPU that Triton does not know")
gpu.Launcher.step = fail
twins = [torch.nn.Parameter(torch.ones(3)) for _ in range(3)]
optimizers = [Adan(twins[:1], lr=0.1), Adan(twins[1:2], lr=0.1)]
for _ in range(3):
    for twin in twins:
        twin.grad = torch.tensor([1.0, -2.0, 0.5])
    for optimizer in optimizers:
        optimizer.step()
assert optimizers[0].implementation == "foreach", optimizers[0].implementation
assert torch.allclose(twins[0], torch.tensor([0.7, 1.3, 0.7])), twins[0]
assert int(optimizers[0].state[twins[0]]["step"]) == 3
try:
    insisting = Adan(twins[2:], lr=0.1, fused=True)
    insisting.step()
except KernelUnavailable:
    print("refused")
"""


def run(code: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=root)
    assert done.returncode == 0, done.stderr
    return done


def test_clipping_scaler_late_gradients_and_layouts_reach_the_kernel():
    require_interpreter()
    run(STEPS)


def test_where_triton_cannot_compile_foreach_steps_and_says_so_once():
    done = run(COMPILER_FAILS)
    assert done.stderr.count("adan: no GPU kernel") == 1
    assert done.stdout.split() == ["refused"]
