"""What a session tells its owner, and what the owner tells a session: the vocabulary of `session.py`."""

from __future__ import annotations

from enum import Enum
from typing import Final, NamedTuple, Protocol

from gateway import limits
from gateway.smtp import grammar
from gateway.smtp.sasl import Credentials
from gateway.smtp.xclient import Attributes


class State(Enum):
    """Where the session stands; the names say what was agreed on last."""

    GREETED = "greeted"  # 220 said, no EHLO yet
    READY = "ready"  # EHLO said, no transaction
    MAIL = "mail"  # a sender is accepted
    RCPT = "rcpt"  # at least one recipient was named
    DATA = "data"  # 354 said, content is coming
    MESSAGE = "message"  # the content is complete and not yet answered
    HANDSHAKE = "handshake"  # 220 said to STARTTLS: what comes is TLS, and not for us
    CLOSED = "closed"  # nothing is read any more


class Mail(NamedTuple):
    """MAIL FROM. A 2xx answer opens the transaction. `path` is the mailbox without brackets, empty: null sender."""

    path: bytes
    parameters: grammar.Parameters


class Rcpt(NamedTuple):
    """RCPT TO of the open transaction. A 2xx answer accepts the recipient."""

    path: bytes
    parameters: grammar.Parameters


class Data(NamedTuple):
    """DATA, with at least one accepted recipient. A 3xx answer lets the content come."""


class Message(NamedTuple):
    """The content: complete, un-stuffed, free of bare CR, bare LF, NUL and overlong lines. Its answer ends the
    transaction."""

    content: bytes
    dotted: bool  # False: no line begins with a dot


class StartTls(NamedTuple):
    """220 was said: send it, and read TLS from the next octet on. `Session.secure` follows, or the end."""


class Impersonate(NamedTuple):
    """XCLIENT of a trusted host. A 2xx answer, the greeting, begins the session anew for the client it named."""

    attributes: Attributes


class Fault(NamedTuple):
    """The peer broke the protocol and was already answered; `kind` is a metric label."""

    kind: str


Event = Mail | Rcpt | Data | Message | Credentials | StartTls | Impersonate | Fault


class Offer(NamedTuple):
    """What EHLO announces: keyword lines, and the size limit they state."""

    keywords: list[bytes]
    size_max: int


class Terms(NamedTuple):
    """What a listener asks of its clients and lets them do."""

    starttls: bool = False
    tls_required: bool = False  # nothing but STARTTLS leads on, as long as there is no TLS
    auth: bool = False  # in TLS only
    auth_required: bool = False
    trusted: bool = False  # XCLIENT and XFORWARD are this client's
    recipients_max: int = limits.SMTP_RECIPIENTS_MAX


NO_TERMS: Final = Terms()


class Slot(Protocol):
    """Who owes a reply."""

    reply: bytes
