"""Looking a recipient up, and the refusal of a caller."""

from __future__ import annotations

import re

import pytest

from filters.model import RecipientType, Status
from registry.admins.store import Role
from registry.evidence import history
from registry.index.interface import IndexDown
from registry.limits import ADMIN_EVENTS_MAX
from registry.national.moves import Side, made_by, rows_of
from tests.registry.admins.support import AUDITOR, Rooms, audit_of
from tests.registry.support import BRAND, fingerprint, fold, is_member, number, onay, record, ret

WHO = {"brand": str(BRAND), "channel": "MESAJ", "recipient": " 0555 000 00 01 "}


async def test_a_look_up_shows_the_ledger_and_is_written_down_without_the_address(rooms: Rooms) -> None:
    record(rooms.ledger, onay(1))
    record(rooms.ledger, ret(1, "2026-01-02 00:00:00"))
    browser = await rooms.logged_in(AUDITOR, Role.AUDITOR)
    answer = await browser.post("/consents", **WHO)
    assert answer.status_code == 200
    assert str(answer.url).endswith("/consents"), "no address in a URL"
    for shown in (number(1).decode(), "<strong>RET</strong>, by event 2", "2026-01-01 00:00:00", "HS_WEB"):
        assert shown in answer.text
    assert 'id="refuse"' not in answer.text, "auditors read"
    keyed = fingerprint(rooms.ledger, onay(1)).hex()
    assert audit_of(rooms.ledger.engine)[-1] == ("admin:mehmet", "look-up", f"brand {BRAND} MESAJ", keyed)
    page = (await browser.get("/audit")).text
    assert keyed in page
    assert number(1).decode() not in page
    assert "05550000001" not in page.replace(" ", "")


async def test_a_callers_refusal_is_recorded_and_in_effect_before_the_page_says_so(rooms: Rooms) -> None:
    """I5."""
    record(rooms.ledger, onay(1))
    rooms.publisher.tick()
    assert is_member(rooms.writer, rooms.ledger, onay(1))
    browser = await rooms.logged_in()
    await browser.post("/consents", **WHO)
    answer = await browser.post("/consents/refusal", **WHO)
    assert (answer.status_code, "recorded and in effect" in answer.text) == (200, True)
    assert not is_member(rooms.writer, rooms.ledger, onay(1))
    assert fold(rooms.ledger, onay(1)) is fold(rooms.ledger, onay(1, kind=RecipientType.TACIR)) is Status.RET
    events = history.events(rooms.ledger.engine, BRAND, onay(1).channel, number(1).decode())
    said = [(one.status, one.source, one.origin, one.actor) for one in events[1:]]
    assert said == [("RET", "HS_CAGRI_MERKEZI", "call", "admin:ayse")] * 2
    assert [row[1] for row in audit_of(rooms.ledger.engine)][-2:] == ["look-up", "refusal"]
    with rooms.ledger.engine.connect() as connection:
        told = connection.execute(rows_of().where(made_by(Side.IYS))).all()
    assert len(told) == 2, "the provider hears of it as of a citizen's own move"


async def test_a_refusal_that_is_not_certain_is_not_said_to_be_done(
    rooms: Rooms, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(_keys: object) -> None:
        raise IndexDown("away")

    browser = await rooms.logged_in()
    monkeypatch.setattr(rooms.publisher, "publish_now", away)
    answer = await browser.post("/consents/refusal", **WHO)
    assert (answer.status_code, "retry-after" in answer.headers) == (503, True)
    assert "in effect" not in answer.text


async def test_what_cannot_be_meant_is_not_looked_up(rooms: Rooms) -> None:
    browser = await rooms.logged_in()
    before = audit_of(rooms.ledger.engine)
    brands = [{"brand": code} for code in ("", "0", "-1", "x", "٣", "9" * 30)]
    others = [{"channel": ""}, {"channel": "FAKS"}, {"channel": "EPOSTA"}, {"recipient": "x"}, {"recipient": "<b>@"}]
    for wrong in (*brands, *others):
        for path in ("/consents", "/consents/refusal"):
            answer = await browser.post(path, **{**WHO, **wrong})
            assert answer.status_code == 422, wrong
            assert "Nothing was looked up" in answer.text
            (field,) = re.findall(
                r'<(?:input|select) id="(\w+)"[^>]* aria-invalid="true" aria-describedby="fault"', answer.text
            )
            assert field in (*wrong, "recipient"), "of an address that is none on another channel"
            assert answer.text.count('<span class="fault" id="fault">') == 1
            assert "<b>@" not in answer.text
    assert audit_of(rooms.ledger.engine) == before


async def test_of_many_events_the_newest_are_shown(rooms: Rooms) -> None:
    for index in range(ADMIN_EVENTS_MAX + 1):
        record(rooms.ledger, onay(1, f"2026-01-01 00:{index // 60:02}:{index % 60:02}"))
    browser = await rooms.logged_in()
    page = (await browser.post("/consents", **WHO)).text
    assert f"<td>{ADMIN_EVENTS_MAX + 1}</td>" in page
    assert "<td>1</td>" not in page
    assert "Older ones are not shown" in page
