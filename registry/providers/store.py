"""Applications in the ledger's database: taken in, changed by what `registry.providers.states` allows, looked up.

Each change is one transaction that others wait for, and leaves one row in `provider_change`: so its number is also its
place in time, and what was read under the lock is still true when it is written.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Engine, Row, func, insert, select, update

from filters.link import BRAND_MAX
from filters.model import Brand
from registry.evidence import actors
from registry.limits import (
    PROVIDER_REASON_CHARACTERS_MAX,
    PROVIDERS_OPEN_MAX,
    PROVIDERS_OPEN_SECONDS,
    PROVIDERS_SUSPENDED_BRANDS_MAX,
)
from registry.providers.application import Application
from registry.providers.documents import Document
from registry.providers.states import CONFIRMS, Action, NotNow, State, Way, after
from registry.providers.suspensions import version_of
from registry.providers.tables import provider, provider_brand, provider_change
from registry.providers.vault import Vault
from registry.schema import appending, take_append_lock

APPLICANT: Final = "applicant"
_TCKN: Final = "tckn"
_HANDLE_OCTETS: Final = 18


class Unknown(Exception):
    """There is no such application."""


class TooManyOpen(Exception):
    """More applications wait than may."""


class Refused(Exception):
    """An operator's wish that would do harm; the text says why and what to do instead."""


@dataclass(frozen=True, slots=True)
class Provider:
    """One application, as operators see it: the signatory's TCKN is masked."""

    id: int
    state: State
    title: str
    mersis: str
    tin: str
    signatory: str
    tckn: str
    mobile: str
    email: str
    document: Document
    confirmed: Mapping[Way, bool]
    iys_code: int | None
    brands: tuple[tuple[str, int | None], ...]  # name and, since it was approved, code
    applied_at: datetime

    @property
    def codes(self) -> list[int]:
        return [code for _, code in self.brands if code is not None]


class Change(NamedTuple):
    """What was done with one."""

    at: str
    action: str
    state: str
    actor: str
    reason: str


