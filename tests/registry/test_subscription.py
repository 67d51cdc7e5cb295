"""V13: what a provider's brands hold together stays within its quota, and is counted right whatever happens."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from filters.model import RecipientType, Status
from registry import backup, quotas, subscription
from registry.awaiting import REGISTERED
from registry.evidence import retention
from registry.importer import Importer
from registry.ledger import RECORDED, UNCHANGED, Ledger
from registry.quotas import set_quota
from registry.rehearsal import rehearsal
from registry.rules import QUOTA_REACHED, Move, declaration_fault
from registry.service import open_ledger
from registry.subscription import Allowance, Subscription, Subscriptions
from tests.registry.providers.support import Office
from tests.registry.support import BRAND, HEADER, KEY, NOW, fingerprint, onay, record, ret, settings

SUB, OTHER = BRAND + 1, BRAND + 2  # a sub-brand of the same provider; another provider's master brand
OWNERS = {BRAND: BRAND, OTHER: OTHER}
EARLY, DAY, LATER, LAST = (f"2026-03-03 1{hour}:00:00" for hour in range(4))
WAITS = 30.0  # seconds


def approved(_: Connection) -> dict[int, int]:
    return {SUB: BRAND, OTHER: BRAND}  # the configuration knows better about the latter


Opener = Callable[..., Ledger]


@pytest.fixture
def opening(tmp_path: Path, ledger_url: str) -> Iterator[Opener]:
    """Opens the same ledger, as another process would, which knows whose brands are whose."""
    opened: list[Ledger] = []

    def open_one(key: bytes = KEY, subscriptions: Subscriptions | None = None, *, waiting: bool = False) -> Ledger:
        among = subscriptions or Subscriptions(OWNERS, approved)
        registering = (lambda _, brands: brands) if waiting else None
        data = tmp_path / "data"
        opened.append(
            Ledger.open(ledger_url, data, key, refold=key != KEY, registering=registering, subscriptions=among)
        )
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()


@pytest.fixture
def ledger(opening: Opener) -> Ledger:
    return opening()


def declare(ledger: Ledger, *moves: Move) -> list[str]:
    entries = [(fingerprint(ledger, one), one) for one in moves]
    return ledger.record(entries, origin="declare", now=NOW, judge=declaration_fault)


def limit(ledger: Ledger, quota: int | None, provider: int = BRAND) -> Subscription | None:
    return set_quota(ledger, provider, quota, "user ayse", NOW)


def held(ledger: Ledger) -> dict[int, int]:
    """By iysCode; and it is what a count finds."""
    assert quotas.wrong(ledger) == []
    with ledger.engine.connect() as connection:
        return {one.iys_code: one.held for one in subscription.subscriptions(connection)}


def test_an_onay_too_many_is_refused_and_a_ret_makes_room(ledger: Ledger) -> None:
    record(ledger, onay(1, EARLY), ret(2, EARLY))
    assert limit(ledger, 2) == Subscription(BRAND, 2, 1)
    assert declare(ledger, onay(3, DAY), onay(4, DAY)) == [RECORDED, QUOTA_REACHED]
    assert held(ledger) == {BRAND: 2}
    assert declare(ledger, onay(1, DAY), onay(3, DAY)) == [RECORDED, UNCHANGED], "no new keys"
    assert declare(ledger, onay(2, DAY)) == [QUOTA_REACHED], "who comes back is a new one"
    assert declare(ledger, ret(3, LATER), onay(2, DAY), onay(4, DAY)) == [RECORDED, RECORDED, QUOTA_REACHED]
    assert declare(ledger, onay(3, LAST)) == [QUOTA_REACHED]
    assert declare(ledger, ret(2, LATER), ret(1, LATER)) == [RECORDED] * 2
    assert held(ledger) == {BRAND: 0}


def test_each_recipient_type_is_a_key_of_its_own(ledger: Ledger) -> None:
    limit(ledger, 1)
    assert declare(ledger, onay(1, DAY, kind=RecipientType.TACIR), onay(1, DAY)) == [RECORDED, QUOTA_REACHED]
    assert held(ledger) == {BRAND: 1}


def test_what_the_national_system_holds_is_taken_and_counts(ledger: Ledger) -> None:
    limit(ledger, 2)
    assert record(ledger, onay(1), onay(2), onay(3)) == [RECORDED] * 3
    assert held(ledger) == {BRAND: 3}
    assert declare(ledger, ret(1, EARLY)) == [RECORDED]
    assert declare(ledger, onay(4, DAY)) == [QUOTA_REACHED], "there are as many as may be"
    assert declare(ledger, ret(2, EARLY), onay(4, DAY)) == [RECORDED] * 2
    assert record(ledger, ret(3, EARLY), onay(2, "2026-01-02 00:00:00")) == [RECORDED] * 2  # the latter is too old
    assert held(ledger) == {BRAND: 1}


def test_brands_of_a_provider_count_together_and_others_are_let_alone(ledger: Ledger) -> None:
    limit(ledger, 2)
    limit(ledger, 9, OTHER)
    assert declare(ledger, onay(1, DAY), onay(1, DAY)._replace(brand=SUB)) == [RECORDED] * 2
    assert declare(ledger, onay(2, DAY)._replace(brand=SUB)) == [QUOTA_REACHED]
    others = [onay(index, DAY)._replace(brand=OTHER) for index in range(3)]
    assert declare(ledger, *others, onay(2, DAY)) == [*[RECORDED] * 3, QUOTA_REACHED]
    assert held(ledger) == {BRAND: 2, OTHER: 3}


def test_what_waits_is_held(opening: Opener) -> None:
    ledger = opening(waiting=True)
    limit(ledger, 1)
    first = onay(1, DAY)
    assert declare(ledger, first, onay(2, DAY)) == [RECORDED, QUOTA_REACHED]
    assert ledger.fold(fingerprint(ledger, first))[RecipientType.BIREYSEL].status is Status.BEKLIYOR
    with ledger.append() as log:
        log.write([(fingerprint(ledger, first), first, True)], origin=REGISTERED, now=NOW)
    assert held(ledger) == {BRAND: 1}
    assert declare(ledger, ret(1, LATER), onay(2, DAY)) == [RECORDED] * 2


def test_many_at_once_do_not_exceed_it(opening: Opener) -> None:
    limit(opening(), 10)
    ledgers = [opening() for _ in range(4)]
    begin, answers = threading.Barrier(len(ledgers), timeout=WAITS), Counter[str]()
    lock = threading.Lock()

    def run(which: int, ledger: Ledger) -> None:
        begin.wait()
        for index in range(6):
            (answer,) = declare(ledger, onay(which * 10 + index, DAY))
            with lock:
                answers[answer] += 1

    threads = [threading.Thread(target=run, args=one) for one in enumerate(ledgers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {RECORDED: 10, QUOTA_REACHED: 14}
    assert held(ledgers[0]) == {BRAND: 10}


def test_what_is_recorded_while_it_is_counted_counts(opening: Opener) -> None:
    writer = opening()

    class Meanwhile(Subscriptions):
        def held(self, connection: Connection) -> Counter[int]:
            found = super().held(connection)
            record(writer, ret(1, EARLY), onay(3, EARLY), onay(4, EARLY), onay(4, EARLY)._replace(brand=OTHER))
            return found

    record(writer, onay(1), onay(2))
    assert limit(opening(subscriptions=Meanwhile(OWNERS, approved)), 5) == Subscription(BRAND, 5, 3)
    assert held(writer) == {BRAND: 3}


def test_a_quota_can_be_changed_and_taken_away_and_it_is_said_by_whom(ledger: Ledger) -> None:
    record(ledger, onay(1), onay(2))
    assert limit(ledger, 1) == Subscription(BRAND, 1, 2)
    assert declare(ledger, onay(3, DAY)) == [QUOTA_REACHED]
    assert limit(ledger, 3) == Subscription(BRAND, 3, 2)
    assert declare(ledger, onay(3, DAY), onay(4, DAY)) == [RECORDED, QUOTA_REACHED]
    assert limit(ledger, None) is None
    assert declare(ledger, onay(4, DAY)) == [RECORDED]
    with pytest.raises(quotas.Unknown):
        limit(ledger, 1, SUB)
    assert held(ledger) == {}
    with ledger.engine.connect() as connection:
        rows = connection.execute(text("SELECT client, action, detail FROM api_audit ORDER BY id")).all()
    details = [f"iysCode {BRAND}: {quota}" for quota in (1, 3, "none")]
    assert [tuple(row) for row in rows] == [("user ayse", "quota", detail) for detail in details]


def test_a_wrong_count_is_told_and_counted_anew_with_the_fold(ledger: Ledger, opening: Opener) -> None:
    record(ledger, onay(1), onay(2), ret(3))
    limit(ledger, 5)
    with ledger.append() as log:
        subscription.put(log.connection, [Subscription(BRAND, 5, 7)])
    (fault,) = quotas.wrong(ledger)
    assert f"iysCode {BRAND}: 7 consents are noted and 2 are held" in fault
    assert held(opening(KEY[::-1])) == {BRAND: 2}


def test_retention_takes_nothing_that_is_held(ledger: Ledger) -> None:
    then = datetime(2020, 6, 1, tzinfo=UTC)
    ended = [onay(1, "2020-01-01 00:00:00"), ret(1, "2020-02-01 00:00:00")]
    back = [one._replace(recipient=b"+905550000002") for one in ended] + [onay(2, "2020-03-01 00:00:00")]
    limit(ledger, 5)
    record(ledger, *ended, *back, onay(3, "2020-01-01 00:00:00"), now=then)
    assert held(ledger) == {BRAND: 2}
    assert retention.retain(ledger, NOW, "user ayse", vouched=True).events == 4
    assert held(ledger) == {BRAND: 2}


def test_a_backup_has_it(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    ledger = Ledger(sqlite_ledger.engine, sqlite_ledger.fingerprint, subscriptions=Subscriptions(OWNERS))
    record(ledger, onay(1), onay(2))
    limit(ledger, 2)
    directory = tmp_path / "dump"
    directory.mkdir()
    backup.dump("sqlite", tmp_path / "data", directory)
    backup.load("sqlite", tmp_path / "again", directory)
    restored = Ledger.open("sqlite", tmp_path / "again", KEY, subscriptions=Subscriptions(OWNERS))
    assert held(restored) == {BRAND: 2}
    assert declare(restored, onay(3, DAY)) == [QUOTA_REACHED]
    restored.close()


def test_a_dry_run_says_what_an_import_then_does(ledger: Ledger, tmp_path: Path) -> None:
    record(ledger, onay(1), onay(2), onay(3, EARLY)._replace(brand=OTHER))
    limit(ledger, 3)
    path, rejects = tmp_path / "in.csv", tmp_path / "rejects.csv"
    rows = [(1, "ONAY", DAY), (3, "ONAY", DAY), (4, "ONAY", DAY), (2, "RET", DAY), (4, "ONAY", DAY), (5, "ONAY", DAY)]
    for once in (rows[:3], rows[3:]):
        lines = [f"+90555{index:07d},MESAJ,{status},HS_WEB,BIREYSEL,{date}" for index, status, date in once]
        path.write_text("\n".join([HEADER, *lines]))
        said = []
        with rehearsal(ledger) as dry:
            for to in (dry, dry, ledger):  # a file that is rehearsed twice finds its lines recorded
                run = Importer(to, KEY, BRAND, now=NOW, declare=True)
                run.run(path, rejects)
                said.append((run.recorded, run.unchanged, dict(run.reasons)))
        assert said[0] == said[2] == (2, 0, {QUOTA_REACHED: 1})
        assert said[1][2] == {QUOTA_REACHED: 1}
    assert held(ledger) == {BRAND: 3}


def test_without_a_quota_nobody_asks_whose_brands_are_whose(ledger: Ledger) -> None:
    def never(_: Connection) -> dict[int, int]:
        raise AssertionError("asked")

    free = Ledger(ledger.engine, ledger.fingerprint, subscriptions=Subscriptions(approved=never))
    assert declare(free, onay(1, DAY)) == [RECORDED]


def test_a_brand_that_was_approved_is_its_providers(tmp_path: Path) -> None:
    with open_ledger(settings(tmp_path / "data")) as ledger:
        office = Office(ledger.engine)
        provider = office.providers.get(office.approved())
        assert provider.iys_code is not None
        moves = [onay(index, DAY)._replace(brand=code) for index, code in enumerate(provider.codes)]
        assert len(moves) > 1, "several brands"
        limit(ledger, 1, provider.iys_code)
        assert declare(ledger, *moves) == [RECORDED, *[QUOTA_REACHED] * (len(moves) - 1)]
        assert limit(ledger, 1) == Subscription(BRAND, 1, 0), "of the configuration"


def test_an_allowance_is_used_up_by_what_it_is_told() -> None:
    left = Allowance({BRAND: BRAND}, {BRAND: 1})
    assert left.fault(onay(1), None) is None
    assert left.take(onay(1), None) is None
    assert left.take(onay(2), None) == QUOTA_REACHED
    assert left.take(onay(2)._replace(brand=OTHER), None) is None
    assert left.take(ret(1), Status.BEKLIYOR) is None
    assert left.take(onay(2), Status.RET) is None
