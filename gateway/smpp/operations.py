"""What a client may ask beside submit_sm: data_sm and replace_sm, which carry a text too, query_sm and cancel_sm.

A data_sm goes the way of every submit_sm, and on to the SMSC as the data_sm that it is. A replace_sm names no
recipient, and puts a new text in the place of one that was checked: it passes where nothing is commercial, and nowhere
else. Ids are the SMSC's own, so what asks about one passes as it is.
"""

from __future__ import annotations

from operator import methodcaller
from typing import cast

from filters.model import Channel, Kind, Outcome, Reason, Stream
from gateway.pipeline import Question
from gateway.smpp.pdu import (
    DATA_SM,
    DATA_SM_RESP,
    HEADER_OCTETS,
    REPLACE_SM,
    REPLACE_SM_RESP,
    RESPONSE,
    data_of_submit,
    submit_of_data,
    walk_replace_sm,
    walk_submit_sm,
)
from gateway.smpp.proxy import BindProxy
from gateway.smpp.statuses import ESME_RREPLACEFAIL, ESME_RSYSERR, OF_REASON
from gateway.smpp.submit import Bind, take
from gateway.smpp.upstream import Pending, Smsc

_HEADER = bytes(HEADER_OCTETS)


def take_data(bind: Bind, sequence: int, pdu: bytes) -> None:
    """Act on a data_sm; it is answered once, now or later."""
    submit = submit_of_data(pdu)
    if isinstance(submit, int):
        bind.reply(DATA_SM_RESP, submit, sequence)
    else:
        take(_DataBind(bind), sequence, submit)


class _DataBind(BindProxy):
    """Answers with data_sm_resp, and speaks data_sm to the SMSC."""

    @property
    def smsc(self) -> Smsc | None:
        smsc = self.bind.smsc
        return cast(Smsc, _DataSmsc(smsc)) if smsc is not None else None

    def answer(self, sequence: int, status: int, body: bytes = b"") -> None:
        self.bind.reply(DATA_SM_RESP, status, sequence, body)


class _DataSmsc:
    """What a submit needs of an SMSC."""

    def __init__(self, smsc: Smsc) -> None:
        self._smsc = smsc

    def send(self, command: int, body: bytes, pending: Pending) -> None:
        pdu = _HEADER + body
        at = walk_submit_sm(pdu)
        assert not isinstance(at, int), "a submit_sm of our own making"
        self._smsc.send(DATA_SM, data_of_submit(pdu, at), _DataPending(pending))


class _DataPending:
    """Waits for a data_sm_resp."""

    __slots__ = ("_pending", "sent_at")

    command = DATA_SM

    def __init__(self, pending: Pending) -> None:
        self._pending = pending
        self.sent_at = 0.0

    def answered(self, status: int, body: bytes) -> None:
        self._pending.answered(status, body)


def take_replace(bind: Bind, sequence: int, pdu: bytes) -> None:
    """Act on a replace_sm; it is answered once, now or later."""
    source = walk_replace_sm(pdu)
    if isinstance(source, int):
        bind.reply(REPLACE_SM_RESP, source, sequence)
        return
    if bind.smsc is None:
        bind.reply(REPLACE_SM_RESP, ESME_RSYSERR, sequence)
        return
    way = bind.way(source)
    if way is None:
        bind.pipeline.refuse(_Replace(bind, sequence, pdu, None), Reason.NO_STREAM)
        return
    stream = way.stream
    # Without a source address the SMSC does not compare it with that of the text to be replaced, which may be any.
    if source and stream.kind is Kind.INFORMATIONAL and not stream.may_declare:
        bind.pipeline.ask(_Replace(bind, sequence, pdu, way.informational))
    elif stream.observe:
        bind.pipeline.ask(_Replace(bind, sequence, pdu, way.commercial))
    else:
        bind.pipeline.refuse(_Replace(bind, sequence, pdu, way.commercial), Reason.UNFIT)


class _Replace(Question):
    """A replace_sm under way, about nobody that is known."""

    __slots__ = ("_bind", "_pdu", "_sequence", "sent_at")

    command = REPLACE_SM

    def __init__(self, bind: Bind, sequence: int, pdu: bytes, stream: Stream | None) -> None:
        super().__init__(stream, Channel.MESAJ, None)
        self._bind = bind
        self._sequence = sequence
        self._pdu = pdu
        self.sent_at = 0.0

    def decided(self) -> None:
        self._bind.step(_GO, _FAIL, self)

    def go(self) -> None:
        bind, smsc = self._bind, self._bind.smsc
        if self.outcome is Outcome.BLOCK:
            self.answered(ESME_RREPLACEFAIL, b"")
        elif self.outcome is Outcome.DEFER:
            self.answered(OF_REASON[self.reason], b"")
        elif smsc is None or bind.gone:
            self.answered(ESME_RSYSERR, b"")
        else:
            smsc.send(REPLACE_SM, self._pdu[HEADER_OCTETS:], self)

    def fail(self) -> None:
        self.answered(OF_REASON[Reason.INTERNAL], b"")

    def answered(self, status: int, body: bytes) -> None:
        self._bind.reply(REPLACE_SM_RESP, status, self._sequence, body)


def relay(bind: Bind, command: int, sequence: int, pdu: bytes) -> None:
    """Pass on what carries no text; it is answered once, now or later."""
    smsc = bind.smsc
    if smsc is None:
        bind.reply(command | RESPONSE, ESME_RSYSERR, sequence)
    else:
        smsc.send(command, pdu[HEADER_OCTETS:], _Relayed(bind, command, sequence))


class _Relayed:
    """A query_sm or cancel_sm that waits for the SMSC."""

    __slots__ = ("_bind", "_sequence", "command", "sent_at")

    def __init__(self, bind: Bind, command: int, sequence: int) -> None:
        self.command = command
        self.sent_at = 0.0
        self._bind = bind
        self._sequence = sequence

    def answered(self, status: int, body: bytes) -> None:
        self._bind.reply(self.command | RESPONSE, status, self._sequence, body)


_GO, _FAIL = methodcaller("go"), methodcaller("fail")
