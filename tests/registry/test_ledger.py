"""The ledger: appends in one order, the fold, idempotence; the same on SQLite and PostgreSQL."""

from __future__ import annotations

import stat
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from filters.model import RecipientType, Status
from registry.ledger import RECORDED, UNCHANGED, Change, KeyMismatch, Ledger, transaction_id
from registry.rules import declaration_fault
from registry.schema import open_engine
from tests.registry.support import KEY, NOW, fingerprint, fold, move, number, onay, record, ret

TACIR = RecipientType.TACIR


def test_the_newest_consent_date_wins_in_whatever_order_it_comes(ledger: Ledger) -> None:
    record(ledger, ret(1, "2026-01-03 00:00:00"), onay(1, "2026-01-02 00:00:00"))
    assert fold(ledger, onay(1)) is Status.RET
    record(ledger, onay(2, "2026-01-02 00:00:00"), ret(2, "2026-01-03 00:00:00"), onay(2, "2026-01-04 00:00:00"))
    assert fold(ledger, onay(2)) is Status.ONAY


def test_i5_a_tie_is_a_rejection(ledger: Ledger) -> None:
    assert record(ledger, ret(1), onay(1)) == [RECORDED, RECORDED]
    record(ledger, onay(2))
    record(ledger, ret(2))
    assert fold(ledger, onay(1)) is Status.RET
    assert fold(ledger, onay(2)) is Status.RET


def test_recording_again_changes_nothing(ledger: Ledger) -> None:
    history = [onay(1, "2026-01-01 00:00:00"), ret(1, "2026-01-02 00:00:00"), onay(2), ret(3, kind=TACIR)]
    assert record(ledger, *history) == [RECORDED] * 4
    head = ledger.head()
    assert record(ledger, *history) == [UNCHANGED] * 4
    assert record(ledger, *reversed(history)) == [UNCHANGED] * 4
    assert ledger.head() == head == 4


def test_the_same_move_twice_in_one_batch_is_one_event(ledger: Ledger) -> None:
    first, second = onay(1, "2026-01-01 00:00:00"), ret(1, "2026-01-02 00:00:00")
    assert record(ledger, first, second, first, second) == [RECORDED, RECORDED, UNCHANGED, UNCHANGED]
    late = onay(1, "2025-01-01 00:00:00")
    assert record(ledger, late, late) == [RECORDED, UNCHANGED]


def test_an_older_move_is_evidence_but_not_the_fold(ledger: Ledger) -> None:
    record(ledger, onay(1, "2026-01-05 00:00:00"))
    assert record(ledger, ret(1, "2026-01-04 00:00:00")) == [RECORDED]
    assert fold(ledger, onay(1)) is Status.ONAY
    assert ledger.head() == 2


def test_channels_and_recipient_types_have_folds_of_their_own(ledger: Ledger) -> None:
    record(ledger, onay(1), ret(1, "2026-02-01 00:00:00", kind=TACIR))
    assert ledger.fold(fingerprint(ledger, onay(1))).keys() == {RecipientType.BIREYSEL, TACIR}
    assert fold(ledger, onay(1)) is Status.ONAY
    assert fold(ledger, ret(1, kind=TACIR)) is Status.RET


def test_an_undated_rejection_counts_from_now_and_once(ledger: Ledger) -> None:
    record(ledger, onay(1))
    closed = move(1, Status.RET, "", source="IYS_AHS_HAT_KAPATMA")
    assert record(ledger, closed) == [RECORDED]
    assert record(ledger, closed, now=NOW + timedelta(days=1)) == [UNCHANGED]
    stands = ledger.fold(fingerprint(ledger, closed))[RecipientType.BIREYSEL]
    assert stands.consent_date == "2026-03-04 10:00:00"


def test_i5_an_undated_rejection_beats_a_consent_that_is_dated_ahead_of_our_clock(ledger: Ledger) -> None:
    record(ledger, onay(1, "2026-03-04 10:00:30"))
    record(ledger, move(1, Status.RET, ""))
    assert fold(ledger, onay(1)) is Status.RET


def test_a_judge_sees_the_fold_just_before_each_move(ledger: Ledger) -> None:
    history = [ret(1), onay(1), ret(1, "2026-01-02 00:00:00"), ret(1, "2026-01-03 00:00:00")]
    entries = [(fingerprint(ledger, one), one) for one in history]
    answers = ledger.record(entries, origin="declare", now=NOW, judge=declaration_fault)
    assert answers == ["H175", RECORDED, RECORDED, "H174"]
    assert ledger.head() == 2


def test_changes_follow_the_log_in_bounded_steps(ledger: Ledger) -> None:
    record(ledger, onay(1), onay(2), ret(1, "2026-01-02 00:00:00"), ret(3, kind=TACIR))
    (as_of, changes), cursor = ledger.changes_after(0, 2)
    assert (as_of, cursor) == (4, 2)
    said = {change.fingerprint: change.status for change in changes}
    assert said == {fingerprint(ledger, onay(1)): Status.RET, fingerprint(ledger, onay(2)): Status.ONAY}
    (_, changes), cursor = ledger.changes_after(cursor, 2)
    assert (len(changes), cursor) == (2, 4)
    assert ledger.changes_after(4, 2) == ((4, []), 4)


