"""What a trainer relies on: rows that do not know of each other, states that go on bit for bit, errors that help."""

from __future__ import annotations

import io
from importlib.metadata import PackageNotFoundError

import numpy as np
import pytest
import torch

from experiments.environments import ENGINES, make, names, simulator
from experiments.schema.errors import UserError


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def needs_simulator():
    pytest.importorskip("mujoco", reason="needs the extra ppo")
    pytest.importorskip("gymnasium", reason="needs the extra ppo")


def actions_for(environment, steps: int, seed: int = 0) -> np.ndarray:
    shape = (steps, environment.rows, environment.action_size)
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def play(environment, actions) -> list[np.ndarray]:
    """Each field of the steps, over all of them."""
    return [np.stack(values) for values in zip(*[environment.step(action) for action in actions], strict=True)]


def assert_same(got, wanted):
    for a, b in zip(got, wanted, strict=True):
        np.testing.assert_array_equal(a, b)


def through_a_file(state):
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("game", names())
def test_a_saved_state_goes_on_bit_for_bit(game, engine, needs_simulator):
    environment = make(game, engine, [1, 2, 3])
    first, second = np.split(actions_for(environment, 150), [61])
    play(environment, first)
    state, observations = through_a_file(environment.state()), environment.observations
    expected = play(environment, second)

    other = make(game, engine, [7, 8, 9])
    play(other, first[:13])
    other.load(state)
    np.testing.assert_array_equal(other.observations, observations)
    assert_same(play(other, second), expected)
    environment.load(state)  # back in time, in the same object
    assert_same(play(environment, second), expected)


@pytest.mark.parametrize("game", ["Hopper", "Ant", "Humanoid"])
@pytest.mark.parametrize("engine", ENGINES)
def test_a_row_depends_on_its_seed_and_its_actions_alone(game, engine, needs_simulator):
    many = make(game, engine, [5, 6, 7, 8])
    actions = actions_for(many, 120)
    expected = play(many, actions)
    alone = make(game, engine, [7])
    assert_same(play(alone, actions[:, 2:3]), [values[:, 2:3] for values in expected])


@pytest.mark.parametrize("game", ["Hopper", "Ant", "Reacher"])
@pytest.mark.parametrize("engine", ENGINES)
def test_rows_that_rest_stay_where_they_are_and_the_others_do_not_notice(game, engine, needs_simulator):
    environment, without_rest = make(game, engine, [5, 6, 7]), make(game, engine, [5, 6, 7])
    actions, going = actions_for(environment, 90), np.array([False, True, False])
    first, second, third = np.split(actions, [10, 60])
    play(environment, first), play(without_rest, first)
    resting = environment.observations[~going]
    steps = [np.stack(values) for values in zip(*[environment.step(action, going) for action in second], strict=True)]
    expected = play(without_rest, second)
    assert_same([values[:, going] for values in steps], [values[:, going] for values in expected])
    observations, rewards, terminated, truncated, _, _, lengths = (values[:, ~going] for values in steps)
    assert (observations == resting).all()
    assert not rewards.any() and not terminated.any() and not truncated.any()
    assert (lengths == lengths[0]).all()

    rested = make(game, engine, [5, 6, 7])
    play(rested, first)
    expected = play(rested, third)
    assert_same([values[:, ~going] for values in play(environment, third)], [values[:, ~going] for values in expected])


@pytest.mark.parametrize("game", ["HalfCheetah", "Hopper", "Humanoid"])
def test_threads_do_not_matter(game, needs_simulator):
    one, three = make(game, "mujoco", range(5)), make(game, "mujoco", range(5), threads=3)
    actions = actions_for(one, 100)
    assert_same(play(three, actions), play(one, actions))


def test_a_reset_starts_over_from_the_seeds_or_from_new_ones(needs_simulator):
    environment = make("Hopper", "mujoco", [1, 2])
    first = environment.observations
    actions = actions_for(environment, 50)
    expected = play(environment, actions)
    np.testing.assert_array_equal(environment.reset(), first)
    assert_same(play(environment, actions), expected)
    np.testing.assert_array_equal(environment.reset([2, 1]), first[::-1])


def test_a_state_taken_elsewhere_is_refused(needs_simulator):
    hopper, state = make("Hopper", "mujoco", [1]), make("Walker2d", "mujoco", [1]).state()
    with pytest.raises(UserError, match="environment_id='Walker2d-v4', this one 'Hopper-v4'"):
        hopper.load(state)
    with pytest.raises(UserError, match="engine='gymnasium', this one 'mujoco'"):
        hopper.load(make("Hopper", "gymnasium", [1]).state())
    with pytest.raises(UserError, match="has 1 rows, this one 2"):
        make("Hopper", "mujoco", [1, 2]).load(hopper.state())
    older = hopper.state()
    older["identity"]["mujoco_version"] = "3.2.0"
    with pytest.raises(UserError, match=r"mujoco_version='3\.2\.0'"):
        hopper.load(older)


def test_identity_names_engine_versions_and_environment(needs_simulator):
    import gymnasium
    import mujoco

    identity = make("Ant", "gymnasium", [0]).identity
    assert identity == {
        "engine": "gymnasium",
        "engine_version": gymnasium.__version__,
        "mujoco_version": mujoco.__version__,
        "gymnasium_version": gymnasium.__version__,
        "environment_id": "Ant-v4",
    }
    assert make("Ant", "mujoco", [0]).identity["engine_version"] == mujoco.__version__


def test_actions_and_seeds_of_a_wrong_number_are_refused(needs_simulator):
    environment = make("Hopper", "mujoco", [1, 2])
    with pytest.raises(ValueError, match=r"\(3,\), not \(2, 3\)"):
        environment.step(np.zeros(3))
    with pytest.raises(ValueError, match="1 seeds were given for 2 rows"):
        environment.reset([1])
    with pytest.raises(ValueError, match="at least one row"):
        make("Hopper", "mujoco", [])


def test_making_an_environment_leaves_no_log_file_and_says_nothing(needs_simulator, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    for engine in ENGINES:
        make("HalfCheetah", engine, [0]).close()
    assert not list(tmp_path.iterdir())
    assert capfd.readouterr() == ("", "")


def test_unknown_names_get_the_nearest_choice():
    with pytest.raises(UserError, match=r"no game 'HalfCheeta'; did you mean 'HalfCheetah'\?"):
        make("HalfCheeta", "mujoco", [0])
    with pytest.raises(UserError, match=r"no engine 'mujocco' for environments; did you mean 'mujoco'\?"):
        make("Hopper", "mujocco", [0])


def test_threads_are_refused_where_there_are_none(needs_simulator):
    with pytest.raises(UserError, match="threads=2 must be 1, or engine 'mujoco'"):
        make("Hopper", "gymnasium", [0], threads=2)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("absent", ["mujoco", "gymnasium"])
def test_an_engine_that_is_not_installed_says_what_to_install(engine, absent, monkeypatch):
    def version(package):
        if package == absent:
            raise PackageNotFoundError(package)
        return "99.0"

    monkeypatch.setattr(simulator, "version", version)
    with pytest.raises(UserError, match=f"engine '{engine}' needs {absent}, which is not installed: pip install"):
        make("Hopper", engine, [0])


def test_an_engine_that_is_too_old_says_what_it_needs(monkeypatch):
    monkeypatch.setattr(simulator, "version", lambda package: "3.3.1")
    with pytest.raises(UserError, match=r"needs mujoco 4 or later, 3\.3\.1 is installed"):
        make("Hopper", "mujoco", [0])
