"""One submit_sm, from its octets to its answer: ask, put the notice in, send, pass the SMSC's answer back.

    take()     ── refused here: malformed, no stream, no plain text, put off for too long
       │       ── part of a long message: `long`, which asks once for all of it
       ▼
    Submit     ── asks; on PASS sends what it was asked about, with its notice

A text that holds the recipient's own reject link already goes as it came: nobody else can make one. If the text with
its notice no longer fits one segment, its segments are one message (`several`): the client hears ESME_ROK and the id of
the first one only if all were accepted, and its next attempt sends all of it under a new reference. Their receipts are
made one again (`fold`). The first segment is sent last: then its receipt does not overtake the answer.

Nothing is sent for a client that is gone: it has no answer and will come again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from operator import methodcaller
from typing import Protocol, TypeVar

from filters import sms
from filters.address import canonical_msisdn
from filters.classify import classify
from filters.model import Channel, Kind, Outcome, Reason, Stream
from filters.sms import Alphabet
from gateway import limits
from gateway.pipeline import Pipeline, Question
from gateway.smpp import text
from gateway.smpp.long import refuse_with, take_part
from gateway.smpp.parts import Groups
from gateway.smpp.pdu import (
    HEADER_OCTETS,
    SUBMIT_SM,
    SUBMIT_SM_RESP,
    TON_INTERNATIONAL,
    TON_NATIONAL,
    SubmitSm,
    walk_submit_sm,
)
from gateway.smpp.several import send_all
from gateway.smpp.split import Splitter
from gateway.smpp.statuses import ESME_RINVSCHED, ESME_ROK, ESME_RSYSERR, OF_REASON
from gateway.smpp.text import Notice, Text, Unfit
from gateway.smpp.times import ahead_s
from gateway.smpp.upstream import Smsc

T = TypeVar("T")

# As in `pipeline`: by name in its class each costs as much as a call.
_PASS, _BLOCK, _INFORMATIONAL, _MESAJ = Outcome.PASS, Outcome.BLOCK, Kind.INFORMATIONAL, Channel.MESAJ


class Way:
    """What holds for all messages of one stream."""

    __slots__ = ("commercial", "informational", "notice", "reserve", "stream")

    def __init__(self, stream: Stream, reserve: int) -> None:
        self.stream = stream
        self.commercial = replace(stream, kind=Kind.COMMERCIAL, may_declare=False)
        self.informational = replace(stream, kind=Kind.INFORMATIONAL, may_declare=False)
        self.notice = Notice(stream.brand) if stream.brand is not None else None
        self.reserve = reserve


class Bind(Protocol):
    """A client's bind, as a submit sees it."""

    pipeline: Pipeline
    groups: Groups
    alphabets: tuple[Alphabet | None, ...]  # what the client means by each data_coding
    block_status: int  # what the account has for a refusal
    splitter: Splitter | None  # sends what became several; None: no receipts of the account's are folded
    patient: bool  # it pays to wait for the other parts of a long message
    noted: Callable[[bytes, int], None] | None  # hears of each commercial message: its number, its brand's code

    @property
    def smsc(self) -> Smsc | None:
        """None: the SMSC is away."""

    @property
    def gone(self) -> bool:
        """Nobody waits for an answer."""

    def now(self) -> float:
        """Loop time, in seconds."""

    def later(self, seconds: float, action: Callable[[], None]) -> object:
        """Call `action` in so many seconds."""

    def way(self, source_addr: bytes) -> Way | None:
        """What its messages from `source_addr` go by; None: no stream takes them."""

    def reference(self) -> int:
        """A concatenation reference not used of late."""

    def answer(self, sequence: int, status: int, body: bytes = b"") -> None:
        """The submit_sm_resp."""

    def respond(self, command: int, status: int, sequence: int, body: bytes = b"") -> None:
        """As `answer`, from what this bind's own SMSC said: the bind writes when all of that is read."""

    def reply(self, command: int, status: int, sequence: int, body: bytes = b"") -> None:
        """Answer a request that is no submit_sm; `command` is the response's."""

    def block(self, submit: Submit, reason: Reason) -> None:
        """Answer a submit that was refused for good, in the way its account wants."""

    def occupy(self, requests: int) -> None:
        """One request counts as so many more in the client's window; negative: no longer."""

    def step(self, action: Callable[[T], None], failed: Callable[[T], None], subject: T) -> None:
        """Run what follows a verdict; `failed` follows a fault of our own."""


