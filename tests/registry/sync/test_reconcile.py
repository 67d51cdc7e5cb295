"""Where pulls do not reach: every recipient is compared; and both sides' files of a day are."""

from __future__ import annotations

import io
from datetime import date
from typing import Any

import pytest
from sqlalchemy import delete, select, update

from filters.model import RecipientType, Status
from registry.national.day_file import HEADER
from registry.sync import daily
from registry.sync.client import Fault
from registry.sync.codes import Then
from registry.sync.pull import GAP, LEVEL
from registry.sync.tables import national_move
from registry.sync.wire import Told
from tests.registry.national.support import Clock
from tests.registry.support import number, onay, record, ret
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


def test_single_queries_rest_when_too_many_were_refused(we: Here, wire: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whom nobody knows is 404 there, and 20,000 such answers would cost us the access."""
    monkeypatch.setattr("registry.sync.client.SYNC_RATIO_CALLS_MIN", 10)
    record(we.ledger, *(onay(index, DAY) for index in range(40)))
    with pytest.raises(Fault) as fault:
        we.sync.reconcile(SYNCED)
    assert (fault.value.then, fault.value.code) == (Then.HOUR, "too many refusals")
    assert wire.count("/consents/status") < 10


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


def test_a_long_day_is_repaired_part_by_part(
    we: Here, national: There, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever differs, and wherever: at both ends, in the middle, and all of a second at once."""
    monkeypatch.setattr(daily, "SYNC_PAGE_MOVES", 2)
    for index in range(12):
        if index != 5:  # 4 and 5 are of one second
            clock.forward(minutes=1)
        national.record(onay(index, DAY, kind=RecipientType.TACIR), ret(100 + index, LATER))
    clock.forward(days=1)
    we.sync.pull(SYNCED)
    assert compared(we) == daily.AGREED
    mine = national_move
    everything = select(mine.c.transaction_id, mine.c.created).order_by(mine.c.created, mine.c.transaction_id)
    with we.ledger.engine.begin() as connection:
        held = connection.execute(everything).all()
        for place in (0, 9, 10, 11, 23):
            connection.execute(delete(mine).where(mine.c.transaction_id == held[place].transaction_id))
        for place in (1, 14):
            odd = update(mine).where(mine.c.transaction_id == held[place].transaction_id)
            connection.execute(odd.values(source="HS_ATM", created=held[7].created))
    for at in ("2026-03-04 00:00:00", held[9].created, "2026-03-04 23:59:59"):
        with we.ledger.append() as log:
            odd_one = daily.told(row(9, "RET", DAY, transaction=at[-2:] * 32, creationDate=at), SYNCED.code)
            assert isinstance(odd_one, Told)
            daily.remember(log.connection, [odd_one])
    assert compared(we) == daily.REPAIRED
    with we.ledger.engine.connect() as connection:
        assert connection.execute(everything).all() == held
    assert compared(we) == daily.AGREED


def test_two_moves_under_one_transaction_are_both_taken(we: Here) -> None:
    line = "2026-03-04 10:00:00,{0},{1},BIREYSEL,MESAJ,{2},2026-03-04 10:00:00,IYS_WEB\n"
    both = [line.format("a" * 64, number(index).decode(), "RET") for index in (1, 2)]
    (part,) = daily._parts(daily._rows(io.BytesIO(f"{HEADER}\n{''.join(both)}".encode())))
    daily._settle(we.sync.wire, SYNCED, YESTERDAY, part, "", daily.LAST)
    assert [we.stands(ret(index)) for index in (1, 2)] == [Status.RET] * 2


@pytest.mark.parametrize(
    "file",
    [b"<html>", HEADER.encode() + b"\n\xff\n", HEADER.encode() + b"\n" + b"x" * 5000, b"creationDate,transactionId\n"],
)
def test_what_is_no_file_of_a_day_is_not_taken(file: bytes) -> None:
    with pytest.raises(Fault) as fault:
        list(daily._parts(daily._rows(io.BytesIO(file))))
    assert fault.value.then is Then.HELD


def test_a_file_out_of_order_is_not_taken_as_the_whole_day() -> None:
    rows = iter([{"creationDate": "2026-03-04 10:00:00"}, {"creationDate": "2026-03-04 09:00:00"}])
    with pytest.raises(Fault):
        list(daily._parts(rows))


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
