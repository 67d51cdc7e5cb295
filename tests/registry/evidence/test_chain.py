"""The chain over the ledger: whatever is changed, taken out, put in or moved shows, and where."""

from __future__ import annotations

import re
from hashlib import blake2b
from pathlib import Path

import pytest
from sqlalchemy import text

from filters.model import RecipientType, Status
from registry.evidence import actors, chain, check
from registry.evidence.check import Checked
from registry.ledger import Ledger
from registry.rejections import Refusal
from registry.rejections import record as reject
from registry.service import import_csv, open_registry
from tests.registry.support import BRAND, NOW, fingerprint, move, number, onay, ret, settings, write_csv

EVENT = (
    "INSERT INTO consent_event VALUES (7, 100001, 'MESAJ', '+905550000009', 'BIREYSEL', 'ONAY', 'HS_WEB', "
    "'2026-01-01 00:00:00', '2026-03-04T07:00:00Z', 'import')"
)
CHANGES = {
    "another recipient": ("UPDATE consent_event SET recipient = '+905550000008' WHERE seq = 2", ["2 to 3"]),
    "another status": (
        "UPDATE consent_event SET status = 'RET' WHERE seq = 3",
        ["2 to 3", "ONAY (BIREYSEL) stands by event 3, which is RET"],
    ),
    "another date": ("UPDATE consent_event SET consent_date = '2025-01-01 00:00:00' WHERE seq = 1", ["entry 1"]),
    "another time": ("UPDATE consent_event SET recorded_at = '2026-03-04T07:00:01Z' WHERE seq = 6", ["4 to 6"]),
    "another actor": ("UPDATE recording SET actor = 'user ayse' WHERE seq = 3", ["2 to 3, recorded by user ayse"]),
    "a missing event": (
        "DELETE FROM consent_event WHERE seq = 5",
        ["entry 5: missing", "4 to 6", "by event 5, which is not"],
    ),
    "a missing tail": (
        "DELETE FROM consent_event WHERE seq > 4",
        ["5 to 6: missing", "4 to 6", "by event 5, which is not there", "by event 6, which is not there"],
    ),
    "an event more": (EVENT, ["entry 7 (event) stands behind the last seal"]),
    "a changed seal": ("UPDATE recording SET digest = digest_of_9 WHERE seq = 3", ["2 to 3", "4 to 6"]),
    "a missing seal": ("DELETE FROM recording WHERE seq = 3", ["2 to 6"]),
    "a missing last seal": (
        "DELETE FROM recording WHERE seq = 6",
        [f"entry {seq} (event) stands behind the last seal" for seq in (4, 5, 6)],
    ),
    "an event that is said to be removed": (
        "INSERT INTO removed_event SELECT 5, digest, 9 FROM recording WHERE seq = 3",
        ["entry 5 stands twice", "4 to 6", "1 events were taken away, and the removal 9 that they name is missing"],
    ),
}


def record(ledger: Ledger, *moves: object, actor: str) -> None:
    entries = [(fingerprint(ledger, one), one) for one in moves]  # type: ignore[arg-type]
    ledger.record(entries, origin="import", now=NOW, actor=actor)  # type: ignore[arg-type]


@pytest.fixture
def history(ledger: Ledger) -> Ledger:
    """Three recordings: of event 1, of 2 and 3, of 4 to 6."""
    record(ledger, onay(1), actor="file a.csv, user ayse")
    record(ledger, onay(2), onay(3), actor="API client crm")
    record(ledger, ret(1, "2026-02-01 00:00:00"), onay(4), onay(5), actor=actors.HANDSET)
    return ledger


def change(ledger: Ledger, statement: str) -> Checked:
    nine = "X'" + "09" * 32 + "'" if ledger.engine.dialect.name == "sqlite" else "decode(repeat('09', 32), 'hex')"
    with ledger.append() as log:
        log.connection.execute(text(statement.replace("digest_of_9", nine)))
    return check.verify(ledger.engine)


def test_a_ledger_as_it_was_recorded_is_whole(history: Ledger) -> None:
    found = check.verify(history.engine)
    assert (found.events, found.removed, found.head, found.faults) == (6, 0, 6, [])
    assert found.digest != chain.BEGINNING.hex()


def test_an_empty_ledger_is_whole(ledger: Ledger) -> None:
    assert check.verify(ledger.engine) == Checked()


@pytest.mark.parametrize(("statement", "said"), CHANGES.values(), ids=CHANGES.keys())
def test_a_change_shows_and_where(history: Ledger, statement: str, said: list[str]) -> None:
    faults = change(history, statement).faults
    assert len(faults) == len(said), faults
    for fault, part in zip(faults, said, strict=True):
        assert part in fault