class Providers:
    """Thread-safe; a method is one transaction and raises SQLAlchemyError."""

    def __init__(self, engine: Engine, vault: Vault) -> None:
        self._engine = engine
        self._appending = appending(engine)
        self.vault = vault

    @contextmanager
    def changing(self) -> Iterator[Connection]:
        """One serialised transaction."""
        with self._appending.begin() as connection:
            take_append_lock(connection)
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """For who only looks."""
        with self._engine.connect() as connection:
            yield connection

    def check_room(self, connection: Connection, now: datetime) -> None:
        """Raises TooManyOpen when no further application can be taken in."""
        open_ones = select(func.count()).select_from(provider).where(provider.c.state == State.APPLIED)
        open_ones = open_ones.where(provider.c.applied_at > int(now.timestamp()) - PROVIDERS_OPEN_SECONDS)
        if connection.execute(open_ones).scalar_one() >= PROVIDERS_OPEN_MAX:
            raise TooManyOpen

    def apply(self, connection: Connection, application: Application, document: Document, now: datetime) -> str:
        """Take an application in; returns the handle that the applicant knows it by. Raises TooManyOpen."""
        self.check_room(connection, now)
        seconds = int(now.timestamp())
        handle = secrets.token_urlsafe(_HANDLE_OCTETS)
        place = digest_of(handle)
        number = 1 + connection.execute(select(func.coalesce(func.max(provider.c.id), 0))).scalar_one()
        row = {
            "id": number,
            "handle": place,
            "state": State.APPLIED,
            "title": application.title,
            "mersis": application.mersis,
            "tin": application.tin,
            "signatory": application.signatory,
            "tckn": self.vault.seal(_TCKN, place, application.tckn.encode()),
            "mobile": application.mobile,
            "email": application.email,
            "document": document.digest,
            "document_type": document.kind,
            "mobile_confirmed": 0,
            "email_confirmed": 0,
            "applied_at": seconds,
        }
        connection.execute(insert(provider).values(row))
        brands = [{"provider": number, "place": at, "name": name} for at, name in enumerate(application.brands)]
        connection.execute(insert(provider_brand), brands)
        _note(connection, number, Action.APPLY, State.APPLIED, now, APPLICANT, "")
        return handle

    def change(self, number: int, action: Action, now: datetime, actor: str, reason: str) -> State:
        """What an operator decides, other than an approval. Raises Unknown, NotNow or Refused."""
        with self.changing() as connection:
            row = _row(connection, number)
            state = _step(connection, row, action, now, actor, reason)
            if state is State.SUSPENDED:
                _check_room(connection)
        return state

    def confirm(self, connection: Connection, number: int, way: Way, now: datetime, actor: str, reason: str) -> State:
        """One of the two addresses is proven; with the other one the application is verified. Raises NotNow."""
        row = _row(connection, number)
        if getattr(row, f"{way}_confirmed"):
            return State(row.state)
        state = _step(connection, row, CONFIRMS[way], now, actor, reason)
        connection.execute(update(provider).where(provider.c.id == number).values({f"{way}_confirmed": 1}))
        row = _row(connection, number)
        if row.mobile_confirmed and row.email_confirmed:
            state = _step(connection, row, Action.VERIFY, now, actor, "")
        return state

    def approve(
        self, number: int, now: datetime, actor: str, reason: str, *, start: int, taken: Mapping[int, Brand]
    ) -> Provider:
        """Give the brands their codes: the next free ones from `start` on that are not `taken` by a configuration.

        The first is the provider's own (iysCode). Raises Unknown, NotNow or Refused.
        """
        with self.changing() as connection:
            row = _row(connection, number)
            same = select(provider.c.id, provider.c.state).where(
                provider.c.mersis == row.mersis, provider.c.state.in_((State.APPROVED, State.SUSPENDED))
            )
            if row.state == State.VERIFIED and (other := connection.execute(same).first()) is not None:
                raise Refused(f"provider {other.id} has the same MERSİS number and is {other.state}; reject this one")
            _step(connection, row, Action.APPROVE, now, actor, reason)
            codes = _free_codes(connection, start, taken)
            places = connection.execute(
                select(provider_brand.c.place).where(provider_brand.c.provider == number).order_by("place")
            ).scalars()
            given = {place: next(codes) for place in places}
            for place, code in given.items():
                at = (provider_brand.c.provider == number) & (provider_brand.c.place == place)
                connection.execute(update(provider_brand).where(at).values(code=code))
            connection.execute(update(provider).where(provider.c.id == number).values(iys_code=given[0]))
            return self._read(connection, _row(connection, number))

    def find(self, connection: Connection, handle: str) -> Row[Any] | None:
        """The row of whom a handle belongs to."""
        return connection.execute(select(provider).where(provider.c.handle == digest_of(handle))).first()

    def standing(self, handle: str) -> Provider | None:
        """What an applicant may see."""
        with self._engine.connect() as connection:
            row = self.find(connection, handle)
            return None if row is None else self._read(connection, row)

    def get(self, number: int) -> Provider:
        """Raises Unknown."""
        with self._engine.connect() as connection:
            return self._read(connection, _row(connection, number))

    def all(self, state: State | None = None, *, after: int = 0, limit: int | None = None) -> list[Provider]:
        """In the order in which they applied; `limit` of them whose number is above `after`."""
        query = select(provider).where(provider.c.id > after).order_by(provider.c.id).limit(limit)
        if state is not None:
            query = query.where(provider.c.state == state)
        with self._engine.connect() as connection:
            return [self._read(connection, row) for row in connection.execute(query).all()]

    def changes(self, number: int) -> list[Change]:
        """What was done with one, oldest first."""
        columns = (getattr(provider_change.c, name) for name in Change._fields)
        query = select(*columns).where(provider_change.c.provider == number).order_by(provider_change.c.seq)
        with self._engine.connect() as connection:
            return [Change(*row) for row in connection.execute(query)]

    def brands(self) -> tuple[int, dict[int, Brand]]:
        """The brands that were ever approved, and the number of the newest change: suspended ones keep their links."""
        joined = select(
            provider_brand.c.code, provider_brand.c.name, provider.c.title, provider.c.mersis, provider.c.iys_code
        ).join(provider, provider.c.id == provider_brand.c.provider)
        with self._engine.connect() as connection:
            version = version_of(connection)
            rows = connection.execute(joined.where(provider_brand.c.code.is_not(None)).order_by("code"))
            return version, {row[0]: Brand(*row) for row in rows}

    def _read(self, connection: Connection, row: Row[Any]) -> Provider:
        columns = (provider_brand.c.name, provider_brand.c.code)
        query = select(*columns).where(provider_brand.c.provider == row.id).order_by(provider_brand.c.place)
        tckn = self.vault.open(_TCKN, bytes(row.handle), bytes(row.tckn)).decode()
        return Provider(
            row.id,
            State(row.state),
            row.title,
            row.mersis,
            row.tin,
            row.signatory,
            f"{'•' * (len(tckn) - 2)}{tckn[-2:]}",
            row.mobile,
            row.email,
            Document(bytes(row.document), row.document_type),
            {Way.MOBILE: bool(row.mobile_confirmed), Way.EMAIL: bool(row.email_confirmed)},
            row.iys_code,
            tuple((name, code) for name, code in connection.execute(query)),
            datetime.fromtimestamp(row.applied_at, UTC),
        )


