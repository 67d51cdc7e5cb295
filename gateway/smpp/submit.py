"""One submit_sm, from its octets to its answer: ask, put the notice in, send, pass the SMSC's answer back.

    take()     ── refused here: malformed, no stream, no plain text, scheduled for later
       │       ── part of a long message: `parts.Group`, which asks once for all of it
       ▼
    Submit     ── asks; on PASS sends what it was asked about, with its notice
       ▼
    _Several   ── if it no longer fits one segment

Several segments are one message, and its client gets one answer when all of theirs are there: ESME_ROK and the id of
the first segment only if all were accepted (promise I2). Otherwise the message is refused, with a temporary status if
any was; then those segments that were accepted never make a message on the handset, and the client's next attempt sends
all of it under a new reference. A receipt is asked for on the first segment alone: it carries the id that the client
was told, so the client gets it once. That segment is sent last: then its receipt does not overtake the answer, and says
most about the whole.

Nothing is sent for a client that is gone: it has no answer and will come again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from operator import methodcaller
from typing import Any, Protocol, TypeVar

from filters.address import canonical_msisdn
from filters.classify import classify
from filters.model import Channel, Kind, Outcome, Reason, Stream
from filters.sms import Alphabet, Concat
from gateway.pipeline import Pipeline, Question
from gateway.smpp import text
from gateway.smpp.parts import Group, Groups, Phase
from gateway.smpp.pdu import (
    HEADER_OCTETS,
    SUBMIT_SM,
    SUBMIT_SM_RESP,
    TON_INTERNATIONAL,
    TON_NATIONAL,
    SubmitSm,
    walk_submit_sm,
)
from gateway.smpp.statuses import ESME_ROK, ESME_RSYSERR, OF_REASON, TEMPORARY
from gateway.smpp.text import Notice, Text, Unfit
from gateway.smpp.upstream import Smsc

T = TypeVar("T")


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
    smsc: Smsc | None  # None: the SMSC is away
    noted: Callable[[bytes, int], None] | None  # hears of each commercial message: its number, its brand's code

    @property
    def gone(self) -> bool:
        """Nobody waits for an answer."""

    def now(self) -> float:
        """Loop time, in seconds."""

    def way(self, source_addr: bytes) -> Way | None:
        """What its messages from `source_addr` go by; None: no stream takes them."""

    def reference(self) -> int:
        """A concatenation reference not used of late."""

    def answer(self, sequence: int, status: int, body: bytes = b"") -> None:
        """The submit_sm_resp."""

    def respond(self, command: int, status: int, sequence: int, body: bytes = b"") -> None:
        """As `answer`, from what this bind's own SMSC said: the bind writes when all of that is read."""

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
    if kind is Kind.INFORMATIONAL:
        bind.pipeline.ask(Submit(bind, sequence, pdu, at, way, way.informational, recipient, None))
        return
    found = text.read(pdu, at, bind.alphabets)
    if isinstance(found, int):
        bind.answer(sequence, found)
        return
    if isinstance(found, Unfit) or pdu[esm_class + 3]:
        # Scheduled: what is allowed now need not be when it is delivered.
        submit = Submit(bind, sequence, pdu, at, way, way.commercial, recipient, None)
        bind.pipeline.ask(submit) if stream.observe else bind.pipeline.refuse(submit, Reason.UNFIT)
        return
    if found.concat is None:
        bind.pipeline.ask(Submit(bind, sequence, pdu, at, way, way.commercial, recipient, found))
    else:
        _take_part(Part(bind, sequence, pdu, at, way, way.commercial, recipient, found), found.concat)


def _take_part(part: Part, concat: Concat) -> None:
    """A part of a long message waits for what is decided about all of it."""
    bind, at, pdu, found = part.bind, part.at, part.pdu, part.text
    assert part.stream is not None
    assert found is not None
    addresses = pdu[at.source - 2 : at.esm_class]
    key = (concat.kind, concat.reference, concat.total, part.stream.name, addresses)
    octets = pdu[found.start : found.stop]
    group = bind.groups.find(key, concat.index, octets, bind.now())
    if group is not None:
        part.group = group
        if group.phase is Phase.JUDGING:
            group.waiting.append(part)
        else:
            part.go_on()
        return
    group = bind.groups.begin(key, concat.index, octets, bind.now())
    if group is None:
        bind.pipeline.refuse(part, Reason.OVERLOAD)
        return
    part.group = group
    group.waiting.append(part)
    bind.pipeline.ask(_Long(part, group))


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
        Question.__init__(self, stream, Channel.MESAJ, recipient)
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
        """The SMSC's answer."""
        self.bind.respond(SUBMIT_SM_RESP, status, self.sequence, body)

    def go(self) -> None:
        """Act on the verdict."""
        bind = self.bind
        if self.outcome is not Outcome.PASS:
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
        notice = self.notice(found)
        self.note()
        assert self.way is not None
        bodies = text.bodies(self.pdu, self.at, found, notice, reference=bind.reference, reserve=self.way.reserve)
        if len(bodies) == 1:
            smsc.send(SUBMIT_SM, bodies[0], self)
        else:
            send_all(smsc, bodies, self.answered)

    def fail(self) -> None:
        """A fault of our own is temporary (promise I4)."""
        self.bind.answer(self.sequence, OF_REASON[Reason.INTERNAL])

    def note(self) -> None:
        """A commercial message goes to this recipient: whoever answers it refuses its brand."""
        noted = self.bind.noted
        if noted is not None and self.recipient is not None and self.stream is not None:
            assert self.stream.brand is not None
            noted(self.recipient, self.stream.brand.code)

    def notice(self, found: Text) -> bytes:
        """The notice for this recipient in this message's alphabet."""
        assert self.way is not None
        assert self.way.notice is not None, "a commercial stream without a brand"
        return self.way.notice.of(found.alphabet, self.bind.pipeline.link(self))


