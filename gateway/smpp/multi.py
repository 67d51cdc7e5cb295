"""One submit_multi: a verdict for each destination, and one answer (SMPP 3.4 §4.5).

The notice's link is personal, so a commercial text goes on as one submit_sm for each destination that may have it; each
goes the way of every submit_sm. Their answers become one submit_multi_resp: ESME_ROK and the first destination's id if
the SMSC accepted any (promise I2), with the others and their statuses in unsuccess_sme. If it accepted none, the whole
is refused, with a temporary status if any was: then nothing was sent that a second attempt would send twice.

Informational texts go on as the submit_multi that came, after a line in the journal for each destination.

A distribution list is the SMSC's: who is on it is not known here, and consent not to be asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import methodcaller

from filters.address import canonical_msisdn
from filters.classify import classify
from filters.model import Channel, Kind, Outcome, Reason, Stream
from gateway.pipeline import Question
from gateway.smpp import text
from gateway.smpp.pdu import (
    HEADER_OCTETS,
    SUBMIT_MULTI,
    SUBMIT_MULTI_RESP,
    TON_INTERNATIONAL,
    TON_NATIONAL,
    Destination,
    walk_submit_multi,
    walk_submit_sm,
)
from gateway.smpp.proxy import BindProxy
from gateway.smpp.statuses import ESME_RCNTSUBDL, ESME_ROK, ESME_RSYSERR, OF_REASON, TEMPORARY
from gateway.smpp.submit import Bind, Submit, take


def destinations(pdu: bytes) -> int:
    """How many a submit_multi has, for whoever counts before it is acted on; of a malformed one 1."""
    walked = walk_submit_multi(pdu)
    return 1 if isinstance(walked, int) else len(walked.destinations)


def take_multi(bind: Bind, sequence: int, pdu: bytes) -> None:
    """Act on a submit_multi; it is answered once, now or later."""
    walked = walk_submit_multi(pdu)
    if isinstance(walked, int):
        bind.reply(SUBMIT_MULTI_RESP, walked, sequence)
        return
    head, tail = pdu[: walked.number], pdu[walked.tail :]
    singles = [head + pdu[one.start : one.stop] + tail for one in walked.destinations if not one.is_list]
    has_list = len(singles) < len(walked.destinations)
    at = walk_submit_sm(head + b"\0\0\0" + tail)
    if isinstance(at, int):
        bind.reply(SUBMIT_MULTI_RESP, at, sequence)
        return
    if bind.smsc is None:
        bind.reply(SUBMIT_MULTI_RESP, ESME_RSYSERR, sequence)
        return
    way = bind.way(pdu[walked.source : walked.number - 1])
    if way is not None:
        stream, declared = way.stream, text.declared_kind(head + b"\0\0\0" + tail, at)
        kind = classify(stream, declared)[0] if stream.may_declare else stream.kind
        if kind is Kind.INFORMATIONAL:
            _Whole(bind, sequence, pdu).ask(way.informational, walked.destinations)
            return
        if has_list and stream.observe:
            _Whole(bind, sequence, pdu).ask(way.commercial, walked.destinations)
            return
    if has_list:
        bind.reply(SUBMIT_MULTI_RESP, ESME_RCNTSUBDL, sequence)
        return
    addresses = [pdu[one.start : one.stop] for one in walked.destinations]
    _Fold(bind, sequence, addresses).take(singles)


class _Fold(BindProxy):
    """The destinations of one submit_multi; a submit's sequence number is its destination's place among them."""

    def __init__(self, bind: Bind, sequence: int, addresses: Sequence[bytes]) -> None:
        super().__init__(bind)
        self._sequence = sequence
        self._addresses = addresses
        self._answers: dict[int, tuple[int, bytes]] = {}

    def take(self, singles: Sequence[bytes]) -> None:
        """All of them; they count in the client's window one by one."""
        self.bind.occupy(len(singles) - 1)
        for single in enumerate(singles):
            self.bind.step(self._take, self._fail, single)

    def answer(self, sequence: int, status: int, body: bytes = b"") -> None:
        self._answers[sequence] = (status, body)
        if len(self._answers) == len(self._addresses):
            self._fold()

    def block(self, submit: Submit, reason: Reason) -> None:
        """No receipt: there is a place for a refusal in the answer."""
        self.answer(submit.sequence, self.block_status)

    def _take(self, single: tuple[int, bytes]) -> None:
        take(self, *single)

    def _fail(self, single: tuple[int, bytes]) -> None:
        self.answer(single[0], OF_REASON[Reason.INTERNAL])

    def _fold(self) -> None:
        answers = [self._answers[place] for place in range(len(self._addresses))]
        self.bind.occupy(1 - len(answers))
        accepted = [body for status, body in answers if status == ESME_ROK]
        refused = [status for status, _ in answers if status != ESME_ROK]
        if not accepted:
            status = next((status for status in refused if status in TEMPORARY), refused[0])
            self.bind.reply(SUBMIT_MULTI_RESP, status, self._sequence)
            return
        unsuccessful = [
            address + status.to_bytes(4, "big")
            for address, (status, _) in zip(self._addresses, answers, strict=True)
            if status != ESME_ROK
        ]
        message_id = accepted[0].partition(b"\0")[0]
        body = message_id + b"\0" + bytes((len(unsuccessful),)) + b"".join(unsuccessful)
        self.bind.reply(SUBMIT_MULTI_RESP, ESME_ROK, self._sequence, body)


