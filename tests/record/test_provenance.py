import json
import subprocess
import sys
from importlib import metadata

import pytest

from experiments.record import provenance
from experiments.schema import paths
from experiments.schema.errors import UserError


def git(root, *arguments):
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run(["git", *identity, *arguments], cwd=root, check=True, capture_output=True)


@pytest.fixture
def checkout(tmp_path):
    root = tmp_path / "checkout"
    (root / "experiments").mkdir(parents=True)
    (root / "experiments" / "loop.py").write_text("a = 1\n")
    (root / "README.md").write_text("words\n")
    (root / ".gitignore").write_text("*.log\n")
    git(root, "init", "-q")
    git(root, "add", ".")
    git(root, "commit", "-qm", "first")
    return root


def test_a_clean_checkout_is_its_revision(checkout):
    code = provenance.code_of(checkout)
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=checkout, capture_output=True, text=True).stdout.strip()
    assert code == {"revision": head, "diff_digest": None}


def test_every_change_of_code_that_is_not_committed_has_its_digest(checkout):
    loop, new = checkout / "experiments" / "loop.py", checkout / "adan" / "adan.py"
    seen = set()

    def digest():
        value = provenance.code_of(checkout)["diff_digest"]
        seen.add(value)
        return value

    loop.write_text("a = 2\n")
    changed = digest()
    git(checkout, "add", ".")
    assert digest() == changed  # staged or not
    loop.write_text("a = 3\n")
    digest()
    new.parent.mkdir()
    new.write_text("b = 1\n")
    digest()
    loop.unlink()
    digest()
    assert len(seen) == 4 and None not in seen
    new.unlink()
    loop.write_text("a = 1\n")
    git(checkout, "add", ".")
    assert digest() is None


def test_files_that_change_no_number_do_not_count(checkout):
    (checkout / "README.md").write_text("other words\n")
    (checkout / "notes.txt").write_text("new\n")
    (checkout / "experiments" / "out.log").write_text("ignored\n")
    assert provenance.code_of(checkout)["diff_digest"] is None


def test_no_checkout_and_a_folder_within_a_foreign_one_have_no_revision(checkout, tmp_path):
    nothing = {"revision": None, "diff_digest": None}
    (tmp_path / "plain").mkdir()
    assert provenance.code_of(tmp_path / "plain") == nothing
    assert provenance.code_of(checkout / "experiments") == nothing


def test_where_there_is_no_git_the_environment_says_the_revision(checkout, tmp_path, monkeypatch):
    (tmp_path / "plain").mkdir()
    monkeypatch.setenv("ADAN_REVISION", "ab" * 20)
    said = {"revision": "ab" * 20, "diff_digest": None, "said_by": "ADAN_REVISION"}
    assert provenance.code_of(tmp_path / "plain") == said
    monkeypatch.setenv("ADAN_REVISION", "ab" * 4)
    assert provenance.code_of(tmp_path / "plain")["revision"] == "ab" * 4
    monkeypatch.setenv("ADAN_REVISION", "ab" * 20 + "-dirty")
    assert provenance.code_of(tmp_path / "plain") == {**said, "diff_digest": "unknown"}
    for no_revision in ("v1.0", "abc123", "ab" * 21, "AB" * 20, "ab" * 20 + "-clean"):
        monkeypatch.setenv("ADAN_REVISION", no_revision)
        with pytest.raises(UserError, match=rf"ADAN_REVISION={no_revision} \(environment\): no revision; give what"):
            provenance.code_of(tmp_path / "plain")


def test_in_a_checkout_git_says_the_revision_and_another_one_is_refused(checkout, monkeypatch):
    by_git = provenance.code_of(checkout)
    for agreeing in (by_git["revision"], by_git["revision"][:7]):
        monkeypatch.setenv("ADAN_REVISION", agreeing)
        assert provenance.code_of(checkout) == by_git
    monkeypatch.setenv("ADAN_REVISION", "ab" * 20)
    with pytest.raises(UserError, match=f"git says that this checkout is at {by_git['revision']}; unset ADAN_REVISION"):
        provenance.code_of(checkout)


def test_git_variables_of_the_caller_do_not_mislead(checkout, tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    assert provenance.code_of(checkout)["revision"] is not None


def test_packages_and_hardware():
    assert provenance.packages()["torch"] == metadata.version("torch")
    hardware = provenance.hardware(["NVIDIA H200"])
    assert hardware["accelerator"] == ["NVIDIA H200"]
    assert hardware["cores"] >= 1 and hardware["memory_bytes"] > 2**28 and hardware["cpu"]


def test_folders_of_this_machine_are_left_out_and_nothing_else():
    config = {
        "data": {"root": "/home/ada/imagenet", "hub": "imagenet-1k", "cache": "~/cache", "name": "imagenet"},
        "overrides": ["exp=vit_small", "data.root=/home/ada/imagenet", "+data.cache='~/c'", "optim.lr=0.1"],
        "model": {"name": "a/b"},
    }
    assert provenance.without_local_paths(config) == {
        "data": {"root": "<local>", "hub": "imagenet-1k", "cache": "<local>", "name": "imagenet"},
        "overrides": ["exp=vit_small", "data.root=<local>", "+data.cache='<local>", "optim.lr=0.1"],
        "model": {"name": "a/b"},
    }


def test_this_room_imports_no_torch():
    modules = sorted(path.stem for path in (paths.ROOT / "experiments" / "record").glob("*.py"))
    script = f"""
import importlib, json, sys
for name in {modules}:
    importlib.import_module("experiments.record." + name)
print(json.dumps([name for name in ("torch", "wandb", "numpy") if name in sys.modules]))
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=paths.ROOT, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
