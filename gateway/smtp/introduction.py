"""The commands by which a session learns who its client is: STARTTLS, AUTH, XCLIENT and XFORWARD.

A part of `session.Session`, without sockets like it: what a listener lets a client do stands in `Terms`, what has
become known of the client in the attributes here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from gateway import limits
from gateway.smtp import grammar, replies, sasl, xclient
from gateway.smtp.events import Event, Impersonate, Slot, StartTls, State, Terms
from gateway.smtp.sasl import Credentials


class Introduction(ABC):
    """What a session knows of its client. The session itself gives what is declared abstract, and the lines."""

    hello = "EHLO"  # the command that begins
    state: State
    deadline: float
    _replies: list[bytes | Slot]
    _buffer: bytearray
    _event: Event | None
    _now: float

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self.secured = False  # TLS protects what is said
        self.account = b""  # who has logged in
        self.forwarded: xclient.Attributes = {}  # what XFORWARD says of the next transaction
        self._exchange: sasl.Exchange | None = None  # an AUTH that waits for a response
        self._failures = 0

    @abstractmethod
    def _bad(self, code: int, enhanced: str, text: str) -> None:
        """Refuse a command."""

    @abstractmethod
    def _break_off(self, kind: str, reply: bytes) -> None:
        """Refuse, and end the session."""

    @abstractmethod
    def _ask(self, event: Event) -> None:
        """Stand still until the owner answers."""

    @abstractmethod
    def _unsupported(self, argument: bytes) -> None:
        """Refuse a command that this listener does not have."""

    def _keywords(self) -> list[bytes]:
        """What this client is offered besides."""
        terms = self.terms
        keywords = [b"STARTTLS"] if terms.starttls and not self.secured else []
        keywords += [b"AUTH " + b" ".join(sasl.MECHANISMS)] if terms.auth and self.secured else []
        if terms.trusted:
            keywords += [b"XCLIENT " + b" ".join(xclient.XCLIENT), b"XFORWARD " + b" ".join(xclient.XFORWARD)]
        if terms.recipients_max < limits.SMTP_RECIPIENTS_MAX:
            keywords.append(b"LIMITS RCPTMAX=%d" % terms.recipients_max)  # RFC 9422
        return keywords

    def _starttls(self, argument: bytes) -> None:
        """RFC 3207 §4. What came behind it in plain text came from nobody we know: the session ends."""
        if not self.terms.starttls:
            self._unsupported(argument)
        elif argument:
            self._bad(501, "5.5.4", "STARTTLS takes no parameter")
        elif self.secured:
            self._bad(503, "5.5.1", "TLS is active already")
        elif self._buffer:
            self._break_off("starttls_injection", replies.line(554, "5.5.1", "input after STARTTLS"))
        else:
            self._replies.append(replies.START_TLS)
            self.state = State.HANDSHAKE
            self.deadline = self._now + limits.TLS_HANDSHAKE_S
            self._event = StartTls()

    def _insecure(self, argument: bytes) -> None:
        """RFC 3207 §4: what every command is told before TLS where it is required, with a few exceptions."""
        self._bad(530, "5.7.0", "Must issue a STARTTLS command first")

    def _auth(self, argument: bytes) -> None:
        """RFC 4954 §4."""
        mechanism, _, initial = argument.partition(b" ")
        if not self.terms.auth:
            self._unsupported(argument)
        elif not self.secured:
            self._bad(538, "5.7.11", "encryption required for authentication")
        elif self.account:
            self._bad(503, "5.5.1", "already authenticated")
        elif self.state is not State.READY:
            greeted = self.state is State.GREETED
            self._bad(503, "5.5.1", f"send {self.hello} first" if greeted else "no AUTH within a transaction")
        elif mechanism.upper() not in sasl.MECHANISMS:
            self._bad(504, "5.5.4", "authentication mechanism not supported")
        else:
            self._exchange = sasl.Exchange(mechanism.upper())
            self._advance(self._exchange.begin(initial))

    def _xclient(self, argument: bytes) -> None:
        attributes = self._attributes(argument, xclient.XCLIENT)
        if attributes:
            self._ask(Impersonate(attributes))

    def _xforward(self, argument: bytes) -> None:
        attributes = self._attributes(argument, xclient.XFORWARD)
        if attributes:
            self.forwarded |= attributes
            self._replies.append(replies.OK)

    def _advance(self, step: bytes | Credentials | grammar.Fault) -> None:
        """The next move of an AUTH exchange."""
        if isinstance(step, bytes):
            self._replies.append(b"334 %b\r\n" % step)
            return
        self._exchange = None
        if isinstance(step, Credentials):
            self._ask(step)
        else:
            self._bad(*step)

    def _logged_in(self, asked: Credentials, granted: bytes) -> None:
        """The owner has looked at what the client claimed."""
        if granted == b"2":
            self.account = asked.system_id
        elif granted == b"5":
            self._failures += 1
            if self._failures >= limits.AUTH_FAILURES_MAX:
                self._break_off("bad_logins", replies.line(421, "4.7.0", "too many failed logins"))

    def _attributes(self, argument: bytes, known: tuple[bytes, ...]) -> xclient.Attributes | None:
        """What a trusted host says of the client; None: it was refused."""
        if not self.terms.trusted:
            self._bad(550, "5.7.0", "this client may not speak for others")
        elif self.state is State.MAIL or self.state is State.RCPT:
            self._bad(503, "5.5.1", "a transaction is open already")
        elif isinstance(attributes := xclient.read(argument, known), grammar.Fault):
            self._bad(*attributes)
        else:
            return attributes
        return None
