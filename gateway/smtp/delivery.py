"""One transaction: ask, ask again at the final dot, put the notice in, send each recipient a copy, answer once.

Everything is a callback that counts down: the pipeline calls `decided()` for each verdict, the next hop's pool `done()`
for each copy, and at zero the next step is taken. One recipient goes the shortest way there is; many go the same way.

How the endings of several copies become one reply:

    all taken                       250
    any temporary or unknown        451 for all; what was taken is remembered, and the retry sends only the rest
    some taken, others refused      250, and the sender gets a notification about the others (RFC 3464)
    all refused                     the next hop's own refusal

A client that is gone by then changes nothing for the copies under way; what was taken is remembered for its return.

On a stream that lets a message declare its kind nobody can be judged before the content is here. Its recipients are all
accepted at RCPT, asked about at the dot, and those that are refused then count as refused copies.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from filters import dkim, dots, mail
from filters.address import canonical_email
from filters.classify import classify
from filters.model import Brand, Channel, Existing, Kind, Outcome, Reason, Stream
from gateway import limits
from gateway.pipeline import Pipeline, Question
from gateway.smtp import dsn, replies, trace
from gateway.smtp.delivered import Delivered
from gateway.smtp.grammar import NO_PARAMETERS, Parameters
from gateway.smtp.replies import Reply
from gateway.smtp.upstream import SmtpUpstream

_UNSENT = Reply(451, b"4.3.0 local error, try again later")
_LATE = Reply(451, b"4.4.1 no time left for this recipient, try again later")
_BEFORE = Reply(250, b"2.0.0 delivered before")


class Door(Protocol):
    """What a transaction needs of the door it came in by."""

    pipeline: Pipeline
    delivered: Delivered
    hostname: bytes
    trace_header: bool

    def now(self) -> float:
        """Loop time, in seconds."""

    def notice(self, brand: Brand) -> mail.Notice:
        """What `brand` must say in each message."""

    def signers(self, brand: Brand) -> tuple[dkim.Signer, ...]:
        """The keys that sign what is sent for `brand`; none: it is not signed here."""

    def unix_s(self) -> int:
        """The wall clock, in whole seconds."""

    def date(self) -> bytes:
        """The wall clock, as RFC 5322 writes it."""


class Client(Protocol):
    """Whoever sent the transaction, as far as it is still there."""

    def received_by(self, decision_id: bytes) -> bytes:
        """The Received field for a copy."""

    def step(self, action: Callable[..., None], *arguments: object) -> None:
        """Run what a callback has to do; our own fault in it becomes this client's 451."""

    def decided(self, recipient: Recipient) -> None:
        """`recipient.reply` is good."""

    def finished(self, transaction: Transaction, reply: bytes) -> bool:
        """The answer to the final dot. False: it reaches nobody."""


class Recipient(Question):
    """A recipient and, after the final dot, its copy of the message."""

    __slots__ = (
        "answer",
        "content",
        "deadline",
        "dotted",
        "link",
        "parameters",
        "path",
        "promises",
        "reply",
        "retried",
        "transaction",
    )

    def __init__(self, transaction: Transaction, path: bytes, parameters: Parameters) -> None:
        super().__init__(transaction.stream, Channel.EPOSTA, canonical_email(path))
        self.transaction = transaction
        self.path = path
        self.parameters = parameters
        self.reply = b""  # to RCPT
        self.promises = 0  # how often the session was promised it
        self.answer = _UNSENT  # to the copy
        self.link = b""  # to refuse by; mode observe passes recipients whom none could name
        self.content = b""
        self.dotted = True
        self.deadline = 0.0
        self.retried = False

    @property
    def sender(self) -> bytes:
        return self.transaction.sender

    @property
    def sender_parameters(self) -> Parameters:
        return self.transaction.parameters

    def decided(self) -> None:
        self.transaction.client.step(self.transaction.decided, self)

    def done(self, reply: Reply) -> None:
        self.transaction.client.step(self.transaction.copied, self, reply)


