"""Bundles: what was packed is read back in place, what was tampered with is refused, nothing leaves its place."""

from __future__ import annotations

import io
import json
import lzma
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from sealed_runs import seal_at, train

from experiments.record import bundles, sharing
from experiments.record.bundles import BadBundle
from experiments.record.canonical import sha256
from experiments.record.published import Published, published
from experiments.record.publishing import publish
from experiments.record.verify import verify, verify_files
from experiments.schema import paths
from experiments.schema.errors import UserError
from experiments.verdict import records as of_record


@pytest.fixture
def three(new_run, results):
    """Three published runs, as folders."""
    for seed in (0, 1, 2):
        directory = new_run(seed=seed)
        train(directory)
        seal_at(directory)
        publish(directory)
    return [one for one in published() if one.folder]


@pytest.fixture
def bundle(three, tmp_path) -> Path:
    return sharing.pack("three", three, tmp_path)


def tampered(bundle: Path, change) -> Path:
    """A bundle whose members are what `change` makes of a list of (TarInfo, bytes)."""
    with tarfile.open(bundle) as tar:
        members = [(member, tar.extractfile(member).read()) for member in tar]
    path = bundle.parent / "tampered.tar.xz"
    with tarfile.open(path, "w:xz") as tar:
        for member, data in change(members):
            if member.isreg():
                member.size = len(data)
            tar.addfile(member, io.BytesIO(data) if member.isreg() else None)
    return path


def renamed(members, position, **fields):
    for key, value in fields.items():
        setattr(members[position][0], key, value)
    return members


def with_manifest(members, change):
    manifest = json.loads(members[0][1])
    change(manifest["runs"])
    return [(members[0][0], json.dumps(manifest).encode()), *members[1:]]


def forged(members, file, old, new):
    """Records changed together with the manifest: only `verify` can tell."""
    out, digests = [], {}
    for member, data in members[1:]:
        if member.name.endswith(file):
            assert old in data
            data = data.replace(old, new)
            digests[member.name] = [len(data), sha256(data)]
        out.append((member, data))
    manifest = json.loads(members[0][1])
    for name, entry in digests.items():
        run, _, file_name = name.partition("/")
        manifest["runs"][run][file_name] = entry
    return [(members[0][0], json.dumps(manifest).encode()), *out]


def test_what_was_packed_is_read_back_in_place_and_equal_records_make_equal_bytes(bundle, three, tmp_path):
    assert {run: files[bundles.RECORD] for run, files in bundles.files_of(bundle).items()} == bundles.records_of(bundle)
    for one in three:
        held = Published(one.name, bundle=bundle)
        assert held.record() == one.record() and held.read("events.jsonl") == one.read("events.jsonl")
        assert verify_files(held.read) == []
    again = sharing.pack("again", three[::-1], tmp_path)
    assert again.read_bytes() == bundle.read_bytes()


def test_records_come_out_the_same_from_folders_and_from_bundles(three, results):
    before = of_record.sealed_records()
    evaluations = [of_record.evaluations(record) for record in before]
    path = sharing.pack("three", three, bundles.folder())
    assert of_record.sealed_records() == before  # equal ones count once
    sharing.remove_folders(three, path)
    assert list((results / "records").iterdir()) == []
    assert of_record.sealed_records() == before
    assert [of_record.evaluations(record) for record in before] == evaluations


def test_a_folder_with_something_that_the_bundle_has_not_is_not_removed(three, tmp_path):
    path = sharing.pack("two", three[:2], tmp_path)
    (three[0].folder / "record.partial-4.json").write_text("{}")
    sharing.remove_folders(three, path)
    assert [one.folder.exists() for one in three] == [True, False, True]


def test_a_run_whose_record_a_bundle_holds_is_not_copied_again(three, runs, results):
    path = sharing.pack("three", three, bundles.folder())
    sharing.remove_folders(three, path)
    from experiments.record.run_directory import RunDirectory

    assert publish(RunDirectory(runs / three[0].name)).folder is None
    assert list((results / "records").iterdir()) == []


