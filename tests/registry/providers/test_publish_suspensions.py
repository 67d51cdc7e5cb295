"""What operators decide reaches the index: at once, with each beat, after each loss, and never backwards."""

from __future__ import annotations

from pathlib import Path

import pytest

from filters.layout import Suspended
from registry import publish
from registry.index.interface import IndexDown, IndexUnusable, IndexWriter
from registry.ledger import Ledger
from registry.providers.states import Action
from registry.providers.suspensions import suspensions
from registry.publish import Publisher
from tests.registry.providers.support import Office
from tests.registry.test_publish import empty

BRANDS = frozenset({900_000, 900_001})


@pytest.fixture
def told(writer: IndexWriter, monkeypatch: pytest.MonkeyPatch) -> list[Suspended]:
    """What the index was told and took, in its order."""
    taken: list[Suspended] = []
    suspend = writer.suspend

    def noting(suspended: Suspended, *, over: int = -1) -> int:
        stands = suspend(suspended, over=over)
        if stands == suspended.version:
            taken.append(suspended)
        return stands

    monkeypatch.setattr(writer, "suspend", noting)
    return taken


def suspend(ledger: Ledger) -> Suspended:
    office = Office(ledger.engine)
    office.providers.change(office.approved(), Action.SUSPEND, office.clock(), "user ayse", "spam")
    return suspensions(ledger.engine)


def test_an_index_that_is_not_built_takes_none(publisher: Publisher, writer: IndexWriter) -> None:
    with pytest.raises(IndexUnusable):
        writer.suspend(Suspended())
    with pytest.raises(IndexDown, match="built first"):
        publisher.publish_suspensions()


def test_each_way_of_the_publisher_tells_them(
    sqlite_ledger: Ledger,
    publisher: Publisher,
    told: list[Suspended],
    index_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(publish, "BEAT_SECONDS", 0.0)
    publisher.ensure()
    assert set(told) == {Suspended()}
    now = suspend(sqlite_ledger)
    assert now.brands == BRANDS
    publisher.tick()
    assert told[-1] == now, "the service has it with the next beat, whoever decided"
    told.clear()
    publisher.publish_suspensions()
    assert told == [now]
    empty(index_url, tmp_path / "data")
    told.clear()
    publisher.tick()
    assert told[-1] == now, "an index that was emptied is told anew"


def test_an_older_copy_of_the_ledger_is_followed_where_it_is_the_ledger_now(
    sqlite_ledger: Ledger, publisher: Publisher, writer: IndexWriter, told: list[Suspended]
) -> None:
    publisher.ensure()
    writer.suspend(Suspended(7, BRANDS))  # what was decided after the copy was made
    publisher.publish_suspensions()
    assert told[-1] == Suspended()


def test_what_another_publisher_knows_better_is_left_alone(
    sqlite_ledger: Ledger, publisher: Publisher, writer: IndexWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher.ensure()
    before = suspensions(sqlite_ledger.engine)
    now = suspend(sqlite_ledger)
    assert writer.suspend(now) == now.version
    read = iter([before, now])
    monkeypatch.setattr(publish, "suspensions", lambda _engine: next(read))
    publisher.publish_suspensions()
    assert writer.suspend(before) == now.version
