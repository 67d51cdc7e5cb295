"""Building the index anew: what happens meanwhile is in it, and a build that was cut short is gone on with."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from filters.layout import Family
from filters.model import RecipientType
from registry import publish
from registry.index.interface import Build, IndexDown, IndexState, IndexWriter
from registry.ledger import Ledger
from registry.publish import Publisher
from tests.registry.support import differences, is_member, may_be_sent, onay, record, ret, withdraw

TACIR = RecipientType.TACIR


def during(writer: IndexWriter, monkeypatch: pytest.MonkeyPatch, happens: Callable[[str], None]) -> None:
    """`happens(step)` is called after each "add", before and after "announce", and before "switch" of a build."""
    build = writer.build

    def interrupted(epoch: int, expected: tuple[int, int], cursor: int) -> Build:
        one = build(epoch, expected, cursor)
        add, announce, switch = one.add, one.announce, one.switch

        def adding(family: Family, fingerprints: Sequence[bytes]) -> None:
            add(family, fingerprints)
            happens("add")

        def announcing() -> None:
            happens("before announce")
            announce()
            happens("announced")

        def switching(cursor: int) -> IndexState:
            happens("switch")
            return switch(cursor)

        for name, step in (("add", adding), ("announce", announcing), ("switch", switching)):
            monkeypatch.setattr(one, name, step)
        return one

    monkeypatch.setattr(writer, "build", interrupted)


@pytest.mark.parametrize("moment", ["add", "before announce", "announced", "switch"])
def test_i5_a_withdrawal_during_a_build_is_in_both_epochs(
    sqlite_ledger: Ledger, writer: IndexWriter, publisher: Publisher, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    record(sqlite_ledger, *(onay(index) for index in range(20)))
    publisher.ensure()
    monkeypatch.setattr(publish, "BUILD_CHUNK_MEMBERS", 7)
    withdrawn: list[int] = []

    def happens(step: str) -> None:
        if step == moment:
            withdraw(sqlite_ledger, publisher, len(withdrawn))
            withdrawn.append(len(withdrawn))
            assert not any(may_be_sent(writer, sqlite_ledger, onay(index)) for index in withdrawn)

    during(writer, monkeypatch, happens)
    assert publisher.rebuild().epoch == 2
    assert withdrawn
    assert not any(may_be_sent(writer, sqlite_ledger, onay(index)) for index in withdrawn)
    publisher.tick()
    assert differences(writer, sqlite_ledger) == []


def test_a_build_catches_up_with_more_than_one_step(
    sqlite_ledger: Ledger, writer: IndexWriter, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(sqlite_ledger, onay(0))
    monkeypatch.setattr(publish, "TAIL_CHANGES_MAX", 10)
    rounds: Iterator[list[int]] = iter([list(range(1, 30)), list(range(30, 60)), []])

    def happens(step: str) -> None:
        if step != "switch" and (new := next(rounds, [])):
            record(sqlite_ledger, *(onay(index) for index in new))

    during(writer, monkeypatch, happens)
    assert publisher.rebuild().count == 60
    assert differences(writer, sqlite_ledger) == []


def test_a_long_build_keeps_the_epoch_level_that_is_being_read(
    sqlite_ledger: Ledger, writer: IndexWriter, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(sqlite_ledger, *(onay(index) for index in range(10)))
    publisher.ensure()
    record(sqlite_ledger, onay(10))
    monkeypatch.setattr(publish, "BUILD_CHUNK_MEMBERS", 5)
    monkeypatch.setattr(publish, "BEAT_SECONDS", 0.0)
    steps: list[tuple[int, int]] = []

    def progress(done: int, total: int) -> None:
        state = writer.state()
        assert state is not None
        assert state.epoch == 1
        steps.append((done, total))
        if len(steps) > 1:
            assert state.cursor == 11

    assert publisher.rebuild(progress).epoch == 2
    assert steps == [(5, 11), (10, 11), (11, 11)]


def test_a_build_that_is_cut_short_leaves_the_index_as_it_was_and_is_gone_on_with(
    sqlite_ledger: Ledger, writer: IndexWriter, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(sqlite_ledger, *(onay(index) for index in range(10)), ret(20, kind=TACIR))
    publisher.ensure()
    monkeypatch.setattr(publish, "BUILD_CHUNK_MEMBERS", 4)

    def stopping(done: int, _total: int) -> None:
        if done == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        publisher.rebuild(stopping)
    assert is_member(writer, sqlite_ledger, onay(1))
    withdraw(sqlite_ledger, publisher, 1)
    seen: list[tuple[int, int]] = []
    state = publisher.rebuild(lambda done, total: seen.append((done, total)))
    assert state.epoch == 2
    assert seen[0][0] > 8  # it did not begin at nought
    assert not may_be_sent(writer, sqlite_ledger, onay(1))
    publisher.tick()
    assert differences(writer, sqlite_ledger) == []


def test_a_build_can_be_begun_anew(sqlite_ledger: Ledger, writer: IndexWriter, publisher: Publisher) -> None:
    record(sqlite_ledger, onay(1))
    publisher.ensure()

    def stopping(_done: int, _total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        publisher.rebuild(stopping)
    assert publisher.rebuild(anew=True).epoch == 3
    assert differences(writer, sqlite_ledger) == []


def test_i5_a_lost_answer_to_a_switch_does_not_empty_the_index(
    sqlite_ledger: Ledger, writer: IndexWriter, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a switch of which nobody knows whether it went through, the build must not be abandoned."""
    record(sqlite_ledger, onay(1), ret(2, kind=TACIR))
    build = writer.build

    def building(epoch: int, expected: tuple[int, int], cursor: int) -> Build:
        one = build(epoch, expected, cursor)
        switch = one.switch

        def lost(cursor: int) -> IndexState:
            switch(cursor)
            raise IndexDown("the answer was lost")

        monkeypatch.setattr(one, "switch", lost)
        return one

    monkeypatch.setattr(writer, "build", building)
    with pytest.raises(IndexDown):
        publisher.rebuild()
    assert differences(writer, sqlite_ledger) == []


KILLED = """
import sys, time
from pathlib import Path
from registry import publish, publisher_loop
from registry.service import open_registry
from tests.registry.support import settings
publish.BUILD_CHUNK_MEMBERS = 10
def progress(done, total):
    print("building", flush=True)
    time.sleep(3600)
with open_registry(settings(Path(sys.argv[1]), sys.argv[2])) as registry:
    registry.publisher.rebuild(progress)
"""


def test_a_publisher_that_is_killed_in_a_build_harms_nothing(
    tmp_path: Path, index_url: str, sqlite_ledger: Ledger, writer: IndexWriter, publisher: Publisher
) -> None:
    record(sqlite_ledger, *(onay(index) for index in range(50)), ret(1, "2026-01-02 00:00:00"))
    publisher.ensure()
    command = [sys.executable, "-c", KILLED, str(tmp_path / "data"), index_url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "building\n"
        process.kill()
    assert differences(writer, sqlite_ledger) == []
    withdraw(sqlite_ledger, publisher, 7)
    assert publisher.ensure().epoch == 2
    publisher.tick()
    assert differences(writer, sqlite_ledger) == []