def test_two_events_that_change_places_are_noticed(history: Ledger) -> None:
    change(history, "UPDATE consent_event SET seq = -1 WHERE seq = 2")
    change(history, "UPDATE consent_event SET seq = 2 WHERE seq = 3")
    assert len(change(history, "UPDATE consent_event SET seq = 3 WHERE seq = -1").faults) == 1


def test_a_ledger_that_was_written_anew_has_another_digest(history: Ledger) -> None:
    kept = check.verify(history.engine).digest
    assert check.verify(history.engine, kept).faults == []
    record(history, onay(6), actor="user ayse")
    assert check.verify(history.engine, kept).faults == []  # of a while ago
    (fault,) = check.verify(history.engine, "0" * 63 + "1").faults
    assert "no recording has the digest 0" in fault


def test_anybody_can_compute_the_digest(history: Ledger) -> None:
    """From what docs/evidence.md says, without a line of ours."""
    said = [
        ("file a.csv, user ayse", ["1|100001|MESAJ|BIREYSEL|ONAY|HS_WEB|2026-01-01 00:00:00"]),
        ("API client crm", [f"{n}|100001|MESAJ|BIREYSEL|ONAY|HS_WEB|2026-01-01 00:00:00" for n in (2, 3)]),
        (
            "citizen, SMS",
            ["4|100001|MESAJ|BIREYSEL|RET|HS_WEB|2026-02-01 00:00:00"]
            + [f"{n}|100001|MESAJ|BIREYSEL|ONAY|HS_WEB|2026-01-01 00:00:00" for n in (5, 6)],
        ),
    ]
    recipients = iter([1, 2, 3, 1, 4, 5])
    digest = bytes(32)
    for actor, texts in said:
        octets = digest + blake2b(actor.encode(), digest_size=32).digest()
        for line in texts:
            whole = f"{line}|2026-03-04T07:00:00Z|import|+90555{next(recipients):07d}"
            octets += blake2b(whole.encode(), digest_size=32).digest()
        digest = blake2b(octets, digest_size=32).digest()
    assert check.verify(history.engine).digest == digest.hex()


def test_a_large_import_is_sealed_in_parts(sqlite_ledger: Ledger) -> None:
    record(
        sqlite_ledger, *(onay(index) for index in range(2 * chain.SEAL_EVENTS_MAX + 1)), actor="file b.csv, user ayse"
    )
    (fault,) = change(sqlite_ledger, "UPDATE consent_event SET brand = 7 WHERE seq = 1500").faults
    assert fault.startswith("entries 1001 to 2000, recorded by file b.csv, user ayse")


def test_one_append_may_be_the_work_of_many(ledger: Ledger) -> None:
    entries = [(fingerprint(ledger, one), one, True) for one in map(onay, range(4))]
    with ledger.append() as log:
        log.write(entries, origin="api", now=NOW, actor=["API client crm", "API client crm", "user ayse", "x"])
    assert actors_of(ledger) == ["API client crm", "user ayse", "x"]
    assert check.verify(ledger.engine).faults == []


def test_faults_are_told_up_to_a_bound(sqlite_ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    for index in range(5):
        record(sqlite_ledger, onay(index), actor="")
    monkeypatch.setattr(check, "VERIFY_FAULTS_MAX", 2)
    faults = change(sqlite_ledger, "UPDATE consent_event SET brand = 7").faults
    assert (len(faults), faults[-1]) == (3, "and 3 more")


def actors_of(ledger: Ledger) -> list[str]:
    with ledger.engine.connect() as connection:
        return list(connection.execute(text("SELECT actor FROM recording ORDER BY seq")).scalars())


def test_each_way_in_says_who_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SUDO_USER", raising=False)
    path = write_csv(tmp_path / "onaylar.csv", ["+905550000001,MESAJ,ONAY,HS_WEB,BIREYSEL,2026-01-01 00:00:00"])
    import_csv(settings(tmp_path / "data"), BRAND, path)
    with open_registry(settings(tmp_path / "data")) as registry:
        registry.publisher.ensure()
        refusal = Refusal([BRAND], move(1, Status.RET).channel, number(1), "HS_MESAJ")
        reject(registry.ledger, registry.publisher, refusal, "sms", actors.HANDSET)
        imported, by_sms = actors_of(registry.ledger)
        assert re.fullmatch(r"file onaylar\.csv, user \S+", imported)
        assert by_sms == "citizen, SMS"
        assert registry.ledger.fold(fingerprint(registry.ledger, onay(1)))[RecipientType.TACIR].status is Status.RET


def test_behind_sudo_both_users_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_USER", "ayse")
    assert re.fullmatch(r"user ayse( as \S+)?", actors.operator())


def test_what_stands_for_an_actor_is_bounded_and_one_line() -> None:
    assert actors.written("a\nb\0c\udcff") == "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}c\\udcff"
    assert len(actors.written("x" * 5000)) == actors.ACTOR_CHARACTERS_MAX
