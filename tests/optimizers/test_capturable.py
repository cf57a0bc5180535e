"""Which optimizers' steps can be captured in a CUDA graph: recorded and replayed operation by operation on a CPU, and
in a graph where there is a GPU. With the rate in a tensor, as a run that is captured keeps it."""

import pytest
import torch
from kept_on_device import ON_GPU, Trained, words
from recorded_operations import HostRead, into_a_graph, into_operations

from experiments import optimizers

# Adan's step is kernels of its own on a GPU (tests/adan_optimizer); SAM's needs a second pass over the batch.
BUILT_IN = [name for name in optimizers.names() if name not in ("adan", "sam")]
PADAM = {"name": "padam", "bias_correction": True}
WITH_SETTINGS = [
    {"name": "sgd", "momentum": 0.0, "nesterov": False},
    {"name": "sgd", "nesterov": False, "weight_decay": 0.1},
    {"name": "rmsprop", "momentum": 0.9, "centered": True},
    {"name": "amsgrad", "bias_correction": False},
    PADAM,
    {"name": "nadam", "decoupled_weight_decay": True},
]
CASES = [*({"name": name} for name in BUILT_IN), *WITH_SETTINGS]


def replays_like_eager_steps(optim, device, record):
    """Whether steps replayed from the third on leave the bits that they leave otherwise."""
    replayed, eager = Trained(optim, device), Trained(optim, device)
    for step in range(2):
        for one in (replayed, eager):
            one.prepare(step)
            one.optimizer.step()
    replay = record(replayed.optimizer.step, replayed.everything())
    for step in range(2, 8):
        for one in (replayed, eager):
            one.prepare(step)
        replay()
        eager.optimizer.step()
    return all(map(torch.equal, replayed.everything(), eager.everything()))


@pytest.mark.parametrize("optim", CASES, ids=words)
def test_the_registry_says_whose_steps_can_be_captured(as_on_a_gpu, optim):
    try:
        captured = replays_like_eager_steps(optim, "cpu", into_operations)
    except HostRead:
        captured = False
    settings = {key: value for key, value in optim.items() if key != "name"}
    assert optimizers.info(optim["name"]).captures(settings) == captured


@ON_GPU
@pytest.mark.parametrize("optim", [{"name": "adan"}, {"name": "adan", "max_grad_norm": 1.0}, *CASES], ids=words)
def test_steps_replayed_from_a_graph_are_eager_steps_bit_for_bit(optim):
    settings = {key: value for key, value in optim.items() if key != "name"}
    if not optimizers.info(optim["name"]).captures(settings):
        pytest.skip("not capturable, says the registry")
    assert replays_like_eager_steps(optim, "cuda", into_a_graph)


def test_a_step_that_is_to_change_cannot_be_captured():
    assert optimizers.info("sgd").captures({}) and not optimizers.info("sgd").captures({"asgd_after": 5})


@pytest.mark.parametrize("optim", [{"name": "msvag"}, {"name": "msvag_adabelief"}, PADAM], ids=words)
def test_counts_on_the_device_give_the_steps_of_counts_on_the_host(optim):
    """To rounding; and each goes on from the other's checkpoint."""
    on_device, on_host = Trained(optim, "cpu"), Trained(optim, "cpu")
    for step in range(6):
        if step == 3:
            saved = on_host.optimizer.state_dict(), on_device.optimizer.state_dict()
            for one, state in zip((on_device, on_host), saved, strict=True):
                one.optimizer.load_state_dict(state)
        for one, capturable in ((on_device, True), (on_host, False)):
            for group in one.optimizer.param_groups:
                group["lr"], group["capturable"] = torch.tensor(0.01), capturable
            one.prepare(step)
            if not capturable:
                for group in one.optimizer.param_groups:
                    group["lr"] = float(group["lr"])
            one.optimizer.step()
        for one, other in zip(on_device.module.parameters(), on_host.module.parameters(), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)


def test_a_checkpoint_from_before_counts_could_be_on_the_device_is_loaded():
    trained = Trained(PADAM, "cpu")
    state = trained.optimizer.state_dict()
    for group in state["param_groups"]:
        del group["capturable"]
    trained.optimizer.load_state_dict(state)
    assert [group["capturable"] for group in trained.optimizer.param_groups] == [False] * len(state["param_groups"])
