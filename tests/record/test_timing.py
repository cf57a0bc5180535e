from experiments.record.timing import Timing, read_lines, totals


def test_totals_add_up_over_restarts_and_count_work_done_twice(tmp_path):
    path = tmp_path / "timing.jsonl"
    first = Timing(path)
    assert first.totals() == {"wall_seconds": 0.0, "samples": 0, "samples_per_second": None, "restarts": 0}
    first.start(0)
    first.epoch(0, 2, 0.5, 100)
    first.epoch(1, 4, 0.5, 100)
    second = Timing(path)  # another process, from a checkpoint after epoch 0
    second.start(2)
    second.epoch(1, 4, 1.0, 100)
    totals = second.totals()
    assert (totals["samples"], totals["samples_per_second"], totals["restarts"]) == (300, 150.0, 1)


def test_wall_time_is_summed_over_processes():
    lines = ["start 0.1", "epoch 3.0", "restart 0.2", "epoch 4.0", "interrupted 5.0"]
    content = "\n".join(
        f'{{"kind":"{kind}","elapsed":{elapsed},"samples":10,"seconds":1.0}}' for kind, elapsed in map(str.split, lines)
    )
    assert totals(content.encode())["wall_seconds"] == 8.0


def test_a_torn_line_costs_only_itself(tmp_path):
    path = tmp_path / "timing.jsonl"
    Timing(path).start(0)
    path.write_bytes(path.read_bytes() + b'{"kind":"epo')
    Timing(path).epoch(1, 4, 2.0, 100)
    Timing(path).note("interrupted", update=4)
    assert [line["kind"] for line in read_lines(path.read_bytes())] == ["start", "epoch", "interrupted"]
    assert Timing(path).totals()["samples_per_second"] == 50.0


def test_it_says_which_code_ran_but_not_where(tmp_path):
    Timing(tmp_path / "timing.jsonl").start(0)
    (line,) = read_lines((tmp_path / "timing.jsonl").read_bytes())
    assert set(line) == {"kind", "at", "elapsed", "update", "code"}
    assert set(line["code"]) == {"revision", "diff_digest"}
