"""The API's clients and their tokens in the ledger's database: added, removed, logged in, refreshed, found.

Tokens are kept as SHA-256 hashes: they have more chance in them than can be guessed, so no slow hash is needed. A
refresh token works once (RFC 6749 §10.4). Who may do what is read with each token, so that a removal counts at once.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Engine, delete, func, insert, select
from sqlalchemy.exc import IntegrityError

from filters.passwords import Hash
from registry.limits import API_TOKENS_PER_CLIENT_MAX
from registry.national.audit import write_audit
from registry.national.tables import ACCESS, REFRESH, api_client, api_grant, api_token
from registry.schema import appending

ACCESS_SECONDS: Final = 7200
REFRESH_SECONDS: Final = 14400


class ClientExists(Exception):
    """There is a client of this name."""


@dataclass(frozen=True, slots=True)
class Client:
    """Who asks. `grants`: brand code -> may it be written to; other brands do not exist for this client."""

    name: str
    grants: Mapping[int, bool]


class Session(NamedTuple):
    """What an access token stands for."""

    client: Client
    expires_at: int  # Unix time


class Minted(NamedTuple):
    """A pair of tokens that is to be kept."""

    access: str
    refresh: str


class Access:
    """Thread-safe; a method is one transaction and raises SQLAlchemyError."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._writing = appending(engine)

    def add(self, name: str, password: Hash, grants: Mapping[int, bool], now: datetime, actor: str = "cli") -> None:
        """A new client; `actor` lets it in. Raises ClientExists."""
        row = {"name": name, "password": str(password), "created_at": _utc(now)}
        granted = [{"client": name, "brand": brand, "may_write": write} for brand, write in grants.items()]
        try:
            with self._writing.begin() as connection:
                connection.execute(insert(api_client).values(row))
                connection.execute(insert(api_grant), granted)
                write_audit(connection, actor, "client-add", now, detail=f"{name}: {shown(grants)}")
        except IntegrityError:
            raise ClientExists(name) from None

    def remove(self, name: str, now: datetime) -> bool:
        """Take a client and its tokens away; False: there is none."""
        with self._writing.begin() as connection:
            found = connection.execute(delete(api_client).where(api_client.c.name == name)).rowcount
            for table in (api_grant, api_token):
                connection.execute(delete(table).where(table.c.client == name))
            if found:
                write_audit(connection, "cli", "client-remove", now, detail=name)
        return bool(found)

    def clients(self) -> list[Client]:
        """All, by name."""
        with self._engine.connect() as connection:
            names = connection.execute(select(api_client.c.name).order_by(api_client.c.name)).scalars().all()
            grants = _grants(connection, names)
        return [Client(name, grants.get(name, {})) for name in names]

    def exists(self) -> bool:
        """Whether there is any client."""
        with self._engine.connect() as connection:
            return connection.execute(select(api_client.c.name).limit(1)).first() is not None

    def login(self, name: str) -> tuple[Client, Hash] | None:
        """A client and its password."""
        with self._engine.connect() as connection:
            row = connection.execute(select(api_client.c.password).where(api_client.c.name == name)).first()
            if row is None:
                return None
            return Client(name, _grants(connection, [name]).get(name, {})), Hash.parse(row[0])

    def keep(self, client: str, minted: Minted, now: datetime) -> None:
        """Make a pair of tokens count."""
        with self._writing.begin() as connection:
            _keep(connection, client, minted, now)

    def owner_of_refresh(self, token: str, now: datetime) -> Client | None:
        """Whom a refresh token belongs to that may still be used; it is not used up."""
        with self._engine.connect() as connection:
            name = _owner(connection, token, REFRESH, now)
            return None if name is None else Client(name, _grants(connection, [name]).get(name, {}))

    def exchange(self, token: str, client: str, minted: Minted, now: datetime) -> bool:
        """Use up a refresh token of the client for a new pair; False: somebody else has, or it is too old."""
        digest = digest_of(token)
        gone = delete(api_token).where(api_token.c.digest == digest, api_token.c.kind == REFRESH)
        with self._writing.begin() as connection:
            if _owner(connection, token, REFRESH, now) != client or not connection.execute(gone).rowcount:
                return False
            _keep(connection, client, minted, now)
        return True

    def sessions(self, digests: Sequence[bytes], now: datetime) -> list[Session | None]:
        """What access tokens stand for, by their digests; None: nothing (any more)."""
        columns = (api_token.c.digest, api_token.c.client, api_token.c.expires_at)
        query = select(*columns).join(api_client, api_client.c.name == api_token.c.client)
        query = query.where(api_token.c.digest.in_(digests), api_token.c.kind == ACCESS)
        query = query.where(api_token.c.expires_at > int(now.timestamp()))
        with self._engine.connect() as connection:
            rows = connection.execute(query).all()
            grants = _grants(connection, [row[1] for row in rows])
        found = {bytes(row[0]): Session(Client(row[1], grants.get(row[1], {})), row[2]) for row in rows}
        return [found.get(digest) for digest in digests]


def digest_of(token: str) -> bytes:
    """What is kept of a token."""
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()


def shown(grants: Mapping[int, bool]) -> str:
    """As an operator writes them: 100001 100002:read."""
    return " ".join(f"{brand}" if write else f"{brand}:read" for brand, write in sorted(grants.items()))


def _owner(connection: Connection, token: str, kind: str, now: datetime) -> str | None:
    digest = digest_of(token)
    query = select(api_token.c.digest, api_token.c.client).join(api_client, api_client.c.name == api_token.c.client)
    query = query.where(api_token.c.digest == digest, api_token.c.kind == kind)
    row = connection.execute(query.where(api_token.c.expires_at > int(now.timestamp()))).first()
    if row is None or not hmac.compare_digest(bytes(row[0]), digest):
        return None
    return str(row[1])


def _grants(connection: Connection, names: Iterable[str]) -> dict[str, dict[int, bool]]:
    query = select(api_grant.c.client, api_grant.c.brand, api_grant.c.may_write)
    found: dict[str, dict[int, bool]] = {}
    for client, brand, may_write in connection.execute(query.where(api_grant.c.client.in_(set(names)))):
        found.setdefault(client, {})[brand] = bool(may_write)
    return found


def _keep(connection: Connection, client: str, minted: Minted, now: datetime) -> None:
    """Also forgets what is too old, and the oldest of more tokens than a client can use."""
    seconds = int(now.timestamp())
    connection.execute(delete(api_token).where(api_token.c.client == client, api_token.c.expires_at <= seconds))
    counted = select(func.count()).select_from(api_token).where(api_token.c.client == client)
    surplus = connection.execute(counted).scalar_one() + 2 - API_TOKENS_PER_CLIENT_MAX
    if surplus > 0:
        oldest = select(api_token.c.digest).where(api_token.c.client == client).order_by(api_token.c.expires_at)
        digests = connection.execute(oldest.limit(surplus)).scalars().all()
        connection.execute(delete(api_token).where(api_token.c.digest.in_(digests)))
    rows: list[dict[str, Any]] = [
        {"digest": digest_of(minted.access), "client": client, "kind": ACCESS, "expires_at": seconds + ACCESS_SECONDS},
        {
            "digest": digest_of(minted.refresh),
            "client": client,
            "kind": REFRESH,
            "expires_at": seconds + REFRESH_SECONDS,
        },
    ]
    connection.execute(insert(api_token), rows)


def _utc(now: datetime) -> str:
    return now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
