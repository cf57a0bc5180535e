import json

import pytest
from sealed_runs import make_config, seal_at, train

from experiments.record import atomic, run_directory
from experiments.record.run_directory import RunDirectory
from experiments.schema.config import LaunchConfig
from experiments.schema.digest import config_digest
from experiments.schema.errors import UserError


def test_a_run_is_named_by_what_changes_its_numbers(new_run):
    directory = new_run(seed=3)
    assert directory.name == f"vit_small-adan-mini-{config_digest(make_config())[:12]}-seed3"
    assert directory.config() == make_config(seed=3)
    assert new_run(seed=3, launch=LaunchConfig(devices=4)).path == directory.path
    assert new_run(seed=4).path != directory.path
    assert new_run(seed=3, batch_size=2).path != directory.path


def test_status_follows_the_run(new_run):
    directory = new_run()
    assert directory.status() == "new"
    train(directory, until=4)
    assert directory.status() == "unfinished"
    seal_at(directory, 4)
    assert directory.status() == "partial"
    train(directory, after=4)
    assert directory.status() == "partial"
    seal_at(directory)
    assert directory.status() == "finished"


def test_force_begins_a_new_attempt_only_beside_a_finished_one(new_run):
    first = new_run(force=True)
    assert new_run(force=True).path == first.path
    train(first)
    assert new_run(force=True).path == first.path
    seal_at(first)
    before = first.record_path.read_bytes()
    second = new_run(force=True)
    assert second.name == f"{first.name}-attempt2"
    assert second.status() == "new"
    assert new_run(force=True).path == second.path  # the same command again goes on with it
    assert new_run().path == second.path
    train(second)
    seal_at(second)
    assert new_run().path == second.path
    assert new_run(force=True).name == f"{first.name}-attempt3"
    assert first.record_path.read_bytes() == before


@pytest.mark.parametrize("step", [pytest.param(1, marks=pytest.mark.slow), 4], ids=["every line", "every fourth line"])
def test_a_kill_at_any_line_of_creation_leaves_a_run_that_opens(runs, kill_at_every_line, step):
    config = make_config()

    def check():
        directory = RunDirectory.open_or_create(runs, config)
        assert directory.status() == "new"
        assert directory.config() == config
        directory.config_path.unlink()
        for path in [*directory.path.iterdir(), directory.path]:
            path.unlink() if path.is_file() else path.rmdir()

    killed = kill_at_every_line(
        lambda: None, lambda: RunDirectory.open_or_create(runs, config), check, run_directory, atomic, step=step
    )
    assert killed >= 30


def test_a_reopened_run_takes_over_what_changes_no_number_and_keeps_what_it_had(new_run):
    directory = new_run(stop_at="2")
    train(directory, until=4)
    reopened = new_run(stop_at=None, launch=LaunchConfig(devices=2))
    assert (reopened.config().stop_at, reopened.config().launch.devices) == (None, 2)
    assert json.loads((directory.path / "config.earlier-1.json").read_bytes())["stop_at"] == "2"


def test_a_finished_or_held_run_keeps_its_configuration(new_run, finished_run):
    before = finished_run.config_path.read_bytes()
    new_run(stop_at="2")
    assert finished_run.config_path.read_bytes() == before
    other = new_run(seed=1)
    with other.hold():
        new_run(seed=1, stop_at="2")
    assert other.config().stop_at is None


def test_a_configuration_that_no_longer_fits_its_directory_is_refused(new_run):
    directory = new_run()
    tree = json.loads(directory.config_path.read_bytes())
    tree["optim"]["lr"] = 1.0
    directory.config_path.write_text(json.dumps(tree))
    with pytest.raises(UserError, match=r"config\.json was altered"):
        new_run()
    directory.config_path.write_text("{")
    with pytest.raises(UserError, match=r"config\.json is damaged"):
        new_run()


def test_a_damaged_record_is_named(finished_run):
    finished_run.record_path.write_text("{}")
    with pytest.raises(UserError, match=r"record\.json is damaged"):
        finished_run.status()


def test_what_is_no_run_directory_is_refused_with_the_nearest_name(new_run):
    directory = new_run()
    with pytest.raises(UserError, match=f"did you mean '{directory.name}'"):
        RunDirectory(directory.path.with_name(directory.name[:-1]))


def test_a_place_where_no_directory_can_be_made_is_a_users_error(tmp_path):
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(UserError, match="cannot have its directory under"):
        RunDirectory.open_or_create(tmp_path / "runs", make_config())