def test_a_record_that_does_not_verify_is_not_packed(three, tmp_path):
    events = three[1].folder / "events.jsonl"
    events.write_bytes(events.read_bytes().replace(b'"top1":89', b'"top1":99'))
    with pytest.raises(UserError, match=r"record.json does not verify, so nothing was packed: events.jsonl"):
        sharing.pack("three", three, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_name_that_is_taken_by_other_records_is_refused(bundle, three, tmp_path):
    assert sharing.pack("three", three, tmp_path) == bundle
    before = bundle.read_bytes()
    with pytest.raises(UserError, match=r"three.tar.xz is there and holds other records"):
        sharing.pack("three", three[:1], tmp_path)
    assert bundle.read_bytes() == before


LINK, DEVICE, FOLDER, HARD = tarfile.SYMTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE, tarfile.LNKTYPE
TAMPERED = {
    "a way out": (lambda m: renamed(m, 1, name="../outside/record.json"), "is not in the manifest"),
    "an absolute path": (lambda m: renamed(m, 1, name="/tmp/record.json"), "is not in the manifest"),
    "a symlink": (lambda m: renamed(m, 1, type=LINK, linkname="/etc/passwd", size=0), "is no plain file"),
    "a hard link": (lambda m: renamed(m, 2, type=HARD, linkname=m[1][0].name, size=0), "is no plain file"),
    "a device": (lambda m: renamed(m, 1, type=DEVICE, size=0), "is no plain file"),
    "a folder": (lambda m: renamed(m, 1, type=FOLDER, size=0), "is no plain file"),
    "no manifest": (lambda m: m[1:], "stands before manifest.json"),
    "a manifest that is none": (lambda m: [(m[0][0], b"[]"), *m[1:]], "cannot be read"),
    "the same file twice": (lambda m: [*m[:2], *m[1:]], "not in the manifest, or there twice"),
    "one file less": (lambda m: m[:-1], "timing.jsonl is missing"),
    "one byte flipped": (lambda m: [*m[:-1], (m[-1][0], m[-1][1][:-2] + b"?\n")], "was altered: its digest is another"),
    "one byte more": (lambda m: [*m[:-1], (m[-1][0], m[-1][1] + b"\n")], "bytes, not"),
    "a name with a slash": (
        lambda m: with_manifest(m, lambda runs: runs.update({"a/b": {"record.json": [0, ""]}})),
        "'a/b' is no name for a run",
    ),
    "a name of dots": (
        lambda m: with_manifest(m, lambda runs: runs.update({"..": {"record.json": [0, ""]}})),
        "'..' is no name for a run",
    ),
    "a run without a record": (lambda m: with_manifest(m, lambda runs: runs.update({"r": {}})), "r has no record.json"),
    "a size beyond all": (
        lambda m: with_manifest(m, lambda runs: runs.update({"r": {"record.json": [2**40, ""]}})),
        "a file is too large",
    ),
    "too many files": (
        lambda m: with_manifest(
            m, lambda runs: runs.update({"r": {"record.json": [0, ""], **{f"f{i}": [0, ""] for i in range(100_001)}}})
        ),
        "files are more than 100,000",
    ),
    "another version": (
        lambda m: [(m[0][0], m[0][1].replace(b'"bundle_version": 1', b'"bundle_version": 9')), *m[1:]],
        "bundles of version 1",
    ),
    "a record that was changed": (
        lambda m: forged(m, "record.json", b'"last": 89.0', b'"last": 99.0'),
        "altered",
    ),
    "events that were changed": (lambda m: forged(m, "events.jsonl", b'"top1":89', b'"top1":99'), "events.jsonl"),
}


@pytest.mark.parametrize("kind", TAMPERED)
def test_a_tampered_bundle_is_refused_with_the_reason_and_nothing_is_written(kind, bundle, tmp_path, results):
    change, reason = TAMPERED[kind]
    path = tampered(bundle, change)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(BadBundle, match=reason):
        sharing.accept(path)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_truncated_bundle_and_one_with_a_tail_are_refused(bundle, tmp_path):
    for name, content in (("cut", bundle.read_bytes()[:-400]), ("tail", bundle.read_bytes() + b"more")):
        path = tmp_path / f"{name}.tar.xz"
        path.write_bytes(content)
        with pytest.raises(BadBundle, match=rf"{name}.tar.xz cannot be read"):
            sharing.accept(path)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc to know a process's peak")
def test_what_unpacks_to_more_than_a_bundle_may_is_refused_before_it_is_in_memory(tmp_path):
    path = tmp_path / "bomb.tar.xz"
    head = tarfile.TarInfo("manifest.json")
    head.size, head.type = 2**34, tarfile.XHDTYPE  # a header that claims sixteen gibibytes
    with lzma.open(path, "wb", preset=0) as file:
        file.write(head.tobuf(tarfile.GNU_FORMAT))
        for _ in range(10):
            file.write(bytes(2**26))
    # Not getrusage: a child begins with the peak of the process that it was forked from.
    code = (
        "import sys; from pathlib import Path; from experiments.record import bundles\n"
        "try:\n    bundles.files_of(Path(sys.argv[1]))\n"
        "except bundles.BadBundle as error:\n    print(error)\n"
        "print(Path('/proc/self/status').read_text().partition('VmHWM:')[2].split()[0])"
    )
    found = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, cwd=paths.ROOT)
    said, kilobytes = found.stdout.splitlines()
    assert "is an extended header, which no bundle has" in said
    assert int(kilobytes) < 600_000


