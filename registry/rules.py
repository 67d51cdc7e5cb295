"""The national system's rules for one consent line, and the fold of a history. Pure: lines and facts in, verdicts out.

Numbers `V…` are the validation rules of the national API (İYS API 3.2.0, error table); the codes are its own.
"""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta, timezone
from typing import Final, NamedTuple

from filters.address import canonical_email, canonical_msisdn, is_mobile
from filters.model import Channel, RecipientType, Status

TURKEY: Final = timezone(timedelta(hours=3))  # no daylight saving since 2016; older dates are compared as written
DATE_FORMAT: Final = "%Y-%m-%d %H:%M:%S"
DATE_MIN: Final = "2015-05-01 00:00:00"  # law 6563 came into force; also the one date of HS_2015
DECLARATION_WORKDAYS: Final = 3
PHONE_CHARACTERS_MAX: Final = 16  # plus and fifteen digits

_DECLARED = "2015 KARAR FIZIKSEL_ORTAM ISLAK_IMZA ETKINLIK ATM EORTAM WEB MOBIL MESAJ EPOSTA CAGRI_MERKEZI SOSYAL_MEDYA"
_NATIONAL = "KISAMESAJ CM WEB WEB_YENI MOBIL EPOSTA AHS_HAT_KAPATMA FRAME_EPOSTA FRAME_SMS"
_FORMER = "3338 KISA_LINK"  # names of earlier years that exports still contain
HS_SOURCES: Final = frozenset(f"HS_{name}" for name in _DECLARED.split())
IYS_SOURCES: Final = frozenset(f"IYS_{name}" for name in f"{_NATIONAL} {_FORMER}".split())
DECIDED: Final = "HS_KARAR"  # the provider itself decided not to send any more
LINE_CLOSED: Final = "IYS_AHS_HAT_KAPATMA"  # the one source whose records may lack a date

REASONS: Final = {
    "": "the line does not have the columns of the header",
    "H110": "status is missing",
    "H111": "type is missing",
    "H112": "consentDate is missing",
    "H113": "source is missing",
    "H114": "recipient is missing",
    "H115": "status must be ONAY or RET",
    "H116": "recipientType must be BIREYSEL or TACIR",
    "H117": "type must be ARAMA, MESAJ or EPOSTA",
    "H119": "unknown source, or a source that only the national system may set",
    "H120": "not a valid e-mail address",
    "H121": "not a valid telephone number for this type",
    "H155": f"source HS_2015 needs consentDate {DATE_MIN}",
    "H156": "consentDate is before 1 May 2015",
    "H157": "consentDate is no date of the calendar",
    "H158": "consentDate must be written YYYY-MM-DD HH:MM:SS",
    "H160": "the telephone number is longer than 15 digits",
    "H162": "consentDate is in the future",
    "H174": "the same rejection again",
    "H175": "the first record of a recipient may not be RET",
    "H178": "consentDate is not newer than the recorded one",
    "H408": "source HS_KARAR needs status RET",
    "H460": "the line is longer than any valid one",
    "H462": "changing a TACIR record needs consentDate",
    "H463": "changing a TACIR record needs source",
    "H464": "MESAJ needs a telephone number",
    "H467": "the consent is older than three business days",
    "H486": "source HS_KARAR is not allowed for the first record of a recipient",
    "H525": "the subscription's quota is used up",
}

VALIDATION: Final = {
    "V1": "H175",  # the first record of a key is no RET
    "V2": "H174",  # no RET after a RET
    "V3": "H178",  # dates go forward
    "V4": "H156",  # not before law 6563
    "V5": "H155",  # HS_2015 has its one date
    "V6": "H162",  # not in the future
    "V7": "H467",  # not older than three business days
    "V8": "H408",  # HS_KARAR is a RET
    "V9": "H486",  # and no first record
    "V10": "H119",  # IYS_… is the national system's
    "V11": "H194",  # a key is once in a batch
    "V12": "H118",  # no other fields
    "V13": "H525",  # no more than the subscription has (`registry.subscription`)
    "V14": "H178",  # two moves of one second are one: the second is not newer
}
"""The rules by number, with the code of each. One test for each row and way in: tests/registry/test_ways_in.py."""
LATE: Final = VALIDATION["V7"]
QUOTA_REACHED: Final = VALIDATION["V13"]

_CHANNELS = {channel.encode(): channel for channel in Channel}
_TYPES = {b"": RecipientType.BIREYSEL} | {kind.encode(): kind for kind in RecipientType}
SAID: Final = (Status.ONAY, Status.RET)  # by somebody
_STATUSES = {status.encode(): status for status in SAID}
_SOURCES = {source.encode(): source for source in HS_SOURCES | IYS_SOURCES}
_DATE = re.compile(rb"([0-9]{4}-[0-9]{2}-[0-9]{2}) (?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]")
_DATE_LIKE = re.compile(rb"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}")


class Consent(NamedTuple):
    """What stands recorded under one key, ordered so that `max` is the fold of a history.

    The newest consentDate wins, a tie is RET ("ONAY" < "RET"). The source comes last only to make the order total: the
    fold of the same events is then the same in whatever order they arrive. A missing date is older than every date.
    """

    consent_date: str  # as the national system writes it: Turkey time, "2026-03-04 10:00:00"
    status: Status
    source: str


class Move(NamedTuple):
    """One event of a consent's life: what somebody recorded about a recipient."""

    brand: int
    channel: Channel
    recipient: bytes  # canonical
    recipient_type: RecipientType
    status: Status
    source: str  # "" only where the national system allows it (TACIR, first record)
    consent_date: str  # "" likewise

    @property
    def consent(self) -> Consent:
        """What this move alone would make of its key."""
        return Consent(self.consent_date, self.status, self.source)


