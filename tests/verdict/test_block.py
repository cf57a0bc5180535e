"""What a person reads at the end of a run."""

import examples
import ppo_records
import pytest

from experiments.schema.tables import Cell, Table
from experiments.verdict import cells
from experiments.verdict.block import verdict_block


@pytest.fixture(autouse=True)
def tables(monkeypatch):
    cell = Cell(exp="vit_small", optim="adan", epochs=300, recipe="setting_2", reported="T4-004")
    table = Table("t4", "Table 4", "top1", "optim", ["exp", "epochs"], [cell])
    monkeypatch.setattr(cells, "table_names", lambda: ["t4"])
    monkeypatch.setattr(cells, "load_table", {"t4": table}.__getitem__)


def unwrapped(block):
    return block.replace("\n  ", " ").split("\n")


def test_mini_scale_says_what_ran_and_how_it_stands(results):
    examples.write_record(results, examples.mini(96.4, "adamw"))
    ran, result, verdict, standing = unwrapped(verdict_block(examples.mini(96.1, best=96.2)))
    assert ran == (
        "vit_small adan: recipe setting_2, mini scale, 300 epochs -> 20 (+ 1 cool-down), batch 2048 -> 16, seed 0"
    )
    assert result == "finished: top1 96.10 last, 96.20 best"
    assert verdict == "verdict: not comparable with the paper (mini scale)"
    assert standing.startswith("standing: 2nd of 2 at this setting: adamw 96.40, adan 96.10 (this run)")


def test_a_metric_that_another_selects_is_told(results):
    run = examples.mini(96.1, best=96.2, config={"metrics": {"top1": {"selected_by": "val_top1"}}})
    run["summary"]["top1"]["selected"] = 95.5
    assert "top1 96.10 last, 96.20 best, 95.50 at the best val_top1" in unwrapped(verdict_block(run))[1]


def test_mini_scale_names_what_the_command_line_changed(results):
    block = verdict_block(examples.mini(96.1, overrides=["optim.lr=0.1"]))
    assert "changed on the command line: optim.lr=0.1" in block


def test_paper_scale_is_judged_with_the_seeds_run_before(results):
    for seed, value in [(1, 80.7), (2, 80.8)]:
        examples.write_record(results, examples.record(value, seed=seed))
    ran, _, verdict, assumed, curve = unwrapped(verdict_block(examples.record(80.6)))
    assert "paper scale, 300 epochs (+ 10 cool-down), batch 2048, seed 0" in ran
    assert verdict.startswith("verdict: reproduced: top1 80.70 against 80.7 reported (T4-004)")
    assert "n = 3 (seeds 0, 1, 2)" in verdict
    assert assumed.startswith(
        "assumed: the reported number is one run, drawn with the same spread as ours; the margin is"
    )
    assert curve == "curve: the authors released none for this cell"


def test_a_record_already_copied_is_not_counted_twice(results):
    record = examples.record(80.6)
    examples.write_record(results, record)
    assert "n = 1 (seed 0)" in " ".join(unwrapped(verdict_block(record)))


def test_a_partial_run_gets_only_the_authors_curve(results):
    folder = results / "curves"
    folder.mkdir()
    rows = "".join(f"{epoch},{epoch}.0\n" for epoch in range(310))
    (folder / "line.csv").write_text(f"epoch,top1\n{rows}", encoding="utf-8")
    record = examples.record(
        28.0,
        status="partial",
        progress={"update": 31, "total_updates": 310, "epoch": 31, "total_epochs": 310},
        config={"curve": "line", "evaluation": {"every": 2}},
    )
    _, result, verdict, curve = unwrapped(verdict_block(record))
    assert result == "partial at epoch 31 of 310: top1 28.00 last, 28.00 best"
    assert verdict == "verdict: none, a partial run is only set beside the authors' curve"
    # Evaluated every second epoch: the last evaluation was after 30 epochs, row 29 of the curve.
    assert curve == "curve: epoch 30: top1 28.00, authors 29.00 (-1.00), on track"


def test_a_partial_run_at_mini_scale_is_compared_with_nothing(results):
    record = examples.mini(50.0, status="partial", config={"curve": "line"})
    block = verdict_block(record, [examples.mini(96.0, "adamw")])
    assert "curve: not compared at mini scale" in block and "standing" not in block


