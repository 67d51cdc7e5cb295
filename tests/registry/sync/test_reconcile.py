"""Where pulls do not reach: every recipient is compared; and both sides' files of a day are."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from filters.model import RecipientType, Status
from registry.sync import daily
from registry.sync.client import Fault
from registry.sync.codes import Then
from registry.sync.pull import GAP, LEVEL
from registry.sync.tables import national_move
from registry.sync.wire import Told
from tests.registry.national.support import Clock
from tests.registry.support import onay, record, ret
from tests.registry.sync.support import DAY, LATER, SYNCED, Here, Line, There, mail, row

OLD, OLDER = "2026-01-02 10:00:00", "2026-01-01 10:00:00"


def test_i5_a_gap_of_a_week_is_closed_by_asking_for_everybody(we: Here, national: There, clock: Clock) -> None:
    record(we.ledger, *(onay(index, DAY) for index in range(5)))
    national.record(*(onay(index, DAY) for index in range(5)), origin="api")
    we.sync.pull(SYNCED)
    national.record(ret(1, LATER), ret(2, LATER))
    clock.forward(days=8)
    we.sync.pull(SYNCED)
    assert we.sync.state.get(SYNCED.code, GAP) == "1"
    assert we.passes(onay(1))
    we.sync.repair(SYNCED)
    assert [we.passes(onay(index)) for index in range(5)] == [True, False, False, True, True]
    assert we.sync.state.get(SYNCED.code, GAP) == ""
    assert national.events()[-2:] == ["001 RET link", "002 RET link"]


def test_who_pulls_in_time_has_no_gap(we: Here, clock: Clock) -> None:
    we.sync.pull(SYNCED)
    clock.forward(days=6)
    we.sync.pull(SYNCED)
    assert we.sync.state.get(SYNCED.code, GAP) == ""
    assert we.sync.state.get(SYNCED.code, LEVEL).startswith("2026-03-10T07:00:00")


def test_what_differs_is_settled_by_the_newest_date(we: Here, national: There) -> None:
    record(we.ledger, ret(1, OLDER), onay(2, OLD), ret(3, OLD), mail(4, Status.ONAY, OLD), onay(5, OLD))
    national.record(onay(1, OLD), ret(2, OLDER), ret(3, OLDER), mail(4, Status.RET, OLD), onay(5, OLD), origin="api")
    found = we.sync.reconcile(SYNCED)
    assert we.stands(onay(1)) is Status.ONAY  # newer there
    assert we.stands(onay(2)) is Status.ONAY  # older there
    assert we.stands(mail(4, Status.RET)) is Status.RET  # a tie
    assert (found.recipients, found.differences, found.taken) == (5, 3, 3)


def test_a_consent_of_which_it_knows_nothing_counts_no_more(we: Here, national: There) -> None:
    record(we.ledger, onay(1, OLD), onay(2, OLD, kind=RecipientType.TACIR), onay(3, DAY))
    assert we.passes(onay(1))
    assert we.sync.reconcile(SYNCED).missing == 2
    assert not we.passes(onay(1))
    assert we.passes(onay(2, kind=RecipientType.TACIR))
    we.settled()  # what is young enough is declared again, what is too old is shown
    assert (we.passes(onay(1)), we.passes(onay(3))) == (False, True)
    assert national.holds(onay(3)) is Status.ONAY


def test_a_rejection_that_was_lost_there_is_sent_again(we: Here, national: There) -> None:
    national.record(onay(1, DAY), origin="api")
    record(we.ledger, onay(1, DAY))
    we.say(ret(1, LATER), origin="link")
    with we.ledger.append() as log:  # as if it had been taken
        we.sync.upload(SYNCED).outbox.settle(log.connection, [2], "done")
    we.sync.upload(SYNCED).outbox.feed()
    with we.ledger.append() as log:
        we.sync.upload(SYNCED).outbox.settle(log.connection, [2], "done")
    assert we.sync.reconcile(SYNCED).sent == 1
    we.settled()
    assert national.holds(ret(1)) is Status.RET


def test_it_goes_on_where_it_stopped(we: Here, national: There, wire: Line, monkeypatch: Any) -> None:
    monkeypatch.setattr("registry.sync.reconcile.SYNC_STATUS_RECIPIENTS", 4)
    record(we.ledger, *(onay(index, DAY) for index in range(10)))
    national.record(*(onay(index, DAY) for index in range(10)), origin="api")
    left = [3]

    def rules(_: str, path: str) -> Any:
        if path.endswith("/status/MESAJ"):
            left[0] -= 1
            return "drop" if left[0] == 0 else None
        return None

    wire.rules = rules
    with pytest.raises(Fault):
        we.sync.reconcile(SYNCED)
    assert we.sync.reconcile(SYNCED).recipients == 2


def test_single_queries_stop_before_the_hour_is_used_up(
    we: Here, national: There, clock: Clock, monkeypatch: Any
) -> None:
    monkeypatch.setattr("registry.sync.reconcile.SYNC_STATUS_PER_HOUR", 3)
    record(we.ledger, *(onay(index, DAY) for index in range(5)))
    with pytest.raises(Fault) as fault:
        we.sync.reconcile(SYNCED)
    assert fault.value.then is Then.HOUR
    clock.forward(hours=1)
    we.sync.reconcile(SYNCED)
    assert [we.passes(onay(index)) for index in range(5)] == [False] * 5


# the file of a day

YESTERDAY = date(2026, 3, 4)


def compared(we: Here) -> str:
    return we.sync.compare(SYNCED, YESTERDAY)


def lived_a_day(we: Here, national: There, clock: Clock) -> None:
    """Both sides said something, and the day is over."""
    we.say(onay(1, DAY), mail(2, Status.ONAY))
    we.settled()
    national.record(ret(1, LATER), onay(3, DAY, kind=RecipientType.TACIR))
    clock.forward(days=1)


def test_two_that_hold_the_same_agree(we: Here, national: There, wire: Line, clock: Clock) -> None:
    lived_a_day(we, national, clock)
    we.sync.pull(SYNCED)
    assert compared(we) == daily.AGREED
    assert wire.count("/file") == 0
    assert compared(we) == daily.AGREED
    assert sum(method == "PUT" for method, _ in wire.asked) == 1  # once is enough


def test_what_is_missing_is_repaired_from_the_file(we: Here, national: There, wire: Line, clock: Clock) -> None:
    lived_a_day(we, national, clock)
    assert compared(we) == daily.REPAIRED  # nothing was pulled: we know only of our own
    assert we.stands(ret(1)) is Status.RET
    assert compared(we) == daily.AGREED
    assert wire.count("/file") == 1


def test_a_row_too_many_is_repaired(we: Here, national: There, clock: Clock) -> None:
    lived_a_day(we, national, clock)
    we.sync.pull(SYNCED)
    with we.ledger.append() as log:
        odd = daily.told(row(9, "RET", DAY, transaction="a" * 64, creationDate="2026-03-04 10:00:00"), SYNCED.code)
        assert isinstance(odd, Told)
        daily.remember(log.connection, [odd])
    assert compared(we) == daily.REPAIRED
    assert compared(we) == daily.AGREED


def test_a_day_without_moves(we: Here, national: There, clock: Clock) -> None:
    clock.forward(days=1)
    assert compared(we) == daily.NOTHING


def test_every_day_is_compared_once_and_old_rows_go(we: Here, national: There, wire: Line, clock: Clock) -> None:
    lived_a_day(we, national, clock)
    for _ in range(2):
        we.sync.compare_days(SYNCED)
    assert wire.count("/agreements/2026-03-04") == 2  # the question, and the agreement
    clock.forward(days=11)
    we.sync.forget()
    with we.ledger.engine.connect() as connection:
        assert connection.execute(national_move.select()).all() == []
