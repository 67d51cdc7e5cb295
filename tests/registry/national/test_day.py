"""The day's file to the octet (vector 8.5), its hash, the counters, and the agreement."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from filters.model import Channel, RecipientType, Status
from registry.ledger import Ledger, transaction_id
from registry.national import day_file
from registry.national.daily import Days
from registry.national.day_file import Line, digest_of, octets
from registry.national.tables import api_audit
from registry.rules import Move
from tests.registry.national.support import BRAND, IYS, READER, B, Served, codes
from tests.registry.support import NOW, number, record

DAY = "2026-03-03"
HASH = "987fd6701c5f82c0aabafa55598dac9b1ec6cdef5cd63bfb81fdc983971d19938758078ea35e224dee92233a60dc0b1e"
NO_HEADER = "9829e2bab62bea29bd2931d7129653b6096f11a9e14d6f60c9125961443d88df96f4e3fb1d8211e50667561d92cad71a"
CRLF = "a32fde8cf65d722991a9acf9cdec38993c2c834d3883d6e7edec1dabde795c0f918a9d80893a84a60fd2aa0b3be6de5f"
UNENDED = "3638b1d5f7439ca7e8357fd5ff462026792826e925f21cb09302201a0da0020fb7ac555ecd11c1d14fbc45a862b89155"
VECTOR = [
    Line(created, f"{number_:064d}", recipient, "BIREYSEL", channel, status, date, source)
    for created, number_, recipient, channel, status, date, source in (
        ("2026-03-02 09:15:01", 1, "ada@example.test", "EPOSTA", "ONAY", "2026-03-01 18:00:00", "HS_WEB"),
        ("2026-03-02 09:15:01", 2, "+905321112233", "MESAJ", "ONAY", "2026-03-01 18:05:00", "HS_MOBIL"),
        ("2026-03-02 21:40:10", 3, "+905321112233", "MESAJ", "RET", "2026-03-02 21:40:09", "IYS_KISAMESAJ"),
    )
]


def at(hour: int, minute: int = 0, second: int = 0, day: int = 3) -> datetime:
    """A moment of March in Turkey."""
    return datetime(2026, 3, day, tzinfo=UTC) + timedelta(hours=hour - 3, minutes=minute, seconds=second)


def move(index: int, status: Status = Status.ONAY, date: str = "2026-03-01 18:00:00", source: str = "HS_WEB") -> Move:
    return Move(BRAND, Channel.MESAJ, number(index), RecipientType.BIREYSEL, status, source, date)


def test_the_vector() -> None:
    file = b"".join(octets(VECTOR))
    assert len(file) == 532
    assert file.endswith(b"\n")
    assert digest_of([file]) == HASH
    assert digest_of([file.partition(b"\n")[2]]) == NO_HEADER
    assert digest_of([file.replace(b"\n", b"\r\n")]) == CRLF
    assert digest_of([file[:-1]]) == UNENDED


def test_lines_are_in_order_whatever_the_order_of_the_log(ledger: Ledger) -> None:
    for minute in (30, 10, 20):
        record(ledger, *(move(minute * 100 + index) for index in range(20)), now=at(12, minute))
    with ledger.engine.connect() as connection, day_file.temporary() as out:
        written = day_file.write(connection, BRAND, at(12).date(), out)
        out.seek(0)
        file = out.read()
    lines = file.decode().splitlines()
    assert lines[0] == day_file.HEADER
    assert lines[1:] == sorted(lines[1:])
    assert (written.lines, written.through, written.digest) == (60, 60, digest_of([file]))
    first = move(1000)
    assert f"2026-03-03 12:10:00,{transaction_id(first).hex()},{number(1000).decode()},BIREYSEL,MESAJ," in file.decode()


async def test_a_day_is_turkeys(api: Served, sqlite_ledger: Ledger) -> None:
    """C2: half past midnight is the day before in UTC."""
    moments = (at(23, 59, 59, day=2), at(0), at(0, 30), at(23, 59, 59), at(0, day=4))
    for index, moment in enumerate(moments):
        record(sqlite_ledger, move(index), now=moment)
    answer = await api.ask("GET", f"{B}/changes/{DAY}/file")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    created = [line.partition(",")[0] for line in answer.text.splitlines()[1:]]
    assert created == ["2026-03-03 00:00:00", "2026-03-03 00:30:00", "2026-03-03 23:59:59"]


async def test_hash_and_file_belong_together_and_can_be_agreed_to(api: Served, sqlite_ledger: Ledger) -> None:
    record(sqlite_ledger, move(1), move(2), now=at(10))
    path = f"{B}/agreements/{DAY}"
    first = (await api.ask("GET", path)).json()
    file = await api.ask("GET", f"{B}/changes/{DAY}/file")
    assert first == {
        "processStatus": "completed",
        "hashValue": digest_of([file.content]),
        "hashMethod": "SHA-384",
        "agreementStatus": False,
    }
    for body in ({"agreementStatus": False}, {"agreementStatus": 1}, {"agreementStatus": "true"}, {}, [], "true"):
        assert codes(await api.ask("PUT", path, body)) == ["H512"], body
    assert codes(await api.ask("PUT", path, {"agreementStatus": True, "x": 1})) == ["H118"]
    assert codes(await api.ask("PUT", path, {"agreementStatus": True}, as_=READER)) == ["H355"]
    assert (await api.ask("PUT", path, {"agreementStatus": True})).json() == {"agreementCaptured": True}
    assert (await api.ask("GET", path)).json() == first | {"agreementStatus": True}
    # what an import that began on that day records after it belongs to it: whoever agreed is asked again
    record(sqlite_ledger, move(9), now=at(5, day=4))
    assert (await api.ask("GET", path)).json() == first | {"agreementStatus": True}
    record(sqlite_ledger, move(3), now=at(23))
    second = (await api.ask("GET", path)).json()
    assert second["hashValue"] != first["hashValue"]
    assert second["agreementStatus"] is False
    file = await api.ask("GET", f"{B}/changes/{DAY}/file")
    assert second["hashValue"] == digest_of([file.content])


async def test_nobody_agrees_to_what_changed_meanwhile(
    api: Served, sqlite_ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hash that was computed is not the one that stands by then: another process looked at the day again."""
    record(sqlite_ledger, move(1), now=at(10))
    path = f"{B}/agreements/{DAY}"

    async def outdated(*_: object) -> tuple[str, bool]:
        return "0" * 96, False

    await api.ask("GET", path)
    with monkeypatch.context() as patched:
        patched.setattr(Days, "agreement", outdated)
        answer = await api.ask("PUT", path, {"agreementStatus": True})
    assert (answer.status_code, codes(answer)) == (400, ["H123"])
    assert (await api.ask("GET", path)).json()["agreementStatus"] is False
    with sqlite_ledger.engine.connect() as connection:
        assert "agreement" not in connection.execute(select(api_audit.c.action)).scalars().all()


