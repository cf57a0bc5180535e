"""Cross-entropy in place against torch's."""

import pytest
import torch
import torch.nn.functional as F

from experiments.tasks import token_loss
from experiments.tasks.token_loss import summed_cross_entropy


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-13), (torch.float32, 1e-5), (torch.bfloat16, 1e-2)]
)
@pytest.mark.parametrize("chunk", [1, 100, 1 << 20])
def test_it_is_torchs_with_its_gradient(monkeypatch, dtype, tolerance, chunk):
    monkeypatch.setattr(token_loss, "CHUNK", chunk)
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(37, 8, generator=generator).to(dtype)
    targets = torch.randint(50, (37,), generator=generator)
    weight = (30 * torch.randn(50, 8, generator=generator)).to(dtype)
    found = []
    for loss in (summed_cross_entropy, lambda x, y: F.cross_entropy(x.double(), y, reduction="sum")):
        own = [tensor.clone().requires_grad_() for tensor in (features, weight)]
        value = loss(F.linear(*own), targets)
        (value * 0.25).backward()
        found.append((value.detach().double(), *[tensor.grad.double() for tensor in own]))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance * theirs.abs().max().item())
    with torch.no_grad():
        logits = F.linear(features, weight)
        kept = logits.clone()
        torch.testing.assert_close(summed_cross_entropy(logits, targets).double(), found[0][0], rtol=1e-3, atol=1e-3)
        assert torch.equal(logits, kept)
