"""Retailers of brands in the ledger's database: who they are, which consents they took and which they may use.

A retailer is known by an eight-digit code of ours. Access hangs on a consent's key, whatever its status; who took a
consent hangs on the event.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

import msgspec
from sqlalchemy import Connection, Engine, and_, delete, func, insert, select

from filters.model import Channel, RecipientType
from registry.append import Key
from registry.bulk import among
from registry.ledger import Ledger
from registry.limits import API_RETAILERS_MAX, API_SESSION_SECONDS
from registry.national.audit import write_audit
from registry.national.recorder import Addition
from registry.national.stored import api_event_retailer, api_retailer, api_retailer_access
from registry.rules import Move
from registry.schema import appending, consent, take_append_lock

CODE_MIN: Final = 10_000_000
CODE_MAX: Final = 99_999_999

Details = dict[str, Any]


class TooManyRetailers(Exception):
    """A brand has as many as it may."""


class Repeated(Exception):
    """`code`: another retailer of the brand has the same number."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class UnknownRetailers(Exception):
    """Some of the codes are none of the brand's; `first` is the first such one."""

    def __init__(self, first: int) -> None:
        super().__init__(first)
        self.first = first


class UnknownConsents(Exception):
    """Nothing is recorded under a key; `first` is the place of the first such one."""

    def __init__(self, first: int) -> None:
        super().__init__(first)
        self.first = first


class Retailer(NamedTuple):
    """One retailer."""

    code: int
    details: Details
    access: int  # consents it may use


class Page(NamedTuple):
    """A part of a list."""

    total: int
    retailers: list[Retailer]


class Marks(NamedTuple):
    """What a consent has to do with retailers."""

    code: int  # who took it; 0: nobody
    title: str
    access: int  # how many may use it

    @property
    def told(self) -> dict[str, Any]:
        """In the words of the status; what is not known is left out."""
        said = {"retailerCode": self.code, "retailerTitle": self.title}
        return {"retailerAccessCount": self.access, **{name: value for name, value in said.items() if value}}


class Actor(NamedTuple):
    """Who changes something, and when."""

    client: str
    now: datetime


class Target(NamedTuple):
    """A consent's key in words."""

    brand: int
    channel: Channel
    recipient: bytes
    recipient_type: RecipientType

    @property
    def values(self) -> dict[str, Any]:
        """The columns of `api_retailer_access` that name it."""
        return {
            "brand": self.brand,
            "channel": self.channel.value,
            "recipient": self.recipient.decode(),
            "recipient_type": self.recipient_type.value,
        }