def digest_of(handle: str) -> bytes:
    """What is kept of a handle, which has more chance in it than can be guessed."""
    return hashlib.sha256(handle.encode("utf-8", "replace")).digest()


def _row(connection: Connection, number: int) -> Row[Any]:
    row = connection.execute(select(provider).where(provider.c.id == number)).first()
    if row is None:
        raise Unknown(number)
    return row


def _step(connection: Connection, row: Row[Any], action: Action, now: datetime, actor: str, reason: str) -> State:
    state = after(State(row.state), action)
    connection.execute(update(provider).where(provider.c.id == row.id).values(state=state))
    _note(connection, row.id, action, state, now, actor, reason)
    return state


def _note(
    connection: Connection, number: int, action: Action, state: State, now: datetime, actor: str, reason: str
) -> None:
    row = {
        "seq": version_of(connection) + 1,
        "provider": number,
        "at": now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "action": action,
        "state": state,
        "actor": actors.written(actor),
        "reason": actors.written(" ".join(reason.split()), PROVIDER_REASON_CHARACTERS_MAX),
    }
    connection.execute(insert(provider_change).values(row))


def _free_codes(connection: Connection, start: int, taken: Mapping[int, Brand]) -> Iterator[int]:
    """Codes that nobody has, and nobody had."""
    highest = connection.execute(select(func.max(provider_brand.c.code))).scalar_one()
    code = max(start, 1 + (highest or 0))
    used = set(taken) | {brand.iys_code for brand in taken.values()}
    while code <= BRAND_MAX:
        if code not in used:
            yield code
        code += 1
    raise Refused(f"there is no free brand code from {start} on; set onboarding_codes_from lower")


def _check_room(connection: Connection) -> None:
    """Gateways read the suspended brands with the state of the index, so there may not be too many."""
    query = select(func.count()).select_from(provider_brand).join(provider, provider.c.id == provider_brand.c.provider)
    count = connection.execute(query.where(provider.c.state == State.SUSPENDED)).scalar_one()
    if count > PROVIDERS_SUSPENDED_BRANDS_MAX:
        raise Refused(
            f"more than {PROVIDERS_SUSPENDED_BRANDS_MAX} brands would be suspended; take streams out of the "
            "configurations of gateways instead"
        )


__all__ = ["APPLICANT", "Change", "NotNow", "Provider", "Providers", "Refused", "TooManyOpen", "Unknown", "digest_of"]
