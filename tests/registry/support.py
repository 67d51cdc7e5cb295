"""Invented people and short ways to say what happened to their consents."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from filters.layout import FAMILY_OF, LANES, MEMBER_STATUS
from filters.model import Brand, Channel, RecipientType, Status
from registry.index.interface import IndexWriter
from registry.ledger import Ledger
from registry.limits import BUILD_CHUNK_MEMBERS
from registry.publish import Publisher
from registry.rules import Move
from registry.service import Settings

KEY = b"fingerprint key of these tests, 3"[:32]
LINK_KEY = b"link key of these tests, 32 bytes"[:32]
BRAND = 100001
BRANDS = {BRAND: Brand(BRAND, "Örnek Market", "Örnek Market Ticaret A.Ş.", "0123456789000015", BRAND)}
NOW = datetime(2026, 3, 4, 7, 0, tzinfo=UTC)  # a Wednesday, 10:00 in Turkey
HEADER = "recipient,type,status,source,recipientType,consentDate"


def number(index: int) -> bytes:
    """The mobile number of one of ten million invented people."""
    return b"+90555%07d" % index


def move(
    index: int,
    status: Status,
    date: str = "2026-01-01 00:00:00",
    *,
    kind: RecipientType = RecipientType.BIREYSEL,
    channel: Channel = Channel.MESAJ,
    source: str = "HS_WEB",
) -> Move:
    return Move(BRAND, channel, number(index), kind, status, source, date)


def onay(index: int, date: str = "2026-01-01 00:00:00", *, kind: RecipientType = RecipientType.BIREYSEL) -> Move:
    return move(index, Status.ONAY, date, kind=kind)


def ret(index: int, date: str = "2026-01-01 00:00:00", *, kind: RecipientType = RecipientType.BIREYSEL) -> Move:
    return move(index, Status.RET, date, kind=kind)


def fingerprint(ledger: Ledger, one: Move) -> bytes:
    return ledger.fingerprint(one.brand, one.channel, one.recipient)


def record(ledger: Ledger, *moves: Move, now: datetime = NOW) -> list[str]:
    return ledger.record([(fingerprint(ledger, one), one) for one in moves], origin="import", now=now)


def fold(ledger: Ledger, one: Move) -> Status | None:
    """What stands recorded under the key of a move."""
    found = ledger.fold(fingerprint(ledger, one)).get(one.recipient_type)
    return None if found is None else found.status


def is_member(writer: IndexWriter, ledger: Ledger, one: Move) -> bool:
    return writer.contains(FAMILY_OF[one.recipient_type], [fingerprint(ledger, one)]) == [True]


def may_be_sent(writer: IndexWriter, ledger: Ledger, one: Move) -> bool:
    """What a gateway would make of the index's answer for a commercial message."""
    return is_member(writer, ledger, one) is (one.recipient_type is RecipientType.BIREYSEL)


def differences(writer: IndexWriter, ledger: Ledger) -> list[str]:
    """Where the index is not the fold of the ledger, family by family; empty: it is.

    Asks what `registry.verify` asks (`test_verify.py`), in a fraction of the time: the ledger is read in one go, not
    lane by lane.
    """
    said = []
    counted = writer.state()
    assert counted is not None, "the index is empty, half-built or not ours"
    for kind, family in FAMILY_OF.items():
        members = ledger.members(kind, MEMBER_STATUS[kind], BUILD_CHUNK_MEMBERS)
        fold = {writer.name(family, one) for chunk in members for one in chunk}
        names = {name for lane in range(LANES) for name in writer.lane(family, lane)}
        if fold != names or counted.counts[family] != len(names):
            said.append(
                f"{family.name}: {len(fold - names)} missing, {len(names - fold)} surplus, "
                f"{len(names)} there, {counted.counts[family]} counted"
            )
    return said


def withdraw(ledger: Ledger, publisher: Publisher, index: int, date: str = "2026-02-01 00:00:00") -> None:
    """Record it in both families and publish it."""
    record(ledger, ret(index, date), ret(index, date, kind=RecipientType.TACIR))
    one = fingerprint(ledger, ret(index))
    publisher.publish_now([(one, RecipientType.BIREYSEL), (one, RecipientType.TACIR)])


def settings(data_dir: Path, index: str = "sqlite", ledger: str = "sqlite", port: int = 0) -> Settings:
    return Settings(
        data_dir=data_dir,
        ledger=ledger,
        index=index,
        host="127.0.0.1",
        port=port,
        public_url="https://ret.example.com.tr",
        brands=BRANDS,
        fingerprint_key=KEY,
        link_keys={0: LINK_KEY},
        link_key=0,
    )


def write_csv(path: Path, lines: Sequence[str], header: str = HEADER) -> Path:
    path.write_text("\n".join([header, *lines, ""]), encoding="utf-8")
    return path
