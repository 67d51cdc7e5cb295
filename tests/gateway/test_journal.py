"""The journal on a real file system, also one that is full."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from gateway import limits
from gateway.journal import DAY_S, Journal


class Clock:
    """Seconds since 1970, moved by hand."""

    def __init__(self) -> None:
        self.now = 1_764_060_000.5

    def __call__(self) -> float:
        return self.now


def texts(directory: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(directory.glob("*.ndjson"))]


def test_lines_are_on_disk_when_write_returns(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal", 3, clock=Clock(), sync=True)
    assert journal.write([b"1\n", b"2\n"])
    assert journal.write([b"3\n"])
    (path,) = (tmp_path / "journal").glob("*.ndjson")
    assert path.read_bytes() == b"1\n2\n3\n"
    assert path.name == "decisions-20251125T084000-3.ndjson"
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_new_file_by_size_by_day_and_after_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "JOURNAL_FILE_OCTETS_MAX", 4)
    clock = Clock()
    journal = Journal(tmp_path, 0, clock=clock)
    for line in (b"aa\n", b"bb\n", b"cc\n"):
        assert journal.write([line])
    clock.now += DAY_S
    assert journal.write([b"dd\n"])
    assert Journal(tmp_path, 0, clock=clock).write([b"ee\n"]), "never appended to what another process wrote"
    assert sorted(texts(tmp_path)) == [b"aa\nbb\n", b"cc\n", b"dd\n", b"ee\n"]


def test_the_time_of_a_line(tmp_path: Path) -> None:
    assert Journal(tmp_path, 0, clock=Clock()).now() == b"2025-11-25T08:40:00.500Z"


def test_i8_a_full_disk_is_said_and_recovered_from(tmp_path: Path) -> None:
    """/dev/full is a real device that takes nothing."""
    clock = Clock()
    journal = Journal(tmp_path, 0, clock=clock)
    assert journal.write([b'{"n":1}\n'])
    kept = os.dup(journal._file)
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, journal._file)
    assert not journal.write([b'{"n":2}\n'])
    os.dup2(kept, journal._file)
    assert not journal.write([b'{"n":3}\n']), "not hammered"
    clock.now += limits.JOURNAL_RETRY_S
    assert journal.write([b'{"n":4}\n'])
    assert [json.loads(line)["n"] for line in texts(tmp_path)[0].splitlines()] == [1, 4]
    for descriptor in (kept, full):
        os.close(descriptor)


def test_a_line_that_was_cut_off_spoils_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    journal = Journal(tmp_path, 0, clock=clock)
    assert journal.write([b'{"n":1}\n'])
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, data: write(file, data[:3]))
    assert not journal.write([b'{"n":2}\n'])
    monkeypatch.setattr(os, "write", write)
    clock.now += limits.JOURNAL_RETRY_S
    assert journal.write([b'{"n":3}\n'])
    assert texts(tmp_path)[0] == b'{"n":1}\n{"n\n{"n":3}\n'


def test_a_directory_that_cannot_be_made_is_a_failed_write(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert not Journal(tmp_path / "file" / "journal", 0, clock=Clock()).write([b"x\n"])
