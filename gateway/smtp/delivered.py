"""The memory of transactions that ended mixed: a client's retry sends only the rest.

One SMTP reply answers for all recipients. When some copies were taken and others must be tried again, the client hears
451 and sends everything once more; what the next hop took already is found here and not sent again. The same holds for
a client that left before our answer, and for a next hop that answers after our client was told to come back.

    read      before the copies go: which recipients have the message, or may get it yet
    settle    before the answer: who has it, and whose copy is still under way
    late      a copy that was under way has an ending after all

An entry is a keyed digest of sender, recipient and message (promise I9); what is said of it begins with the fate.
`delivered_sqlite` keeps entries on one machine, `delivered_redis` for several gateways that take each other's retries.

What cannot be read defers: sending could be the second time. What cannot be written is kept here and written later; if
this worker ends first, the retry sends twice. It is never lost: nobody is told 250 for a copy that was not taken.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from hashlib import blake2b, sha256
from typing import Final, Protocol

from gateway import limits
from gateway.log import logger
from gateway.metrics import DELIVERED_FAULTS, Metrics
from gateway.smtp import trace

DIGEST_OCTETS: Final = 16
READ, WRITE = DELIVERED_FAULTS


class Fate(Enum):
    """What is known of one recipient's copy; the value is the letter it is written with."""

    TAKEN = b"1"
    UNDER_WAY = b"?"  # the next hop has it all and has not answered


Fates = list[Fate | None]  # None: nothing is known


Said = list[bytes | None]  # of each entry; None: nothing


class Store(Protocol):
    """Where entries are kept, with a few octets said of each. Nothing raises; callbacks come in the loop, possibly at
    once."""

    @property
    def is_empty(self) -> bool:
        """Whether reading can be left out. False when that is not known."""

    async def start(self) -> None:
        """Reach for it; its absence is no error."""

    def read(self, entries: Sequence[bytes], done: Callable[[Said | None], None]) -> None:
        """`done` hears of each entry, or None: it cannot be read."""

    def write(self, entries: Sequence[bytes], said: bytes, keep_s: int, done: Callable[[bool], None]) -> None:
        """Keep all of them for so long; `done` hears whether that is certain."""

    def forget(self, entries: Sequence[bytes]) -> None:
        """As if they had not been written; what cannot be reached runs out by itself."""

    def probe(self, done: Callable[[bool, bool], None]) -> None:
        """`done` hears whether entries can be read, and whether they can be written, now. Nothing stays behind."""

    def poll(self) -> None:
        """Once a second."""

    async def close(self) -> None: ...


class Message:
    """What a client sent, as its retry is recognised: by sender, and by content.

    A mail server that hands a message on while it receives it (Postfix's `smtpd_proxy_filter`) puts a new Received
    field in front at each try. So of a message with a Message-ID, which is what makes it this one message (RFC 5322
    §3.6.4), the trace fields in front do not count. Without one everything counts: two reports alike are two messages.

    An entry is found by the header section and the size, because to read each large message through for what is known
    of hardly any takes long. What stands there says of which content, all of it, so that no other is taken for it.
    """

    __slots__ = ("_content", "_hash", "_is_named", "_is_of", "_key", "_sender", "_start")

    def __init__(self, key: bytes, keyed: blake2b, sender: bytes, content: bytes) -> None:
        self._key = key
        self._hash = keyed  # of the key, then also of the message, and never of a recipient
        self._sender = sender
        self._content = content
        self._start = 0  # of what counts
        self._is_named = False
        self._is_of = b""

    def entry(self, path: bytes) -> bytes:
        """Of one recipient."""
        if not self._is_named:
            content, sender = self._content, self._sender
            self._start, end = trace.identity(content)
            sizes = (len(sender), len(content) - self._start, end - self._start)
            self._hash = self._hash.copy()
            self._hash.update(b"%d %d %d %b" % (*sizes, sender))
            self._hash.update(memoryview(content)[self._start : end])
            self._is_named = True
        state = self._hash.copy()
        state.update(path)
        return state.digest()

    def entries(self, paths: Iterable[bytes]) -> list[bytes]:
        return [self.entry(path) for path in paths]

    def said(self, fate: Fate) -> bytes:
        """How the fate of a copy is written; to be asked after an `entry`."""
        if not self._is_of:
            content = sha256(memoryview(self._content)[self._start :]).digest()
            is_of = blake2b(content, digest_size=DIGEST_OCTETS, key=self._key, person=_CONTENT)
            self._is_of = is_of.hexdigest().encode()
            self._content = b""
        return fate.value + self._is_of

    def fates(self, said: Said) -> Fates | None:
        """What was read of `entries`; None: it is not ours, so nobody knows."""
        if said.count(None) == len(said):
            return [None] * len(said)
        meant: dict[bytes | None, Fate | None] = {None: None, **{self.said(fate): fate for fate in Fate}}
        if any(one is not None and _SAID.fullmatch(one) is None for one in said):
            return None
        return [meant.get(one) for one in said]


_PERSON: Final = b"izinli:delivered"
_CONTENT: Final = b"izinli:content"
_SAID: Final = re.compile(rb"[1?][0-9a-f]{%d}" % (2 * DIGEST_OCTETS))


