"""The reported numbers as data: complete, unique, each with a source."""

from __future__ import annotations

import pytest
from config_files import REPORTED, folder

FILES = {name: tree for name, tree in folder("results", "reported").items() if "records" in tree}


def test_no_record_is_lost_and_no_id_used_twice():
    records = [record for tree in FILES.values() for record in tree["records"]]
    assert len(records) == len(REPORTED) == 744


@pytest.mark.parametrize("name", FILES)
def test_every_record_has_a_source_and_lies_in_the_file_of_its_table(name):
    tree = FILES[name]
    assert {"meta", "disagreements", "records"} <= set(tree)
    assert tree["meta"]["arxiv"] == "2208.06677"
    for record in tree["records"]:
        assert record["table"].lower().replace("-", "_") == name
        assert record["id"].startswith(f"{record['table']}-")
        assert record["source"] and all(isinstance(source, str) and source for source in record["source"])
        assert record["status"]


@pytest.mark.parametrize("name", FILES)
def test_a_number_says_who_measured_it_and_which_way_is_better(name):
    for record in FILES[name]["records"]:
        if "value" in record:
            assert isinstance(record["value"], int | float)
            assert record["provenance"]
            assert record["direction"] in ("min", "max")
        else:
            assert record["status"] != "established"


@pytest.mark.parametrize(
    ("record", "value"),
    [("T2-036", 81.8), ("T3-001", 70.6), ("T4-004", 80.7), ("T4-008", 82.5), ("T7-012", 80.2)],
)
def test_known_numbers(record, value):
    """A few cells as the article of 2022-10-31 prints them."""
    assert REPORTED[record]["value"] == value
