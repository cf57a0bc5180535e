"""How far each cell's values can be trusted: what no source names is `ours`, and nothing of a baseline was released."""

from __future__ import annotations

import pytest
from config_files import EXPERIMENTS, TABLES

from experiments.schema.compose import compose
from experiments.schema.config import RunConfig

# Cells whose optimizer settings and schedule no source names, and the values that this suite chose for them.
CHOSEN = """
exp             optim     epochs   keys
swin_tiny       adan      150,300  optim schedule
swin_small      adan      150,300  optim schedule
swin_base       adan      150,300  optim schedule
convnext_small  adan      150,300  optim schedule
convnext_tiny   adamw     150      optim schedule
convnext_small  adamw     150      optim schedule
swin_tiny       adamw     150      optim schedule
swin_small      adamw     150      optim schedule
swin_base       adamw     150      optim schedule
resnet50        sgd       100,200  optim.lr optim.weight_decay schedule
resnet50        adam      100,200  optim.lr optim.weight_decay schedule
resnet50        adamw     100,200  optim.lr optim.weight_decay schedule
resnet50        lamb      100,200  optim.lr optim.weight_decay schedule
resnet101       sgd       100,200  optim.lr optim.weight_decay schedule
resnet101       adam      100,200  optim.lr optim.weight_decay schedule
resnet101       adamw     100,200  optim.lr optim.weight_decay schedule
resnet101       lamb      100,200  optim.lr optim.weight_decay schedule
resnet18        adabound  90       optim
resnet18        adamw     90       optim
"""

# Cells of baselines in which every value is cited, or inferred from runs with the same number at the same budget.
SUPPORTED = """
exp             optim     epochs   lr        schedule
resnet50        sgd       300      inferred  inferred
resnet50        adam      300      inferred  inferred
resnet50        adamw     300      inferred  inferred
resnet50        lamb      300      cited     cited
resnet101       sgd       300      inferred  inferred
resnet101       adam      300      inferred  inferred
resnet101       adamw     300      inferred  inferred
resnet101       lamb      300      cited     cited
vit_small       adamw     150      inferred  inferred
vit_small       adamw     300      cited     cited
vit_base        adamw     150      inferred  inferred
vit_base        adamw     300      cited     cited
convnext_tiny   adamw     300      cited     cited
convnext_small  adamw     300      cited     cited
swin_tiny       adamw     300      cited     cited
swin_small      adamw     300      cited     cited
swin_base       adamw     300      cited     cited
"""


def rows(table: str) -> list[list[str]]:
    return [line.split(maxsplit=3) for line in table.strip().splitlines()[1:]]


def paper(exp: str, optim: str, epochs: str, *more: str) -> RunConfig:
    (config,) = compose([f"exp={exp}", f"optim={optim}", f"epochs={epochs}", "scale=paper", *more])
    return config


def levels(config: RunConfig, section: str) -> set[str]:
    """The levels of a key, or of all keys of a section."""
    return {fact["level"] for key, fact in config.provenance.items() if key == section or key.startswith(f"{section}.")}


@pytest.mark.parametrize(("exp", "optim", "budgets", "keys"), rows(CHOSEN))
def test_values_that_no_source_names_are_ours(exp, optim, budgets, keys):
    for epochs in budgets.split(","):
        config = paper(exp, optim, epochs)
        for key in keys.split():
            assert levels(config, key) == {"ours"}, (epochs, key)


@pytest.mark.parametrize(("exp", "optim", "epochs", "expected"), rows(SUPPORTED))
def test_a_supported_cell_has_nothing_of_ours(exp, optim, epochs, expected):
    config = paper(exp, optim, epochs)
    rate, schedule = expected.split()
    assert config.provenance["optim.lr"]["level"] == rate
    assert config.provenance["schedule.warmup_epochs"]["level"] == schedule
    assert "ours" not in {fact["level"] for fact in config.provenance.values()}


@pytest.mark.parametrize("batch_size", [1024, 2048, 4096, 32768])
def test_rate_and_schedule_of_lamb_in_table_7_are_ours(batch_size):
    config = paper("vit_small", "lamb", "300", "recipe=setting_1", f"batch_size={batch_size}")
    assert levels(config, "optim.lr") == levels(config, "schedule") == {"ours"}


def test_nothing_of_a_baseline_was_released():
    for table in TABLES.values():
        for cell in table["cells"]:
            if cell["optim"] != "adan" and "epochs" in cell:
                config = paper(cell["exp"], cell["optim"], cell["epochs"], f"recipe={cell['recipe']}")
                found = {fact["level"] for fact in config.provenance.values()}
                assert not found & {"released_arguments", "released_log"}, cell


@pytest.mark.parametrize(
    ("exp", "warmup_prefix"),
    [
        ("convnext_tiny", True),
        ("convnext_small", True),
        ("swin_tiny", False),
        ("swin_small", False),
        ("swin_base", False),
    ],
)
def test_cited_recipes_move_the_rate_every_update_at_paper_scale_only(exp, warmup_prefix):
    for epochs in ("150", "300"):
        schedule = paper(exp, "adamw", epochs).schedule
        assert (schedule.per_update, schedule.warmup_prefix) == (True, warmup_prefix)
        for config in (paper(exp, "adan", epochs), *compose([f"exp={exp}", "optim=adamw", f"epochs={epochs}"])):
            assert (config.schedule.per_update, config.schedule.warmup_prefix) == (False, False)
    provenance = paper(exp, "adamw", "300").provenance
    assert provenance["schedule.per_update"]["level"] == "cited"
    assert provenance["schedule.warmup_prefix"]["level"] == ("cited" if warmup_prefix else "inferred")


@pytest.mark.parametrize("exp", [name for name in EXPERIMENTS if name.startswith("swin")])
def test_adan_on_swin_is_evaluated_as_timm_does(exp):
    adan, adamw = paper(exp, "adan", "300"), paper(exp, "adamw", "300")
    assert (adan.evaluation.crop_pct, adan.augmentation.interpolation) == (0.9, "random")
    assert (adamw.evaluation.crop_pct, adamw.augmentation.interpolation) == (0.875, "bicubic")
    for key in ("evaluation.crop_pct", "augmentation.interpolation"):
        assert adan.provenance[key]["level"] == "inferred"
