"""Comparing the index with the ledger names what differs, and mending it changes nothing else."""

from __future__ import annotations

import pytest

from filters.layout import Family, lane_of
from filters.model import RecipientType
from registry.index.interface import Change, Facts, IndexUnusable, IndexWriter
from registry.ledger import Ledger
from registry.publish import Publisher
from registry.verify import repair, verify
from tests.registry.support import differences, fingerprint, is_member, onay, record, ret

TACIR = RecipientType.TACIR


def test_an_index_that_is_level_is_equal(sqlite_ledger: Ledger, writer: IndexWriter, publisher: Publisher) -> None:
    record(sqlite_ledger, *(onay(index) for index in range(50)), *(ret(index, kind=TACIR) for index in range(7)))
    publisher.ensure()
    lanes: list[tuple[int, int]] = []
    found = verify(sqlite_ledger, writer, lambda done, total: lanes.append((done, total)))
    assert (found.equal, found.ledger_members, found.index_members, found.counted) == (True, 57, 57, 57)
    assert lanes[-1] == (2048, 2048)


def test_what_differs_is_named_and_mended(sqlite_ledger: Ledger, writer: IndexWriter, publisher: Publisher) -> None:
    record(sqlite_ledger, *(onay(index) for index in range(50)), ret(60, kind=TACIR), ret(70))
    state = publisher.ensure()
    missing, merchant = fingerprint(sqlite_ledger, onay(3)), fingerprint(sqlite_ledger, ret(60))
    stranger, refused = bytes(range(12)), fingerprint(sqlite_ledger, ret(70))
    wrong = [
        Change(Family.BIREYSEL, missing, False),
        Change(Family.BIREYSEL, stranger, True),
        Change(Family.BIREYSEL, refused, True),
        Change(Family.TACIR, merchant, False),
    ]
    assert writer.put(Facts(state.cursor, wrong)) == []
    found = verify(sqlite_ledger, writer, tries=1)
    assert not found.equal
    assert (found.missing, found.surplus) == (2, 2)
    by_lane = {(one.family, one.lane): one for one in found.differences}
    lane = lane_of(int.from_bytes(missing[:4]))
    named = by_lane[Family.BIREYSEL, lane]
    assert named.missing == (missing,)
    assert named.ledger.checksum != named.index.checksum
    assert int(named.range[:8], 16) <= int.from_bytes(missing[:4]) <= int(named.range[9:], 16)
    assert (Family.TACIR, lane_of(int.from_bytes(merchant[:4]))) in by_lane

    repair(publisher, found.differences)
    assert differences(writer, sqlite_ledger) == []
    assert is_member(writer, sqlite_ledger, onay(3))
    assert writer.contains(Family.BIREYSEL, [stranger, refused]) == [False, False]


def test_mending_believes_what_the_ledger_says_by_then(
    sqlite_ledger: Ledger, writer: IndexWriter, publisher: Publisher
) -> None:
    record(sqlite_ledger, onay(1))
    publisher.ensure()
    late = Change(Family.BIREYSEL, fingerprint(sqlite_ledger, onay(1)), False)
    writer.put(Facts(1, [late]))
    found = verify(sqlite_ledger, writer, tries=1)
    record(sqlite_ledger, ret(1, "2026-02-01 00:00:00"))
    repair(publisher, found.differences)
    assert not is_member(writer, sqlite_ledger, onay(1))


def test_what_is_recorded_meanwhile_is_no_difference(
    sqlite_ledger: Ledger, writer: IndexWriter, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(sqlite_ledger, onay(1))
    publisher.ensure()
    record(sqlite_ledger, onay(2))
    monkeypatch.setattr("registry.verify.time.sleep", lambda _seconds: publisher.tick())
    assert verify(sqlite_ledger, writer).equal


def test_an_index_that_is_not_there_cannot_be_compared(sqlite_ledger: Ledger, writer: IndexWriter) -> None:
    record(sqlite_ledger, onay(1))
    with pytest.raises(IndexUnusable):
        verify(sqlite_ledger, writer)