def command(*arguments, results) -> subprocess.CompletedProcess:
    environment = {"PATH": "/usr/bin:/bin", "ADAN_RESULTS": str(results), "HOME": str(results)}
    words = [sys.executable, str(paths.ROOT / "scripts" / arguments[0]), *map(str, arguments[1:])]
    return subprocess.run(words, capture_output=True, text=True, env=environment)


def test_a_bundle_goes_from_one_results_folder_to_another_by_commands(three, results, tmp_path):
    made = command("publish.py", "pack", "three", results / "records", "--move", results=results)
    assert made.returncode == 0 and "three.tar.xz: 3 runs" in made.stdout
    assert list((results / "records").iterdir()) == []
    checked = command("verify.py", results / "bundles" / "three.tar.xz", results=results)
    assert checked.returncode == 0 and "3 checked, 0 bad" in checked.stdout
    other = tmp_path / "other"
    accepted = command("publish.py", "accept", results / "bundles" / "three.tar.xz", results=other)
    assert accepted.returncode == 0 and "all 3 records verify" in accepted.stdout
    unpacked = command("publish.py", "unpack", "three", "--into", tmp_path / "again", results=other)
    folders = [Path(line) for line in unpacked.stdout.splitlines()]
    assert len(folders) == 3 and all(verify(folder) == [] for folder in folders)
    mistyped = command("publish.py", "unpack", "thre", "--into", tmp_path / "again", results=other)
    assert (mistyped.returncode, mistyped.stderr) == (2, "error: thre: no such file or bundle; did you mean 'three'?\n")


def test_verify_names_a_bundle_that_is_none(results):
    (results / "bundles").mkdir(parents=True)
    (results / "bundles" / "broken.tar.xz").write_bytes(b"not xz")
    (results / "records").mkdir()
    found = command("verify.py", results / "bundles" / "broken.tar.xz", results=results)
    assert found.returncode == 1 and "broken.tar.xz cannot be read" in found.stdout
    with pytest.raises(BadBundle, match=r"broken.tar.xz cannot be read"):
        of_record.sealed_records()
