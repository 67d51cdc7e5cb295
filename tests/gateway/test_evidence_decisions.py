"""What the journal says of a fingerprint: every line, of every file, whatever became of the file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from filters.model import Reason
from gateway import seals
from gateway.evidence import decisions
from gateway.evidence.sections import _REASONS
from gateway.journal import Journal
from tests.gateway.test_journal import Clock
from tests.gateway.test_seals import compressed

ONE, OTHER = "a5702ed58dcad4c8659e3909", "b5702ed58dcad4c8659e3909"


def line(name: str, at: str, fingerprint: str = ONE) -> bytes:
    said = {"id": name, "at": at, "stream": None, "outcome": "block", "reason": "no_stream", "fingerprint": fingerprint}
    return json.dumps(said).encode() + b"\n"


def written(directory: Path, worker: int, *files: list[bytes]) -> list[Path]:
    clock = Clock()
    journal = Journal(directory, worker, clock=clock)
    for lines in files:
        assert journal.write(lines)
        journal.close()
        clock.now += 1
    return sorted(directory.glob(f"*-{worker}.ndjson"))


def names(found: decisions.Found) -> list[str]:
    return [one.id for one in found.decisions]


@pytest.mark.parametrize("octets", [1, 7, 90, 1 << 20], ids=str)
def test_all_files_of_all_workers_in_the_order_of_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, octets: int
) -> None:
    monkeypatch.setattr(seals, "BLOCK_OCTETS", octets)
    first, _ = written(tmp_path, 0, [line("a", "1"), line("b", "4"), line("x", "2", OTHER)], [line("c", "5")])
    written(tmp_path, 1, [line("y", "1", OTHER), line("d", "3")])
    compressed(first)
    found = decisions.find(tmp_path, [ONE])
    assert (names(found), found.left_out, found.unreadable) == (["a", "d", "b", "c"], 0, [])
    assert [(one.file, one.line) for one in found.decisions if one.id in "bd"] == [
        ("decisions-20251125T084000-1.ndjson", 2),
        (first.name, 2),
    ]
    assert names(decisions.find(tmp_path, [ONE, OTHER])) == ["a", "y", "x", "d", "b", "c"]
    assert found.decisions[0].stream == ""


def test_what_is_no_record_or_names_it_elsewhere_is_none(tmp_path: Path) -> None:
    cut = line("a", "1")[:-1] + b"\n"
    about = json.dumps({"id": ONE, "fingerprint": OTHER}).encode() + b"\n"
    written(tmp_path, 0, [cut[5:], about, f'"{ONE}"\n'.encode(), line("b", "2")])
    assert names(decisions.find(tmp_path, [ONE])) == ["b"]


def test_the_last_line_counts_without_its_end(tmp_path: Path) -> None:
    (path,) = written(tmp_path, 0, [line("a", "1")])
    path.write_bytes(path.read_bytes().rstrip(b"\n"))
    assert names(decisions.find(tmp_path, [ONE])) == ["a"]


def test_of_too_many_the_newest_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decisions, "EVIDENCE_DECISIONS_MAX", 2)
    written(tmp_path, 0, *([line(f"{place}", f"{place}")] for place in range(9)))
    found = decisions.find(tmp_path, [ONE])
    assert (names(found), found.left_out) == (["7", "8"], 7)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    gone, broken, _ = written(tmp_path, 0, [line("a", "1")], [line("b", "2")], [line("c", "3")])
    gone.unlink()
    packed = compressed(broken)
    packed.write_bytes(packed.read_bytes()[:20])
    found = decisions.find(tmp_path, [ONE])
    assert (names(found), found.unreadable) == (["c"], [gone.name, broken.name])


def test_every_reason_has_words() -> None:
    assert set(Reason) <= _REASONS.keys()
