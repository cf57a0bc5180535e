"""Variables of ranks that a cluster, a container or a shell left behind are answered with a sentence."""

from __future__ import annotations

import re

import pytest

from experiments.launch.joined import check_ranks, slurm_ranks
from experiments.schema.errors import UserError

WHOLE = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "29500"}


@pytest.mark.parametrize(
    ("changes", "answer"),
    [
        (
            {"RANK": None},
            "WORLD_SIZE=2 is set in the environment, but RANK is not: unset RANK, WORLD_SIZE and LOCAL_RANK",
        ),
        ({"WORLD_SIZE": None}, "RANK=1 is set in the environment, but WORLD_SIZE is not"),
        ({"LOCAL_RANK": None}, "RANK=1 is set in the environment, but LOCAL_RANK is not"),
        ({"MASTER_ADDR": None}, "but MASTER_ADDR is not"),
        ({"MASTER_PORT": None}, "but MASTER_PORT is not"),
        ({"MASTER_PORT": "x"}, "MASTER_PORT='x' in the environment is not a number of at least 1"),
        ({"MASTER_PORT": "0"}, "MASTER_PORT='0' in the environment is not a number of at least 1"),
        ({"MASTER_PORT": "65536"}, "MASTER_PORT=65536 in the environment is no port: at most 65535"),
        ({"RANK": "2"}, "RANK=2 in the environment is none of WORLD_SIZE=2 ranks"),
        ({"RANK": "-1"}, "RANK='-1' in the environment is not a number of at least 0"),
        ({"RANK": ""}, "RANK='' in the environment is not a number"),
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE='two' in the environment is not a number of at least 1"),
        ({"LOCAL_RANK": "one"}, "LOCAL_RANK='one' in the environment is not a number"),
    ],
)
def test_half_of_the_variables_is_answered(changes, answer):
    environment = {name: value for name, value in {**WHOLE, **changes}.items() if value is not None}
    with pytest.raises(UserError, match=re.escape(answer)):
        check_ranks(environment)


@pytest.mark.parametrize(
    "environment",
    [{}, WHOLE, {"WORLD_SIZE": "1"}, {"RANK": "0", "WORLD_SIZE": "1"}, {"MASTER_PORT": "29500"}, {"LOCAL_RANK": "0"}],
)
def test_all_of_them_or_none_that_matters_is_right(environment):
    check_ranks(environment)


@pytest.mark.parametrize(
    ("environment", "answer"),
    [
        ({}, "SLURM_STEP_ID=0 is set in the environment, but SLURM_PROCID is not: start run.py with srun, or unset"),
        ({"SLURM_PROCID": "x"}, "SLURM_PROCID='x' in the environment is not a number"),
        ({"SLURM_PROCID": "0", "SLURM_STEP_NODELIST": "[1-2]"}, "'[1-2]' is no list of nodes"),
        ({"SLURM_PROCID": "0", "SLURM_JOB_ID": "x"}, "SLURM_JOB_ID='x' in the environment is not a number"),
    ],
)
def test_half_of_what_srun_sets_is_answered(environment, answer):
    with pytest.raises(UserError, match=re.escape(answer)):
        slurm_ranks({"SLURM_STEP_ID": "0", **environment})