@pytest.mark.parametrize("status", ["finished", "partial"])
@pytest.mark.parametrize("changed", [["data=movie_reviews"], ["optim.lr=3.0", "bptt.length=35"], ["batch_size=40"]])
def test_a_run_that_left_its_recipe_says_that_it_cannot_be_held_against_the_curve_there_is(status, changed):
    size = int(changed[0].removeprefix("batch_size=")) if changed[0].startswith("batch_size=") else 20
    cell = {"exp": "ptb_lstm_1", "optim": "sgd", "recipe": "adabelief", "epochs": 200, "batch_size": size}
    block = verdict_block(examples.record(50.0, status=status, overrides=changed, **cell), [])
    assert unwrapped(block)[-1] == (
        "curve: the authors released one for this cell, but this run cannot be held against it: the command line "
        f"changed {', '.join(changed)}"
    )


def test_a_run_that_left_a_recipe_without_a_curve_says_that_there_is_none():
    cell = {"exp": "ptb_lstm_1", "optim": "padam", "recipe": "adabelief", "epochs": 200, "batch_size": 20}
    block = verdict_block(examples.record(50.0, overrides=["data=movie_reviews"], **cell), [])
    assert unwrapped(block)[-1] == "curve: the authors released none for this cell"


def test_the_curve_of_another_batch_size_is_not_this_cells():
    cell = {"exp": "vit_small", "optim": "adan", "recipe": "setting_1", "epochs": 150, "batch_size": 8192}
    block = verdict_block(examples.record(50.0, overrides=["optim.lr=0.1"], **cell), [])
    assert unwrapped(block)[-1] == "curve: the authors released none for this cell"


def test_a_small_run_of_a_cell_with_a_curve_does_not_say_that_there_is_none():
    cell = {"recipe": "setting_2", "epochs": 300, "batch_size": 2048}
    block = verdict_block(examples.mini(50.0, status="partial", **cell), [])
    assert unwrapped(block)[-1] == "curve: not compared at mini scale"


def test_a_run_of_no_cell_says_so(results):
    block = verdict_block(examples.record(80.0, epochs=90), [])
    assert "no table of the paper has this cell" in block


def test_another_record_that_cannot_be_read_does_not_hide_the_result(results):
    path = examples.write_record(results, examples.mini(96.4, "adamw"))
    path.write_text("{", encoding="utf-8")
    block = " ".join(unwrapped(verdict_block(examples.mini(96.1))))
    assert "finished: top1 96.10" in block and "record.json is not a record" in block


def test_the_block_is_short_and_fits_a_terminal(results):
    examples.write_facts(results, [examples.reported(note="SUSPECT: " + "word " * 20)], [examples.spread()])
    lines = verdict_block(examples.record(80.0), []).split("\n")
    assert 4 <= len(lines) <= 12 and max(map(len, lines)) <= 110


def test_a_run_of_a_study_is_not_judged_alone(results):
    others = ppo_records.arm([100.0, 102.0], "ppo_hopper", "adam")
    record = ppo_records.record(90.0, optim="adan", progress={"epoch": 488, "total_epochs": 488})
    record["config"] |= {"schedule": {"epochs": 488}, "metrics": {"episode_return": {"direction": "max"}}}
    for other in others:
        other["config"] |= {"schedule": {"epochs": 488}}
    _, result, verdict, standing, _ = unwrapped(verdict_block(record, others))
    assert result == "finished: episode_return 90.00 last, 90.00 best"
    assert verdict == (
        "verdict: none of one run; stage published of f2 has 10 seeds, judged together by: "
        "python scripts/make_tables.py f2"
    )
    assert standing.startswith("standing: 2nd of 2 at this setting: adam 101.00 (mean of 2 seeds), adan 90.00")


def test_a_run_is_judged_with_those_of_its_own_data(results):
    def read(name):
        return {"name": "imagenet", "source": "a folder", "digest": name * 64, "digest_covers": "contents of files"}

    for seed in (0, 1):
        examples.write_record(results, examples.record(50.18, seed=seed, data=read("a")))
    block = " ".join(unwrapped(verdict_block(examples.record(80.6, seed=2, data=read("b")))))
    assert "top1 80.60 against 80.7" in block and "n = 1 (seed 2)" in block and "50.18" not in block