async def test_the_counters(api: Served, sqlite_ledger: Ledger) -> None:
    record(sqlite_ledger, *(move(index) for index in range(3)), now=at(9))
    refused = move(0, Status.RET, "2026-03-03 09:30:00", "IYS_WEB")
    record(sqlite_ledger, refused, move(1, Status.RET, "2026-03-03 09:30:00"), now=at(10))
    record(sqlite_ledger, move(7)._replace(recipient_type=RecipientType.TACIR), now=at(10))
    stats = (await api.ask("GET", f"{B}/changes/{DAY}/recipients/BIREYSEL")).json()["changeStats"]
    assert [one["type"] for one in stats] == ["ARAMA", "MESAJ", "EPOSTA"]
    nothing = {"approval": 0, "rejection": 0, "pending": 0, "total": 0}
    assert stats[0]["consents"] == [{"source": "HS", **nothing}, {"source": "IYS", **nothing}]
    assert stats[1]["consents"] == [
        {"source": "HS", "approval": 3, "rejection": 1, "pending": 0, "total": 4},
        {"source": "IYS", "approval": 0, "rejection": 1, "pending": 0, "total": 1},
    ]
    merchants = (await api.ask("GET", f"{B}/changes/{DAY}/recipients/TACIR")).json()["changeStats"]
    assert merchants[1]["consents"][0]["total"] == 1
    assert codes(await api.ask("GET", f"{B}/changes/{DAY}/recipients/KURUMSAL")) == ["H116"]


async def test_a_day_without_moves(api: Served, sqlite_ledger: Ledger) -> None:
    record(sqlite_ledger, move(1), now=NOW)
    for path in (f"{B}/agreements/{DAY}", f"{B}/changes/{DAY}/file", f"{B}/agreements/{DAY}/timestamp"):
        answer = await api.ask("GET", path)
        assert (answer.status_code, answer.content) == (204, b"")
    assert (await api.ask("PUT", f"{B}/agreements/{DAY}", {"agreementStatus": True})).status_code == 204
    other = await api.ask("GET", f"/sps/{IYS}/brands/{IYS}/changes/2026-03-03/file")
    assert other.status_code == 204


DAYS = [
    ("2026-03-04", "H502"),  # not over
    ("2026-03-05", "H502"),
    ("2026-02-25", ""),
    ("2026-02-24", "H502"),
    ("2026-02-30", "H501"),
    ("20260303", "H501"),
    ("2026-W10-2", "H501"),
    ("x", "H501"),
]


async def test_which_days_are_told(api: Served) -> None:
    for day, code in DAYS:
        for path in (
            f"agreements/{day}",
            f"agreements/{day}/timestamp",
            f"changes/{day}/file",
            f"changes/{day}/recipients/TACIR",
        ):
            answer = await api.ask("GET", f"{B}/{path}")
            if code:
                assert (answer.status_code, codes(answer)) == (422, [code]), (day, code)
            else:
                assert answer.status_code in (200, 204)