class Notification:
    """The copy that tells the sender of refusals: null reverse path, so that nothing is ever sent about it."""

    sender = b""
    parameters = NO_PARAMETERS
    dotted = True
    retried = False

    def __init__(self, transaction: Transaction, content: bytes, deadline: float) -> None:
        self.transaction = transaction
        self.path = transaction.sender
        self.content = content
        self.deadline = deadline
        self.sender_parameters: Parameters = {}
        if not content.isascii():
            self.sender_parameters[b"BODY"] = b"BODY=8BITMIME"
        if not self.path.isascii():
            self.sender_parameters[b"SMTPUTF8"] = b"SMTPUTF8"

    def done(self, reply: Reply) -> None:
        self.transaction.client.step(self.transaction.notified, reply)


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
        self._signers: tuple[dkim.Signer, ...] = ()
        self._copies: dkim.Copies | None = None  # made of the first one that is signed
        self._deadline = 0.0
        self._accepted: list[Recipient] = []
        self._unsent: list[Recipient] = []
        self._owed = 0  # verdicts, then copies, still to come
        self._launching = False
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
            self.client.finished(self, replies.LOOP)
            return
        ask = self._door.pipeline.ask_again
        if self.stream.may_declare:
            self._declared = True
            kind, _ = classify(self.stream, trace.declared_kind(content))
            self.stream = replace(self.stream, kind=kind, may_declare=False)
            ask = self._door.pipeline.ask
        self._owed = len(self._accepted)
        for recipient in self._accepted:
            recipient.stream = self.stream
            ask(recipient)

    def decided(self, recipient: Recipient) -> None:
        """A verdict: for RCPT, and once more for the final dot."""
        if self._content is None:
            recipient.reply = replies.verdict(recipient.outcome, recipient.reason, recipient.id)
            self.client.decided(recipient)
            return
        self._owed -= 1
        if not self._owed:
            self._judged(self._content)

    def copied(self, recipient: Recipient, reply: Reply) -> None:
        """The next hop's answer to one copy."""
        recipient.answer = reply
        recipient.content = b""
        self._owed -= 1
        self._launch()

    def notified(self, reply: Reply) -> None:
        """The next hop's answer to the notification about refused recipients."""
        told = reply.code // 100 == 2
        one = self._taken()[0]
        self._conclude(replies.passed_on(one.answer, one.id) if told else replies.NOT_NOTIFIED, complete=told)

    # after the final dot, in this order

    def _judged(self, content: bytes) -> None:
        """Go on with those who may still be written to, if nobody was told otherwise at RCPT."""
        self._unsent = [recipient for recipient in self._accepted if recipient.outcome is Outcome.PASS][::-1]
        for recipient in self._accepted:
            if recipient.outcome is not Outcome.PASS:
                recipient.answer = replies.refusal(recipient.outcome, recipient.reason, self._unfit)
        changed = len(self._unsent) < len(self._accepted)
        if not self._unsent:
            self._settle()
        elif changed and self.one_answer and not self._declared:
            deferred = [one for one in self._accepted if one.outcome is Outcome.DEFER]
            reply = replies.passed_on(deferred[0].answer, deferred[0].id) if deferred else replies.CHANGED
            self.client.finished(self, reply)  # the retry is answered for each at RCPT
        else:
            self._prepare(content)

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
        if not self._owed and not self._unsent:
            self._settle()

    def _send(self, recipient: Recipient) -> None:
        assert self._content is not None
        if self._door.delivered.holds(self.sender, recipient.path, self._content):
            recipient.answer = _BEFORE
        elif self._door.now() > self._deadline:
            recipient.answer = _LATE
        else:
            recipient.content, recipient.dotted = self._render(recipient, self._content)
            recipient.deadline = self._deadline
            self._owed += 1
            self._upstream.send(recipient)

    def _render(self, recipient: Recipient, content: bytes) -> tuple[bytes, bool]:
        """The copy of one recipient, and whether a line of it may begin with a dot.

        What we put in must not open a way to smuggle (promise I2); the lines that are whole as they came were looked
        at when they came.
        """
        header = self.client.received_by(recipient.id) if self._door.trace_header else b""
        if self._plan is None or not recipient.link:
            copy = touched = b"".join(mail.untouched(content, header))
        else:
            pieces = self._plan.render(recipient.link, header)
            if self._signers:
                if self._copies is None:
                    self._copies = dkim.Copies(pieces, self._plan.kept)
                self._plan.put_on_top(pieces, self._copies.sign(pieces, self._signers, self._door.unix_s()))
            copy, touched = b"".join(pieces), self._plan.touched(pieces)
        if fault := dots.line_fault(touched):
            raise AssertionError(f"own output has a {fault}")
        return copy, self._dotted or dots.find_dot(touched, 0) >= 0

    def _settle(self) -> None:
        """All copies are answered."""
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
        assert self._content is not None
        taken = self._taken()
        if taken and not complete:
            self._door.delivered.remember(self.sender, [one.path for one in taken], self._content)
        told = self.client.finished(self, reply)
        if taken and complete and not told:
            self._door.delivered.remember(self.sender, [one.path for one in taken], self._content)

    def _taken(self) -> list[Recipient]:
        return [recipient for recipient in self._accepted if recipient.answer.code // 100 == 2]
