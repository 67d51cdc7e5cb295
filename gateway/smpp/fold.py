"""Receipts of a message that became several at the SMSC are made one again: its client knows one id, and hears once.

    SMSC ── receipt ──▶ Folding.take ── not a part's ──▶ the client, as ever
                           │ a part's: written down (`fold_memory`), and merged (`fold_state`)
                           ├─ not the last ──▶ the SMSC is told ESME_ROK, the client nothing
                           └─ the last ──▶ the client, about all of it; its answer goes to the SMSC

A receipt is looked up, in the memory that all workers share, because any worker may get it, days later and after a
restart. All of a loop tick are looked up together, so this costs one question a tick, and only in accounts whose
messages can be split: those with commercial streams. The others' receipts never come here, and those of messages that
this worker sent whole just now (`whole`) pass without a look.

An intermediate notification passes with the id that its client knows. A receipt that comes before the ids of its
message are written down waits for them. When the memory cannot be asked, the SMSC is told ESME_RX_T_APPN and brings
the receipt again.

A part whose receipt never comes is waited for SMPP_FOLD_S from the first receipt of its message; then the client gets
one of our own that says what is known. So it does when the last receipt was lost on its way: SMPP_FOLD_AGAIN_S later.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Coroutine
from functools import partial
from typing import Any, NamedTuple, Protocol

import msgspec

from gateway import limits
from gateway.config import Account, Upstream
from gateway.smpp import receipt_pdu, spelling
from gateway.smpp.fold_memory import FoldMemory, Known, Place
from gateway.smpp.fold_state import ON_EITHER, OURSELVES, Fate, Fold, merge, worst
from gateway.smpp.ids import MessageIds, Unavailable
from gateway.smpp.pdu import RESPONSE
from gateway.smpp.receipts import Receipt
from gateway.smpp.session import Answer
from gateway.smpp.spelling import SPELLINGS, Delivery, Spelling
from gateway.smpp.split import Splitter
from gateway.smpp.statuses import ESME_ROK, ESME_RX_T_APPN, TEMPORARY
from gateway.smpp.upstream import Smsc


class Bind(Protocol):
    """A client's bind, as a receipt sees it."""

    smsc: Smsc | None

    @property
    def has_tlvs(self) -> bool:
        """The client knows optional parameters."""

    def pass_on(self, smsc: Smsc, command: int, sequence: int, body: bytes) -> None:
        """To the client, whose answer goes to `smsc`; if that is still the one that stands."""

    def pass_folded(
        self, smsc: Smsc, command: int, sequence: int, body: bytes, answered: Callable[[Answer], None]
    ) -> None:
        """As `pass_on`, but the client's answer goes to `answered`."""

    def tell(self, smsc: Smsc, command: int, status: int, sequence: int, body: bytes = b"") -> None:
        """Answer `smsc`, if it still stands; `command` is the response's."""


class Hears(Protocol):
    """What the binds of an account share, as far as it is needed here (`esme.Esme`)."""

    @property
    def receives(self) -> bool:
        """One of its binds takes deliver_sm."""

    def add_receipt(self, receipt: Receipt) -> bool:
        """To whichever bind takes it. False: no room."""


class _Came(NamedTuple):
    """A receipt that is looked up."""

    bind: Bind
    smsc: Smsc
    sequence: int
    body: bytes
    delivery: Delivery
    number: bytes | None

    def pass_on(self) -> None:
        self.bind.pass_on(self.smsc, self.delivery.command, self.sequence, self.body)

    def answer(self, status: int) -> None:
        self.bind.tell(self.smsc, self.delivery.command | RESPONSE, status, self.sequence)


