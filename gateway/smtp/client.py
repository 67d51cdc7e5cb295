"""One conversation with a next hop (RFC 5321 client side), without sockets.

    conversation.receive(data)     bytes in; what it means comes back as events
    conversation.begin(copy)       the next message, once READY was seen
    conversation.output()          bytes out

A message goes as MAIL, RCPT and DATA in one flight where the next hop offers PIPELINING (RFC 2920), else one by one;
then the content and the final dot in one piece. Whoever sends octets that were not asked for, or a reply that does not
end, is not talked to any further.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import NamedTuple, Protocol

from filters import dots
from gateway import limits
from gateway.smtp.grammar import Parameters
from gateway.smtp.replies import Reply, sanitised


class Extensions(NamedTuple):
    """What a next hop announces (RFC 5321 §4.1.1.1), as far as we use it."""

    pipelining: bool = False
    eight_bit_mime: bool = False
    smtputf8: bool = False
    dsn: bool = False
    size: int | None = None  # None: not announced; 0: announced without a limit (RFC 1870 §4)

    @classmethod
    def of(cls, keywords: list[bytes]) -> Extensions:
        """From the lines of an EHLO reply, the greeting line left out."""
        offered = {}
        for keyword in keywords:
            name, _, value = keyword.partition(b" ")
            offered[name.upper()] = value
        size = offered.get(b"SIZE")
        return cls(
            pipelining=b"PIPELINING" in offered,
            eight_bit_mime=b"8BITMIME" in offered,
            smtputf8=b"SMTPUTF8" in offered,
            dsn=b"DSN" in offered,
            size=None if size is None else int(size) if re.fullmatch(rb"[0-9]{1,20}", size) else 0,
        )


class Copy(Protocol):
    """One message for one recipient."""

    @property
    def sender(self) -> bytes: ...
    @property
    def sender_parameters(self) -> Parameters: ...
    @property
    def path(self) -> bytes: ...
    @property
    def parameters(self) -> Parameters: ...
    @property
    def content(self) -> bytes:
        """Without dot-stuffing; empty or ending in CRLF."""
        ...

    @property
    def dotted(self) -> bool:
        """False: no line of the content begins with a dot."""
        ...


class Stage(Enum):
    """What is waited for."""

    BANNER = "banner"
    EHLO = "ehlo"
    HELO = "helo"
    IDLE = "idle"
    ENVELOPE = "envelope"
    FINAL = "final"  # the dot is sent: from here on the outcome is the next hop's to say
    ABANDONED = "abandoned"  # a lone dot is sent, its answer says nothing
    OVER = "over"


class Ready(NamedTuple):
    """The greeting is done."""

    extensions: Extensions


class Done(NamedTuple):
    """The answer to the message; the conversation can take the next one unless `Broken` follows."""

    reply: Reply


class Broken(NamedTuple):
    """Nothing more can be said here; `why` is a metric label."""

    why: str


Event = Ready | Done | Broken

_LINE = re.compile(rb"([2-5][0-9]{2})(?:([ -])([^\n]*))?")


def envelope(copy: Copy, offered: Extensions) -> list[bytes] | Reply:
    """MAIL and RCPT for this next hop, or the refusal it would have to make (RFC 6152 §3, RFC 6531 §3.5, RFC 1870 §6).

    SIZE is that of the copy. DSN parameters go where DSN is offered; without it the next hop is the last that knows
    them. A client that asked for 8BITMIME or SMTPUTF8 without needing them loses nothing by our dropping them.
    """
    content, asked = copy.content, copy.sender_parameters
    tokens = b""
    if offered.size is not None:
        if 0 < offered.size < len(content):
            return Reply(552, b"5.3.4 message is too large for the next hop")
        tokens = b" SIZE=%d" % len(content)
    if asked:
        if body := asked.get(b"BODY"):
            if offered.eight_bit_mime:
                tokens += b" " + body
            elif not content.isascii():
                return Reply(554, b"5.6.3 next hop takes no 8-bit content")
        if b"SMTPUTF8" in asked:
            if offered.smtputf8:
                tokens += b" SMTPUTF8"
            elif not (copy.sender.isascii() and copy.path.isascii() and content[: _header_end(content)].isascii()):
                return Reply(550, b"5.6.7 next hop takes no internationalized mail")
        if offered.dsn:
            tokens += b"".join(b" " + asked[key] for key in (b"RET", b"ENVID") if key in asked)
    mail = b"MAIL FROM:<%b>%b\r\n" % (copy.sender, tokens)
    if copy.parameters and offered.dsn:
        return [mail, b"RCPT TO:<%b> %b\r\n" % (copy.path, b" ".join(copy.parameters.values()))]
    return [mail, b"RCPT TO:<%b>\r\n" % copy.path]


def _header_end(content: bytes) -> int:
    end = content.find(b"\r\n\r\n")
    return len(content) if end < 0 else end


class Conversation:
    """The state of one connection to a next hop."""

    def __init__(self, hostname: bytes) -> None:
        self.stage = Stage.BANNER
        self.extensions = Extensions()
        self.messages = 0  # begun so far
        self.dot_sent = False  # of the current message: its outcome is the next hop's to say
        self._hostname = hostname
        self._output: list[bytes] = []
        self._events: list[Event] = []
        self._input = b""
        self._lines: list[bytes] = []  # of a reply that is not complete
        self._to_send: list[bytes] = []  # commands that wait for the reply to the one before
        self._awaited = 0  # replies of the envelope still to come
        self._reset = False  # a transaction was left open, or the answer to RSET is awaited
        self._failure: Reply | None = None
        self._content = b""
        self._dotted = True

    def output(self) -> bytes:
        """What has to be sent now."""
        if not self._output:
            return b""
        due = b"".join(self._output)
        self._output.clear()
        return due

    def begin(self, copy: Copy) -> Reply | None:
        """Start a message. A Reply: it cannot go to this next hop, nothing was sent and the conversation is idle."""
        commands = envelope(copy, self.extensions)
        if isinstance(commands, Reply):
            return commands
        if self._reset:
            commands.insert(0, b"RSET\r\n")
        commands.append(b"DATA\r\n")
        self.messages += 1
        self.dot_sent = False
        self.stage = Stage.ENVELOPE
        self._failure = None
        self._content, self._dotted = copy.content, copy.dotted
        self._awaited = len(commands)
        if self.extensions.pipelining:
            self._output.extend(commands)
        else:
            self._to_send = commands[:0:-1]
            self._output.append(commands[0])
        return None

    def quit(self) -> None:
        """Say goodbye (RFC 5321 §4.1.1.10); the answer is not waited for."""
        self._output.append(b"QUIT\r\n")
        self.stage = Stage.OVER

    def receive(self, data: bytes) -> list[Event]:
        """Take what the next hop said; the events it amounts to, in order."""
        self._input = self._input + data if self._input else data
        start = 0
        while self.stage is not Stage.OVER and (end := self._input.find(b"\n", start)) >= 0:
            self._line(self._input[start:end])
            start = end + 1
        self._input = self._input[start:]
        if len(self._input) > limits.SMTP_REPLY_LINE_OCTETS_MAX and self.stage is not Stage.OVER:
            self._break("long_reply")
        events, self._events = self._events, []
        return events

    # replies

    def _line(self, line: bytes) -> None:
        """RFC 5321 §4.2.1: `code-text` continues, `code text` ends."""
        match = _LINE.fullmatch(line.rstrip(b"\r"))
        if match is None or (self._lines and self._lines[0] != match[1]):
            self._break("malformed_reply")
            return
        code, separator, text = match.groups(b"")
        self._lines = self._lines or [code]
        self._lines.append(sanitised(text[: limits.SMTP_REPLY_LINE_OCTETS_MAX]))
        if separator != b"-":
            texts, self._lines = self._lines[1:], []
            self._reply(int(code), texts)
        elif len(self._lines) > limits.SMTP_REPLY_LINES_MAX:
            self._break("long_reply")

    def _reply(self, code: int, texts: list[bytes]) -> None:
        good = 200 <= code <= 299
        reply = Reply(code, b" ".join(texts)[: limits.SMTP_REPLY_TEXT_OCTETS_MAX])
        match self.stage:
            case Stage.BANNER if good:
                self._output.append(b"EHLO %b\r\n" % self._hostname)
                self.stage = Stage.EHLO
            case Stage.EHLO if good:
                self._greeted(Extensions.of(texts[1:]))
            case Stage.EHLO if code >= 500:
                self._output.append(b"HELO %b\r\n" % self._hostname)
                self.stage = Stage.HELO
            case Stage.HELO if good:
                self._greeted(Extensions())
            case Stage.ENVELOPE:
                self._agreed(reply)
            case Stage.FINAL | Stage.ABANDONED:
                self._settle(self._failure or reply)
                if code == 421:
                    self._break("closing")
            case Stage.IDLE:
                self._break("unsolicited")
            case _:
                self._break("refused")

    def _greeted(self, extensions: Extensions) -> None:
        self.extensions = extensions
        self.stage = Stage.IDLE
        self._events.append(Ready(extensions))

    def _agreed(self, reply: Reply) -> None:
        """The reply to one command of the envelope; the last of them is DATA's.

        A refusal is kept, and the first one is the answer to the message. What is neither the grant that was asked for
        nor a refusal is not understood: a 250 to DATA must never be taken for the message's.
        """
        self._awaited -= 1
        granted = reply.code == 354 if not self._awaited else 200 <= reply.code <= 299
        if reply.code == 421 or (self._reset and not granted) or (not granted and reply.code < 400):
            self._break("closing" if reply.code == 421 else "malformed_reply")
            return
        self._reset = False
        if not granted:
            self._failure = self._failure or reply
        if self._awaited and not (self._failure and self._to_send):
            if self._to_send:
                self._output.append(self._to_send.pop())
        elif granted:
            self._send_content()
        else:
            self._reset = True
            self._settle(self._failure or reply)

    def _send_content(self) -> None:
        """RFC 2920 §3.1: a DATA that was granted without a recipient ends with a lone dot."""
        if self._failure:
            self._output.append(b".\r\n")
            self.stage = Stage.ABANDONED
        else:
            self._output += (dots.stuff(self._content) if self._dotted else self._content, b".\r\n")
            self.dot_sent = True
            self.stage = Stage.FINAL

    def _settle(self, reply: Reply) -> None:
        self.stage = Stage.IDLE
        self._content = b""
        self._to_send = []
        self._events.append(Done(reply))

    def _break(self, why: str) -> None:
        self.stage = Stage.OVER
        self._events.append(Broken(why))
