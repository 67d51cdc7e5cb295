"""One long message that its client has cut into parts: where its notice goes, and what each part is answered.

    take_part()  ── the first part that comes asks for all of them: `Long`
       ▼
    Long         ── on PASS, one of two ways
       │            cheaper   all parts are here, and the notice saves a segment in the last of them: sent together,
       │                      answered together
       │            plain     the notice goes first, as a part of its own; the parts follow one by one as they come
       ▼
    Part         ── one part of the client's

The cheaper way changes the total of segments, and whoever sends a part later — to another worker, after a restart —
would put another total into it, of which no handset makes a message. So nothing of it may come later: all parts must
be here before the first one goes, they are acknowledged only if all were accepted, and are refused together otherwise,
with a temporary status if any was. The plain way needs none of that: its total depends on the notice and its alphabet
alone.

If the parts that are all here hold the recipient's own reject link, they go the cheaper way as they are. A part that
takes no notice (`refuse_with`) is refused with all parts that are here or come later.

Parts that are not all here are waited for, unanswered and not for long (`limits.SMPP_PARTS_S`). A client that sends the
next part only when it has the answer to the last one would wait for nothing: its bind is remembered as one that it does
not pay for, until all parts of a message were there again before its notice was accepted.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import methodcaller
from typing import TYPE_CHECKING

from filters import sms
from filters.model import Channel, Outcome, Reason
from filters.sms import Concat
from gateway import limits
from gateway.pipeline import Question
from gateway.smpp import text
from gateway.smpp.parts import Group, Key, Phase
from gateway.smpp.pdu import SUBMIT_SM, SUBMIT_SM_RESP
from gateway.smpp.several import Several, send_all
from gateway.smpp.split import wants
from gateway.smpp.statuses import ESME_ROK, ESME_RSYSERR, OF_REASON
from gateway.smpp.upstream import Smsc

if TYPE_CHECKING:
    from gateway.smpp.submit import Bind, Submit


def take_part(submit: Submit, concat: Concat) -> None:
    """A part waits for what is decided about all of its message."""
    bind, pdu, found = submit.bind, submit.pdu, submit.text
    assert found is not None
    key = _key(submit, concat)
    octets = pdu[found.start : found.stop]
    group = bind.groups.find(key, concat.index, octets, bind.now())
    if group is None:
        group = bind.groups.begin(key, concat.index, octets, bind.now())
        if group is None:
            bind.pipeline.refuse(submit, Reason.OVERLOAD)
            return
        first = Part(submit, concat, group)
        group.waiting.append(first)
        bind.pipeline.ask(Long(first, group))
        return
    part = Part(submit, concat, group)
    if group.phase is not Phase.JUDGING:
        part.go_on()
        return
    group.waiting.append(part)
    if group.awaited is not None:
        group.awaited()


def refuse_with(submit: Submit, concat: Concat) -> None:
    """Refuse the message of a part that takes no notice: the others would wait for it on the handset for ever."""
    groups, at, now = submit.bind.groups, submit.at, submit.bind.now()
    key, octets = _key(submit, concat), submit.pdu[at.esm_class :]  # another alphabet is another message
    group = groups.find(key, concat.index, octets, now) or groups.begin(key, concat.index, octets, now)
    if group is not None:
        group.awaited = None
        group.settle(Phase.BLOCKED, reason=Reason.UNFIT)


def _key(submit: Submit, concat: Concat) -> Key:
    """What the parts of one message have in common."""
    at = submit.at
    assert submit.stream is not None
    addresses = submit.pdu[at.source - 2 : at.esm_class]
    return (concat.kind, concat.reference, concat.total, submit.stream.name, addresses)


class Part:
    """A submit_sm that is one part of a long message."""

    __slots__ = ("concat", "group", "sent_at", "submit")

    command = SUBMIT_SM

    def __init__(self, submit: Submit, concat: Concat, group: Group) -> None:
        self.submit = submit
        self.concat = concat
        self.group = group
        self.sent_at = 0.0

    @property
    def bind(self) -> Bind:
        return self.submit.bind

    @property
    def smsc(self) -> Smsc | None:
        """Where it goes; None: nobody waits for its answer, or nobody takes it."""
        return None if self.bind.gone else self.bind.smsc

    def go_on(self) -> None:
        self.bind.step(_GO, _FAIL, self)

    def go(self) -> None:
        """Follow what was decided."""
        group, submit, smsc = self.group, self.submit, self.smsc
        if group.phase is Phase.BLOCKED and group.reason is not None:
            self.bind.block(submit, group.reason)
        elif group.phase is Phase.BLOCKED:
            self.bind.answer(submit.sequence, group.status)
        elif group.phase is Phase.ANSWERED:
            self.bind.answer(submit.sequence, ESME_ROK, group.answers[self.concat.index])
        elif smsc is None:
            self.bind.answer(submit.sequence, ESME_RSYSERR)
        elif group.message is not None and self.concat.index == group.partner:
            assert self.bind.splitter is not None
            body = text.part(submit.pdu, self.concat, group.extra)
            self.bind.splitter.join(submit, group.message, body, self._joined)
        else:
            smsc.send(SUBMIT_SM, text.part(submit.pdu, self.concat, group.extra), self)

    def fail(self) -> None:
        self.submit.fail()

    def answered(self, status: int, body: bytes) -> None:
        """The SMSC's answer."""
        self._note(status)
        self.bind.respond(SUBMIT_SM_RESP, status, self.submit.sequence, body)

    def _joined(self, status: int, body: bytes) -> None:
        """The SMSC's answer to a part whose receipt speaks of the notice too."""
        if status == ESME_ROK:
            self.group.message = None  # what comes in its place once more is a message of its own to the SMSC
        self._note(status)
        self.bind.answer(self.submit.sequence, status, body)

    def _note(self, status: int) -> None:
        group = self.group
        if status == ESME_ROK:
            group.accepted.add(self.concat.index)
            if group.complete:
                self.bind.groups.drop(group)


