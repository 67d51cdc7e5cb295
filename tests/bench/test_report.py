"""The tables on the screen and in the file: no figure is cut short, and only what was measured is said."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

from rich.console import Console

from bench import report
from bench.measure import Row, Sample, Table, Verdict

TIMED = [Sample(2_000_000, 1.0, 0.5, 0.25, p50_s=0.002, p99_s=0.04), Sample(2_000_000, 1.0, 0.5, 0.25, 0.004, 0.05)]


def table(*samples: Sample) -> Table:
    rows = [Row(key, name, list(samples)) for key, name in (("haproxy", "HAProxy"), ("izinli", "a name of more words"))]
    return Table("smpp-100", "SMPP", "µs", rows, verdicts=[Verdict("at most", 2.0, 1.0)])


def shown(subject: Table) -> str:
    screen = StringIO()
    report.show(Console(width=80, file=screen), subject)
    return screen.getvalue()


def test_no_figure_is_cut_short_on_a_narrow_screen() -> None:
    text = shown(table(*TIMED))
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines() if "│" in line]
    assert cells[0] == ["HAProxy", "2,000,000", "0.25", "1", "3", "45"]
    assert max(map(len, text.splitlines())) <= 80
    assert "MISSED  at most: 2" in text


def test_without_timed_messages_there_are_no_columns_for_them() -> None:
    assert "p99" not in shown(table(Sample(10, 1.0, 0.5)))


def test_a_table_of_verdicts_alone() -> None:
    text = shown(Table("smpp-idle", "SMPP, idle binds", "µs", [], verdicts=[Verdict("MB", 1.5, 40.0)]))
    assert [line.strip() for line in text.splitlines() if line] == ["SMPP, idle binds", "met     MB: 1.5"]


def test_the_file_keeps_every_sample_and_what_was_timed(tmp_path: Path) -> None:
    path = report.write(tmp_path, [table(*TIMED), table(Sample(10, 1.0, 0.5))], load_before=0.25)
    timed, untimed = (one["rows"][0] for one in json.loads(path.read_text())["tables"])
    assert (timed["p50_s"], timed["p99_s"]) == (0.003, 0.045)
    assert [sample["p99_s"] for sample in timed["samples"]] == [0.04, 0.05]
    assert untimed["samples"] == [{"messages": 10, "seconds": 1.0, "cpu_s": 0.5, "helper_cpu_s": 0.0}]
    assert "p50_s" not in untimed
