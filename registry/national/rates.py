"""How often one address may ask: the national API's own bounds (§ "rate limits"), each of which may be set or lifted.

Counted in this process, or in the index' Redis, so that several registries count together. While Redis does not answer,
each counts for itself: a bound that is too wide for a minute is better than a registry that takes no rejection.
"""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from filters.layout import INDEX_KEY
from registry.index.interface import IndexDown
from registry.index.nodes import Servers
from registry.limits import API_GROUP_MAX, API_RATE_CLIENTS_MAX, API_WAITING_MAX
from registry.log import logger
from registry.national.errors import Fault, NationalError
from registry.national.gather import Gatherer, TooMany
from registry.throttle import network

HOUR: Final = 3600
KEY_PREFIX: Final = f"{{{INDEX_KEY}}}:rate:"


@dataclass(frozen=True, slots=True)
class Rates:
    """Requests of one address; 0: as many as it likes."""

    per_second: int = 10
    tokens_per_hour: int = 100
    status_per_hour: int = 1000
    history_per_hour: int = 100


class Quota(NamedTuple):
    """One bound. `restarts`: each request begins the window anew, also one that is refused."""

    name: str
    code: str
    most: int
    window_s: int
    restarts: bool = False


class Asked(NamedTuple):
    """One request that counts."""

    quota: Quota
    client: str  # network and name of the bound, hashed


class LocalCounters:
    """Counts in this process. Not thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, clients_max: int = API_RATE_CLIENTS_MAX) -> None:
        self._clock = clock
        self._clients_max = clients_max
        self._counts: OrderedDict[str, tuple[int, float]] = OrderedDict()  # (requests, end of the window)

    def take(self, asked: Asked) -> int:
        """Count a request; returns how many there are in its window."""
        now = self._clock()
        count, ends = self._counts.get(asked.client, (0, 0.0))
        if ends <= now:
            count, ends = 0, now + asked.quota.window_s
        elif asked.quota.restarts:
            ends = now + asked.quota.window_s
        self._counts[asked.client] = count + 1, ends
        self._counts.move_to_end(asked.client)
        if len(self._counts) > self._clients_max:
            self._counts.popitem(last=False)
        return count + 1


class RedisCounters:
    """Counts in the index' Redis, on the server that has the index' state. Blocks."""

    def __init__(self, servers: Servers) -> None:
        self._servers = servers

    def take(self, group: Sequence[Asked]) -> list[int]:
        """Count requests; returns how many there are in the window of each. Raises IndexDown."""
        with self._servers.round() as turn:
            server = self._servers.state
            for asked in group:
                key = KEY_PREFIX + asked.client
                turn.ask(server, "INCR", key)
                turn.ask(server, "EXPIRE", key, asked.quota.window_s, *(() if asked.quota.restarts else ("NX",)))
            return [int(count) for count in turn.answers()[::2]]

    def close(self) -> None:
        self._servers.close()


class Turnstile:
    """Lets a request through or raises. For one event loop."""

    def __init__(self, rates: Rates, secret: bytes, shared: RedisCounters | None = None) -> None:
        self.second = Quota("second", "H124", rates.per_second, 1)
        self.tokens = Quota("tokens", "H084", rates.tokens_per_hour, HOUR, restarts=True)
        self.status = Quota("status", "H086", rates.status_per_hour, HOUR)
        self.history = Quota("history", "H089", rates.history_per_hour, HOUR)
        self._secret = secret
        self._local = LocalCounters()
        self._shared: Gatherer[Asked, int] | None = None
        self._counters = shared
        self._down = False
        if shared is not None:
            self._shared = Gatherer(shared.take, "rates", group_max=API_GROUP_MAX, waiting_max=API_WAITING_MAX)

    async def charge(self, quota: Quota, address: str) -> None:
        """Count a request of this address. Raises NationalError (429)."""
        if not quota.most:
            return
        asked = Asked(quota, f"{quota.name}:{self._hashed(address)}")
        count = self._local.take(asked) if self._shared is None else await self._take_shared(self._shared, asked)
        if count > quota.most:
            raise NationalError(Fault(quota.code), headers={"retry-after": str(quota.window_s), "connection": "close"})

    def close(self) -> None:
        """Let go of Redis."""
        if self._shared is not None:
            self._shared.close()
        if self._counters is not None:
            self._counters.close()

    async def _take_shared(self, shared: Gatherer[Asked, int], asked: Asked) -> int:
        try:
            count = await shared(asked)
        except (IndexDown, TooMany) as fault:
            if not self._down:
                logger.warning("rates_counted_alone", error=f"{type(fault).__name__}: {fault}")
            self._down = True
            return self._local.take(asked)
        if self._down:
            logger.info("rates_counted_together")
        self._down = False
        return count

    def _hashed(self, address: str) -> str:
        """What counts as one client (promise I9: nobody's address stands in Redis)."""
        return hashlib.blake2b(network(address).encode(), key=self._secret[:64], digest_size=12).hexdigest()
