"""Results of others are taken in as marked rows, with their source and what is unknown; real files of real writers."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from experiments.imports import event_files, tables_of_numbers, wandb_runs
from experiments.imports.imported import Imported, load_all, save
from experiments.report import imported_page
from experiments.schema import paths
from experiments.schema.errors import UserError
from experiments.verdict.records import sealed_records

TIMM = "epoch,train_loss,eval_loss,eval_top1,eval_top5,lr\n0,6.9,6.8,0.5,1.5,0.001\n1,5.0,4.5,21.25,44.0,0.002\n"
ARGUMENTS = """model: vit_small
opt: adan
lr: 0.015
opt_betas: !!python/tuple
- 0.98
- 0.92
batch_size: 256
epochs: 150
seed: 0
"""


@pytest.fixture(autouse=True)
def results(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "RESULTS", tmp_path / "results")
    return tmp_path / "results"


@pytest.fixture
def timm_folder(tmp_path):
    folder = tmp_path / "20221010-vit"
    folder.mkdir()
    (folder / "summary.csv").write_text(TIMM)
    (folder / "args.yaml").write_text(ARGUMENTS)
    return folder


def test_timms_summary_comes_with_what_its_arguments_say_and_with_what_they_do_not(timm_folder):
    run = tables_of_numbers.timm_run(timm_folder, "vit", {"hardware": "8 x A100"})
    numbers = {"train_loss": 5.0, "eval_loss": 4.5, "top1": 21.25, "top5": 44.0, "learning_rate": 0.002}
    assert run.rows[1] == {"epoch": 1, **numbers}
    assert (run.known["optimizer"], run.known["lr"], run.known["hardware"]) == ("adan", 0.015, "8 x A100")
    assert run.known["batch_size_per_device"] == 256 and "batch_size" in run.unknown and "revision" in run.unknown
    assert run.origin["source"] == "summary.csv" and len(run.origin["sha256"]) == 64


def test_arguments_make_no_python_objects(timm_folder, tmp_path):
    (timm_folder / "args.yaml").write_text(f"opt: !!python/object/apply:os.system ['touch {tmp_path}/made']\nlr: 0.1\n")
    run = tables_of_numbers.timm_run(timm_folder, "vit", {})
    assert run.known["lr"] == 0.1 and not (tmp_path / "made").exists()


def test_an_import_is_written_once_and_never_over_another(timm_folder, results):
    run = tables_of_numbers.timm_run(timm_folder, "vit", {})
    folder = save(run)
    assert save(run) == folder == results / "imported" / "vit"
    [again] = load_all()
    assert (again.rows, again.known, again.origin) == (run.rows, run.known, run.origin)
    assert json.loads((folder / "imported.json").read_text())["imported"] is True
    with pytest.raises(UserError, match="holds another import"):
        save(tables_of_numbers.timm_run(timm_folder, "vit", {"seed": 7}))
    assert load_all()[0].known == run.known and sealed_records() == []


def test_columns_of_a_table_are_mapped_by_name(tmp_path):
    path = tmp_path / "curve.csv"
    path.write_text("Epoch,Acc@1,note\n1,10.5,warm-up\n2,20.25,\n")
    run = tables_of_numbers.mapped(path, "theirs", {"Epoch": "epoch", "Acc@1": "top1"}, {"optimizer": "adamw"})
    assert run.rows == [{"epoch": 1.0, "top1": 10.5}, {"epoch": 2.0, "top1": 20.25}]
    path = tmp_path / "curve.json"
    path.write_text(json.dumps({"name": "x", "log": [{"step": 100, "ppl": 80.5}, {"step": 200, "ppl": 60.0}]}))
    assert tables_of_numbers.mapped(path, "theirs", {}, {}).rows[1] == {"update": 200.0, "ppl": 60.0}


@pytest.mark.parametrize(
    ("name", "content", "columns", "message"),
    [
        ("a.csv", "epoch,top1\n1,2\n", {"top2": "top1"}, "there is no column 'top2'; did you mean 'top1'"),
        ("a.csv", "epoch,top1\n1,2,3\n", {}, "a.csv, line 2: its columns are not those of the header"),
        ("a.csv", "when,top1\n1,2\n", {"top1": "top1"}, "no column is mapped to epoch or update"),
        ("a.json", "{", {}, "a.json is no JSON file"),
        ("a.json", '{"epoch": 1}', {}, "expected a list of mappings"),
    ],
)
def test_a_table_that_cannot_be_read_is_named_with_its_line(tmp_path, name, content, columns, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=message):
        tables_of_numbers.mapped(tmp_path / name, "theirs", columns, {})


def test_event_files_of_tensorboards_own_writer(tmp_path):
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(tmp_path / "run")) as writer:
        for step in range(3):
            writer.add_scalar("val/acc", 10.0 * step, step * 100)
            writer.add_scalar("loss", 1.0 / (step + 1), step * 100)
    run = event_files.tensorboard_run(tmp_path / "run", "theirs", {"val/acc": "top1"}, {})
    assert run.rows == [{"update": 100.0 * step, "top1": 10.0 * step} for step in range(3)]
    with pytest.raises(UserError, match="there is no column 'val/acd'; did you mean 'val/acc'"):
        event_files.tensorboard_run(tmp_path / "run", "theirs", {"val/acd": "top1"}, {})
    with pytest.raises(UserError, match="there is no event file"):
        event_files.tensorboard_run(tmp_path / "none", "theirs", {}, {})


LOGS = """
import wandb
run = wandb.init(project="p", config={"lr": 0.1, "optimizer": "adamw", "notes": ["x" * 200] * 2000},
                 settings=wandb.Settings(silent=True, console="off", disable_git=True, disable_code=True))
