"""What is remembered of handsets: whose commercial messages went there last, and who was told that a refusal stands.

    noted      hot path: a commercial message of this brand goes to this handset; written down once a second
    brands     whose went there, the newest first; None: that cannot be told now
    first      whether this is the first time; what cannot be told is not

Keyed by digests of account and number, never by the number (promise I9). Only accounts that speak for several brands
need the first two: of others the brand is known. `handsets_sqlite` keeps it on one machine, `handsets_redis` for
several gateways. A note that could not be written waits here; one that is lost makes the next refusal count for more
brands, never for fewer (see `mo`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection
from hashlib import blake2b
from typing import Final, Protocol

from gateway import limits
from gateway.log import logger

DIGEST_OCTETS: Final = 12
_PERSON: Final = b"izinli:handset"
_DAY_S: Final = 24 * 3600
_TURKEY_S: Final = 3 * 3600  # ahead of UTC, without daylight saving since 2016

Notes = dict[tuple[bytes, int], int]
"""(digest, brand code) -> when, in seconds since 1970."""


class Store(Protocol):
    """Where it is kept. Nothing raises."""

    async def start(self) -> None: ...

    async def write(self, notes: Notes) -> bool:
        """Keep them for MO_KEEP_S; False: some are not kept."""

    async def read(self, digest: bytes, now: int) -> list[tuple[int, int]] | None:
        """(brand code, when), at most MO_BRANDS_KEPT, the newest first; None: it cannot be read."""

    async def first(self, digest: bytes, now: int, until: int) -> bool:
        """Remember `digest` until then; True: it was certainly not there."""

    def poll(self) -> None:
        """Once a second."""

    async def close(self) -> None: ...


class Handsets:
    """The memory of one worker. `key` is the installation's; `clock` gives seconds since 1970."""

    def __init__(self, store: Store, *, key: bytes = b"", clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._key = key
        self._clock = clock
        self._notes: Notes = {}
        self._writing: Notes = {}
        self._task: asyncio.Task[None] | None = None
        self._failing = False

    async def start(self) -> None:
        await self._store.start()

    async def close(self) -> None:
        """What cannot be written now is forgotten."""
        if self._task is not None:
            await self._task
        await self._flush()
        await self._store.close()

    def digest(self, account: bytes, number: bytes) -> bytes:
        """Of a handset as an account knows it; `number` is canonical."""
        return self._hash(b"%b\0%b" % (account, number))

    def noted(self, digest: bytes, brand: int) -> None:
        """A commercial message goes there. Over the bound the newest is not noted."""
        if len(self._notes) < limits.MO_NOTES_MAX:
            self._notes[digest, brand] = int(self._clock())

    async def brands(self, digest: bytes, among: Collection[int]) -> list[int] | None:
        """Whose commercial messages went there within MO_KEEP_S, the newest first; None: that cannot be told now."""
        newest: dict[int, int] = {}
        for notes in (self._writing, self._notes):
            newest.update({brand: notes[digest, brand] for brand in among if (digest, brand) in notes})
        known = await self._store.read(digest, int(self._clock()))
        if known is None:
            return None
        for brand, at in known:
            if brand in among:
                newest[brand] = max(at, newest.get(brand, 0))
        return sorted(newest, key=lambda brand: (-newest[brand], brand))[: limits.MO_BRANDS_KEPT]

    async def first(self, digest: bytes, brand: int) -> bool:
        """Whether nobody was told today, in Turkey, that a refusal of this brand stands; from now on somebody was."""
        now = int(self._clock())
        midnight = now + _DAY_S - (now + _TURKEY_S) % _DAY_S
        return await self._store.first(self._hash(b"told\0%b%d" % (digest, brand)), now, midnight)

    def poll(self) -> None:
        """Once a second: write down what was noted."""
        self._store.poll()
        if self._notes and (self._task is None or self._task.done()):
            self._task = asyncio.get_running_loop().create_task(self._flush())

    async def _flush(self) -> None:
        notes = self._writing = self._notes
        self._notes = {}
        written = not notes or await self._store.write(notes)
        self._writing = {}
        if not written:
            self._notes = {**notes, **self._notes}
        if written is self._failing:
            self._failing = not written
            if written:
                logger.info("memory of handsets is back")
            else:
                logger.warning("memory of handsets failed", notes=len(self._notes))

    def _hash(self, said: bytes) -> bytes:
        return blake2b(said, digest_size=DIGEST_OCTETS, key=self._key, person=_PERSON).digest()