def test_changes_of_keys_are_about_these_keys_only(ledger: Ledger) -> None:
    record(ledger, onay(1), ret(1, kind=TACIR), onay(2))
    one = fingerprint(ledger, onay(1))
    asked = [(one, TACIR), (b"nobody's key"[:12], TACIR)]
    assert ledger.changes_of(asked) == (3, [Change(one, TACIR, Status.RET)])


def test_members_come_in_order_and_in_chunks(ledger: Ledger) -> None:
    record(ledger, *(onay(index) for index in range(25)), *(ret(index) for index in range(25, 30)))
    chunks = list(ledger.members(RecipientType.BIREYSEL, Status.ONAY, 10))
    assert [len(chunk) for chunk in chunks] == [10, 10, 5]
    members = [member for chunk in chunks for member in chunk]
    assert members == sorted(fingerprint(ledger, onay(index)) for index in range(25))
    assert ledger.member_count(RecipientType.BIREYSEL, Status.ONAY) == 25
    assert ledger.member_count(RecipientType.BIREYSEL, Status.ONAY, members[9]) == 10
    after = [one for chunk in ledger.members(RecipientType.BIREYSEL, Status.ONAY, 10, members[9]) for one in chunk]
    assert after == members[10:]
    between = ledger.members_between(RecipientType.BIREYSEL, Status.ONAY, members[3], members[7])
    assert sorted(between) == members[3:7]


def test_more_keys_than_fit_one_query(ledger: Ledger) -> None:
    history = [onay(index) for index in range(9000)]
    assert record(ledger, *history).count(RECORDED) == 9000
    assert record(ledger, *history).count(UNCHANGED) == 9000


@pytest.mark.parametrize("both", ["threads of one ledger", "two ledgers"])
def test_appends_at_the_same_time_leave_no_gap(open_ledger: Callable[[], Ledger], both: str) -> None:
    first = open_ledger()
    second = first if both == "threads of one ledger" else open_ledger()
    faults: list[BaseException] = []

    def append(ledger: Ledger, start: int) -> None:
        try:
            for index in range(start, start + 30):
                record(ledger, onay(index), ret(999, f"2026-02-01 00:00:{index % 60:02}"))
        except BaseException as error:  # noqa: BLE001  told by the test
            faults.append(error)

    threads = [threading.Thread(target=append, args=(one, start)) for one, start in [(first, 0), (second, 30)]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    with open_ledger().append() as log:
        numbers = log._connection.execute(text("SELECT seq FROM consent_event ORDER BY seq")).scalars().all()
    assert numbers == list(range(1, 121))
    assert fold(first, onay(999)) is Status.RET
    assert first.fold(fingerprint(first, onay(999)))[RecipientType.BIREYSEL].consent_date == "2026-02-01 00:00:59"


def test_a_failed_append_leaves_nothing(ledger: Ledger) -> None:
    def fail() -> None:
        with ledger.append() as log:
            log.write([(fingerprint(ledger, onay(1)), onay(1), True)], origin="import", now=NOW)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert ledger.head() == 0
    assert fold(ledger, onay(1)) is None


def test_epochs_are_handed_out_once_and_only_grow(open_ledger: Callable[[], Ledger]) -> None:
    first, second = open_ledger(), open_ledger()
    assert [first.next_epoch(0), second.next_epoch(0), first.next_epoch(7), second.next_epoch(0)] == [1, 2, 8, 9]
    assert first.published_epoch() == 9


def test_another_fingerprint_key_is_noticed_and_can_refold(tmp_path: Path, ledger_url: str, ledger: Ledger) -> None:
    record(ledger, onay(1, "2026-01-01 00:00:00"), ret(1, "2026-01-02 00:00:00"), onay(2), ret(3, kind=TACIR))
    other_key = b"x" * 32
    with pytest.raises(KeyMismatch):
        Ledger.open(ledger_url, tmp_path / "data", other_key)
    refolded = Ledger.open(ledger_url, tmp_path / "data", other_key, refold=True)
    assert [fold(refolded, onay(1)), fold(refolded, onay(2))] == [Status.RET, Status.ONAY]
    assert fold(refolded, ret(3, kind=TACIR)) is Status.RET
    assert refolded.head() == 4
    refolded.close()


def test_the_transaction_id_names_a_move(ledger: Ledger) -> None:
    assert transaction_id(onay(1)) == transaction_id(onay(1))
    names = {transaction_id(one) for one in [onay(1), onay(2), ret(1), onay(1, "2026-01-02 00:00:00")]}
    assert len(names) == 4
    assert all(len(name) == 32 for name in names)


def test_i9_values_stay_out_of_database_errors(ledger: Ledger) -> None:
    broken = onay(1)._replace(brand=None)  # type: ignore[arg-type]
    with pytest.raises(Exception, match=r"NOT NULL|null value") as caught:
        ledger.record([(b"f" * 12, broken)], origin="import", now=datetime.now(UTC))
    if ledger._engine.dialect.name == "sqlite":  # PostgreSQL's own text quotes the row; nobody logs it
        assert number(1).decode() not in str(caught.value)


def test_the_embedded_ledger_is_its_owners_alone(tmp_path: Path) -> None:
    Ledger.open("sqlite", tmp_path, KEY).close()
    assert stat.S_IMODE((tmp_path / "ledger.sqlite").stat().st_mode) == 0o600


def test_an_unknown_database_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="sqlite or postgresql"):
        open_engine("mysql://somewhere/consents", tmp_path)
