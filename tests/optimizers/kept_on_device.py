"""A small network whose optimizer keeps rates and counts of steps in tensors, as a run that is captured does."""

import pytest
import torch

from experiments import optimizers

ON_GPU = pytest.mark.gpu


def words(optim):
    return " ".join(str(value) if key == "name" else f"{key}={value}" for key, value in optim.items())


class Trained:
    """A small network and its optimizer, rates and counts in tensors, gradients in the same memory throughout."""

    def __init__(self, optim, device):
        torch.manual_seed(0)
        self.module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.LayerNorm(4), torch.nn.Linear(4, 2))
        self.optimizer = optimizers.build(optim, self.module.to(device))
        for group in self.optimizer.param_groups:
            group["lr"] = torch.full((), 0.01, dtype=torch.float32, device=device)
            if "capturable" in group:
                group["capturable"] = True
            if device == "cpu" and type(self.optimizer).__module__.startswith("torch.") and not group.get("fused"):
                group["foreach"] = True  # torch's own choice on a GPU
        for parameter in self.module.parameters():
            parameter.grad = torch.zeros_like(parameter)

    def prepare(self, step):
        """The gradients and rates of a step."""
        generator = torch.Generator().manual_seed(step)
        for parameter in self.module.parameters():
            parameter.grad.copy_(torch.randn(parameter.shape, generator=generator))
        for group in self.optimizer.param_groups:
            group["lr"].fill_(0.01 / (1 + step))

    def everything(self):
        states = (value for state in self.optimizer.state.values() for value in state.values())
        return [*self.module.parameters(), *(value for value in states if isinstance(value, torch.Tensor))]
