"""An evaluation beside the authors' curve at the same epoch."""

from pathlib import Path

import pytest

from experiments.schema.errors import UserError
from experiments.verdict.curves import load_curve, on_track

SHARED = Path(__file__).resolve().parents[3] / "shared" / "paper" / "curves"
TOP1 = [0.1 * epoch**2 for epoch in range(21)]  # 0, 0.1, 0.4, ..., 40: epochs 0 to 20


@pytest.fixture(autouse=True)
def curves(results):
    folder = results / "curves"
    folder.mkdir()
    rows = "".join(f"{epoch},0.5,6.9,{top1:.3f},50\n" for epoch, top1 in enumerate(TOP1))
    (folder / "square.csv").write_text(f"epoch,train_loss,eval_loss,top1,top5\n{rows}", encoding="utf-8")
    (folder / "steps.csv").write_text("step,valid_ppl\n4000,83.5\n", encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("epoch", "top1", "line"),
    [
        (10, 10.0, "epoch 11: top1 10.00, authors 10.00 (+0.00), on track"),
        # Within 0.5 of what the authors had two epochs earlier (6.4) or later (14.4): the noise of evaluations.
        (10, 5.95, "epoch 11: top1 5.95, authors 10.00 (-4.05), on track"),
        (10, 14.85, "epoch 11: top1 14.85, authors 10.00 (+4.85), on track"),
        (10, 5.0, "epoch 11: top1 5.00, authors 10.00 (-5.00), behind by 2 epochs"),
        (10, 0.4, "epoch 11: top1 0.40, authors 10.00 (-9.60), behind by 8 epochs"),
        (10, 22.5, "epoch 11: top1 22.50, authors 10.00 (+12.50), ahead by 5 epochs"),
        (20, 50.0, "epoch 21: top1 50.00, authors 40.00 (+10.00), better than their whole run"),
        (10, float("nan"), "epoch 11: top1 nan, authors 10.00 (+nan), not a number"),
        (23, 40.0, "epoch 24: top1 40.00, authors 40.00 at epoch 21 (+0.00), on track"),
    ],
)
def test_one_line_with_difference_and_warning(epoch, top1, line):
    assert on_track("square", epoch, {"eval_loss": 1.0, "top1": top1}) == line


@pytest.mark.parametrize(
    ("update", "value", "line"),
    [
        (8000, 50.0, "update 8,000: val_ppl 50.00, authors 50.00 (+0.00), on track"),
        (10000, 60.0, "update 10,000: val_ppl 60.00, authors 50.00 at update 8,000 (+10.00), on track"),
        (16000, 70.0, "update 16,000: val_ppl 70.00, authors 30.00 (+40.00), behind by 8,000 updates"),
        (4000, 29.0, "update 4,000: val_ppl 29.00, authors 80.00 (-51.00), better than their whole run"),
    ],
)
def test_a_curve_over_updates_is_compared_at_the_update(curves, update, value, line):
    text = "step,valid_loss,valid_ppl\n4000,4.4,80\n8000,3.9,50\n12000,3.6,40\n16000,3.4,30\n"
    (curves / "perplexities.csv").write_text(text, encoding="utf-8")
    assert on_track("perplexities", 0, {"val_ppl": value}, update) == line


def test_the_loss_is_compared_where_there_is_no_accuracy():
    assert on_track("square", 3, {"eval_loss": 7.9}).endswith(
        "7.90, authors 6.90 (+1.00), behind even their first evaluation"
    )


@pytest.mark.parametrize(
    ("epoch", "ppl", "line"),
    [
        (0, 405.0, "epoch 1: test_ppl 405.00, authors 400.00 (+5.00), on track"),  # within 2 %
        (0, 410.0, "epoch 1: test_ppl 410.00, authors 400.00 (+10.00), behind even their first evaluation"),
        (10, 39.0, "epoch 11: test_ppl 39.00, authors 36.36 (+2.64), on track"),  # as the epochs around
        (10, 46.0, "epoch 11: test_ppl 46.00, authors 36.36 (+9.64), behind by 2 epochs"),
        (10, 25.1, "epoch 11: test_ppl 25.10, authors 36.36 (-11.26), ahead by 5 epochs"),
        (19, 1.0, "epoch 20: test_ppl 1.00, authors 20.00 (-19.00), better than their whole run"),
    ],
)
def test_a_perplexity_is_better_where_it_is_lower(curves, epoch, ppl, line):
    rows = "".join(f"{epoch},0,{400 / (epoch + 1)}\n" for epoch in range(20))
    (curves / "falling.csv").write_text(f"epoch,train_ppl,test_ppl\n{rows}", encoding="utf-8")
    assert on_track("falling", epoch, {"val_ppl": 9.0, "test_ppl": ppl}) == line


def test_a_low_perplexity_is_not_on_track_for_being_within_half_a_point(curves):
    """BERT's falls from 4.6 to 4.0 in 300,000 updates."""
    rows = "".join(
        f"{x},{y}\n" for x, y in zip(range(200_000, 550_000, 50_000), (4.6, 4.4, 4.3, 4.2, 4.1, 4.05, 4.0), strict=True)
    )
    (curves / "bert.csv").write_text(f"step,valid_ppl\n{rows}", encoding="utf-8")
    assert on_track("bert", 7, {"val_ppl": 4.5}, 400_000).endswith("(+0.40), behind by 150,000 updates")
    assert on_track("bert", 7, {"val_ppl": 4.35}, 400_000).endswith("(+0.25), on track")


@pytest.mark.parametrize(
    ("name", "epoch", "metrics"),
    [("square", 40, {"top1": 1.0}), ("square", 3, {"perplexity": 1.0}), ("steps", 4000, {"perplexity": 80.0})],
)
def test_nothing_is_said_where_nothing_compares(name, epoch, metrics):
    assert on_track(name, epoch, metrics) is None


def test_a_run_goes_on_when_its_curve_is_missing_or_broken(curves):
    assert "no curve 'squares' in results/curves; did you mean 'square'?" in on_track("squares", 0, {"top1": 1.0})
    (curves / "broken.csv").write_text("epoch,top1\n0,1.0\nepoch,top1\n", encoding="utf-8")
    assert "broken.csv is not a table of numbers" in on_track("broken", 0, {"top1": 1.0})
    with pytest.raises(UserError, match="did you mean 'square'"):
        load_curve("squares")


def test_epochs_of_a_curve_count_from_0():
    curve = load_curve("square")
    assert curve.x[0] == 0 and curve.x_name == "epoch" and curve.columns["top1"][10] == 10.0


def test_every_released_curve_loads(curves):
    if not SHARED.is_dir():
        pytest.skip("the facts of the paper are not beside this repository")
    names = [path.stem for path in SHARED.glob("*.csv") if path.stem != "index"]
    for name in names:
        (curves / f"{name}.csv").write_bytes((SHARED / f"{name}.csv").read_bytes())
        assert load_curve(name).x
    assert len(names) > 60
    assert on_track("vit_small_setting_ii_300ep_adan", 309, {"top1": 80.87}).endswith(
        "top1 80.87, authors 80.87 (-0.00), on track"
    )
