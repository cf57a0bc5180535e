"""Clipping where every process holds a part: FSDP2, replicas of it, ZeroRedundancyOptimizer. Real gloo processes."""

import copy
import pickle

import pytest
import torch
from adan_implementations import EVERY, FOREACH, FUSED
from gloo_ranks import Ranks

from adan import Adan

BOTH = pytest.mark.parametrize("implementation", [FOREACH, FUSED])


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    with Ranks(2, tmp_path_factory.mktemp("ranks")) as two:
        yield two


@pytest.fixture
def passes(ranks):
    """Runs a check of `sharded_checks` on two ranks."""
    return lambda check, **arguments: ranks.run("sharded_checks", check, **arguments)


@EVERY
def test_fsdp_with_uneven_and_empty_shards_equals_one_process(passes, implementation):
    passes("sharded_equals_unsharded", implementation=implementation)


@BOTH
def test_one_norm_for_all_groups_where_only_one_clips(passes, implementation):
    passes("sharded_equals_unsharded", implementation=implementation, only_one_clips=True)


@BOTH
@pytest.mark.parametrize("mesh", [(2, 1), (1, 2)], ids=["two replicas", "two shards"])
def test_hybrid_sharding_counts_replicas_once(passes, implementation, mesh):
    passes("sharded_equals_unsharded", implementation=implementation, mesh=mesh)


@BOTH
def test_a_rank_without_any_gradient_takes_part(passes, implementation):
    passes("a_rank_without_gradients_takes_part", implementation=implementation)


@BOTH
@pytest.mark.parametrize("state_dtype", [None, torch.bfloat16], ids=["fp32", "bf16"])
def test_states_round_trip_through_distributed_checkpoints(passes, implementation, state_dtype):
    passes("state_round_trips", implementation=implementation, state_dtype=state_dtype)


@BOTH
def test_parameters_that_the_model_has_moved_are_still_stepped(passes, implementation):
    passes("parameters_moved_by_the_model_are_still_stepped", implementation=implementation)


@BOTH
def test_a_scaler_skips_on_all_ranks_or_none(passes, implementation):
    passes("a_scaler_skips_on_all_ranks_or_none", implementation=implementation)


@BOTH
@pytest.mark.parametrize("parameters", [4, 1], ids=["shared out", "one rank has none"])
def test_zero_redundancy_with_a_norm_group_equals_one_process(passes, implementation, parameters):
    passes("zero_redundancy", implementation=implementation, parameters=parameters)


def test_zero_redundancy_without_a_norm_group_clips_by_the_norms_of_shares(passes):
    passes("zero_redundancy", implementation={}, parameters=4, with_group=False)


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps])
def test_an_optimizer_with_a_norm_group_says_that_it_cannot_be_copied(duplicate):
    optimizer = Adan([torch.nn.Parameter(torch.ones(1))], norm_group=object())
    with pytest.raises(TypeError, match=r"norm_group cannot be copied or pickled.*use state_dict"):
        duplicate(optimizer)
