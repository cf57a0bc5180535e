import pytest
import torch
from timm.data.mixup import mixup_target
from timm.loss import BinaryCrossEntropy, LabelSmoothingCrossEntropy, SoftTargetCrossEntropy

from experiments.schema.errors import UserError
from experiments.tasks.losses import binary_cross_entropy, cross_entropy, loss_by_name


@pytest.fixture(scope="module")
def outputs():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(12, 7, dtype=torch.float64, generator=generator) * 3
    return logits, torch.randint(0, 7, (12,), generator=generator)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_losses_on_smoothed_labels_are_timms_times_the_number_of_samples(outputs, smoothing):
    logits, labels = outputs
    targets = mixup_target(labels, 7, 1.0, smoothing).double()
    theirs = BinaryCrossEntropy(smoothing=smoothing, target_threshold=None)(logits, labels)
    torch.testing.assert_close(binary_cross_entropy(logits, targets), theirs * 12, rtol=1e-6, atol=0)
    theirs = LabelSmoothingCrossEntropy(smoothing)(logits, labels)
    torch.testing.assert_close(cross_entropy(logits, targets), theirs * 12, rtol=1e-6, atol=0)


def test_losses_on_mixed_targets_are_timms_times_the_number_of_samples(outputs):
    logits, labels = outputs
    targets = mixup_target(labels, 7, 0.3, 0.1).double()
    torch.testing.assert_close(binary_cross_entropy(logits, targets), BinaryCrossEntropy()(logits, targets) * 12)
    torch.testing.assert_close(cross_entropy(logits, targets), SoftTargetCrossEntropy()(logits, targets) * 12)


def test_an_unknown_loss_is_refused():
    with pytest.raises(UserError, match="did you mean 'cross_entropy'"):
        loss_by_name("crossentropy")
