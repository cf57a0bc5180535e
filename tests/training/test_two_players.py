"""Two players of one task: who steps when, at which rate, and a kill at the turn of either."""

from __future__ import annotations

import json
import signal
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from killing import train_in_child
from test_split import train_with_ranks
from toy_gan import PLAYERS, ToyGAN, begin_gan, gan_config, with_toy_gan

from experiments.optimizers.schedules import rate_of_update
from experiments.record.run_directory import RunDirectory
from experiments.record.verify import verify
from experiments.schema.check import check
from experiments.schema.compose import compose
from experiments.schema.digest import config_digest
from experiments.schema.epochs import of_run
from experiments.schema.errors import UserError
from experiments.schema.players import of_player
from experiments.training.checkpoint import state_digest
from experiments.training.interruption import Interruption
from experiments.training.loop import Run
from experiments.training.players import players_of
from experiments.training.task import Part


def record_of(path: Path) -> dict:
    assert verify(path) == []
    return json.loads((path / "record.json").read_text())


def outcome(path: Path) -> dict:
    record = record_of(path)
    return {key: record[key] for key in ("status", "summary", "parameters_digest", "events", "progress", "optimizer")}


def norms(path: Path) -> dict:
    """What the wall-clock file says of each epoch's norms; of one that was trained twice, the last time."""
    lines = [json.loads(line) for line in (path / "timing.jsonl").read_text().splitlines()]
    epochs = {line["epoch"]: line for line in lines if line["kind"] == "epoch"}
    return {epoch: {key: line[key] for key in line if "." in key} for epoch, line in epochs.items()}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Path:
    path = begin_gan(tmp_path_factory.mktemp("undisturbed"))
    assert train_in_child(path, with_toy_gan) == 0
    return path


@pytest.mark.parametrize("update", [14, 18], ids=["the discriminator's turn", "the generator's turn"])
def test_a_run_killed_at_either_turn_ends_like_one_left_alone(tmp_path, undisturbed, update):
    path = begin_gan(tmp_path)
    assert train_in_child(path, with_toy_gan, update) == -signal.SIGKILL
    assert train_in_child(path, with_toy_gan) == 0
    assert outcome(path) == outcome(undisturbed)
    assert norms(path) == norms(undisturbed)
    assert record_of(path)["restarts"] == 1


def test_two_ranks_make_the_same_updates(tmp_path, undisturbed):
    path = begin_gan(tmp_path)
    train_with_ranks(path, 2, with_toy_gan)
    events = [
        [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()] for run in (path, undisturbed)
    ]
    for one, two in zip(*events, strict=True):
        assert one["kind"] == two["kind"]
        for key in one.keys() & {"loss", "parts", "distance"}:
            assert one[key] == pytest.approx(two[key], rel=1e-4)


def test_the_record_tells_of_each_player(undisturbed):
    record = record_of(undisturbed)
    assert {name: ran["name"] for name, ran in record["optimizer"].items()} == {
        "generator": "adan",
        "discriminator": "adam",
    }
    events = [json.loads(line) for line in (undisturbed / "events.jsonl").read_text().splitlines()]
    trained = [event for event in events if event["kind"] == "train"]
    assert [event["lr"] for event in trained] == [
        {"generator": pytest.approx(rate), "discriminator": 0.004} for rate in (0.002, 0.0015, 0.001)
    ]
    for event in trained:
        parts = event["parts"]
        assert parts.keys() == {"generator", "discriminator", "real", "fake"}
        assert parts["real"] + parts["fake"] == pytest.approx(parts["discriminator"])
    assert norms(undisturbed)[0]["discriminator.gradient_norm_mean"] > 0


@pytest.fixture
def run(tmp_path):
    config, part = gan_config(), Part(micro_batch=16)
    directory = RunDirectory.open_or_create(tmp_path, config)
    with directory.hold():
        run = Run([(config, directory)], ToyGAN(config, part), part)
        run.resume()
        yield run
        run.journal.close()


def test_an_update_changes_its_player_alone_by_its_own_optimizer(run):
    parts = dict(run.task.module.named_children())
    with Interruption() as interruption:
        for update in range(1, 7):
            before = {name: state_digest(module.state_dict()) for name, module in parts.items()}
            assert run.perform(interruption, until=update)
            after = {name: state_digest(module.state_dict()) for name, module in parts.items()}
            changed = [name for name in parts if before[name] != after[name]]
            assert changed == [run.task.player(update)]
    steps = {
        name: {int(state["step"]) for state in player.optimizer.state.values()} for name, player in run.players.items()
    }
    assert steps == {"generator": {2}, "discriminator": {4}}
    assert all(parameter.requires_grad for parameter in run.task.module.parameters())


