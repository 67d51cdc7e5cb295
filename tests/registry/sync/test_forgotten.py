"""What became of uploads is not kept for ever; that the national system took an event is, as long as the event."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import select

from filters.model import Channel, Status
from registry.evidence import history
from registry.evidence.retention import retain
from registry.sync.outbox import figures
from registry.sync.tables import national_receipt, national_upload
from tests.registry.national.support import Clock
from tests.registry.support import BRAND, number, onay, ret
from tests.registry.sync.support import DAY, LATER, SYNCED, Here, There, here


def rows(we: Here) -> list[int]:
    with we.ledger.engine.connect() as connection:
        return list(connection.execute(select(national_upload.c.seq).order_by("seq")).scalars())


def test_what_is_settled_goes_after_a_quarter_and_its_evidence_stays(we: Here, national: There, clock: Clock) -> None:
    we.sync.brands.refresh()
    we.say(onay(1, DAY), onay(2, DAY), ret(9, DAY))  # 9 is nobody there: it is known without being sent
    we.settled()
    sent = history.events(we.ledger.engine, BRAND, Channel.MESAJ, number(1).decode())[0]
    assert (sent.taken_as, sent.taken_at[:10]) == (sent.transaction_id, "2026-03-04"), "izinli's ids are the same"
    (other,) = history.events(we.ledger.engine, BRAND, Channel.MESAJ, number(9).decode())
    assert (other.taken_as, other.taken_at) == ("", "")
    clock.forward(days=89)
    we.sync.forget()
    assert rows(we) == [1, 2, 3]
    clock.forward(days=2)
    now = f"{clock():%Y-%m-%d} 05:00:00"
    we.say(ret(1, now), origin="link")
    we.sync.upload(SYNCED).outbox.feed()
    we.sync.forget()
    assert rows(we) == [6], "what waits stays"
    with we.ledger.engine.connect() as connection:
        assert figures(connection, BRAND) == {"waiting": 1, "sent": 0, "done": 0, "refused": 0, "known": 0}
    we.settled()  # that it has an ONAY of 1 is still known here, so the rejection is not held back
    assert national.holds(onay(1)) is Status.RET
    assert len(history.events(we.ledger.engine, BRAND, Channel.MESAJ, number(1).decode())[0].taken_as) == 64


def test_many_go_in_parts(we: Here, national: There, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("registry.sync.apply.SYNC_FORGET_ROWS", 7)
    we.sync.brands.refresh()
    we.say(*(onay(index, DAY) for index in range(30)))
    we.settled()
    clock.forward(days=91)
    we.sync.forget()
    assert rows(we) == []


def test_the_evidence_goes_with_its_event(tmp_path: Path, national: There, clock: Clock, ledger_url: str) -> None:
    with here(tmp_path / "here", national.port, clock, url=ledger_url) as we:
        we.say(onay(1, DAY))
        we.settled()
        we.say(ret(1, LATER), origin="link")
        we.settled()
        clock.forward(days=4 * 366)
        assert retain(we.ledger, clock(), "of this test", vouched=True).events > 0
        with we.ledger.engine.connect() as connection:
            assert connection.execute(national_receipt.select()).all() == []
        assert rows(we) == []