class Delivered:
    """The memory of one worker, shared by its doors. `key` is the installation's; `clock` gives seconds since 1970."""

    def __init__(
        self, store: Store, metrics: Metrics, *, key: bytes = b"", clock: Callable[[], float] = time.time
    ) -> None:
        self._store = store
        self._metrics = metrics
        self._key = key
        self._keyed = blake2b(digest_size=DIGEST_OCTETS, key=key, person=_PERSON)
        self._clock = clock
        self._unwritten: dict[bytes, tuple[bytes, float]] = {}  # and until when it counts
        self._writing = False
        self._failing: set[str] = set()  # of READ and WRITE
        self._polls = 0  # since it was looked at
        self._is_closed = False

    @property
    def faults(self) -> list[str]:
        """What cannot be done now: READ, so that all mail is deferred; WRITE, so that endings wait in memory."""
        return sorted({*self._failing, WRITE} if self._unwritten else self._failing)

    async def start(self) -> None:
        """Reach for the store."""
        await self._store.start()
        self._store.probe(self._probed)

    async def close(self) -> None:
        """What is not written by now is forgotten."""
        self._is_closed = True
        if self._unwritten:
            self._metrics.delivered_failures["lost"] += len(self._unwritten)
            logger.warning("memory of mixed endings lost", entries=len(self._unwritten))
        await self._store.close()

    def message(self, sender: bytes, content: bytes) -> Message:
        """To speak of; nothing is computed before it is needed."""
        return Message(self._key, self._keyed, sender, content)

    def read(self, message: Message, paths: Sequence[bytes], done: Callable[[Fates | None], None]) -> None:
        """`done` hears what is known of each recipient, or None: that cannot be told now."""
        if not self._unwritten and self._store.is_empty:
            done([None] * len(paths))
            return
        entries = message.entries(paths)

        def heard(said: Said | None) -> None:
            if said is not None and self._unwritten:
                known = self._unwritten
                said = [known[entry][0] if entry in known else one for entry, one in zip(entries, said, strict=True)]
            fates = None if said is None else message.fates(said)
            self._went(fates is not None, READ)
            done(fates)

        self._store.read(entries, heard)

    def settle(
        self, message: Message, taken: Sequence[bytes], under_way: Sequence[bytes], then: Callable[[], None]
    ) -> None:
        """Write down who has the message, and whose copy the next hop may still take; `then` always comes."""
        due = 1

        def written() -> None:
            nonlocal due
            due -= 1
            if not due:
                then()

        for paths, fate, keep_s in (
            (taken, Fate.TAKEN, limits.SMTP_DELIVERED_KEEP_S),
            (under_way, Fate.UNDER_WAY, int(limits.SMTP_LATE_S)),
        ):
            if paths:
                due += 1
                self._write(message.entries(paths), message.said(fate), keep_s, written)
        written()

    def late(self, message: Message, path: bytes, *, taken: bool) -> None:
        """A copy that was under way is taken, or will not be any more: then the next try sends it."""
        if taken:
            self.settle(message, [path], (), _nothing)
        else:
            self.forget(message, [path])

    def forget(self, message: Message, paths: Sequence[bytes]) -> None:
        """Nothing needs to be known of these any more."""
        entries = message.entries(paths)
        for entry in entries:
            self._unwritten.pop(entry, None)
        self._store.forget(entries)

    def poll(self) -> None:
        """Once a second: write what could not be written, and see without traffic whether that would work."""
        self._store.poll()
        self._polls += 1
        if self._polls >= limits.SMTP_DELIVERED_PROBE_S or self._failing:
            self._polls = 0
            self._store.probe(self._probed)
        self._show()
        if self._writing or not self._unwritten:
            return
        now = self._clock()
        for entry in [entry for entry, (_, expires) in self._unwritten.items() if expires <= now]:
            del self._unwritten[entry]
        oldest = next(iter(self._unwritten.values()), None)
        if oldest is not None:
            said, expires = oldest
            alike = [entry for entry, known in self._unwritten.items() if known == oldest]
            self._write_again(alike[: limits.SMTP_DELIVERED_AT_ONCE], said, expires)

    def _write(self, entries: list[bytes], said: bytes, keep_s: int, then: Callable[[], None]) -> None:
        def done(is_written: bool) -> None:
            self._went(is_written, WRITE)
            for entry in entries:
                self._unwritten.pop(entry, None)
                if not is_written:
                    self._keep(entry, said, keep_s)
            then()

        self._store.write(entries, said, keep_s, done)

    def _write_again(self, entries: list[bytes], said: bytes, expires: float) -> None:
        known = (said, expires)

        def done(is_written: bool) -> None:
            self._writing = False
            if is_written:
                self._went(True, WRITE)
                for entry in entries:
                    if self._unwritten.get(entry) == known:
                        del self._unwritten[entry]

        self._writing = True
        self._store.write(entries, said, max(1, int(expires - self._clock())), done)

    def _keep(self, entry: bytes, said: bytes, keep_s: int) -> None:
        if len(self._unwritten) < limits.SMTP_DELIVERED_UNWRITTEN_MAX:
            self._unwritten[entry] = (said, float(int(self._clock()) + keep_s))
        else:
            self._metrics.delivered_failures["lost"] += 1

    def _went(self, well: bool, what: str) -> None:
        """Count what failed for a message."""
        if not well:
            self._metrics.delivered_failures[what] += 1
        self._found(what, well)

    def _probed(self, can_read: bool, can_write: bool) -> None:
        if not self._is_closed:
            self._found(READ, can_read)
            self._found(WRITE, can_write)

    def _found(self, what: str, well: bool) -> None:
        """One line in the log for each change."""
        if well is not (what in self._failing):
            return
        if well:
            self._failing.remove(what)
            logger.info("memory of mixed endings is back", operation=what)
        else:
            self._failing.add(what)
            logger.warning("memory of mixed endings failed", operation=what)
        self._show()

    def _show(self) -> None:
        """What the operator sees of it."""
        faults = self.faults
        self._metrics.delivered_unwritten = len(self._unwritten)
        self._metrics.delivered_faults = {what: int(what in faults) for what in (READ, WRITE)}


def _nothing() -> None:
    """Nobody waits."""