class Folding:
    """Of one account, in one worker."""

    def __init__(self, memory: FoldMemory) -> None:
        self.splitter = Splitter(memory)
        self._memory = memory
        self._loop = asyncio.get_running_loop()
        self._due: list[_Came] = []
        self._held: list[_Came] = []  # whose message may become known
        self._looking: asyncio.Task[None] | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._look_at = 0.0

    # receipts

    def take(self, bind: Bind, sequence: int, body: bytes, delivery: Delivery) -> bool | None:
        """A receipt, which came as `body`. None: no part's, pass it on; True: it is seen to; False: not now."""
        smsc = bind.smsc
        if smsc is None or not (delivery.in_tlv or delivery.in_text) or self._memory.is_whole(delivery):
            return None
        if len(self._due) + len(self._held) >= limits.SMPP_FOLD_WAITING_MAX:
            return False
        self._due.append(_Came(bind, smsc, sequence, body, delivery, receipt_pdu.number(delivery)))
        self._go()
        return True

    def poll(self) -> None:
        """Once a second."""
        self.splitter.poll()

    async def close(self) -> None:
        """What is under way ends without an answer: the SMSC brings it again."""
        if self._retry is not None:
            self._retry.cancel()
        tasks = [*self._tasks, *([self._looking] if self._looking is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.splitter.close()

    def _go(self) -> None:
        if self._due and (self._looking is None or self._looking.done()):
            self._looking = self._loop.create_task(self._look())
            self._looking.add_done_callback(self._looked)

    def _looked(self, task: asyncio.Task[None]) -> None:
        self._ended(task)
        self._go()

    async def _look(self) -> None:
        """All that came, and what comes meanwhile."""
        while self._due:
            due, self._due = self._due, []
            try:
                known = await self._memory.look_up([(one.delivery, one.number) for one in due])
            except Unavailable:
                for one in due:
                    one.answer(ESME_RX_T_APPN)
                continue
            await asyncio.gather(*(parts for one, of in zip(due, known, strict=True) if (parts := self._sort(one, of))))

    def _sort(self, came: _Came, known: Known) -> Coroutine[Any, Any, None] | None:
        """What is left to do for a part's receipt."""
        if known.place is None and known.is_awaited:
            self._held.append(came)
            if self._retry is None:
                self._retry = self._loop.call_later(limits.SMPP_FOLD_RETRY_S, self._again)
        elif known.place is None:
            came.pass_on()
        elif not known.place.message:
            came.answer(ESME_ROK)
        else:
            return self._part(came, known.place)
        return None

    def _again(self) -> None:
        self._retry = None
        self._due += self._held
        self._held = []
        self._go()

    async def _part(self, came: _Came, place: Place) -> None:
        """Of a part's message."""
        said = receipt_pdu.said(came.delivery)
        try:
            if receipt_pdu.is_receipt(came.delivery) and said.is_final:
                await self._merge(came, place, said)
            else:
                (fold,) = await self._memory.messages([place.message])
                self._notify(came, place, fold)
        except Unavailable:
            came.answer(ESME_RX_T_APPN)

    def _notify(self, came: _Came, place: Place, fold: Fold | None) -> None:
        """What is not final passes, under the id that its client knows."""
        if fold is None or fold.over or not fold.told:
            self._of_nobody_known(came, place, fold)
        elif place.part == 0:
            came.pass_on()
        else:
            body = spelling.retold(came.delivery, fold.id_for_client)
            came.bind.pass_on(came.smsc, came.delivery.command, came.sequence, body)

    def _of_nobody_known(self, came: _Came, place: Place, fold: Fold | None) -> None:
        """Its message is forgotten, or over: the client knows the first part's id, and no other."""
        if fold is None and place.part == 0:
            came.pass_on()
        else:
            came.answer(ESME_ROK)

    async def _merge(self, came: _Came, place: Place, said: receipt_pdu.Said) -> None:
        """A final receipt: written down before the SMSC hears so."""
        delivery, memory = came.delivery, self._memory
        sealed = memory.seal(place.message, receipt_pdu.addresses(delivery))
        fates = [Fate.KEPT]

        def change(fold: Fold) -> Fold:
            changed, fates[0] = merge(fold, place.part, said, delivery.in_text or delivery.in_tlv, sealed)
            return changed

        fold = await memory.change(place.message, change)
        if fold is None or fold.over:
            self._of_nobody_known(came, place, fold)
        elif fates[0] is Fate.KEPT:
            if fold.asked == ON_EITHER and not fold.is_complete:
                await memory.remind(place.message, limits.SMPP_FOLD_S)
            came.answer(ESME_ROK)
        else:
            await memory.remind(place.message, limits.SMPP_FOLD_AGAIN_S)
            has_tlvs = came.bind.has_tlvs
            body = receipt_pdu.folded(delivery, fold.id_for_client, worst(fold), fold.reference, has_tlvs=has_tlvs)
            answered = partial(self._answered, came, place.message)
            came.bind.pass_folded(came.smsc, delivery.command, came.sequence, body, answered)

    def _answered(self, came: _Came, message: bytes, answer: Answer) -> None:
        """By the client, who has all of it now, or takes it later."""

        def tell() -> None:
            came.bind.tell(came.smsc, answer.command, answer.status, came.sequence, answer.body)

        if answer.status in TEMPORARY:
            tell()
        else:
            self._run(self._end(message, tell))

    async def _end(self, message: bytes, then: Callable[[], None]) -> None:
        await self.splitter.write(partial(self._memory.end, message))
        then()

    # receipts of our own

    def look(self, account: Hears, now: float) -> None:
        """Once in a while: what has waited for too long. `now` is loop time."""
        if now >= self._look_at and account.receives:
            self._look_at = now + limits.SMPP_FOLD_LOOK_S
            self._run(self._look_due(account))

    async def _look_due(self, account: Hears) -> None:
        memory = self._memory
        try:
            for message in await memory.due():
                fold = await memory.change(message, _ours)
                receipt = None if fold is None else self._composed(message, fold)
                if receipt is None:
                    await memory.settle([message])
                else:
                    account.add_receipt(receipt)
        except Unavailable:
            return  # it is due again

    def _composed(self, message: bytes, fold: Fold) -> Receipt | None:
        """None: there is nothing to say."""
        addresses = self._memory.unseal(message, fold.sealed)
        if fold.carrier != OURSELVES or fold.over or addresses is None:
            return None
        body, tlvs = receipt_pdu.composed(addresses, fold.id_for_client, worst(fold), fold.reference)
        return Receipt(body, tlvs, self._loop.time(), lambda: self._run(self._end(message, lambda: None)))

    # tasks

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Our own fault is logged by the loop's handler; the SMSC brings again what was not answered."""
        self._tasks.discard(task)
        if not task.cancelled() and (fault := task.exception()) is not None:
            self._loop.call_exception_handler({"message": "folding receipts", "exception": fault})


def _ours(fold: Fold) -> Fold:
    """The receipt is ours to send, if anything is known and the client has none."""
    if fold.over or not fold.told or not any(fold.states):
        return fold
    return msgspec.structs.replace(fold, carrier=OURSELVES)


class Folds:
    """One worker's. `accounts`: those whose messages can be split; `key` is the installation's."""

    def __init__(
        self, ids: MessageIds, key: bytes, accounts: Collection[bytes], clock: Callable[[], float] = time.time
    ) -> None:
        self._ids = ids
        self._key = key
        self._accounts = accounts
        self._clock = clock
        self._known: dict[bytes, Folding] = {}

    def of(self, account: Account, upstream: Upstream) -> Folding | None:
        """None: none of its messages is split; or its ids are each host's own, and which host a receipt comes from is
        not known here. Then only the first segment asks for a receipt."""
        if account.system_id not in self._accounts or (upstream.pool and upstream.pool.id_space == "host"):
            return None
        known = self._known.get(account.system_id)
        if known is None:
            memory = FoldMemory(
                self._ids, self._key, self._clock, account.system_id, upstream.name, _spelling(upstream)
            )
            known = self._known[account.system_id] = Folding(memory)
        return known

    def poll(self) -> None:
        """Once a second."""
        for folding in self._known.values():
            folding.poll()

    async def close(self) -> None:
        await asyncio.gather(*(folding.close() for folding in self._known.values()))


def _spelling(upstream: Upstream) -> Spelling:
    """A pool's receipts come here under the id of the answer already; a mirrored SMSC's as it writes them."""
    if upstream.pool is None:
        return SPELLINGS["loose"]
    answer = SPELLINGS[upstream.pool.message_id].answer
    return Spelling(answer, answer, tlv_first=True)