class _Whole:
    """A submit_multi that goes on as it came."""

    command = SUBMIT_MULTI

    def __init__(self, bind: Bind, sequence: int, pdu: bytes) -> None:
        self.bind = bind
        self.sent_at = 0.0
        self._sequence = sequence
        self._pdu = pdu
        self._left = 0
        self._status = ESME_ROK

    def ask(self, stream: Stream, destinations: Sequence[Destination]) -> None:
        self._left = len(destinations)
        for one in destinations:
            self.bind.pipeline.ask(_Destination(self, stream, _recipient(self._pdu, one)))

    def decided(self, question: Question) -> None:
        if question.outcome is not Outcome.PASS:
            self._status = OF_REASON[question.reason]
        self._left -= 1
        if not self._left:
            self.bind.step(_GO, _FAIL, self)

    def go(self) -> None:
        smsc = self.bind.smsc
        if self._status != ESME_ROK:
            self.bind.reply(SUBMIT_MULTI_RESP, self._status, self._sequence)
        elif smsc is None or self.bind.gone:
            self.bind.reply(SUBMIT_MULTI_RESP, ESME_RSYSERR, self._sequence)
        else:
            smsc.send(SUBMIT_MULTI, self._pdu[HEADER_OCTETS:], self)

    def fail(self) -> None:
        self.bind.reply(SUBMIT_MULTI_RESP, OF_REASON[Reason.INTERNAL], self._sequence)

    def answered(self, status: int, body: bytes) -> None:
        """The SMSC's answer."""
        self.bind.reply(SUBMIT_MULTI_RESP, status, self._sequence, body)


class _Destination(Question):
    """One destination of a `_Whole`."""

    __slots__ = ("_whole",)

    def __init__(self, whole: _Whole, stream: Stream, recipient: bytes | None) -> None:
        super().__init__(stream, Channel.MESAJ, recipient)
        self._whole = whole

    def decided(self) -> None:
        self._whole.decided(self)


def _recipient(pdu: bytes, one: Destination) -> bytes | None:
    """Canonical; None also for a list."""
    ton = pdu[one.start]
    if one.is_list or ton > TON_NATIONAL:
        return None
    return canonical_msisdn(pdu[one.start + 2 : one.stop - 1], international=ton == TON_INTERNATIONAL)


_GO, _FAIL = methodcaller("go"), methodcaller("fail")
