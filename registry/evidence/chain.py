"""The hash chain over the ledger: a changed or missing entry shows. Pure; anybody can compute it again.

    leaf       = BLAKE2b-256(text of the entry)                             (RFC 7693, 32 octets, no key)
    digest     = BLAKE2b-256(digest before ‖ BLAKE2b-256(actor) ‖ leaves)   of a recording; 32 zeros before the first

    event        seq|brand|channel|recipientType|status|source|consentDate|recordedAt|origin|recipient
    removal      seq|removal|removedAt|rule|cutoff|events|first|last|digest in hex

These are the texts, in UTF-8; what may hold a bar comes last. The digest of a removal is BLAKE2b-256 over number (8
octets, big-endian) and leaf of each removed event, ascending. So the newest digest stands for all that was ever
recorded, by whom, and for all that was taken away.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from itertools import groupby
from typing import Any, Final, NamedTuple

BEGINNING: Final = bytes(32)
SEAL_EVENTS_MAX: Final = 1000
"""Of one recording: a large import is sealed in parts, so that a change is narrowed down to so many events. Part of the
reason is the reader's patience, part the 100 octets of a recording: at a thousand nobody feels them."""

EventRow = Sequence[Any]
"""The columns of `consent_event` in their order."""


class Removal(NamedTuple):
    """One removal: the columns of its table, in their order."""

    seq: int
    removed_at: str
    rule: str
    cutoff: str
    events: int
    first_seq: int
    last_seq: int
    digest: bytes

    @classmethod
    def of(cls, row: Sequence[Any]) -> Removal:
        """From its columns."""
        *said, digest = row
        return cls._make([*said, bytes(digest)])

    @property
    def leaf(self) -> bytes:
        *said, digest = self
        number, *rest = map(str, said)
        return _digest("|".join((number, "removal", *rest, digest.hex())).encode())


def leaf(row: EventRow) -> bytes:
    """Of an event."""
    seq, brand, channel, recipient, kind, status, source, consent_date, recorded_at, origin = row
    text = f"{seq}|{brand}|{channel}|{kind}|{status}|{source}|{consent_date}|{recorded_at}|{origin}|{recipient}"
    return blake2b(text.encode(), digest_size=32).digest()


def link(before: bytes, actor: str, leaves: Iterable[bytes]) -> bytes:
    """The digest of a recording."""
    return _digest(before + _digest(actor.encode()) + b"".join(leaves))


def links(before: bytes, actor: str | Sequence[str], rows: Sequence[EventRow]) -> Iterator[tuple[int, str, bytes]]:
    """The recordings (seq, actor, digest) that new events make; `actor`: of all of them, or of each."""
    for who, start, stop in _runs(actor, len(rows)):
        for first in range(start, stop, SEAL_EVENTS_MAX):
            part = rows[first : min(first + SEAL_EVENTS_MAX, stop)]
            before = link(before, who, map(leaf, part))
            yield part[-1][0], who, before


def _runs(actor: str | Sequence[str], count: int) -> Iterator[tuple[str, int, int]]:
    """Who did something, from where to where."""
    if isinstance(actor, str):
        yield actor, 0, count
        return
    stop = 0
    for who, run in groupby(actor):
        start, stop = stop, stop + len(list(run))
        yield who, start, stop


def removed_octets(seq: int, one: bytes) -> bytes:
    """What the digest of a removal goes over, of one event."""
    return seq.to_bytes(8, "big") + one


def removed_digest(removed: Iterable[tuple[int, bytes]]) -> bytes:
    """Over (number, leaf) of removed events, ascending."""
    return _digest(b"".join(removed_octets(seq, one) for seq, one in removed))


def _digest(octets: bytes) -> bytes:
    return blake2b(octets, digest_size=32).digest()
