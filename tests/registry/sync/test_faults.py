"""A bad line and a busy national system: nothing is lost or doubled, and nobody asks more often than is good."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from filters.model import Status
from registry.background import Watch
from registry.sync.client import Fault
from registry.sync.codes import Then
from registry.sync.loop import SyncLoop
from registry.sync.outbox import figures
from registry.sync.tables import national_upload
from tests.conftest import eventually
from tests.registry.national.support import Clock
from tests.registry.support import onay, record, ret
from tests.registry.sync.support import DAY, LATER, SYNCED, Here, Line, There, error, here

BATCH = "/consents/request"


def once(part: str, what: Any, method: str = "") -> Callable[[str, str], Any]:
    """The first such request meets `what`."""
    left = [what]

    def rules(asked: str, path: str) -> Any:
        return left.pop() if left and part in path and method in ("", asked) else None

    return rules


@pytest.mark.parametrize("what", ["cut", "drop", (500, error("H101")), (429, error("H124")), (503, error("H192"))])
def test_a_batch_that_failed_is_sent_again_and_nothing_is_doubled(
    we: Here, national: There, wire: Line, what: Any
) -> None:
    we.say(onay(1, DAY), onay(2, DAY))
    wire.rules = once(BATCH, what, "POST")
    with pytest.raises(Fault) as fault:
        we.sync.push(SYNCED)
    assert fault.value.then in (Then.LATER, Then.SECOND)
    we.settled()
    assert sorted(national.events()) == ["001 ONAY api", "002 ONAY api"]
    assert we.events().count("001 ONAY registered") == 1
    assert we.passes(onay(1))
    assert we.passes(onay(2))


def test_results_that_do_not_come_are_asked_for_again(we: Here, national: There, wire: Line) -> None:
    we.say(onay(1, DAY))
    wire.rules = once(BATCH, "cut", "GET")
    with pytest.raises(Fault):
        we.settled()
    we.settled()
    assert (national.events(), we.passes(onay(1))) == (["001 ONAY api"], True)


def test_a_batch_of_which_nobody_knows_any_more_is_sent_again(we: Here, national: There, wire: Line) -> None:
    we.say(onay(1, DAY))
    wire.rules = once(BATCH, (404, error("H198")), "GET")
    we.settled()
    assert wire.asked.count(("POST", f"/v2/sps/{SYNCED.code}/brands/{SYNCED.code}{BATCH}")) == 2
    assert national.events() == ["001 ONAY api"]


def test_a_batch_that_they_stumble_over_does_not_keep_the_others(
    we: Here, national: There, wire: Line, clock: Clock
) -> None:
    we.say(onay(1, DAY))
    we.sync.push(SYNCED)
    with we.ledger.engine.connect() as connection:
        request = connection.execute(national_upload.select()).one().request
    wire.rules = lambda _, path: (500, error("H101")) if path.endswith(request) else None
    we.say(onay(2, DAY))
    eventually(lambda: we.sync.push(SYNCED) == 0 and we.passes(onay(2)), within=60, what="the other batch")
    assert not we.passes(onay(1))
    clock.forward(days=1, minutes=1)  # then it is sent again
    we.settled()
    assert we.passes(onay(1))
    assert sorted(national.events()) == ["001 ONAY api", "002 ONAY api"]


def test_a_clock_that_was_ahead_loses_no_rejection(we: Here, national: There, wire: Line, clock: Clock) -> None:
    national.record(onay(1, DAY), origin="api")
    record(we.ledger, onay(1, DAY))
    we.say(ret(1, "2026-03-04 10:20:00"), origin="link")  # in twenty minutes
    assert we.sync.push(SYNCED) == 0
    assert not we.passes(onay(1))
    clock.forward(minutes=21)
    we.settled()
    assert national.holds(ret(1)) is Status.RET
    assert all(status < 400 for status in wire.answered)


def test_an_item_that_is_refused_does_not_keep_the_others(we: Here, national: There, wire: Line) -> None:
    we.say(*(onay(index, DAY) for index in range(3)))
    wire.rules = once(BATCH, (422, error("H121", index=1)), "POST")
    we.settled()
    with we.ledger.engine.connect() as connection:
        counted = figures(connection, SYNCED.code)
    assert (counted["done"], counted["refused"]) == (2, 1)
    assert [we.passes(onay(index)) for index in range(3)] == [True, False, True]


def test_what_they_do_not_like_is_found_by_halving(we: Here, national: There, wire: Line) -> None:
    """They refuse whole batches, and say of no item that it is to blame: nothing may be lost for that but the one."""
    we.say(*(onay(index, DAY) for index in range(8)))
    sent: list[int] = []
    ask = we.sync.client.call

    def call(method: str, path: str, **options: Any) -> Any:
        body = options.get("body")
        if isinstance(body, list):
            sent.append(len(body))
            if any(one["recipient"].endswith("5") for one in body):
                raise Fault(Then.FINAL, "H118", 422)
        return ask(method, path, **options)

    we.sync.client.call = call  # type: ignore[method-assign]
    we.settled()
    assert [index for index in range(8) if we.stands(onay(index)) is Status.BEKLIYOR] == [5]
    assert len(sent) < 12


def test_a_subscription_that_ended_loses_nothing(we: Here, national: There, wire: Line, clock: Clock) -> None:
    we.say(onay(1, DAY))
    wire.rules = once(BATCH, (403, error("H520")), "POST")
    loop = SyncLoop(we.sync)
    loop.turn(SYNCED)
    asked = wire.count(BATCH)
    clock.forward(minutes=30)
    loop.turn(SYNCED)
    assert wire.count(BATCH) == asked  # not before an hour is over
    clock.forward(minutes=31)
    loop.turn(SYNCED)
    we.settled()
    assert national.holds(onay(1)) is Status.ONAY


# tokens


def test_one_token_for_all_threads_and_processes(we: Here, wire: Line, tmp_path: Path, clock: Clock) -> None:
    faults: list[BaseException] = []
    with here(tmp_path / "here", wire.port, clock) as other:

        def ask(sync: Any) -> None:
            try:
                sync.tokens.of(SYNCED.login)
            except BaseException as fault:
                faults.append(fault)
                raise

        threads = [threading.Thread(target=ask, args=(one.sync,)) for one in (we, other) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert faults == []
    assert wire.count("/oauth2/token") == 1


def test_a_token_is_renewed_before_it_ends_and_with_rotation(we: Here, wire: Line, clock: Clock) -> None:
    tokens = [we.sync.tokens.of(SYNCED.login)]
    for minutes in (114, 2, 116, 116):
        clock.forward(minutes=minutes)
        tokens.append(we.sync.tokens.of(SYNCED.login))
    assert tokens[0] == tokens[1]  # 6 minutes are left
    assert len(set(tokens)) == 4
    assert wire.answered == [200] * 4  # each with the refresh token of the one before


def test_a_refresh_token_that_is_used_up_is_replaced_by_the_password(we: Here, wire: Line, clock: Clock) -> None:
    we.sync.tokens.of(SYNCED.login)
    clock.forward(minutes=116)
    wire.rules = once("/oauth2/token", "cut")
    with pytest.raises(Fault):
        we.sync.tokens.of(SYNCED.login)
    assert we.sync.tokens.of(SYNCED.login)
    assert wire.answered == [200, 200, 200]


def test_after_h084_nobody_asks_for_an_hour(we: Here, wire: Line, tmp_path: Path, clock: Clock) -> None:
    wire.rules = once("/oauth2/token", (429, error("H084")))
    for _ in range(3):
        with pytest.raises(Fault) as fault:
            we.sync.pull(SYNCED)
        assert fault.value.then is Then.STOP
    with here(tmp_path / "here", wire.port, clock) as restarted, pytest.raises(Fault):
        restarted.sync.pull(SYNCED)
    clock.forward(minutes=59)
    with pytest.raises(Fault):
        we.sync.pull(SYNCED)
    assert wire.count("/oauth2/token") == 1
    clock.forward(minutes=2)
    we.sync.pull(SYNCED)
    assert wire.count("/oauth2/token") == 2


def test_a_token_that_is_not_accepted_is_replaced_once(we: Here, national: There, wire: Line) -> None:
    we.sync.tokens.of(SYNCED.login)
    wire.rules = once("/changes", (401, error("H351")))
    we.sync.pull(SYNCED)
    wire.rules = lambda _, path: (401, error("H351")) if "/changes" in path else None
    with pytest.raises(Fault) as fault:
        we.sync.pull(SYNCED)
    assert fault.value.then is Then.HELD
    assert wire.count("/oauth2/token") == 3


def test_tokens_are_sealed_at_rest(we: Here, tmp_path: Path) -> None:
    token = we.sync.tokens.of(SYNCED.login)
    stored = b"".join(path.read_bytes() for path in (tmp_path / "here").iterdir() if path.is_file())
    assert token.encode() not in stored
    assert SYNCED.login.password not in stored


# pull


def test_a_pull_that_was_cut_goes_on_where_it_was(we: Here, national: There, wire: Line) -> None:
    record(we.ledger, *(onay(index, DAY) for index in range(5)))
    national.record(*(ret(index, LATER) for index in range(5)))
    wire.rules = once("/changes", "cut")
    with pytest.raises(Fault):
        we.sync.pull(SYNCED)
    we.sync.pull(SYNCED)
    assert [we.passes(onay(index)) for index in range(5)] == [False] * 5
    assert Counter(we.events())["003 RET national"] == 1


def test_i5_the_cursor_stays_while_the_index_does_not_know(we: Here, national: There, monkeypatch: Any) -> None:
    from registry.index.interface import IndexDown

    record(we.ledger, onay(1, DAY))
    assert we.passes(onay(1))
    national.record(ret(1, LATER))

    def down(_: object) -> None:
        raise IndexDown("of this test")

    with monkeypatch.context() as patch:
        patch.setattr(we.publisher, "publish_now", down)
        with pytest.raises(IndexDown):
            we.sync.pull(SYNCED)
    assert we.sync.state.get(SYNCED.code, "after IYS") == ""
    we.sync.pull(SYNCED)
    assert we.sync.state.get(SYNCED.code, "after IYS") != ""
    assert not we.passes(onay(1))


def test_many_pages(we: Here, national: There, monkeypatch: Any) -> None:
    monkeypatch.setattr("registry.sync.pull.SYNC_PAGE_MOVES", 7)
    national.record(*(ret(index, LATER) for index in range(30)))
    assert we.sync.pull(SYNCED).news == 30


# the thread


def test_a_step_that_raises_keeps_neither_the_thread_nor_other_steps(
    we: Here, national: There, monkeypatch: Any, clock: Clock
) -> None:
    """A fault of our own in the pull of a brand: uploads go on, health says so, and it is tried again ever later."""
    watch = Watch()
    loop = SyncLoop(we.sync, watch.pulse("national"))
    tried: list[int] = []

    def broken(*_: Any) -> None:
        tried.append(1)
        raise KeyError("of this test")

    we.say(onay(1, DAY))
    with monkeypatch.context() as patch, capture_logs() as logs:
        patch.setattr(we.sync, "pull", broken)
        for seconds in (6, 11, 1):  # the waits are 5, 10, 20 …
            assert loop.step() is False
            clock.forward(minutes=seconds / 60)
        assert len(tried) == 3
        loop.step()
        assert len(tried) == 3, "not before its time"
        assert watch.faults == {"national": "KeyError"}
    assert [entry["event"] for entry in logs].count("national_broken") == 1
    clock.forward(minutes=20)
    loop.step()
    assert watch.faults == {"national": ""}
    we.settled()
    assert national.holds(onay(1)) is Status.ONAY