class Long(Question):
    """The one question about a long message, and what follows; `first` is the part that came first."""

    __slots__ = ("_several", "first", "group", "receipts")

    def __init__(self, first: Part, group: Group) -> None:
        super().__init__(first.submit.stream, Channel.MESAJ, first.submit.recipient)
        self.first = first
        self.group = group
        self.receipts: list[Callable[[], None]] = []  # that wait for the parts' answers
        self._several: Several | None = None  # the parts that are at the SMSC

    def decided(self) -> None:
        self.first.bind.step(Long.go, Long.fail, self)

    def go(self) -> None:
        """Act on the verdict."""
        if self.group.phase is not Phase.JUDGING:
            return  # a part has come that takes no notice
        if self.outcome is Outcome.BLOCK:
            self.group.settle(Phase.BLOCKED, reason=self.reason)
        elif self.outcome is Outcome.DEFER:
            self._give_up(OF_REASON[self.reason])
        elif self.recipient is None:
            self.group.settle(Phase.OPEN)
        else:
            self.first.submit.note()
            self._look(patient=self.first.bind.patient)

    def fail(self) -> None:
        self._give_up(OF_REASON[Reason.INTERNAL])

    # where the notice goes

    def _look(self, *, patient: bool) -> None:
        """Go the cheaper way if it is one and all parts are here, wait if they may still come, else the plain way."""
        present, total = self._present(), self.group.key[2]
        last = present.get(total)
        bodies = None
        if len(present) == total and self._is_carried(present):
            bodies = [text.part(present[total].submit.pdu, present[total].concat, 0)]
        elif last is not None and (bodies := self._with_notice(last)) is None:
            patient = False  # nothing to be saved
        if bodies is not None and len(present) == total:
            self._send_together(present, bodies)
        elif not patient:
            self._announce()
        elif self.group.awaited is None:
            self.group.awaited = self._came
            self.first.bind.later(limits.SMPP_PARTS_S, self._waited)

    def _present(self) -> dict[int, Part]:
        """By place, the parts that are here and whose clients still are."""
        return {part.concat.index: part for part in self.group.waiting if part.smsc is not None}

    def _is_carried(self, present: dict[int, Part]) -> bool:
        """Whether the text, which is all here, holds the recipient's link already."""
        found = [(part.submit.pdu, part.submit.text) for _, part in sorted(present.items())]
        alphabets = {one.alphabet for _, one in found if one is not None}
        if len(alphabets) > 1:
            return False
        joined = b"".join(pdu[one.body : one.stop] for pdu, one in found if one is not None)
        return sms.carries(alphabets.pop(), joined, self.first.bind.pipeline.link(self))

    def _with_notice(self, last: Part) -> list[bytes] | None:
        submit = last.submit
        assert submit.text is not None
        assert submit.way is not None
        notice = submit.notice(submit.text, self.first.bind.pipeline.link(self))
        return text.last_part(submit.pdu, submit.at, submit.text, notice, reserve=submit.way.reserve)

    def _came(self) -> None:
        """A further part is here."""
        self.first.bind.step(_LOOK_AGAIN, Long.fail, self)

    def _waited(self) -> None:
        """What is not here yet is not waited for, nor the next time."""
        if self.group.awaited is not None:
            self.first.bind.patient = False
            self.first.bind.step(Long._announce, Long.fail, self)

    # the plain way

    def _announce(self) -> None:
        """Send the notice; the parts follow when it is accepted."""
        self.group.awaited = None
        smsc = next((part.smsc for part in self._present().values()), None)
        if smsc is None:
            self._give_up(ESME_RSYSERR)
            return
        submit = self.first.submit
        assert submit.text is not None
        assert submit.way is not None
        notice = submit.notice(submit.text, self.first.bind.pipeline.link(self))
        bodies = text.notice_parts(submit.pdu, submit.at, submit.text, notice, reserve=submit.way.reserve)
        self.group.extra = len(bodies)
        partner = max(self._present().items(), key=_receipts_asked)[1]
        splitter = self.first.bind.splitter
        if splitter is None:
            send_all(smsc, bodies, lambda status, _body: self._announced(status, None))
        else:
            self.group.partner = partner.concat.index
            splitter.announce(partner.submit, smsc, bodies, self._announced)

    def _announced(self, status: int, message: bytes | None) -> None:
        """The SMSC's answer to the notice; `message`: what its partner is joined to."""
        if self.group.phase is not Phase.JUDGING:
            return  # a part has come that takes no notice
        self.group.message = message
        if status != ESME_ROK:
            self._give_up(status)
            return
        if len(self._present()) == self.group.key[2]:
            self.first.bind.patient = True
        self.group.settle(Phase.OPEN, extra=self.group.extra)

    # the cheaper way

    def _send_together(self, present: dict[int, Part], bodies: list[bytes]) -> None:
        """Those parts that ask for a receipt go last: then it does not overtake the answer of all."""
        self.group.awaited = None
        total = self.group.key[2]
        several = self._several = Several(total, self._answered)
        self.first.bind.groups.together.add(self)
        for index, part in sorted(present.items(), key=_asks_for_receipt):
            smsc = part.smsc
            assert smsc is not None
            if index == total and len(bodies) > 1 and part.bind.splitter is not None:
                part.bind.splitter.send(part.submit, smsc, bodies, several.member(index))
            elif index == total:
                send_all(smsc, bodies, several.member(index))
            else:
                body = text.part(part.submit.pdu, part.concat, len(bodies) - 1)
                send_all(smsc, [body], several.member(index))

    def _answered(self, status: int, answers: dict[int, bytes]) -> None:
        """The SMSC's answers to all parts; what it has said of them since follows."""
        groups, group = self.first.bind.groups, self.group
        if status == ESME_ROK:
            groups.drop(group)
            group.answers = answers
            group.settle(Phase.ANSWERED)
        else:
            self._give_up(status)
        groups.together.discard(self)
        self._several = None  # which knows this: what is done goes at once, and not when the collector looks for cycles
        for deliver in self.receipts:
            deliver()

    def speaks_of(self, delivery: bytes) -> bool:
        """Whether the SMSC says something of a part that it has accepted and that is not answered yet."""
        answers = self._several.answers.values() if self._several is not None else ()
        return any(answer.rstrip(b"\0") in delivery for answer in answers if answer.rstrip(b"\0"))

    def _give_up(self, status: int) -> None:
        """Nothing of it goes on; what comes of it later is a new message."""
        self.group.awaited = None
        self.first.bind.groups.drop(self.group)
        self.group.settle(Phase.BLOCKED, status=status)


def _receipts_asked(item: tuple[int, Part]) -> tuple[bool, int]:
    """For the part that speaks for the notice: one that asks, and the last of these, which most clients ask about."""
    return bool(wants(item[1].submit)), item[0]


def _asks_for_receipt(item: tuple[int, Part]) -> bool:
    submit = item[1].submit
    return bool(submit.pdu[submit.at.text - 5])


_GO, _FAIL = methodcaller("go"), methodcaller("fail")
_LOOK_AGAIN = methodcaller("_look", patient=True)
