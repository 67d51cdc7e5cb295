"""An ONAY that the national system has not taken does not count, and the fold can be made again from the events."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from filters.model import RecipientType, Status
from registry.awaiting import MISSING, NATIONAL, REGISTERED
from registry.ledger import Ledger
from registry.rules import Move
from registry.schema import consent_event
from registry.transition import end_reviews
from tests.registry.support import BRAND, KEY, NOW, fingerprint, fold, onay, record, ret

DAY, LATER = "2026-03-03 10:00:00", "2026-03-03 11:00:00"


@pytest.fixture
def ledger(tmp_path: Path, ledger_url: str) -> Iterator[Ledger]:
    one = Ledger.open(ledger_url, tmp_path / "data", KEY, registering=lambda _, brands: {BRAND})
    yield one
    one.close()


def declare(ledger: Ledger, *moves: Move, origin: str = "declare") -> list[str]:
    return ledger.record([(fingerprint(ledger, one), one) for one in moves], origin=origin, now=NOW)


def write(ledger: Ledger, one: Move, origin: str) -> None:
    with ledger.append() as log:
        log.write([(fingerprint(ledger, one), one, True)], origin=origin, now=NOW)


def origins(ledger: Ledger) -> list[str]:
    with ledger.engine.connect() as connection:
        return list(connection.execute(consent_event.select().order_by(consent_event.c.seq)).scalars("origin"))


def test_an_onay_waits_until_it_is_registered(ledger: Ledger) -> None:
    one = onay(1, DAY)
    declare(ledger, one)
    assert fold(ledger, one) is Status.BEKLIYOR
    assert ledger.member_count(RecipientType.BIREYSEL, Status.ONAY) == 0
    write(ledger, one, REGISTERED)
    assert fold(ledger, one) is Status.ONAY
    assert origins(ledger) == ["unregistered:declare", "registered"]


def test_what_the_national_system_holds_does_not_wait(ledger: Ledger) -> None:
    record(ledger, onay(1, DAY))
    declare(ledger, onay(2, DAY), origin=NATIONAL)
    declare(ledger, onay(3, DAY, kind=RecipientType.TACIR))
    assert [fold(ledger, onay(index)) for index in (1, 2)] == [Status.ONAY, Status.ONAY]
    assert fold(ledger, onay(3, kind=RecipientType.TACIR)) is Status.ONAY


def test_who_says_it_again_keeps_it_and_who_took_it_back_does_not(ledger: Ledger) -> None:
    record(ledger, onay(1, DAY), ret(2, DAY))
    declare(ledger, onay(1, LATER), onay(2, LATER))
    assert [fold(ledger, onay(index)) for index in (1, 2)] == [Status.ONAY, Status.BEKLIYOR]


def test_a_rejection_never_waits_and_a_tie_is_ret(ledger: Ledger) -> None:
    declare(ledger, onay(1, DAY), ret(1, DAY))
    assert fold(ledger, onay(1)) is Status.RET


def test_what_is_missing_there_counts_no_more(ledger: Ledger) -> None:
    one = onay(1, DAY)
    record(ledger, one)
    write(ledger, one, MISSING)
    assert fold(ledger, one) is Status.BEKLIYOR


def test_the_fold_can_be_made_again(ledger: Ledger) -> None:
    declare(ledger, onay(1, DAY), onay(2, DAY), onay(3, DAY))
    write(ledger, onay(2, DAY), REGISTERED)
    record(ledger, onay(4, DAY), onay(5, DAY))
    write(ledger, onay(4, DAY), MISSING)
    declare(ledger, onay(5, LATER), ret(3, DAY))
    said = [fold(ledger, onay(index)) for index in range(1, 6)]
    assert said == [Status.BEKLIYOR, Status.ONAY, Status.RET, Status.BEKLIYOR, Status.ONAY]
    ledger.refold()
    assert [fold(ledger, onay(index)) for index in range(1, 6)] == said


def test_the_end_of_a_review_does_not_end_the_wait(ledger: Ledger) -> None:
    declare(ledger, onay(1, DAY))
    declare(ledger, onay(2, DAY), origin=f"existing:{date(2026, 3, 1)}")
    assert end_reviews(ledger, NOW) == 1
    assert [fold(ledger, onay(index)) for index in (1, 2)] == [Status.BEKLIYOR, Status.ONAY]
