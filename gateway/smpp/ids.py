"""What is remembered of the SMSC's message ids, by all workers and gateways together: one small value for each key.

    IdKeys.of(…)       the key of a message id: a keyed digest, from which nobody reads the id (promise I9)
    MessageIds         note, find, swap (compare and set), forget: all of a loop tick go to the store together
      ids_sqlite       one machine: `data_dir/message-ids.sqlite`
      ids_redis        several gateways: the Redis that the index lies in
    remind, due        a calendar beside it: what must be looked at later, by whichever worker is there then

Two things need it: the receipts of split messages, which are folded to one (`fold`), and binds at an SMSC that several
clients share, whose receipts must find the one that submitted. Each has a `kind` of its own, so that neither meets the
other's values. What a value means is its writer's affair; numbers and texts have no place in it but sealed.

Everything raises `Unavailable` when the store does not answer in time, or has no room: that is temporary, and what was
asked may or may not have been done. A receipt is then told ESME_RX_T_APPN, and the SMSC brings it again.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Final, NamedTuple, Protocol

DIGEST_OCTETS: Final = 16
_PERSON: Final = b"izinli:message"  # at most sixteen octets


class Unavailable(Exception):
    """The store cannot say, or cannot keep it, for now."""


class Swap(NamedTuple):
    """`new` in the place of `old`, if that is what is there. None: nothing."""

    key: bytes
    old: bytes | None
    new: bytes | None


class MessageIds(Protocol):
    """The store. Keys have DIGEST_OCTETS, values 1 to SMPP_IDS_VALUE_OCTETS_MAX octets."""

    async def start(self) -> None: ...

    async def note(self, entries: Sequence[tuple[bytes, bytes]], keep_s: int | None = None) -> None:
        """Write (key, value) over what is there, for `keep_s` seconds (None: SMPP_IDS_S).

        When it returns they outlive this process, and every worker finds them. Raises Unavailable.
        """

    async def find(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The value of each, in their order. Raises Unavailable."""

    async def swap(self, swaps: Sequence[Swap], keep_s: int | None = None) -> list[bool]:
        """Each for itself, atomic over all processes: whether it was done. Kept as by `note`. Raises Unavailable."""

    async def forget(self, keys: Sequence[bytes]) -> None:
        """Raises Unavailable."""

    async def remind(self, queue: bytes, key: bytes, at: int) -> None:
        """Of `key` (as above) at `at`, in seconds since 1970; an earlier reminder stands. Raises Unavailable."""

    async def due(self, queue: bytes, now: int, again: int) -> list[bytes]:
        """At most SMPP_IDS_DUE_MAX keys whose time has come; each is due once more at `again`. Raises Unavailable."""

    async def settle(self, queue: bytes, keys: Sequence[bytes]) -> None:
        """Nobody is reminded of them any more. Raises Unavailable."""

    def poll(self) -> None:
        """Once a second."""

    async def close(self) -> None:
        """What waits is told Unavailable."""


class IdKeys:
    """Makes keys. `key` is the installation's fingerprint key."""

    __slots__ = ("_start",)

    def __init__(self, key: bytes) -> None:
        self._start = blake2b(digest_size=DIGEST_OCTETS, key=key, person=_PERSON)

    def of(self, kind: bytes, upstream: str, message_id: bytes) -> bytes:
        """Of what `kind` notes about an id; `message_id` as the SMSC spells it, in an answer or in a receipt."""
        return self.of_parts(kind, upstream.encode(), canonical(message_id))

    def of_parts(self, *parts: bytes) -> bytes:
        """Of anything else. No part may hold a NUL."""
        digest = self._start.copy()
        digest.update(b"\0".join(parts))
        return digest.digest()


def canonical(message_id: bytes) -> bytes:
    """One spelling of an id: SMSCs pad it, drop zeros in front and change the case between answer and receipt."""
    return message_id.strip(b" \0").lower().lstrip(b"0") or b"0"
