"""One transaction: ask, ask again at the final dot, put the notice in, send each recipient a copy, answer once.

Everything is a callback that counts down: the pipeline calls `decided()` for each verdict, the next hop's pool `done()`
for each copy, and at zero the next step is taken. One recipient goes the shortest way there is; many go the same way.

How the endings of several copies become one reply:

The memory of mixed endings (`delivered.py`) is asked beside the index; what it knows is not sent again.

    all taken                       250
    any temporary or unknown        451 for all; what was taken is remembered, and the retry sends only the rest
    some taken, others refused      250, and the sender gets a notification about the others (RFC 3464)
    all refused                     the next hop's own refusal

Before any dot goes, all copies that go together have been granted DATA or answered, so that they end together if a
next hop or we end in between. Nothing is told before it is remembered. A client that is gone by then changes nothing
for the copies under way; what was taken is remembered for its return, and until then it is told to come back later.

On a stream that lets a message declare its kind nobody can be judged before the content is here. Its recipients are all
accepted at RCPT, asked about at the dot, and those that are refused then count as refused copies.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial

from filters import dkim, dots, mail
from filters.classify import classify
from filters.model import Existing, Kind, Outcome, Reason, Stream
from gateway import limits
from gateway.smtp import dsn, replies, trace
from gateway.smtp.connection import Connection
from gateway.smtp.delivered import Fate, Fates, Message
from gateway.smtp.grammar import Parameters
from gateway.smtp.parties import UNSENT, Client, Door, Notification, Recipient
from gateway.smtp.pieces import Pieces
from gateway.smtp.replies import Reply
from gateway.smtp.upstream import LATE, SmtpUpstream

_LATE = Reply(451, b"4.4.1 no time left for this recipient, try again later")
_BEFORE = Reply(250, b"2.0.0 delivered before")
_STILL = Reply(451, b"4.4.2 an earlier try for this recipient is not answered yet, try again later")
_UNREADABLE = Reply(451, b"4.3.0 cannot look up who has this message already, try again later")


class Transaction:
    """From MAIL to the answer to the final dot."""

    one_answer = True  # for all recipients together

    def __init__(
        self,
        door: Door,
        client: Client,
        *,
        stream: Stream,
        upstream: SmtpUpstream,
        sender: bytes,
        parameters: Parameters,
    ) -> None:
        self.client = client
        self.stream = stream
        self.sender = sender
        self.parameters = parameters
        self._door = door
        self._upstream = upstream
        self._recipients: dict[bytes, Recipient] = {}
        self._content: bytes | None = None  # None: the final dot has not come
        self._dotted = True  # a line of it may begin with a dot
        self._plan: mail.MailPlan | None = None  # None: the content goes as it is
        self._unfit = ""  # why there is no plan, where there must be one
        self._header_only = ""  # why the plan shows no notice
        self._signers: tuple[dkim.Signer, ...] = ()
        self._copies: dkim.Copies | None = None  # made of the first one that is signed
        self._deadline = 0.0
        self._accepted: list[Recipient] = []
        self._unsent: list[Recipient] = []
        self._owed = 0  # verdicts, then copies, still to come
        self._launching = False
        self._message: Message | None = None  # as the memory knows it
        self._fates: Fates | None = None  # of the accepted ones; None: cannot be told
        self._dots: dict[Recipient, Connection] = {}  # that are held
        self._noted: set[Recipient] = set()  # who has a copy, written down before all are answered
        self._noting: asyncio.TimerHandle | None = None
        self._concluded = False
        self._is_left = False  # the client is gone, and the memory knows what is under way
        self._declared = False  # the kind came with the content: the verdicts at the dot are the first

    def recipient(self, path: bytes, parameters: Parameters) -> Recipient:
        """A RCPT; the same path twice is one recipient, so it gets one copy."""
        known = self._recipients.get(path)
        if known is None:
            known = self._recipients[path] = Recipient(self, path, parameters)
            if self.stream.may_declare:
                known.reply = replies.RECIPIENT_OK
        return known

    def deliver(self, content: bytes, *, dotted: bool) -> None:
        """The final dot came. The index is asked once more: a withdrawal since RCPT wins (promises I1, I5).

        `content` has no fault (`dots.line_fault`); `dotted`: whether a line of it may begin with a dot.
        """
        self._content, self._dotted = content, dotted
        self._deadline = self._door.now() + limits.SMTP_DELIVERY_S
        self._accepted = [known for known in self._recipients.values() if known.reply[:1] == b"2"]
        if trace.hops(content) > limits.SMTP_HOPS_MAX:
            self._finish(replies.LOOP)
            return
        ask = self._door.pipeline.ask_again
        if self.stream.may_declare:
            self._declared = True
            kind, _ = classify(self.stream, trace.declared_kind(content))
            self.stream = replace(self.stream, kind=kind, may_declare=False)
            ask = self._door.pipeline.ask
        self._owed = len(self._accepted) + 1
        for recipient in self._accepted:
            recipient.stream = self.stream
            ask(recipient)
        self._message = self._door.delivered.message(self.sender, content)
        paths = [recipient.path for recipient in self._accepted]
        self._door.delivered.read(self._message, paths, lambda fates: self.client.step(self._remembered, fates))

    def decided(self, recipient: Recipient) -> None:
        """A verdict: for RCPT, and once more for the final dot."""
        if self._content is None:
            recipient.reply = replies.verdict(recipient.outcome, recipient.reason, recipient.id)
            self.client.decided(recipient)
            return
        self._owed -= 1
        if not self._owed:
            self._judged(self._content)

    def _remembered(self, fates: Fates | None) -> None:
        """What the memory knows of the accepted recipients."""
        assert self._content is not None
        self._fates = fates
        self._owed -= 1
        if not self._owed:
            self._judged(self._content)

    def copied(self, recipient: Recipient, reply: Reply) -> None:
        """The next hop's answer to one copy."""
        recipient.answer = reply
        recipient.content = b""
        self._dots.pop(recipient, None)
        self._owed -= 1
        if reply.code // 100 == 2 and self._owed and self._noting is None:
            self._noting = self._door.loop.call_later(limits.SMTP_DELIVERED_EARLY_S, self.client.step, self._note)
        self._launch()
        self._send_dots()

    def ready(self, recipient: Recipient, connection: Connection) -> None:
        """All but the dot of a copy is sent."""
        self._dots[recipient] = connection
        self._send_dots()

    def came_late(self, recipient: Recipient, reply: Reply) -> None:
        """The next hop answered a copy after its time: `copied` was told LATE."""
        if not self._concluded:
            recipient.answer = reply
        elif self._message is not None:
            taken = reply.code // 100 == 2
            self._door.delivered.late(self._message, recipient.path, taken=taken)
            if taken and self._header_only:
                self._door.metrics.header_only[self._header_only] += 1

    def left(self) -> None:
        """The client is gone: until the copies are answered its retry is told to come back."""
        if self._message is not None and not self._concluded:
            waiting = [one.path for one in self._accepted if one.answer is UNSENT]
            self._door.delivered.settle(self._message, (), waiting, _nothing)
            self._is_left = True

    def notified(self, reply: Reply) -> None:
        """The next hop's answer to the notification about refused recipients."""
        told = reply.code // 100 == 2
        one = self._taken()[0]
        self._conclude(replies.passed_on(one.answer, one.id) if told else replies.NOT_NOTIFIED, complete=told)

    # after the final dot, in this order

    def _judged(self, content: bytes) -> None:
        """Go on with those who may still be written to, if nobody was told otherwise at RCPT."""
        passed = [one for one in self._accepted if one.outcome is Outcome.PASS and one.answer is UNSENT]
        for recipient in self._accepted:
            if recipient.outcome is not Outcome.PASS:
                recipient.answer = replies.refusal(recipient.outcome, recipient.reason, self._unfit)
        if passed and len(passed) < len(self._accepted) and self.one_answer and not self._declared:
            deferred = [one for one in self._accepted if one.outcome is Outcome.DEFER]
            reply = replies.passed_on(deferred[0].answer, deferred[0].id) if deferred else replies.CHANGED
            self._tell(reply, True)  # the retry is answered for each at RCPT
            return
        self._recall()
        self._unsent = [one for one in passed if one.answer is UNSENT][::-1]
        if self._unsent:
            self._prepare(content)
        else:
            self._settle()

    def _recall(self) -> None:
        """Answer those who may be sent to, and are not: they have the message, or may get it yet, or who knows."""
        for at, recipient in enumerate(self._accepted):
            fate = None if self._fates is None else self._fates[at]
            if recipient.outcome is Outcome.PASS and (fate is not None or self._fates is None):
                known = _UNREADABLE if fate is None else _BEFORE if fate is Fate.TAKEN else _STILL
                recipient.answer = known

    def _prepare(self, content: bytes) -> None:
        """Find the places for the notice, once for all copies."""
        brand = self.stream.brand
        if self.stream.kind is Kind.COMMERCIAL and brand is not None:
            if self.stream.dkim_existing is Existing.REFUSE and not self.stream.observe and dkim.is_signed(content):
                self._refuse(Reason.SIGNED)
                return
            for recipient in self._unsent:
                recipient.link = self._door.pipeline.link(recipient) if recipient.recipient is not None else b""
            longest = max(len(recipient.link) for recipient in self._unsent)
            try:
                self._plan = mail.plan(
                    content,
                    self._door.notice(brand),
                    link_length=longest,
                    without=() if self.stream.dkim_existing is Existing.KEEP else dkim.SIGNATURES,
                    signed=self.stream.signed_mail,
                    encrypted=self.stream.encrypted_mail,
                )
            except mail.Unfit as unfit:
                if not self.stream.observe:
                    self._unfit = str(unfit)
                    self._refuse(Reason.UNFIT)
                    return
            if self._plan is not None and self._plan.header_only is not None:
                self._header_only = self._plan.header_only.value
            self._signers = self._door.signers(brand)
        self._launch()

    def _refuse(self, reason: Reason) -> None:
        """Send nobody a copy: of such a message there can be none."""
        refused, self._unsent = self._unsent, []
        self._owed = len(refused)
        for recipient in refused:
            self._door.pipeline.refuse(recipient, reason)

    def _launch(self) -> None:
        """Keep a few copies under way, so that neither memory nor the pool is flooded by one transaction."""
        if self._launching:
            return
        self._launching = True
        try:
            while self._unsent and self._owed < limits.SMTP_COPIES_AT_ONCE:
                self._send(self._unsent.pop())
        except BaseException:
            self._unsent.clear()  # the rest stays unsent, which is temporary
            raise
        finally:
            self._launching = False
        if not self._unsent:
            self._copies = None
            if not self._owed:
                self._settle()

    def _send(self, recipient: Recipient) -> None:
        assert self._content is not None
        if self._door.now() > self._deadline:
            recipient.answer = _LATE
        else:
            recipient.content, recipient.dotted = self._render(recipient, self._content)
            recipient.deadline = self._deadline
            recipient.held = bool(self._unsent or self._owed)
            self._owed += 1
            self._upstream.send(recipient)

    def _render(self, recipient: Recipient, content: bytes) -> tuple[bytes | Pieces, bool]:
        """The copy of one recipient, and whether a line of it may begin with a dot.

        What we put in must not open a way to smuggle (promise I2); the lines that are whole as they came were looked
        at when they came.
        """
        header = self.client.received_by(recipient.id) if self._door.trace_header else b""
        if self._plan is None or not recipient.link:
            pieces = mail.untouched(content, header)
            touched = b"".join([piece for piece in pieces if piece is not content])
        else:
            pieces = self._plan.render(recipient.link, header)
            if self._signers:
                if self._copies is None:
                    self._copies = dkim.Copies(pieces, self._plan.kept)
                self._plan.put_on_top(pieces, self._copies.sign(pieces, self._signers, self._door.unix_s()))
            touched = self._plan.touched(pieces)
        if fault := dots.line_fault(touched):
            raise AssertionError(f"own output has a {fault}")
        copy = Pieces(pieces) if len(content) > limits.SMTP_JOINED_OCTETS_MAX else b"".join(pieces)
        return copy, self._dotted or dots.find_dot(touched, 0) >= 0

    def _send_dots(self) -> None:
        """When nothing else is under way."""
        if self._dots and len(self._dots) >= self._owed:
            held, self._dots = self._dots, {}
            for connection in held.values():
                connection.release()

    def _note(self) -> None:
        """Some are taken, others are not answered for a while: should we end before them, it is written down."""
        self._noting = None
        assert self._message is not None
        new = [one for one in self._taken() if one not in self._noted]
        if self._concluded or not self._owed or not new:
            return
        self._noted.update(new)
        self._door.delivered.settle(self._message, [one.path for one in new], (), _nothing)

    def _settle(self) -> None:
        """All copies are answered."""
        if len(self._accepted) == 1:
            one = self._accepted[0]
            self._conclude(replies.passed_on(one.answer, one.id), complete=one.answer.code // 100 == 2)
            return
        endings = {recipient.answer.code // 100: recipient for recipient in self._accepted[::-1]}
        unknown = endings.keys() - {2, 5}
        if not unknown and len(endings) == 2:
            self._notify()
            return
        one = endings[unknown.pop()] if unknown else self._accepted[0]
        self._conclude(replies.passed_on(one.answer, one.id), complete=endings.keys() == {2})

    def _notify(self) -> None:
        """Some copies are taken and others refused for good."""
        refused = [one for one in self._accepted if one.answer.code // 100 == 5 and dsn.is_wanted(one.parameters)]
        if not refused or not self.sender:
            self.notified(_BEFORE)
            return
        assert self._content is not None
        content = dsn.report(
            dsn.Original(self.sender, self.parameters, self._content),
            [dsn.Failed(one.path, one.parameters, one.answer) for one in refused],
            hostname=self._door.hostname,
            report_id=refused[0].id,
            date=self._door.date(),
        )
        self._upstream.send(Notification(self, content, self._deadline))

    def _conclude(self, reply: bytes, *, complete: bool) -> None:
        """Answer. What was taken is written down first unless the client knows it, or has nothing to try again."""
        assert self._message is not None
        self._concluded = True
        if self._noting is not None:
            self._noting.cancel()
        if self._header_only:
            sent = [one for one in self._taken() if one.answer is not _BEFORE]
            self._door.metrics.header_only[self._header_only] += len(sent)
        late = [one.path for one in self._accepted if one.answer is LATE]
        taken = [] if complete else [one.path for one in self._taken()]
        if taken or late:
            then = partial(self.client.step, self._tell, reply, complete)
            self._door.delivered.settle(self._message, taken, late, then)
        else:
            self._tell(reply, complete)

    def _tell(self, reply: bytes, complete: bool) -> None:
        """The answer; and what becomes of the memory by whether somebody heard it."""
        message, delivered = self._message, self._door.delivered
        assert message is not None
        told = self._finish(reply)
        if complete and not told:
            delivered.settle(message, [one.path for one in self._taken()], (), _nothing)
        elif complete and self._noted:
            delivered.forget(message, [one.path for one in self._noted])
        if self._is_left:
            missing = [one for one in self._accepted if one.answer.code // 100 != 2 and one.answer is not LATE]
            delivered.forget(message, [one.path for one in missing if one.answer is not _STILL])
        # Recipients and transaction know each other. Parted, they are freed at once, and the next message finds their
        # memory warm; else a look for cycles would find thousands of them.
        self._recipients, self._accepted = {}, []

    def _finish(self, reply: bytes) -> bool:
        """The answer. The message goes with it, whoever else still knows the transaction."""
        self._content, self._plan, self._copies = b"", None, None
        return self.client.finished(self, reply)

    def _taken(self) -> list[Recipient]:
        return [recipient for recipient in self._accepted if recipient.answer.code // 100 == 2]


def _nothing() -> None:
    """Nobody waits."""
