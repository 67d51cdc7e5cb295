"""What is said before the first message to a next hop: banner, EHLO, STARTTLS, EHLO again, AUTH; without sockets.

    greeting.receive(data)     bytes in; Secure, Ready or Broken comes out, or None: it goes on
    greeting.secured()         the handshake that Secure asked for is done
    greeting.output()          bytes out

Everything goes in lockstep: whoever answers what was not said yet is not talked to any further. What was heard in plain
text is forgotten with the handshake (RFC 3207 §4.2), and octets that came behind the 220 to STARTTLS, in plain text but
to be read as if protected, are an attack (CVE-2011-0411).
"""

from __future__ import annotations

from base64 import b64encode
from enum import Enum
from typing import NamedTuple

from gateway.smtp.client import Broken, Extensions
from gateway.smtp.reply_parser import Heard, ReplyParser


class Login(NamedTuple):
    """Who we are to the next hop (RFC 4954)."""

    user: bytes
    password: bytes


class Step(Enum):
    """What is waited for."""

    BANNER = "banner"
    EHLO = "ehlo"
    HELO = "helo"
    STARTTLS = "starttls"
    HANDSHAKE = "handshake"
    AUTH = "auth"
    AUTH_USER = "auth user"
    AUTH_PASSWORD = "auth password"
    READY = "ready"
    OVER = "over"


class Secure(NamedTuple):
    """Handshake now, then say `secured`."""


class Ready(NamedTuple):
    """Messages may be sent."""

    extensions: Extensions


Event = Secure | Ready | Broken


class Greeting:
    """The state of one connection that is not greeted yet.

    `starttls`: the connection is to be protected before anything else is said. `login`: to be made, on a connection
    that the caller holds to be safe enough for it.
    """

    def __init__(self, hostname: bytes, *, starttls: bool = False, login: Login | None = None) -> None:
        self.step = Step.BANNER
        self._hostname = hostname
        self._starttls = starttls
        self._login = login
        self._parser = ReplyParser()
        self._output = b""
        self._event: Event | None = None
        self._extensions = Extensions()

    def output(self) -> bytes:
        """What has to be sent now."""
        due, self._output = self._output, b""
        return due

    def receive(self, data: bytes) -> Event | None:
        """Take what the next hop said. One event each time: what was granted and spoilt in one breath is spoilt."""
        if self.step is Step.HANDSHAKE:
            self._break("injection")
        for heard in self._parser.feed(data):
            self._reply(heard)
        if self._parser.fault:
            self._break(self._parser.fault)
        elif self._parser.holds and self.step in (Step.HANDSHAKE, Step.READY):
            self._break("injection" if self.step is Step.HANDSHAKE else "unsolicited")
        event, self._event = self._event, None
        return event

    def secured(self) -> None:
        """RFC 3207 §4.2: begin anew."""
        self._starttls = False
        self._parser = ReplyParser()
        self._say(Step.EHLO, b"EHLO " + self._hostname)

    def _reply(self, heard: Heard) -> None:
        if self.step is Step.OVER:
            return
        if self._output or self.step is Step.READY:
            self._break("unsolicited", heard)
        elif self.step is Step.HANDSHAKE:
            self._break("injection", heard)
        elif heard.code == 421:
            self._break("closing", heard)
        elif self.step in (Step.AUTH, Step.AUTH_USER, Step.AUTH_PASSWORD):
            self._auth(heard)
        else:
            self._greet(heard)

    def _greet(self, heard: Heard) -> None:
        good = heard.code // 100 == 2
        match self.step:
            case Step.BANNER if good:
                self._say(Step.EHLO, b"EHLO " + self._hostname)
            case Step.EHLO if good:
                self._greeted(heard.texts[1:])
            case Step.EHLO if heard.code >= 500 and not self._starttls and not self._login:
                self._say(Step.HELO, b"HELO " + self._hostname)
            case Step.HELO if good:
                self._ready()
            case Step.STARTTLS if good:
                self.step = Step.HANDSHAKE
                self._event = Secure()
            case Step.STARTTLS:
                self._break("no_starttls", heard)
            case _:
                self._break("refused", heard)

    def _greeted(self, lines: list[bytes]) -> None:
        """RFC 5321 §4.1.1.1: a keyword and its parameters in each line but the first."""
        keywords: dict[bytes, bytes] = {}
        for line in lines:
            # "AUTH=…" is how some servers repeat AUTH for clients of the last century.
            name, _, value = line.partition(b" ")
            keywords[name.upper()] = value
        self._extensions = Extensions.of(keywords)
        if self._starttls:
            if b"STARTTLS" in keywords:
                self._say(Step.STARTTLS, b"STARTTLS")
            else:
                self._break("no_starttls")
        elif self._login is not None:
            self._log_in(self._login, keywords.get(b"AUTH", b"").upper().split())
        else:
            self._ready()

    def _log_in(self, login: Login, mechanisms: list[bytes]) -> None:
        """PLAIN (RFC 4616) in one step; LOGIN, which no RFC describes, where that is all there is."""
        if b"PLAIN" in mechanisms:
            self._say(Step.AUTH, b"AUTH PLAIN " + b64encode(b"\0%b\0%b" % login))
        elif b"LOGIN" in mechanisms:
            self._say(Step.AUTH_USER, b"AUTH LOGIN")
        else:
            self._break("auth")

    def _auth(self, heard: Heard) -> None:
        assert self._login is not None
        challenged = heard.code == 334
        match self.step:
            case Step.AUTH_USER if challenged:
                self._say(Step.AUTH_PASSWORD, b64encode(self._login.user))
            case Step.AUTH_PASSWORD if challenged:
                self._say(Step.AUTH, b64encode(self._login.password))
            case Step.AUTH if heard.code == 235:
                self._ready()
            case _:
                self._break("auth", heard)

    def _say(self, step: Step, line: bytes) -> None:
        self.step = step
        self._output = line + b"\r\n"

    def _ready(self) -> None:
        self.step = Step.READY
        self._event = Ready(self._extensions)

    def _break(self, why: str, heard: Heard | None = None) -> None:
        if self.step is not Step.OVER:
            self.step = Step.OVER
            self._output = b""
            self._event = Broken(why, heard and heard.reply())