def take(bind: Bind, sequence: int, pdu: bytes) -> None:
    """Act on a submit_sm; `bind.answer` is called once for it, now or later."""
    at = walk_submit_sm(pdu)
    if isinstance(at, int):
        bind.answer(sequence, at)
        return
    if bind.smsc is None:
        bind.answer(sequence, ESME_RSYSERR)
        return
    source, dest, esm_class, _, _ = at
    ton = pdu[dest - 2]
    number = pdu[dest : esm_class - 1]
    # An address of another type may look like a number and be none (promise I3).
    recipient = canonical_msisdn(number, international=ton == TON_INTERNATIONAL) if ton <= TON_NATIONAL else None
    way = bind.way(pdu[source : dest - 3])
    if way is None:
        bind.pipeline.refuse(Submit(bind, sequence, pdu, at, None, None, recipient, None), Reason.NO_STREAM)
        return
    stream = way.stream
    kind = classify(stream, text.declared_kind(pdu, at))[0] if stream.may_declare else stream.kind
    if kind is _INFORMATIONAL:
        bind.pipeline.ask(Submit(bind, sequence, pdu, at, way, way.informational, recipient, None))
        return
    found = text.read(pdu, at, bind.alphabets)
    if found is text.TWICE_PLACED:
        pdu = text.without_sar(pdu, at)
        found = text.read(pdu, at, bind.alphabets)
    if isinstance(found, int):
        bind.answer(sequence, found)
        return
    if pdu[esm_class + 3] and not stream.observe and not _is_near(pdu[esm_class + 3 : esm_class + 19]):
        bind.answer(sequence, ESME_RINVSCHED)
        return
    if isinstance(found, Unfit):
        unfit = Submit(bind, sequence, pdu, at, way, way.commercial, recipient, None)
        if stream.observe:
            bind.pipeline.ask(unfit)
        else:
            if (concat := text.place(pdu, at)) is not None:
                refuse_with(unfit, concat)
            bind.pipeline.refuse(unfit, Reason.UNFIT)
        return
    submit = Submit(bind, sequence, pdu, at, way, way.commercial, recipient, found)
    bind.pipeline.ask(submit) if found.concat is None else take_part(submit, found.concat)


def _is_near(schedule: bytes) -> bool:
    """May a text whose recipient consents now be delivered then?"""
    ahead = ahead_s(schedule, time.time())
    return ahead is not None and ahead <= limits.SMPP_SCHEDULE_S_MAX


class Submit(Question):
    """A submit_sm under way. Without a `text` it goes on as it came."""

    __slots__ = ("at", "bind", "pdu", "sent_at", "sequence", "text", "way")

    command = SUBMIT_SM

    def __init__(
        self,
        bind: Bind,
        sequence: int,
        pdu: bytes,
        at: SubmitSm,
        way: Way | None,
        stream: Stream | None,
        recipient: bytes | None,
        found: Text | None,
    ) -> None:
        Question.__init__(self, stream, _MESAJ, recipient)
        self.bind = bind
        self.sequence = sequence
        self.pdu = pdu
        self.at = at
        self.way = way
        self.text = found
        self.sent_at = 0.0

    def decided(self) -> None:
        self.bind.step(_GO, _FAIL, self)

    def answered(self, status: int, body: bytes) -> None:
        """The SMSC's answer to a message that stayed one."""
        bind = self.bind
        if status == ESME_ROK and bind.splitter is not None:
            bind.splitter.sent_whole(self, body)
        bind.respond(SUBMIT_SM_RESP, status, self.sequence, body)

    def go(self) -> None:
        """Act on the verdict."""
        bind = self.bind
        if self.outcome is not _PASS:
            if self.outcome is _BLOCK:
                bind.block(self, self.reason)
            else:
                bind.answer(self.sequence, OF_REASON[self.reason])
            return
        smsc = bind.smsc
        if smsc is None or bind.gone:
            bind.answer(self.sequence, ESME_RSYSERR)
            return
        found = self.text
        if found is None or self.recipient is None:
            smsc.send(SUBMIT_SM, self.pdu[HEADER_OCTETS:], self)
            return
        self.note()
        link = bind.pipeline.link(self)
        if sms.carries(found.alphabet, self.pdu[found.body : found.stop], link):
            smsc.send(SUBMIT_SM, self.pdu[HEADER_OCTETS:], self)
            return
        notice = self.notice(found, link)
        assert self.way is not None
        bodies = text.bodies(self.pdu, self.at, found, notice, reference=bind.reference, reserve=self.way.reserve)
        if len(bodies) == 1:
            smsc.send(SUBMIT_SM, bodies[0], self)
        elif bind.splitter is None:
            send_all(smsc, bodies, self.answered)
        else:
            bind.splitter.send(self, smsc, bodies, self._answered)

    def _answered(self, status: int, body: bytes) -> None:
        """As `answered`, when what was sent is written down."""
        self.bind.answer(self.sequence, status, body)

    def fail(self) -> None:
        """A fault of our own is temporary (promise I4)."""
        self.bind.answer(self.sequence, OF_REASON[Reason.INTERNAL])

    def note(self) -> None:
        """A commercial message goes to this recipient: whoever answers it refuses its brand."""
        noted = self.bind.noted
        if noted is not None and self.recipient is not None and self.stream is not None:
            assert self.stream.brand is not None
            noted(self.recipient, self.stream.brand.code)

    def notice(self, found: Text, link: bytes) -> bytes:
        """The notice for this recipient in this message's alphabet."""
        assert self.way is not None
        assert self.way.notice is not None, "a commercial stream without a brand"
        return self.way.notice.of(found.alphabet, link)


_GO, _FAIL = methodcaller("go"), methodcaller("fail")
