"""Rejections that the national system would not take are refused with its codes, and honoured (I5)."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from filters.model import Channel, RecipientType, Status
from registry.index.embedded import SqliteIndexWriter
from registry.index.interface import IndexDown
from registry.ledger import Ledger
from registry.national.standing import API, REFUSED_FIRST, REFUSED_LATE
from registry.national.tables import api_audit
from registry.rules import Move
from registry.schema import consent_event
from tests.registry.national.support import BRAND, CLIENT, V2, B, Served, codes
from tests.registry.support import differences, may_be_sent

RET = {"status": "RET", "consentDate": "2026-03-04 09:30:00"}
LATE = {"status": "RET", "consentDate": "2026-02-20 10:00:00"}
TACIR = RecipientType.TACIR


def about(kind: RecipientType = RecipientType.BIREYSEL, recipient: bytes = b"+905321112233") -> Move:
    return Move(BRAND, Channel.MESAJ, recipient, kind, Status.ONAY, "HS_WEB", "")


def events(ledger: Ledger) -> list[tuple[str, str]]:
    """(status, origin) of the log."""
    query = select(consent_event.c.status, consent_event.c.origin).order_by(consent_event.c.seq)
    with ledger.engine.connect() as connection:
        return [(row[0], row[1]) for row in connection.execute(query)]


FIRST: dict[str, tuple[dict[str, Any], str]] = {
    "A7": (RET, "H175"),
    "A8": ({**RET, "source": "HS_KARAR"}, "H486"),
    "undated": ({"status": "RET", "source": None, "consentDate": None}, "H175"),
    "late": (LATE, "H467"),
}


@pytest.mark.parametrize(("fields", "code"), FIRST.values(), ids=FIRST.keys())
async def test_i5_a_first_ret_is_refused_and_nothing_passes(
    api: Served, sqlite_ledger: Ledger, embedded: SqliteIndexWriter, fields: dict[str, Any], code: str
) -> None:
    """A merchant could be addressed until we know better."""
    assert may_be_sent(embedded, sqlite_ledger, about(TACIR))
    for path in (f"{B}/consents", V2, V2):
        answer = await api.add(path=path, recipientType="TACIR", **fields)
        assert (answer.status_code, codes(answer)) == (422 if code == "H467" else 400, [code])
        assert not may_be_sent(embedded, sqlite_ledger, about(TACIR))
    assert events(sqlite_ledger) == [("RET", REFUSED_FIRST)]
    assert (await api.status(recipientType="TACIR")).json()["status"] == "RET"


async def test_an_onay_after_it_is_a_first_record(
    api: Served, sqlite_ledger: Ledger, embedded: SqliteIndexWriter
) -> None:
    await api.add(**RET)
    older = await api.add()
    assert codes(older) == ["H178"]
    assert not may_be_sent(embedded, sqlite_ledger, about())
    assert (await api.add(consentDate="2026-03-04 09:45:00")).status_code == 200
    assert may_be_sent(embedded, sqlite_ledger, about())
    assert events(sqlite_ledger) == [("RET", REFUSED_FIRST), ("ONAY", API)]


async def test_i5_a_ret_that_comes_late_is_refused_and_nothing_passes(
    api: Served, sqlite_ledger: Ledger, embedded: SqliteIndexWriter
) -> None:
    await api.add(source="HS_2015", consentDate="2015-05-01 00:00:00")
    answer = await api.add(**LATE)
    assert (answer.status_code, codes(answer)) == (422, ["H467"])
    assert not may_be_sent(embedded, sqlite_ledger, about())
    assert events(sqlite_ledger)[1:] == [("RET", REFUSED_LATE)]
    # the national system still has the ONAY, so it takes a RET that is in time
    assert (await api.add(**RET)).status_code == 200
    assert codes(await api.add(**RET | {"consentDate": "2026-03-04 09:40:00"})) == ["H174"]
    assert not may_be_sent(embedded, sqlite_ledger, about())


async def test_a_late_ret_before_the_onay_that_stands_changes_nothing(
    api: Served, sqlite_ledger: Ledger, embedded: SqliteIndexWriter
) -> None:
    await api.add()
    assert codes(await api.add(**LATE)) == ["H467"]
    assert may_be_sent(embedded, sqlite_ledger, about())
    assert events(sqlite_ledger) == [("ONAY", API)]


async def test_a_late_onay_is_only_refused(api: Served, sqlite_ledger: Ledger) -> None:
    assert codes(await api.add(consentDate="2026-02-20 10:00:00")) == ["H467"]
    assert sqlite_ledger.head() == 0


async def test_every_change_stands_in_the_audit_without_addresses(api: Served, sqlite_ledger: Ledger) -> None:
    await api.add()
    await api.add()
    await api.add(**RET)
    await api.add(recipient="+905331112233", **RET)
    with sqlite_ledger.engine.connect() as connection:
        rows = connection.execute(select(api_audit).order_by(api_audit.c.id)).all()
    changes = [row for row in rows if row.action.startswith("consent")]
    assert [(row.action, row.event) for row in changes] == [("consent", 1), ("consent", 2), ("consent-refused", 3)]
    assert {(row.client, row.brand, row.at) for row in changes} == {(CLIENT, BRAND, "2026-03-04T07:00:00Z")}
    assert "+905" not in str(rows)


# faults: what was not done is not claimed


async def test_i5_without_the_index_a_ret_is_not_acknowledged_and_an_onay_is(
    api: Served, sqlite_ledger: Ledger, embedded: SqliteIndexWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(_facts: object) -> None:
        raise IndexDown("it does not answer")

    await api.add(recipientType="TACIR")
    await api.add()
    with monkeypatch.context() as broken:
        broken.setattr(embedded, "put", down)
        for _ in range(2):
            answer = await api.add(**RET)
            assert (answer.status_code, codes(answer)) == (503, ["H192"])
            assert int(answer.headers["retry-after"]) > 0
        assert (await api.add(recipient="+905331112233")).status_code == 200
    assert may_be_sent(embedded, sqlite_ledger, about())
    again = await api.add(**RET)  # it is in the ledger by now, and published again before that is said
    assert codes(again) == ["H174"]
    assert not may_be_sent(embedded, sqlite_ledger, about())
    assert not may_be_sent(embedded, sqlite_ledger, about(recipient=b"+905331112233"))
    api.api.publisher.tick()
    assert differences(embedded, sqlite_ledger) == []