class RetailerStore:
    """Thread-safe; a method is a transaction, blocks, and raises SQLAlchemyError. The first two are in another's."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._writing = appending(engine)
        self._asked_at = float("-inf")  # monotonic
        self._any = False

    def may_tell(self) -> bool:
        """Whether `marks` is worth the question: where there are no retailers it need be asked now and then alone."""
        return self._any or time.monotonic() - self._asked_at >= API_SESSION_SECONDS

    def known(self, connection: Connection, wanted: Collection[tuple[int, int]]) -> Collection[tuple[int, int]]:
        """Of pairs (brand, retailer code) those that exist."""
        codes = sorted({code for _, code in wanted})
        found = among(connection, "SELECT brand, code FROM api_retailer WHERE code", codes)
        return {(brand, code) for brand, code in found}.intersection(wanted)

    def attach(self, connection: Connection, taken: Sequence[tuple[int, Addition]]) -> None:
        """Note the retailers of events, by their numbers in the ledger."""
        rows = [{"seq": number, "retailer": one.retailer} for number, one in taken if one.retailer]
        if rows:
            connection.execute(insert(api_event_retailer), rows)
        for _, one in taken:
            if one.retailer_access:
                _grant(connection, target_of(one.move), one.retailer_access)

    def add(self, brand: int, details: Details, client: str, now: datetime) -> int:
        """A new retailer; its code. Raises TooManyRetailers, and Repeated for a TCKN or MERSİS that another has."""
        mine = select(func.count()).select_from(api_retailer).where(api_retailer.c.brand == brand)
        tckn, mersis = details["tckn"], details.get("mersis")
        with self._writing.begin() as connection:
            take_append_lock(connection)
            if connection.execute(mine).scalar_one() >= API_RETAILERS_MAX:
                raise TooManyRetailers
            if connection.execute(mine.where(api_retailer.c.tckn == tckn)).scalar_one():
                raise Repeated("H231")
            if mersis and connection.execute(mine.where(api_retailer.c.mersis == mersis)).scalar_one():
                raise Repeated("H230")
            code = self._new_code(connection)
            row = {
                "code": code,
                "brand": brand,
                "details": msgspec.json.encode(details).decode(),
                "title": details["title"],
                "tckn": tckn,
                "mersis": mersis,
                "status": details.get("status", "active"),
                "created_at": int(now.timestamp()),
            }
            connection.execute(insert(api_retailer).values(row))
            self._any = True
            write_audit(connection, client, "retailer-add", now, brand=brand, detail=str(code))
        return code

    def remove(self, brand: int, code: int, client: str, now: datetime) -> bool:
        """Also its access; False: the brand has none of this code. That it took consents stays on record."""
        mine = and_(api_retailer.c.brand == brand, api_retailer.c.code == code)
        with self._writing.begin() as connection:
            take_append_lock(connection)  # nobody is granting it anything
            if not connection.execute(delete(api_retailer).where(mine)).rowcount:
                return False
            connection.execute(delete(api_retailer_access).where(api_retailer_access.c.retailer == code))
            write_audit(connection, client, "retailer-remove", now, brand=brand, detail=str(code))
        return True

    def page(self, brand: int, offset: int, limit: int | None) -> Page:
        """A brand's retailers in the order of their codes."""
        mine = api_retailer.c.brand == brand
        query = select(api_retailer.c.code, api_retailer.c.details).where(mine).order_by(api_retailer.c.code)
        with self._engine.connect() as connection:
            total = connection.execute(select(func.count()).select_from(api_retailer).where(mine)).scalar_one()
            rows = connection.execute(query.offset(offset).limit(limit)).all()
            return Page(total, _with_counts(connection, rows))

    def one(self, brand: int, code: int) -> Retailer | None:
        """A retailer of the brand."""
        query = select(api_retailer.c.code, api_retailer.c.details)
        with self._engine.connect() as connection:
            rows = connection.execute(query.where(api_retailer.c.brand == brand, api_retailer.c.code == code)).all()
            return next(iter(_with_counts(connection, rows)), None)

    def count(self, brands: Iterable[int]) -> dict[int, int]:
        """How many retailers brands have."""
        query = select(api_retailer.c.brand, func.count()).where(api_retailer.c.brand.in_(set(brands)))
        with self._engine.connect() as connection:
            return _counts(connection.execute(query.group_by(api_retailer.c.brand)))

    def using(self, target: Target, offset: int, limit: int) -> Page:
        """The retailers that may use a consent."""
        access = api_retailer_access
        joined = access.join(api_retailer, api_retailer.c.code == access.c.retailer)
        here = _key_of(target)
        query = select(api_retailer.c.code, api_retailer.c.details).select_from(joined).where(here)
        with self._engine.connect() as connection:
            total = connection.execute(select(func.count()).select_from(joined).where(here)).scalar_one()
            rows = connection.execute(query.order_by(api_retailer.c.code).offset(offset).limit(limit)).all()
            return Page(total, [Retailer(code, msgspec.json.decode(details), 0) for code, details in rows])

    def marks(self, asked: Sequence[tuple[Target, int]]) -> list[Marks]:
        """What the status of consents tells about retailers, of each with the number of its event."""
        with self._engine.connect() as connection:
            self._any = self._any or connection.execute(select(api_retailer.c.code).limit(1)).first() is not None
            self._asked_at = time.monotonic()
            return [_marks(connection, target, event) for target, event in asked]

    def change(
        self,
        ledger: Ledger,
        targets: Sequence[Target],
        codes: Sequence[int],
        by: Actor,
        *,
        keep: bool,
        grant: bool,
    ) -> None:
        """Grant codes to consents, or take them away (all where there are none); `keep`: they keep the others.

        Raises UnknownRetailers, and UnknownConsents where something is to be granted to one that does not exist.
        """
        brand = targets[0].brand
        with self._writing.begin() as connection:
            take_append_lock(connection)
            if grant:
                wanted = {(brand, code) for code in codes}
                known = self.known(connection, wanted)
                if strange := [code for code in codes if (brand, code) not in known]:
                    raise UnknownRetailers(strange[0])
                found = _existing(connection, ledger, targets)
                if missing := [place for place, target in enumerate(targets) if target not in found]:
                    raise UnknownConsents(missing[0])
            for target in targets:
                here = _key_of(target)
                if not grant and codes:
                    here = and_(here, api_retailer_access.c.retailer.in_(codes))
                if not (grant and keep):
                    connection.execute(delete(api_retailer_access).where(here))
                if grant:
                    _grant(connection, target, codes)
            action = "access-remove" if not grant else "access-add" if keep else "access-replace"
            detail = f"{len(targets)}: {' '.join(map(str, codes)) or 'all'}"
            write_audit(connection, by.client, action, by.now, brand=brand, detail=detail)

    def _new_code(self, connection: Connection) -> int:
        while True:
            code = CODE_MIN + secrets.randbelow(CODE_MAX - CODE_MIN + 1)
            taken = select(api_retailer.c.code).where(api_retailer.c.code == code)
            if connection.execute(taken).first() is None:
                return code


