"""The reported numbers as data: complete, unique, each with a source."""

from __future__ import annotations

import pytest
import yaml
from config_files import REPORTED, ROOT, TABLES, folder

COLLECTED = ROOT.parent / "shared" / "paper" / "reported.yaml"
FILES = {name: tree for name, tree in folder("results", "reported").items() if "records" in tree}


def test_no_record_is_lost_and_no_id_used_twice():
    records = [record for tree in FILES.values() for record in tree["records"]]
    assert len(records) == len(REPORTED) == 785


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


@pytest.mark.parametrize(
    ("record", "metric", "value", "unit"),
    [
        ("FASTAI-CIFAR10-text-005", "share of runs with top1 over 94", 5.0, "%"),
        ("FASTAI-CIFAR10-text-006", "share of runs with top1 over 94", 50.0, "%"),
        ("FASTAI-CIFAR10-text-007", "epochs to top1 of 94", 100, "epochs"),
        ("FASTAI-CARS-009", "epochs to top1 of 90", 60, "epochs"),
        ("FASTAI-CARS-010", "epochs to top1 of 90", 600, "epochs"),
        ("FASTAI-AWDLSTM-017", "epochs of training", 90, "epochs"),
        ("FASTAI-AWDLSTM-018", "epochs of training", 750, "epochs"),
        ("FASTAI-QRNN-017", "epochs of training", 90, "epochs"),
        ("FASTAI-QRNN-018", "epochs of training", 500, "epochs"),
    ],
)
def test_numbers_of_fast_ais_prose(record, metric, value, unit):
    found = REPORTED[record]
    assert (found["metric"], found["value"], found["unit"]) == (metric, value, unit)
    assert found["source"] == ["fastai-2018 body"]


def test_figure_4_of_adabelief_on_cifar100_is_told_as_read_by_eye():
    """Three networks by nine optimizers; SGD ends below AdaBelief and peaks beside it."""
    read = [record for record in FILES["adabelief_cifar100"]["records"] if "value" in record]
    assert len({(record["model"], record["optimizer"]) for record in read}) == len(read) == 27
    assert all("by eye" in record["note"] for record in read)
    [sgd] = [record for record in read if (record["model"], record["optimizer"]) == ("DenseNet121", "sgd")]
    assert sgd["value"] == 74.0 and "78.5" in sgd["note"]


def test_instant_ngp_has_numbers_and_no_recipe():
    records = FILES["instant_ngp"]["records"]
    assert [(record["optimizer"], record["value"]) for record in records] == [
        ("Adam", 36.41),
        ("Adan", 36.8),
        ("Adan", 36.4),
        ("Adam", 36.39),
    ]
    assert {record["status"] for record in records} == {"no recipe here"}
    cells = [cell for table in TABLES.values() for cell in table.get("cells", [])]
    assert not {record["id"] for record in records} & {cell.get("reported") for cell in cells}


def test_every_table_and_figure_of_the_paper_with_numbers_has_a_file():
    assert {*(f"t{number}" for number in range(2, 13)), "f1", "f2", "f3"} <= set(FILES)


def test_the_fid_that_adabeliefs_article_quotes_is_cited():
    """The article says "below 13 FID"."""
    record = REPORTED["ADABELIEF-SNGAN-001"]
    assert record["value"] == 12.52 < 13 and any("adabelief-article-2020" in source for source in record["source"])


@pytest.mark.skipif(not COLLECTED.is_file(), reason="the collection that the records were made from is not here")
def test_every_collected_number_is_here_and_equal():
    collected = yaml.load(COLLECTED.read_text(), Loader=yaml.CSafeLoader)["records"]
    assert len(collected) == 744
    for wanted in collected:
        found = REPORTED[wanted["id"]]
        assert set(wanted["source"]) <= set(found["source"])
        # `metric` and `runs` are this suite's words for what the collection says in sentences.
        assert str(found.get("runs", "")) in str(wanted), wanted["id"]
        ours = {key: found[key] for key in ("metric", "source", "runs") if key in found}
        assert found == {**wanted, **ours}, wanted["id"]