for step in range(400):
    run.log({"top1": 0.25 * step, "epoch": step // 10}, step=step)
run.finish()
"""


def test_an_offline_run_of_wandb_over_many_blocks(tmp_path):
    environment = {**os.environ, "WANDB_MODE": "offline", "WANDB_DIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", LOGS], check=True, env=environment, capture_output=True, cwd=tmp_path)
    [folder] = (tmp_path / "wandb").glob("offline-run-*")
    assert next(folder.glob("*.wandb")).stat().st_size > 10 * wandb_runs.BLOCK
    run = wandb_runs.offline_run(folder, "theirs", {}, {"seed": 3})
    assert len(run.rows) == 400 and run.rows[-1] == {"update": 399.0, "top1": 99.75, "epoch": 39.0}
    assert (run.known["lr"], run.known["optimizer"], run.known["seed"]) == (0.1, "adamw", 3)
    damaged = tmp_path / "damaged.wandb"
    damaged.write_bytes(b"nothing of the kind")
    with pytest.raises(UserError, match="is no file of an offline W&B run"):
        wandb_runs.offline_run(damaged, "theirs", {}, {})


def test_a_run_at_wandb_needs_a_key_and_a_whole_name(monkeypatch, tmp_path):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(UserError, match="a run at W&B is named ENTITY/PROJECT/RUN"):
        wandb_runs.online_run("project/run", "theirs", {}, {})
    with pytest.raises(UserError, match="no key for W&B: set WANDB_API_KEY"):
        wandb_runs.online_run("entity/project/run", "theirs", {}, {})


def test_the_command_says_what_was_written_and_what_is_unknown(timm_folder, results):
    script = str(paths.ROOT / "scripts" / "import_results.py")
    words = [sys.executable, script, "timm", str(timm_folder), "--name", "vit"]
    done = subprocess.run(words, capture_output=True, text=True, env={**os.environ, "ADAN_RESULTS": str(results)})
    assert done.returncode == 0 and "2 evaluations of train_loss, eval_loss, top1, top5" in done.stdout
    assert "unknown: weight_decay, batch_size, data, hardware, revision" in done.stdout


def test_the_authors_released_runs_are_held_against_their_own_tables(monkeypatch):
    monkeypatch.setattr(paths, "RESULTS", paths.ROOT / "results")
    found = {one.run.name: one for one in imported_page.released()}
    cifar = found["cifar10_densenet121_adabelief"]
    assert (cifar.table, cifar.verdict) == ("cifar10", imported_page.AGREES)  # its numbers were read off these curves
    vit = found["vit_small_setting_ii_300ep_adan"]  # prints 80.7; the released log ends at 80.872, its best is 80.920
    assert (vit.printed.value, round(vit.last, 3), round(vit.best, 2)) == (80.7, 80.872, 80.92)
    assert vit.verdict == imported_page.DISAGREES
    others = [Imported("theirs", {"reader": "csv", "source": "a.csv"}, {}, [{"epoch": 1, "top1": 5.0}])]
    text = imported_page.page(list(found.values()), others)
    assert "| vit_small_setting_ii_300ep_adan" in text and "+0.172" in text
    assert "csv: a.csv" in text and "No row here" in text
