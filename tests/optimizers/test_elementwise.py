"""Which updates are element-wise, by behaviour: parts of a tensor, each stepped alone, end where the whole does."""

import pytest
import torch

from experiments import optimizers

ROWS, COLUMNS, STEPS = 8, 16, 5


class Part(torch.nn.Module):
    """Some rows of a problem in which no weight's gradient depends on another weight."""

    def __init__(self, rows):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        start, slope = torch.randn(2, ROWS, COLUMNS, generator=generator, dtype=torch.float64)
        self.weight = torch.nn.Parameter(start[rows].clone())
        self.slope = slope.abs()[rows]

    def backward(self):
        (0.5 * self.slope * (self.weight - 1).square()).sum().backward()


def stepped(name, rows):
    part = Part(rows)
    # Clipping by norm, which `lamb` has on by default, is not what this is about.
    settings = {"max_grad_norm": 0.0} if "max_grad_norm" in optimizers.info(name).defaults else {}
    optimizer = optimizers.build({"name": name, "lr": 0.05, "weight_decay": 0.1, **settings}, part)
    for _ in range(STEPS):
        optimizer.zero_grad()
        part.backward()
        optimizer.step(part.backward if name == "sam" else None)
    return part.weight.detach()


@pytest.mark.parametrize("name", optimizers.names())
def test_parts_stepped_alone_end_where_the_whole_does_if_and_only_if_the_registry_says_so(name):
    whole = stepped(name, slice(None))
    halves = torch.cat([stepped(name, slice(0, ROWS // 2)), stepped(name, slice(ROWS // 2, None))])
    distance = (whole - halves).abs().max() / (whole - Part(slice(None)).weight.detach()).abs().max()
    if optimizers.info(name).elementwise:
        assert distance < 1e-12
    else:
        assert distance > 1e-4
