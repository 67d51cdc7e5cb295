"""Sends a message that has become several, so that its receipts can be made one again (`fold`).

    Splitter.send      the segments of one text: all ask for receipts as the client did, whose id is that of the first
    Splitter.announce  the notice of a long message that its client has cut, before the client's own parts …
    Splitter.join      … and that part of the client's whose receipt says how the notice went too

All of it is written down before the client has its answer. If that cannot be said to begin with, the message is sent
as one that need not be folded: only the first segment asks, and a notice does not. If it cannot be written down in the
end, it is tried again once a second, while receipts wait at the SMSC; what is accepted stays accepted (promise I2).

A message that asks for nothing costs nothing: it is sent at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final, Generic, TypeVar

import msgspec

from gateway import limits
from gateway.smpp.fold_memory import FoldMemory, Intent
from gateway.smpp.fold_state import ASKED, Fold, encode
from gateway.smpp.ids import Unavailable
from gateway.smpp.pdu import HEADER_OCTETS, USER_MESSAGE_REFERENCE, walk_submit_sm, walk_tlvs
from gateway.smpp.several import Done, send_all
from gateway.smpp.statuses import ESME_ROK, ESME_RSYSERR
from gateway.smpp.upstream import Smsc

if TYPE_CHECKING:
    from gateway.smpp.submit import Submit

T = TypeVar("T")

INTERMEDIATE: Final = 0x10  # registered_delivery, bit 4 (§5.2.17)
_RECEIPTS: Final = ASKED | INTERMEDIATE
_HEADER: Final = bytes(HEADER_OCTETS)
_REFERENCE_OCTETS_MAX: Final = 8  # §5.3.2.17 has two

Announced = Callable[[int, bytes | None], None]
"""Gets the status of the notice, and the key of the message if its receipt is to be folded."""


def wants(submit: Submit) -> int:
    """The receipts that a client asks for with a submit_sm: bits 4, 1 and 0 of its registered_delivery."""
    return submit.pdu[submit.at.text - 5] & _RECEIPTS


def asking(body: bytes, wanted: int) -> bytes:
    """The body of a submit_sm that asks for these receipts."""
    at = walk_submit_sm(_HEADER + body)
    assert not isinstance(at, int), "a submit_sm of our own making"
    place = at.text - 5 - HEADER_OCTETS
    return b"%b%c%b" % (body[:place], wanted, body[place + 1 :])


class Splitter:
    """Of one account, in one worker."""

    def __init__(self, memory: FoldMemory) -> None:
        self._memory = memory
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._unwritten: list[Callable[[], Awaitable[None]]] = []

    def send(self, submit: Submit, smsc: Smsc, bodies: Sequence[bytes], done: Done) -> None:
        """As `several.send_all`, folded if the client wants receipts; `done` may be called from a task."""
        if wants(submit):
            once = _Once(done)
            self._run(self._send(submit, bodies, once), partial(once, ESME_RSYSERR, b""))
        else:
            send_all(smsc, bodies, done)

    def announce(self, submit: Submit, smsc: Smsc, bodies: Sequence[bytes], done: Announced) -> None:
        """The notice; `submit` is the part that will be joined to it."""
        if wants(submit):
            once = _Once(done)
            self._run(self._announce(submit, bodies, once), partial(once, ESME_RSYSERR, None))
        else:
            send_all(smsc, bodies, lambda status, _body: done(status, None))

    def join(self, submit: Submit, message: bytes, body: bytes, done: Done) -> None:
        """A part of the client's, of the `message` whose notice was announced."""
        once = _Once(done)
        self._run(self._join(submit, message, body, once), partial(once, ESME_RSYSERR, b""))

    def sent_whole(self, submit: Submit, body: bytes) -> None:
        """A message that was not split; `body` is the SMSC's answer."""
        if wants(submit):
            self._memory.note_whole(_id(body))

    async def write(self, write: Callable[[], Awaitable[None]]) -> None:
        """Do it, now or later; it may be done twice."""
        try:
            await write()
        except Unavailable:
            if len(self._unwritten) < limits.SMPP_FOLD_UNWRITTEN_MAX:
                self._unwritten.append(write)

    def poll(self) -> None:
        """Once a second."""
        if self._unwritten:
            unwritten, self._unwritten = self._unwritten, []
            self._run(self._again(unwritten), lambda: None)

    async def close(self) -> None:
        """What cannot be written now is forgotten: receipts of its parts then pass as they come."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=limits.SMPP_IDS_BUSY_S)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # the ways

    async def _send(self, submit: Submit, bodies: Sequence[bytes], done: Done) -> None:
        intent = await self._intend(submit)
        if intent is not None:
            bodies = [bodies[0], *(asking(body, wants(submit)) for body in bodies[1:])]
        status, accepted = await self._ask(submit, bodies)
        if intent is not None and accepted:
            memory, message = self._memory, self._memory.new_message()
            if status == ESME_ROK:
                entries = [memory.part(_id(body), message, index) for index, body in accepted.items()]
                entries.append((message, encode(_fold(submit, _id(accepted[0]), len(bodies)))))
            else:
                entries = [memory.nobodys(_id(body)) for body in accepted.values()]
            await self.write(partial(self._note, entries, intent))
        elif intent is not None:
            await self.write(partial(self._memory.arrived, intent))
        done(status, accepted[0] if status == ESME_ROK else b"")

    async def _announce(self, submit: Submit, bodies: Sequence[bytes], done: Announced) -> None:
        intent = await self._intend(submit)
        if intent is not None:
            bodies = [asking(body, wants(submit)) for body in bodies]
        status, accepted = await self._ask(submit, bodies)
        if intent is None:
            done(status, None)
            return
        memory, message = self._memory, self._memory.new_message()
        if status == ESME_ROK:
            entries = [memory.part(_id(body), message, 1 + index) for index, body in accepted.items()]
            entries.append((message, encode(_fold(submit, b"", 1 + len(bodies)))))
        else:
            entries = [memory.nobodys(_id(body)) for body in accepted.values()]
        await self.write(partial(self._note, entries, intent))
        done(status, message if status == ESME_ROK else None)

    async def _join(self, submit: Submit, message: bytes, body: bytes, done: Done) -> None:
        intent = await self._intend(submit)
        status, accepted = await self._ask(submit, [body])
        if status == ESME_ROK:
            await self.write(partial(self._tell, message, _id(accepted[0]), intent))
        elif intent is not None:
            await self.write(partial(self._memory.arrived, intent))
        done(status, accepted.get(0, b""))

    async def _intend(self, submit: Submit) -> Intent | None:
        assert submit.recipient is not None, "only what has a recipient has a notice"
        try:
            return await self._memory.intend(submit.recipient)
        except Unavailable:
            return None

    async def _ask(self, submit: Submit, bodies: Sequence[bytes]) -> tuple[int, dict[int, bytes]]:
        """The status of all, and the answers of those that were accepted, by their place."""
        smsc = submit.bind.smsc
        if smsc is None or submit.bind.gone:
            return ESME_RSYSERR, {}
        heard: asyncio.Future[int] = self._loop.create_future()
        several = send_all(smsc, bodies, lambda status, _body: None if heard.done() else heard.set_result(status))
        status = await heard
        return status, several.accepted

    # what is written down

    async def _note(self, entries: Sequence[tuple[bytes, bytes]], intent: Intent) -> None:
        await self._memory.ids.note(entries)
        await self._memory.arrived(intent)

    async def _tell(self, message: bytes, message_id: bytes, intent: Intent | None) -> None:
        memory = self._memory
        fold = await memory.change(message, lambda known: msgspec.structs.replace(known, told=message_id))
        if fold is not None:
            await memory.ids.note([memory.part(message_id, message, 0)])
            if fold.is_complete:  # without a receipt of this part, which nobody may send
                await memory.remind(message, 0)
        if intent is not None:
            await memory.arrived(intent)

    async def _again(self, unwritten: Sequence[Callable[[], Awaitable[None]]]) -> None:
        for write in unwritten:
            await self.write(write)

    def _run(self, work: Coroutine[None, None, None], failed: Callable[[], None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(partial(self._ran, failed))

    def _ran(self, failed: Callable[[], None], task: asyncio.Task[None]) -> None:
        """Our own fault is logged by the loop's handler, and is temporary for the client (promise I4)."""
        self._tasks.discard(task)
        if not task.cancelled() and (fault := task.exception()) is not None:
            self._loop.call_exception_handler({"message": "sending a message that was split", "exception": fault})
            failed()


class _Once(Generic[T]):
    """Whoever has an answer gets no second one, if a fault of our own follows."""

    def __init__(self, done: Callable[[int, T], None]) -> None:
        self._done: Callable[[int, T], None] | None = done

    def __call__(self, status: int, said: T) -> None:
        done, self._done = self._done, None
        if done is not None:
            done(status, said)


def _fold(submit: Submit, told: bytes, parts: int) -> Fold:
    reference = b""
    for one in walk_tlvs(submit.pdu, submit.at.tlvs) or ():
        if one.tag == USER_MESSAGE_REFERENCE:
            reference = submit.pdu[one.start : one.stop][:_REFERENCE_OCTETS_MAX]
    return Fold(told, wants(submit) & ASKED, bytes(parts), reference)


def _id(body: bytes) -> bytes:
    """The message_id of a submit_sm_resp or data_sm_resp."""
    return body.partition(b"\0")[0][: limits.SMPP_MESSAGE_ID_OCTETS_MAX]
