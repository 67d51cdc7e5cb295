"""What stands is not sealed: a hand in it shows all the same."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from filters.model import Channel, RecipientType
from registry.evidence import check, folds
from registry.ledger import Ledger
from tests.registry.support import BRAND, fingerprint, number, onay, record, ret

TACIR = RecipientType.TACIR
EARLY, LATE = "2026-01-01 00:00:00", "2026-02-01 00:00:00"


@pytest.fixture
def history(ledger: Ledger) -> Ledger:
    """1 refused; 2 stands; 3 is a merchant who refused."""
    record(ledger, onay(1, EARLY), ret(1, LATE), onay(2, EARLY), onay(3, EARLY, kind=TACIR), ret(3, LATE, kind=TACIR))
    return ledger


def about(ledger: Ledger, index: int) -> list[str]:
    recipient = number(index)
    return folds.wrong_about(ledger.engine, BRAND, Channel.MESAJ, recipient.decode(), fingerprint(ledger, onay(index)))


def test_what_follows_from_the_events_is_right(history: Ledger) -> None:
    assert check.verify(history.engine).faults == []
    assert [about(history, index) for index in (1, 2, 3, 4)] == [[], [], [], []]


CHANGES = {
    "another status": ("UPDATE consent SET status = 'ONAY' WHERE seq = 2", 1, True),
    "an older event": ("UPDATE consent SET status = 'ONAY', seq = 1 WHERE seq = 2", 1, False),
    "somebody else's event": ("UPDATE consent SET status = 'ONAY', seq = 3 WHERE seq = 2", 1, False),
    "an event that is not there": ("UPDATE consent SET seq = 9 WHERE seq = 2", 1, True),
    "nothing instead of a merchant's refusal": ("DELETE FROM consent WHERE seq = 5", 3, False),
    "another kind": ("UPDATE consent SET recipient_type = 'BIREYSEL' WHERE seq = 5", 3, True),
}


@pytest.mark.parametrize(("statement", "index", "everywhere"), CHANGES.values(), ids=CHANGES.keys())
def test_a_hand_in_it_shows(history: Ledger, statement: str, index: int, everywhere: bool) -> None:
    with history.append() as log:
        log.connection.execute(text(statement))
    assert about(history, index)
    assert about(history, 2) == []
    assert bool(check.verify(history.engine).faults) is everywhere


def test_a_tail_that_went_with_its_seal_leaves_what_stands_by_it(history: Ledger) -> None:
    record(history, onay(4, EARLY))
    with history.append() as log:
        for table in ("consent_event", "recording"):
            log.connection.execute(text(f"DELETE FROM {table} WHERE seq = 6"))
    assert check.verify(history.engine).faults == ["ONAY (BIREYSEL) stands by event 6, which is not there"]


def test_a_consent_that_waits_follows_from_its_onay(history: Ledger) -> None:
    with history.append() as log:
        log.connection.execute(text("UPDATE consent SET status = 'BEKLIYOR' WHERE seq = 3"))
    assert (check.verify(history.engine).faults, about(history, 2)) == ([], [])
