"""The memory of mixed endings."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from gateway import limits
from gateway.smtp.delivered import Delivered

SENDER, PATH, CONTENT = b"a@example.test", b"b@example.test", b"Subject: x\r\n\r\nbody\r\n"


class Clock:
    now = 1_795_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def memory(tmp_path: Path, clock: Clock) -> Iterator[Delivered]:
    with closing(Delivered(tmp_path / "delivered.sqlite", clock)) as memory:
        yield memory


def test_it_holds_exactly_what_it_was_told(memory: Delivered) -> None:
    assert not memory.holds(SENDER, PATH, CONTENT)
    memory.remember(SENDER, [PATH, b"c@example.test"], CONTENT)
    assert memory.holds(SENDER, PATH, CONTENT)
    assert memory.holds(SENDER, b"c@example.test", CONTENT)
    assert not memory.holds(SENDER, b"d@example.test", CONTENT)
    assert not memory.holds(b"other@example.test", PATH, CONTENT)
    assert not memory.holds(SENDER, PATH, CONTENT + b"\r\n")
    assert not memory.holds(SENDER + PATH[:1], PATH[1:], CONTENT), "the border between sender and recipient counts"


def test_another_worker_sees_it_at_once(memory: Delivered, tmp_path: Path, clock: Clock) -> None:
    with closing(Delivered(tmp_path / "delivered.sqlite", clock)) as sibling:
        assert not sibling.holds(SENDER, PATH, CONTENT)
        memory.remember(SENDER, [PATH], CONTENT)
        assert sibling.holds(SENDER, PATH, CONTENT)


def test_it_forgets_after_the_clients_queue_would_have(memory: Delivered, clock: Clock, tmp_path: Path) -> None:
    memory.remember(SENDER, [PATH], CONTENT)
    clock.now += limits.SMTP_DELIVERED_KEEP_S - 1
    assert memory.holds(SENDER, PATH, CONTENT)
    clock.now += 1
    assert not memory.holds(SENDER, PATH, CONTENT)
    memory.remember(SENDER, [b"c@example.test"], CONTENT)
    with closing(sqlite3.connect(tmp_path / "delivered.sqlite")) as database:
        assert database.execute("SELECT count(*) FROM delivered").fetchone() == (1,)


def test_i7_it_is_bounded(memory: Delivered, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SMTP_DELIVERED_ROWS_MAX", 2)
    memory.remember(SENDER, [b"c@example.test", b"d@example.test"], CONTENT)
    with pytest.raises(sqlite3.Error):
        memory.remember(SENDER, [PATH], CONTENT)
    assert memory.holds(SENDER, b"c@example.test", CONTENT), "the newest is refused, nothing older is lost"


def test_i9_it_names_nobody(memory: Delivered, tmp_path: Path) -> None:
    memory.remember(SENDER, [PATH], CONTENT)
    files = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"example" not in files
    with closing(sqlite3.connect(tmp_path / "delivered.sqlite")) as database:
        ((hint, digest, _),) = database.execute("SELECT * FROM delivered").fetchall()
    assert 0 <= hint < 2**16, "too short to tell people apart"
    assert len(digest) == 16