class Part(Submit):
    """A submit_sm that is one part of a long message."""

    __slots__ = ("group",)

    def __init__(self, *arguments: Any) -> None:
        Submit.__init__(self, *arguments)
        self.group: Group | None = None  # None: there was no room for one

    def go_on(self) -> None:
        self.bind.step(_GO, _FAIL, self)

    def go(self) -> None:
        """Follow the group's verdict."""
        group, smsc, bind = self.group, self.bind.smsc, self.bind
        if group is None:
            Submit.go(self)
        elif group.phase is Phase.BLOCKED:
            bind.answer(self.sequence, group.status)
        elif smsc is None or bind.gone:
            bind.answer(self.sequence, ESME_RSYSERR)
        else:
            assert self.text is not None
            assert self.text.concat is not None
            smsc.send(SUBMIT_SM, text.part(self.pdu, self.text.concat, group.extra), self)

    def answered(self, status: int, body: bytes) -> None:
        group = self.group
        assert group is not None
        assert self.text is not None
        assert self.text.concat is not None
        if status == ESME_ROK:
            group.accepted.add(self.text.concat.index)
            if group.complete:
                self.bind.groups.drop(group)
        self.bind.respond(SUBMIT_SM_RESP, status, self.sequence, body)


class _Long(Question):
    """The one question about a long message; `first` is the part that came first."""

    __slots__ = ("first", "group")

    def __init__(self, first: Part, group: Group) -> None:
        super().__init__(first.stream, Channel.MESAJ, first.recipient)
        self.first = first
        self.group = group

    def decided(self) -> None:
        self.first.bind.step(_Long.go, _Long.fail, self)

    def go(self) -> None:
        """Send the notice, if there may be one."""
        first, bind = self.first, self.first.bind
        if self.outcome is Outcome.BLOCK:
            self.group.settle(Phase.BLOCKED, status=OF_REASON[self.reason])
        elif self.outcome is Outcome.DEFER:
            self._give_up(OF_REASON[self.reason])
        elif self.recipient is None:
            self.group.settle(Phase.OPEN)
        elif bind.smsc is None or bind.gone:
            self._give_up(ESME_RSYSERR)
        else:
            assert first.text is not None
            assert first.way is not None
            notice = first.notice(first.text)
            first.note()
            bodies = text.notice_parts(first.pdu, first.at, first.text, notice, reserve=first.way.reserve)
            self.group.extra = len(bodies)
            send_all(bind.smsc, bodies, self._announced)

    def fail(self) -> None:
        self._give_up(OF_REASON[Reason.INTERNAL])

    def _announced(self, status: int, body: bytes) -> None:
        """The SMSC's answer to the notice."""
        if status == ESME_ROK:
            self.group.settle(Phase.OPEN, extra=self.group.extra)
        else:
            self._give_up(status)

    def _give_up(self, status: int) -> None:
        """Nothing of it goes on; what comes of it later is a new message."""
        self.first.bind.groups.drop(self.group)
        self.group.settle(Phase.BLOCKED, status=status)


_GO, _FAIL = methodcaller("go"), methodcaller("fail")


def send_all(smsc: Smsc, bodies: list[bytes], done: Callable[[int, bytes], None]) -> None:
    """Send several segments; `done` gets one answer for all."""
    several = _Several(len(bodies), done)
    for body in reversed(bodies):
        smsc.send(SUBMIT_SM, body, _Segment(several, first=body is bodies[0]))


class _Several:
    """Segments that are answered together."""

    __slots__ = ("body", "done", "left", "status")

    def __init__(self, count: int, done: Callable[[int, bytes], None]) -> None:
        self.left = count
        self.done = done
        self.status = ESME_ROK
        self.body = b""

    def answered(self, status: int) -> None:
        if status != ESME_ROK and (self.status == ESME_ROK or status in TEMPORARY):
            self.status = status
        self.left -= 1
        if not self.left:
            self.done(self.status, self.body if self.status == ESME_ROK else b"")


class _Segment:
    """One of several segments."""

    __slots__ = ("_first", "_several", "sent_at")

    command = SUBMIT_SM

    def __init__(self, several: _Several, *, first: bool) -> None:
        self._several = several
        self._first = first
        self.sent_at = 0.0

    def answered(self, status: int, body: bytes) -> None:
        if self._first:
            self._several.body = body
        self._several.answered(status)
