"""User and password with every request (RFC 7617), as intermediaries speak to the national system.

A password takes 50 ms of a core to check, so one that was right is remembered, as a keyed digest, and from then on only
compared with what is stored: it counts no longer than the user and the stored hash do.
"""

from __future__ import annotations

import binascii
import hmac
import time
from base64 import b64decode
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, NamedTuple, Protocol

from filters.passwords import DECOY, PASSWORD_OCTETS_MAX, Hash
from registry.limits import API_SESSION_SECONDS, API_SESSIONS_MAX
from registry.national.access import Access, Client

SCHEME: Final = "basic "

Login = tuple[Client, Hash] | None


class InThread(Protocol):
    """Runs blocking work elsewhere."""

    def __call__(self, work: Callable[[], Login]) -> Awaitable[Login]: ...


class _Known(NamedTuple):
    client: Client
    stored: str
    looked_at: float  # monotonic


class Basics:
    """For one event loop."""

    def __init__(self, access: Access, secret: bytes, in_thread: InThread) -> None:
        self._access = access
        self._secret = secret
        self._in_thread = in_thread
        self._known: OrderedDict[bytes, _Known] = OrderedDict()

    async def client_of(self, said: str, charge: Callable[[], Awaitable[None]]) -> Client | None:
        """Whose credentials the field `Authorization` has; None: nobody's. `charge` is called before a slow check."""
        credentials = _credentials(said)
        if credentials is None:
            return None
        name, password = credentials
        digest = hmac.digest(self._secret, said[len(SCHEME) :].strip().encode("utf-8", "replace"), "sha256")
        known = self._known.get(digest)
        if known is not None and time.monotonic() - known.looked_at < API_SESSION_SECONDS:
            return known.client
        if known is not None:
            found = await self._in_thread(partial(self._access.login, name))
            if found is not None and str(found[1]) == known.stored:
                return self._remember(digest, found)
            self._known.pop(digest, None)
        await charge()
        found = await self._in_thread(partial(self._login, name, password))
        return None if found is None else self._remember(digest, found)

    def _login(self, name: str, password: bytes) -> Login:
        """As slow for nobody as for somebody."""
        found = self._access.login(name)
        if found is None:
            DECOY.matches(password)
            return None
        return found if found[1].matches(password) else None

    def _remember(self, digest: bytes, found: tuple[Client, Hash]) -> Client:
        client, stored = found
        self._known[digest] = _Known(client, str(stored), time.monotonic())
        self._known.move_to_end(digest)
        if len(self._known) > API_SESSIONS_MAX:
            self._known.popitem(last=False)
        return client


def _credentials(said: str) -> tuple[str, bytes] | None:
    """(user, password), or None: not of this scheme, or broken."""
    if said[: len(SCHEME)].lower() != SCHEME:
        return None
    try:
        text = b64decode(said[len(SCHEME) :].strip(), validate=True).decode()
    except (binascii.Error, ValueError):
        return None
    name, colon, password = text.partition(":")
    given = password.encode()
    if not colon or not name or "\0" in name or len(given) > PASSWORD_OCTETS_MAX:
        return None
    return name, given