def _marks(connection: Connection, target: Target, event: int) -> Marks:
    titled = api_event_retailer.outerjoin(api_retailer, api_retailer.c.code == api_event_retailer.c.retailer)
    taker = select(api_event_retailer.c.retailer, api_retailer.c.title).select_from(titled)
    using = select(func.count()).select_from(api_retailer_access).where(_key_of(target))
    row = connection.execute(taker.where(api_event_retailer.c.seq == event)).one_or_none()
    access = connection.execute(using).scalar_one()
    return Marks(0, "", access) if row is None else Marks(row[0], row[1] or "", access)


def target_of(move: Move) -> Target:
    """The key of a move."""
    return Target(move.brand, move.channel, move.recipient, move.recipient_type)


def _existing(connection: Connection, ledger: Ledger, targets: Sequence[Target]) -> set[Target]:
    """Those of which anything is recorded."""
    keys: dict[Key, Target] = {}
    for target in targets:
        fingerprint = ledger.fingerprint(target.brand, target.channel, target.recipient)
        keys[fingerprint, target.recipient_type.value] = target
    wanted = {fingerprint for fingerprint, _ in keys}
    query = select(consent.c.fingerprint, consent.c.recipient_type).where(consent.c.fingerprint.in_(wanted))
    found = ((bytes(fingerprint), kind) for fingerprint, kind in connection.execute(query))
    return {keys[key] for key in found if key in keys}


def _key_of(target: Target) -> Any:
    return and_(*(api_retailer_access.c[name] == value for name, value in target.values.items()))


def _grant(connection: Connection, target: Target, codes: Iterable[int]) -> None:
    already = select(api_retailer_access.c.retailer).where(_key_of(target))
    known = set(connection.execute(already).scalars())
    rows = [{**target.values, "retailer": code} for code in dict.fromkeys(codes) if code not in known]
    if rows:
        connection.execute(insert(api_retailer_access), rows)


def _with_counts(connection: Connection, rows: Sequence[Any]) -> list[Retailer]:
    access = api_retailer_access.c.retailer
    counted = select(access, func.count()).where(access.in_([row[0] for row in rows])).group_by(access)
    counts = _counts(connection.execute(counted)) if rows else {}
    return [Retailer(code, msgspec.json.decode(details), counts.get(code, 0)) for code, details in rows]


def _counts(rows: Iterable[Any]) -> dict[int, int]:
    return {int(row[0]): int(row[1]) for row in rows}
