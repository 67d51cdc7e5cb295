"""Which brands are kept in step with the national system, and who we are there for each.

Those of the configuration; those that an operator added (`izinli national brand add`), also while the registry runs;
and, if the configuration says so, all that were ever approved: a suspended provider's too, for what citizens say about
it has to reach the national system all the same. The first of the three that knows a brand counts.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Engine, delete, insert, select, union_all

from registry.evidence import actors
from registry.log import logger
from registry.providers.tables import provider, provider_brand
from registry.providers.vault import Vault
from registry.schema import appending, take_append_lock
from registry.sync.settings import Login, National, SyncedBrand
from registry.sync.tables import national_brand

_PASSWORD: Final = "national password"
_PUSH: Final = "national push password"


class Added(NamedTuple):
    """A brand as an operator adds it, or as it stands here (then without passwords)."""

    code: int
    iys_code: int  # there
    brand_code: int  # there
    login: Login | None = None  # None: that of the configuration
    push: Login | None = None


class Brands:
    """`refresh` is for one thread; what it found last can be read by all."""

    def __init__(self, national: National, engine: Engine) -> None:
        self._national = national
        self._engine = engine
        self._vault = Vault(national.key) if national.key else None
        self._known = {brand.code: brand for brand in national.brands}
        self.unreadable: frozenset[int] = frozenset()
        """Brands whose password was sealed with another key: nobody works on them, their consents wait."""

    def refresh(self) -> tuple[SyncedBrand, ...]:
        """All brands, by their codes. Raises SQLAlchemyError."""
        with self._engine.connect() as connection:
            rows = connection.execute(select(national_brand)).all()
            others = approved(connection) if self._national.approved else {}
        found = {brand.code: brand for brand in self._national.brands}
        unreadable = set()
        for row in rows:
            if row.code in found:
                continue
            try:
                found[row.code] = self._brand(row)
            except ValueError as fault:
                unreadable.add(row.code)
                if row.code not in self.unreadable:
                    logger.error("national_brand_unreadable", brand=row.code, error=str(fault))
        if self._national.login is not None:
            login, push = self._national.login, self._national.push
            for code, iys_code in others.items():
                if code not in found and code not in unreadable:
                    found[code] = SyncedBrand(code, iys_code, login, push)
        self.unreadable = frozenset(unreadable)
        self._known = dict(sorted(found.items()))
        return tuple(self._known.values())

    def known(self, code: int) -> SyncedBrand | None:
        """As it was found last."""
        return self._known.get(code)

    def codes(self) -> list[int]:
        """As they were found last."""
        return list(self._known)

    def _brand(self, row: Any) -> SyncedBrand:
        """Raises ValueError: its password cannot be read, or there is none."""
        login = self._login(_PASSWORD, row.code, row.username, row.password) or self._national.login
        if login is None:
            raise ValueError("it has no login of its own, and [national] has none")
        push = self._login(_PUSH, row.code, row.push_username, row.push_password) or self._national.push
        return SyncedBrand(row.code, row.iys_code, login, push, row.brand_code)

    def _login(self, purpose: str, code: int, username: str, sealed: bytes) -> Login | None:
        if not username:
            return None
        if self._vault is None:
            raise ValueError("keys/provider.key is missing")
        return Login(username, self._vault.open(purpose, str(code).encode(), bytes(sealed)))


def add(engine: Engine, vault: Vault, brand: Added, actor: str, now: datetime) -> None:
    """Keep a brand in step from now on; again: with another login. Raises SQLAlchemyError."""
    place = str(brand.code).encode()
    row = {
        "code": brand.code,
        "iys_code": brand.iys_code,
        "brand_code": brand.brand_code,
        "username": brand.login.username if brand.login else "",
        "password": vault.seal(_PASSWORD, place, brand.login.password) if brand.login else b"",
        "push_username": brand.push.username if brand.push else "",
        "push_password": vault.seal(_PUSH, place, brand.push.password) if brand.push else b"",
        "added_by": actors.written(actor),
        "added_at": int(now.timestamp()),
    }
    with appending(engine).begin() as connection:
        take_append_lock(connection)
        connection.execute(delete(national_brand).where(national_brand.c.code == brand.code))
        connection.execute(insert(national_brand).values(row))


def remove(engine: Engine, code: int) -> bool:
    """Keep it in step no more; False: nobody had added it. Raises SQLAlchemyError."""
    with appending(engine).begin() as connection:
        take_append_lock(connection)
        return connection.execute(delete(national_brand).where(national_brand.c.code == code)).rowcount > 0


def added(engine: Engine) -> list[dict[str, Any]]:
    """What operators added, without passwords, by code. Raises SQLAlchemyError."""
    names = ("code", "iys_code", "brand_code", "username", "push_username", "added_by", "added_at")
    query = select(*(national_brand.c[name] for name in names)).order_by(national_brand.c.code)
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def registering(national: National) -> Callable[[Connection, Collection[int]], Collection[int]]:
    """Of which of some brands consents count only when the national system has taken them, as the ledger asks it.

    Read in the transaction that records them: who adds a brand need not tell any process.
    """
    configured = national.codes

    def among(connection: Connection, brands: Collection[int]) -> Collection[int]:
        others = set(brands) - configured
        if not others:
            return brands
        queries = [select(national_brand.c.code).where(national_brand.c.code.in_(others))]
        if national.approved:
            queries.append(select(provider_brand.c.code).where(provider_brand.c.code.in_(others)))
        return configured.union(connection.execute(union_all(*queries)).scalars())

    return among


def approved(connection: Connection) -> dict[int, int]:
    """iysCodes of the brands that were ever approved."""
    query = select(provider_brand.c.code, provider.c.iys_code)
    query = query.join(provider, provider.c.id == provider_brand.c.provider)
    rows = connection.execute(query.where(provider_brand.c.code.is_not(None)))
    return {row.code: row.iys_code for row in rows}