class Line(NamedTuple):
    """The six national columns of one line, as they stand there."""

    recipient: bytes
    type: bytes
    status: bytes
    source: bytes
    recipient_type: bytes
    consent_date: bytes


def turkey_time(now: datetime) -> str:
    """An aware point in time as the national system writes it."""
    return now.astimezone(TURKEY).strftime(DATE_FORMAT)


_Said = tuple[Channel, Status, str, RecipientType]


class LineRules:
    """Callable: a `Line` -> the `Move` it records, or the code of the rule it breaks.

    `now` and `oldest` (the first day that is not too late, only for declarations, V7) are in Turkey time as text.
    `strict`: recipients must be written as the national API wants them, E.164 with a plus, e-mail in ASCII.
    """

    __slots__ = ("_brand", "_days", "_declare", "_known", "_now", "_oldest", "_strict")

    def __init__(self, brand: int, now: str, *, declare: bool = False, oldest: str = "", strict: bool = False) -> None:
        self._brand = brand
        self._strict = strict
        self._now = now
        self._declare = declare
        self._oldest = oldest
        self._days: set[bytes] = set()  # days that exist; grows to one entry per calendar day since 2015 at most
        self._known: dict[tuple[bytes, ...], _Said] = {}  # by the four columns with few values; at most 3 x 2 x 27 x 3

    def __call__(self, line: Line) -> Move | str:
        recipient_column, channel_column, status_column, source_column, type_column, date_column = line
        said = self._known.get((channel_column, status_column, source_column, type_column))
        if said is None:
            found = self._said(line)
            if isinstance(found, str):
                return found
            said = found
        channel, status, source, recipient_type = said
        recipient = recipient_of(channel, recipient_column, strict=self._strict)
        if isinstance(recipient, str):
            return recipient
        if (date_column or source or recipient_type is RecipientType.BIREYSEL) and (
            fault := self._date_fault(line, recipient_type, status)
        ):
            return fault
        return Move(self._brand, channel, recipient, recipient_type, status, source, date_column.decode())

    def _said(self, line: Line) -> _Said | str:
        """What the columns with few values say together, or the code of the rule they break."""
        channel = _CHANNELS.get(line.type)
        if channel is None:
            return "H117" if line.type else "H111"
        status = _STATUSES.get(line.status)
        if status is None:
            return "H115" if line.status else "H110"
        recipient_type = _TYPES.get(line.recipient_type)
        if recipient_type is None:
            return "H116"
        if fault := self._source_fault(line.source, status, recipient_type):
            return fault
        said = (channel, status, _SOURCES.get(line.source, ""), recipient_type)
        self._known[line.type, line.status, line.source, line.recipient_type] = said
        return said

    def _source_fault(self, source: bytes, status: Status, recipient_type: RecipientType) -> str | None:
        if not source:
            return "H113" if recipient_type is RecipientType.BIREYSEL else None
        if source not in _SOURCES:
            return "H119"
        if self._declare and source.startswith(b"IYS_"):  # V10
            return "H119"
        if source == DECIDED.encode() and status is not Status.RET:  # V8
            return "H408"
        return None

    def _date_fault(self, line: Line, recipient_type: RecipientType, status: Status) -> str | None:
        written = line.consent_date
        if not written:
            undated = recipient_type is RecipientType.TACIR
            undated |= status is Status.RET and line.source == LINE_CLOSED.encode()
            return None if undated else "H112"
        if (match := _DATE.fullmatch(written)) is None:
            return "H157" if _DATE_LIKE.fullmatch(written) else "H158"
        if match[1] not in self._days and not self._exists(match[1]):
            return "H157"
        text = written.decode()
        if line.source == b"HS_2015":  # V5; such a consent is never too old to declare
            return None if text == DATE_MIN else "H155"
        if text < DATE_MIN:  # V4
            return "H156"
        if text > self._now:  # V6
            return "H162"
        return LATE if self._declare and text < self._oldest else None

    def _exists(self, day: bytes) -> bool:
        try:
            date.fromisoformat(day.decode())
        except ValueError:
            return False
        if day >= DATE_MIN[:10].encode() and day <= self._now[:10].encode():
            self._days.add(day)
        return True


def recipient_of(channel: Channel, raw: bytes, *, strict: bool = False) -> bytes | str:
    """The canonical recipient, or the code of what is wrong with it. `strict`: as the national API takes them."""
    if channel is Channel.EPOSTA:
        address = canonical_email(raw)
        if address is None or (strict and address != raw.lower()):
            return "H120" if raw else "H114"
        return address
    number = canonical_msisdn(raw)
    if number is not None and not (strict and number != raw):
        foreign_or_mobile = is_mobile(number) or not number.startswith(b"+90")
        return number if channel is Channel.ARAMA or foreign_or_mobile else "H121"
    if not raw:
        return "H114"
    if b"@" in raw:
        return "H464" if channel is Channel.MESAJ else "H121"
    return "H160" if raw.lstrip(b"+").isdigit() and len(raw) > PHONE_CHARACTERS_MAX else "H121"


def declaration_fault(move: Move, recorded: Consent | None) -> str | None:
    """The rules for a new declaration that depend on what is recorded already (V1–V3, V9); None: it may be taken."""
    if recorded is None:
        if move.status is not Status.RET:
            return None
        return "H486" if move.source == DECIDED else "H175"
    if not move.consent_date:
        return "H462"
    if not move.source:
        return "H463"
    if move.status is Status.RET and recorded.status is Status.RET:
        return "H174"
    return "H178" if move.consent_date <= recorded.consent_date else None
