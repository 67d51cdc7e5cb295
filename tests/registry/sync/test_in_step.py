"""What is said on one side is known on the other: pull, upload, and what happens when they contradict each other."""

from __future__ import annotations

from filters.model import RecipientType, Status
from registry.sync.outbox import figures, refusals
from tests.registry.national.support import Clock
from tests.registry.support import onay, record, ret
from tests.registry.sync.support import DAY, LATER, SYNCED, Here, Line, There


def test_an_onay_passes_when_the_national_system_has_it(we: Here, national: There) -> None:
    we.say(onay(1, DAY))
    assert not we.passes(onay(1))
    assert we.stands(onay(1)) is Status.BEKLIYOR
    we.settled()
    assert national.holds(onay(1)) is Status.ONAY
    assert we.passes(onay(1))
    assert we.events() == ["001 ONAY unregistered:declare", "001 ONAY registered"]


def test_i5_a_citizens_rejection_there_stops_messages_here(we: Here, national: There) -> None:
    record(we.ledger, onay(1, DAY))
    assert we.passes(onay(1))
    national.record(ret(1, LATER))
    assert we.sync.pull(SYNCED).news == 1
    assert not we.passes(onay(1))
    assert we.sync.pull(SYNCED).news == 0  # and the cursor has moved


def test_a_rejection_here_is_told_there(we: Here, national: There) -> None:
    national.record(onay(1, DAY), origin="api")
    record(we.ledger, onay(1, DAY))
    we.say(ret(1, LATER), ret(1, LATER, kind=RecipientType.TACIR), origin="link")
    we.settled()
    assert national.holds(ret(1)) is Status.RET
    assert national.holds(ret(1, kind=RecipientType.TACIR)) is None  # nothing to take back there


def test_the_newest_date_wins_and_a_tie_is_ret(we: Here, national: There) -> None:
    record(we.ledger, onay(1, LATER), ret(2, DAY), onay(3, DAY))
    national.record(ret(1, DAY), onay(2, LATER), ret(3, DAY), origin="api")
    we.sync.pull(SYNCED)
    assert [we.stands(onay(index)) for index in (1, 2, 3)] == [Status.ONAY, Status.ONAY, Status.RET]


def test_our_own_upload_comes_back_as_nothing_new(we: Here, national: There) -> None:
    we.say(onay(1, DAY))
    we.settled()
    assert we.sync.pull(SYNCED).news == 0
    assert len(we.events()) == 2


def test_what_the_national_system_has_already_is_registered_by_a_pull(we: Here, national: There) -> None:
    """Another program has sent the same there; or we did, and never heard of it."""
    national.record(onay(1, DAY), origin="api")
    we.say(onay(1, DAY))
    assert not we.passes(onay(1))
    we.sync.pull(SYNCED)
    assert we.passes(onay(1))


def test_a_rejection_overtakes_a_waiting_consent(we: Here, national: There) -> None:
    we.say(onay(1, DAY), ret(1, LATER))
    we.settled()
    assert national.events() == ["001 ONAY api", "001 RET api"]
    assert we.stands(onay(1)) is Status.RET
    assert not we.passes(onay(1))


def test_what_would_be_refused_is_not_sent(we: Here, national: There, wire: Line, clock: Clock) -> None:
    """Of 40 events 30 would be refused; the national system sees no failure."""
    we.say(*(onay(index, DAY) for index in range(10)))
    we.say(*(ret(index, DAY) for index in range(10, 20)))  # V1
    we.say(*(onay(index, "2026-02-01 10:00:00") for index in range(20, 40)))  # V7
    we.settled()
    assert all(status < 400 for status in wire.answered)
    with we.ledger.engine.connect() as connection:
        assert figures(connection, SYNCED.code) == {"waiting": 0, "sent": 0, "done": 10, "refused": 20, "known": 10}
        assert refusals(connection, SYNCED.code) == {"H467": 20}
    assert not we.passes(onay(25))


def test_a_rejection_of_whom_only_the_national_system_knows_is_told(we: Here, national: There) -> None:
    """Their consent was declared by another program: we know of no ONAY, but there is one to take back."""
    national.record(onay(1, DAY), origin="api")
    we.say(ret(1, LATER), origin="sms")
    we.settled()
    assert national.holds(onay(1)) is Status.RET
