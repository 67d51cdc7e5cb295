"""Who takes part in a transaction: the door, the client, the recipients, and who reports to the sender."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from filters import dkim, mail
from filters.address import canonical_email
from filters.model import Brand, Channel
from gateway.metrics import Metrics
from gateway.pipeline import Pipeline, Question
from gateway.smtp.connection import Connection
from gateway.smtp.delivered import Delivered
from gateway.smtp.grammar import NO_PARAMETERS, Parameters
from gateway.smtp.pieces import Pieces
from gateway.smtp.replies import Reply

if TYPE_CHECKING:
    from gateway.smtp.delivery import Transaction

UNSENT = Reply(451, b"4.3.0 local error, try again later")
"""The answer to a copy, until there is one."""


class Door(Protocol):
    """What a transaction needs of the door it came in by."""

    pipeline: Pipeline
    metrics: Metrics
    delivered: Delivered
    loop: asyncio.AbstractEventLoop
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
        "held",
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
        self.answer = UNSENT  # to the copy
        self.link = b""  # to refuse by; mode observe passes recipients whom none could name
        self.content: bytes | Pieces = b""
        self.dotted = True
        self.held = False  # its dot waits for those of its siblings
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

    def late(self, reply: Reply) -> None:
        self.transaction.came_late(self, reply)

    def ready(self, connection: Connection) -> None:
        self.transaction.client.step(self.transaction.ready, self, connection)


class Notification:
    """The copy that tells the sender of refusals: null reverse path, so that nothing is ever sent about it."""

    sender = b""
    parameters = NO_PARAMETERS
    dotted = True
    held = False
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

    def late(self, reply: Reply) -> None:
        """The client was told that nobody was notified: its retry brings another notification."""

    def ready(self, connection: Connection) -> None:
        connection.release()