def test_it_learns(tmp_path, undisturbed):
    first = ToyGAN(gan_config(), Part()).evaluate(ToyGAN(gan_config(), Part()).module)["distance"]
    assert record_of(undisturbed)["summary"]["distance"]["last"] < first


def test_a_player_that_diverges_is_named(tmp_path):
    own = {"optim": {"name": "sgd", "lr": 3e38}, "schedule": {"name": "constant"}}
    path = begin_gan(tmp_path, {**PLAYERS, "discriminator": own})
    assert train_in_child(path, with_toy_gan) == 1
    assert record_of(path)["status"] == "diverged"
    notes = [json.loads(line) for line in (path / "timing.jsonl").read_text().splitlines()]
    [message] = [note["message"] for note in notes if note["kind"] == "non_finite_loss"]
    assert message.startswith("loss of discriminator is")
    assert "learning rate 3e+38; first non-finite" in message
    assert " of discriminator in parameter group 0 (" in message


def test_a_checkpoint_of_another_optimizer_of_one_player_is_refused(run):
    with Interruption() as interruption:
        run.perform(interruption, until=11)
    run.players["discriminator"].optimizer.registry_name = "adamw"
    with pytest.raises(UserError, match="it is of optimizer adam, not adamw"):
        run.resume()


def test_a_player_trains_by_its_own_settings_over_those_of_the_run():
    config = gan_config()
    generator, discriminator = (of_player(config, name) for name in PLAYERS)
    assert generator.optim == {**config.optim, "lr": 0.002}
    assert discriminator.optim == PLAYERS["discriminator"]["optim"]
    assert rate_of_update(generator, of_run(config), 1) == 0.002
    assert config_digest(config) != config_digest(gan_config({**PLAYERS, "generator": {}}))
    check(config)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("players.generator.optm.lr=1", r"has sections optim and schedule; did you mean 'optim'"),
        ("players.generator.schedule.min_l=1", r"schedule.min_l .*no setting of one player; did you mean 'min_lr'"),
        ("players.generator.schedule.epochs=1", r"schedule.epochs .*no setting of one player"),
        ("players.generator.schedule.warmup_epochs=99", r"players.generator: .*warmup_epochs=99 .*longer than"),
        ("players.generator.optim.lr=-1", r"players.generator: optim.lr=-1 .*at least 0"),
        ("players.generator.optim.name=sgd", r"players.generator.optim.lr is missing: sgd"),
    ],
)
def test_settings_that_no_player_has_are_refused(override, message):
    (config,) = compose(["exp=vit_small", override])
    with pytest.raises(UserError, match=message):
        check(replace(config, task="toy_gan"))


def test_a_player_that_the_task_does_not_have_is_refused_before_any_work():
    (config,) = compose(["exp=vit_small", "players.generatr.optim.lr=1"])
    with pytest.raises(
        UserError, match=r"players\.generatr \(command line\): .* no such player; did you mean 'generator'"
    ):
        check(replace(config, task="toy_gan"))
    with pytest.raises(UserError, match=r"vit_small has no such player, its whole module is one"):
        check(config)


def test_players_that_the_task_does_not_have_are_refused():
    config, part = gan_config({"critic": {}}), Part(micro_batch=16)
    task = ToyGAN(config, part)
    with pytest.raises(UserError, match=r"players\.critic: the module of toy_gan has no such part.*discriminator"):
        players_of(task, [config], part)
    with pytest.raises(UserError, match=r"players\.critic: toy_gan has one player"):
        players_of(SimpleNamespace(module=task.module), [config], part)


def test_nothing_of_the_other_player_is_kept_in_the_gradient(run):
    with Interruption() as interruption:
        run.perform(interruption, until=2)
        before = [p.grad.clone() for p in run.task.module["discriminator"].parameters()]
        run.perform(interruption, until=3)
    for parameter, gradient in zip(run.task.module["discriminator"].parameters(), before, strict=True):
        assert torch.equal(parameter.grad, gradient), "the generator's turn adds none"
