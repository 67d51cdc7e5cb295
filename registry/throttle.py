"""Who tried too many bad tokens: a token bucket per client address, in a bounded table. Pure: the time comes in."""

from __future__ import annotations

from collections import OrderedDict
from ipaddress import IPv6Address, ip_address
from math import ceil

from registry.limits import BAD_TOKEN_CLIENTS_MAX, BAD_TOKENS_BURST, BAD_TOKENS_PER_SECOND


class Throttle:
    """One bucket per client: `wait_s` before a token is read, `charge` after it turned out to be bad. For one thread.

    `client` is an address as text; of IPv6 the first 64 bits count, because one subscriber has all the others.
    """

    def __init__(
        self,
        burst: int = BAD_TOKENS_BURST,
        per_second: float = BAD_TOKENS_PER_SECOND,
        clients_max: int = BAD_TOKEN_CLIENTS_MAX,
    ) -> None:
        self._burst = burst
        self._per_second = per_second
        self._clients_max = clients_max
        self._spent: OrderedDict[str, tuple[float, float]] = OrderedDict()  # client -> (bad tokens, at this time)

    def wait_s(self, client: str, now: float) -> int:
        """Whole seconds until this client may try again, 0: now."""
        over = self._level(network(client), now) - self._burst + 1
        return max(0, ceil(over / self._per_second))

    def charge(self, client: str, now: float) -> None:
        """Count a bad token."""
        key = network(client)
        self._spent[key] = (self._level(key, now) + 1, now)
        self._spent.move_to_end(key)
        if len(self._spent) > self._clients_max:
            self._spent.popitem(last=False)

    def _level(self, key: str, now: float) -> float:
        spent, at = self._spent.get(key, (0.0, now))
        return max(0.0, spent - (now - at) * self._per_second)


def network(client: str) -> str:
    """What counts as one client."""
    try:
        address = ip_address(client.partition("%")[0])
    except ValueError:
        return client  # a Unix socket's peer
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return address.exploded[:19]
    return str(address)
