"""Whose a message at a pooled SMSC is: noted when the SMSC has taken it, found when a receipt or a client asks.

    note    hot path: all of a loop tick are written together; the client has its answer when they are written, so that
            whatever receipt follows finds it, in any worker and after any death of this one
    find    an owner, or why there is none

Kept in the memory of message ids (`ids`), under the upstream's name and, where each host counts for itself, the host's:
ids of two SMSCs never meet. What cannot be written is nevertheless true: the SMSC has the message, the client hears so,
and the note waits here until it can be written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from enum import Enum
from functools import partial
from typing import Any, Final, NamedTuple

from gateway import limits
from gateway.config import Address, Pool
from gateway.log import logger
from gateway.smpp.ids import IdKeys, MessageIds, Unavailable
from gateway.smpp.spelling import SPELLINGS, Delivery

KIND: Final = b"pool"


class Owner(NamedTuple):
    """An account, and the id as the SMSC told it in its answer."""

    account: bytes
    message_id: bytes


class Missing(Enum):
    """Why there is no owner."""

    NOBODY = "nobody"
    UNAVAILABLE = "unavailable"  # that cannot be told now


Found = Owner | Missing
Then = Callable[[Found], None]


class _Note:
    """`after`: called when it is written, or is known not to be; None: that is so."""

    __slots__ = ("after", "key", "owner")

    def __init__(self, key: bytes, owner: Owner, after: Callable[[], None]) -> None:
        self.key = key
        self.owner = owner
        self.after: list[Callable[[], None]] | None = [after]


class Owners:
    """Those of one upstream's messages, in one worker. `unwritten` hears of each note that had to wait."""

    def __init__(
        self, store: MessageIds, keys: IdKeys, upstream: str, pool: Pool, unwritten: Callable[[], None]
    ) -> None:
        self._store = store
        self._keys = keys
        self._upstream = upstream
        self._by_host = pool.id_space == "host"
        self._spelling = SPELLINGS[pool.message_id]
        self._unwritten = unwritten
        self._loop = asyncio.get_running_loop()
        self._known: dict[bytes, _Note] = {}  # that are not written yet
        self._notes: list[_Note] = []  # of this tick
        self._finds: list[tuple[bytes, Then]] = []
        self._finding = 0
        self._late: dict[bytes, _Note] = {}  # that could not be written
        self._soon = False
        self._failing = False
        self._tasks: set[asyncio.Task[None]] = set()

    def key(self, host: Address, message_id: bytes) -> bytes:
        """Of an id as `host` told it in an answer, or as a client says it."""
        return self._key(host, self._spelling.answer(message_id))

    def key_of_receipt(self, host: Address, receipt: Delivery) -> bytes:
        """Empty: it names no id."""
        form = self._spelling.of_receipt(receipt.in_tlv, receipt.in_text)
        return self._key(host, form) if form else b""

    def note(self, key: bytes, owner: Owner, then: Callable[[], None]) -> None:
        """Remember it, and call `then`."""
        note = self._known[key] = _Note(key, owner, then)
        self._late.pop(key, None)
        self._notes.append(note)
        self._go_soon()

    def find(self, key: bytes, then: Then) -> None:
        """`then` is called at once or later. A message that is not answered yet is found when it is."""
        note = self._known.get(key)
        if note is None:
            self._ask([key], [then])
        elif note.after is None:
            then(note.owner)
        else:
            note.after.append(partial(then, note.owner))

    def poll(self) -> None:
        """Once in a while: write what could not be written."""
        if self._late and not self._notes:
            self._notes = list(self._late.values())[: limits.SMPP_NOTES_AT_ONCE]
            self._go_soon()

    async def close(self) -> None:
        """End what is under way; what cannot be written now is forgotten."""
        self.poll()
        self._go()
        while self._tasks:
            await asyncio.wait(self._tasks)
        if self._late:
            logger.error("owners of messages are forgotten", upstream=self._upstream, messages=len(self._late))

    # inside

    def _key(self, host: Address, form: bytes) -> bytes:
        space = f"{self._upstream}@{host}" if self._by_host else self._upstream
        return self._keys.of_parts(KIND, space.encode(), form)

    def _ask(self, keys: list[bytes], thens: list[Then]) -> None:
        if self._finding + len(keys) > limits.SMPP_FINDS_MAX:
            for then in thens:
                then(Missing.UNAVAILABLE)
            return
        self._finding += len(keys)
        self._finds += zip(keys, thens, strict=True)
        self._go_soon()

    def _go_soon(self) -> None:
        if not self._soon:
            self._soon = True
            self._loop.call_soon(self._go)

    def _go(self) -> None:
        """One question and one write for all of a tick."""
        self._soon = False
        notes, self._notes = self._notes, []
        finds, self._finds = self._finds, []
        if notes:
            self._run(self._write(notes))
        if finds:
            self._run(self._read(finds))

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _write(self, notes: Sequence[_Note]) -> None:
        written = (
            await self._tried(self._store.note([(note.key, b"%b\0%b" % note.owner) for note in notes]))
            is not Missing.UNAVAILABLE
        )
        for note in notes:
            if self._known.get(note.key) is note:
                if written:
                    del self._known[note.key]
                    self._late.pop(note.key, None)
                else:
                    self._postpone(note)
            after, note.after = note.after, None
            for then in after or ():
                self._tell(then)

    def _postpone(self, note: _Note) -> None:
        """Over the bound the newest is not remembered: its receipts are nobody's."""
        if note.key not in self._late:
            self._unwritten()
            if len(self._late) < limits.SMPP_NOTES_MAX:
                self._late[note.key] = note
            else:
                del self._known[note.key]

    async def _read(self, finds: Sequence[tuple[bytes, Then]]) -> None:
        values = await self._tried(self._store.find([key for key, _ in finds]))
        self._finding -= len(finds)
        for at, (key, then) in enumerate(finds):
            note = self._known.get(key)
            if note is not None and note.after is None:
                self._tell(partial(then, note.owner))
            elif isinstance(values, Missing):
                self._tell(partial(then, values))
            else:
                self._tell(partial(then, _owner(values[at])))

    def _tell(self, then: Callable[[], None]) -> None:
        """A fault of our own is that message's alone."""
        try:
            then()
        except Exception as fault:  # noqa: BLE001
            logger.error("what follows an owner failed", exc_info=fault)

    async def _tried(self, asking: Coroutine[Any, Any, Any]) -> Any:
        """The store's answer. What it cannot do, and a fault of our own, is temporary (promise I4)."""
        why = ""
        try:
            return await asking
        except Unavailable as fault:
            why = str(fault)
        except Exception as fault:  # noqa: BLE001
            logger.error("the memory of message ids failed", exc_info=fault)
            why = "internal"
        finally:
            self._went(why)
        return Missing.UNAVAILABLE

    def _went(self, why: str) -> None:
        """One line for each change."""
        if bool(why) != self._failing:
            self._failing = bool(why)
            if why:
                logger.warning("owners of messages cannot be told", upstream=self._upstream, why=why)
            else:
                logger.info("owners of messages can be told again", upstream=self._upstream)


def _owner(value: bytes | None) -> Found:
    if value is None:
        return Missing.NOBODY
    account, _, message_id = value.partition(b"\0")
    return Owner(account, message_id)
