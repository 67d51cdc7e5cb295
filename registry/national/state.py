"""What the handlers of the national API share. It lives in one event loop; blocking work is done in a few threads."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar

from filters.index_url import IndexUrl
from filters.model import Brand, Channel, RecipientType
from registry.append import Key
from registry.background import Watch
from registry.index.nodes import Servers
from registry.ledger import Ledger
from registry.limits import (
    API_GROUP_MAX,
    API_SESSION_SECONDS,
    API_SESSIONS_MAX,
    API_THREADS,
    API_THREADS_WAITING_MAX,
    API_WAITING_MAX,
)
from registry.national.access import Access, Session, digest_of
from registry.national.basic import Basics
from registry.national.consent_body import Rulebook
from registry.national.gather import Gatherer, TooMany
from registry.national.rates import Rates, RedisCounters, Turnstile
from registry.national.recorder import Added, Addition, Recorder, Retailers
from registry.national.rest import Manners, Rest
from registry.national.retailer_store import Marks, Target
from registry.national.standing import Standing, standings
from registry.national.tokens import Minter
from registry.publish import Publisher

T = TypeVar("T")
R = TypeVar("R")


Links = Callable[[int, Channel, RecipientType, bytes], str]
"""The reject link of a recipient: brand, channel, type and canonical recipient -> URL. Called in the event loop."""


@dataclass(frozen=True, slots=True)
class Options:
    """What may be chosen about the API."""

    rates: Rates = field(default_factory=Rates)
    rates_server: IndexUrl | None = None  # the Redis that registries count in together; None: each for itself
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    manners: Manners = field(default_factory=Manners)
    push_key: bytes = b""  # 32 octets; empty: made of the installation's secret
    links: Links | None = None  # makes reject links; None: nobody is given any
    watch: Watch | None = None  # knows the threads of this process


class Api:
    """Created outside the loop, used inside it, closed after it."""

    def __init__(
        self,
        ledger: Ledger,
        publisher: Publisher,
        brands: Mapping[int, Brand],
        secret: bytes,
        options: Options | None = None,
        retailers: Retailers | None = None,
    ) -> None:
        """`secret` is a key of this installation, for what only it may recognise."""
        chosen = options or Options()
        self.ledger = ledger
        self.publisher = publisher
        self.brands = brands
        self.clock = chosen.clock
        self.access = Access(ledger.engine)
        self.minter = Minter(secret, brands)
        self.rulebook = Rulebook(chosen.clock)
        shared = RedisCounters(Servers(chosen.rates_server)) if chosen.rates_server is not None else None
        self.turnstile = Turnstile(chosen.rates, secret, shared)
        self.sessions = Sessions(self.access, chosen.clock)
        push_key = chosen.push_key or hmac.digest(secret, b"izinli push passwords", "sha256")
        self.rest = Rest(ledger, brands, push_key, chosen.manners, chosen.clock, chosen.watch)
        self.links = chosen.links
        self.unknown_merchants_rejected = chosen.manners.unknown_merchants_rejected
        self.basics = Basics(self.access, secret, self.in_thread)
        self.recorder = Recorder(ledger, publisher, retailers or self.rest.retailers, chosen.clock)
        self.rest.record_with(self.recorder)
        self.adding: Gatherer[Addition, Added] = _gatherer(self.recorder, "additions")
        self.finding: Gatherer[Key, Standing | None] = _gatherer(self.find, "queries")
        self.marking: Gatherer[tuple[Target, int], Marks] = _gatherer(self.rest.retailers.marks, "retailers")
        self._threads = ThreadPoolExecutor(API_THREADS, thread_name_prefix="api")
        self._under_way = 0
        self._at_close: list[Callable[[], None]] = [self.rest.close]

    def start(self) -> None:
        """Begin with what is done without being asked."""
        self.rest.start()

    def at_close(self, work: Callable[[], None]) -> None:
        """Have something closed with this."""
        self._at_close.append(work)

    async def in_thread(self, work: Callable[[], T]) -> T:
        """What is rare and slow. Raises TooMany."""
        if self._under_way >= API_THREADS + API_THREADS_WAITING_MAX:
            raise TooMany
        self._under_way += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._under_way -= 1

    def find(self, keys: Sequence[Key]) -> list[Standing | None]:
        """What is recorded under keys. Blocks: see `finding` and `in_thread`."""
        with self.ledger.engine.connect() as connection:
            found = standings(connection, sorted({fingerprint for fingerprint, _ in keys}))
        return [found.get(key) for key in keys]

    def close(self) -> None:
        """What is under way is finished."""
        for close in self._at_close:
            close()
        for gatherer in (self.adding, self.finding, self.marking, self.sessions.finding):
            gatherer.close()
        self.turnstile.close()
        self._threads.shutdown(wait=True)


class Sessions:
    """Which client an access token belongs to; remembered for API_SESSION_SECONDS."""

    def __init__(self, access: Access, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._remembered: OrderedDict[bytes, tuple[Session, float]] = OrderedDict()  # (session, looked up at)
        self.finding: Gatherer[bytes, Session | None] = _gatherer(
            lambda digests: access.sessions(digests, clock()), "sessions"
        )

    async def of(self, token: str) -> Session | None:
        """None: the token is unknown, too old or its client was removed."""
        digest = digest_of(token)
        remembered = self._remembered.get(digest)
        if remembered is not None and time.monotonic() - remembered[1] < API_SESSION_SECONDS:
            session = remembered[0]
            return session if session.expires_at > self._clock().timestamp() else None
        found = await self.finding(digest)
        if found is None:
            self._remembered.pop(digest, None)
            return None
        self._remembered[digest] = found, time.monotonic()
        self._remembered.move_to_end(digest)
        if len(self._remembered) > API_SESSIONS_MAX:
            self._remembered.popitem(last=False)
        return found


def _gatherer(work: Callable[[Sequence[T]], Sequence[R]], name: str) -> Gatherer[T, R]:
    return Gatherer(work, name, group_max=API_GROUP_MAX, waiting_max=API_WAITING_MAX)
