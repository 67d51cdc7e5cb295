"""The messages of one connection to a next hop (RFC 5321 client side), once it is greeted; without sockets.

    conversation.begin(copy)       the next message
    conversation.output()          bytes out
    conversation.receive(data)     bytes in; what it means comes back as events

A message goes as MAIL, RCPT and DATA in one flight where the next hop offers PIPELINING (RFC 2920), else one by one;
then the content and the final dot, at once or when `release` says so. Whoever sends octets that were not asked for, an
answer to what was not said yet, or a reply that does not end, is not talked to any further.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Final, NamedTuple, Protocol

from filters import dots
from gateway import limits
from gateway.smtp.grammar import Parameters
from gateway.smtp.pieces import Pieces
from gateway.smtp.replies import Reply
from gateway.smtp.reply_parser import Heard, ReplyParser


class Extensions(NamedTuple):
    """What a next hop announces (RFC 5321 §4.1.1.1), as far as messages need it."""

    pipelining: bool = False
    eight_bit_mime: bool = False
    smtputf8: bool = False
    dsn: bool = False
    size: int | None = None  # None: not announced; 0: announced without a limit (RFC 1870 §4)

    @classmethod
    def of(cls, keywords: Mapping[bytes, bytes]) -> Extensions:
        """From the keywords of an EHLO reply, in upper case, with their values."""
        size = keywords.get(b"SIZE")
        return cls(
            pipelining=b"PIPELINING" in keywords,
            eight_bit_mime=b"8BITMIME" in keywords,
            smtputf8=b"SMTPUTF8" in keywords,
            dsn=b"DSN" in keywords,
            size=None if size is None else int(size) if re.fullmatch(rb"[0-9]{1,20}", size) else 0,
        )

    def common(self, other: Extensions) -> Extensions:
        """What both can take."""
        sizes = [size for size in (self.size, other.size) if size]
        return Extensions(
            self.pipelining and other.pipelining,
            self.eight_bit_mime and other.eight_bit_mime,
            self.smtputf8 and other.smtputf8,
            self.dsn and other.dsn,
            min(sizes) if sizes else None if self.size is None or other.size is None else 0,
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
    def content(self) -> bytes | Pieces:
        """Without dot-stuffing; empty or ending in CRLF."""
        ...

    @property
    def dotted(self) -> bool:
        """False: no line of the content begins with a dot."""
        ...

    @property
    def held(self) -> bool:
        """True: the final dot waits for `Conversation.release`."""
        ...


class Stage(Enum):
    """What is waited for."""

    IDLE = "idle"
    ENVELOPE = "envelope"
    HELD = "held"  # the content is sent, the dot is not
    FINAL = "final"  # the dot is sent: from here on the outcome is the next hop's to say
    ABANDONED = "abandoned"  # a lone dot is sent, its answer says nothing
    OVER = "over"


class Done(NamedTuple):
    """The answer to the message; the conversation can take the next one unless `Broken` follows."""

    reply: Reply


class Broken(NamedTuple):
    """Nothing more can be said here; `why` is a metric label, `said` what the next hop said to it."""

    why: str
    said: Reply | None = None


Event = Done | Broken

_LINE: Final = rb" [\x20-\x7e]{0,500}\r\n"
_GRANTED: Final = re.compile(rb"2[0-9]{2}%b2[0-9]{2}%b354%b" % (_LINE, _LINE, _LINE))


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
            elif not b"".join((copy.sender, copy.path, *copy.parameters.values(), _head(content))).isascii():
                return Reply(550, b"5.6.7 next hop takes no internationalized mail")
        if offered.dsn:
            tokens += b"".join(b" " + asked[key] for key in (b"RET", b"ENVID") if key in asked)
    mail = b"MAIL FROM:<%b>%b\r\n" % (copy.sender, tokens)
    if copy.parameters and offered.dsn:
        return [mail, b"RCPT TO:<%b> %b\r\n" % (copy.path, b" ".join(copy.parameters.values()))]
    return [mail, b"RCPT TO:<%b>\r\n" % copy.path]


def _head(content: bytes | Pieces) -> bytes:
    if isinstance(content, Pieces):
        return content.head()
    end = content.find(b"\r\n\r\n")
    return content if end < 0 else content[:end]


class Conversation:
    """The state of one connection that was greeted."""

    def __init__(self, extensions: Extensions) -> None:
        self.stage = Stage.IDLE
        self.extensions = extensions
        self.messages = 0  # begun so far
        self.dot_sent = False  # of the current message: its outcome is the next hop's to say
        self._parser = ReplyParser()
        self._output: list[bytes | memoryview] = []
        self._events: list[Event] = []
        self._to_send: list[bytes] = []  # commands that wait for the reply to the one before
        self._awaited = 0  # replies of the envelope still to come
        self._reset = False  # a transaction was left open, or the answer to RSET is awaited
        self._failure: Reply | None = None
        self._content: bytes | Pieces = b""
        self._dotted = True
        self._hold = False
        self._blocks: Iterator[bytes | memoryview] | None = None  # of a large content, what was not sent yet

    @property
    def has_more(self) -> bool:
        """`output` gives one more block of a large content each time it is asked."""
        return self._blocks is not None

    def output(self) -> bytes | memoryview:
        """What has to be sent now."""
        if not self._output:
            return b"" if self._blocks is None else self._next(self._blocks)
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
        self._content, self._dotted, self._hold = copy.content, copy.dotted, copy.held
        self._awaited = len(commands)
        if self.extensions.pipelining:
            self._output.extend(commands)
        else:
            self._to_send = commands[:0:-1]
            self._output.append(commands[0])
        return None

    def release(self) -> None:
        """Send the dot that is held; harmless when none is."""
        self._hold = False
        if self.stage is Stage.HELD:
            self._output.append(b".\r\n")
            self.dot_sent = True
            self.stage = Stage.FINAL

    def quit(self) -> None:
        """Say goodbye (RFC 5321 §4.1.1.10); the answer is not waited for."""
        self._output.append(b"QUIT\r\n")
        self.stage = Stage.OVER

    def receive(self, data: bytes) -> list[Event]:
        """Take what the next hop said; the events it amounts to, in order."""
        if self._awaited == 3 and self._is_granted(data):
            self._awaited = 0
            self._send_content()
            return []
        for heard in self._parser.feed(data):
            if self.stage is not Stage.OVER:
                self._reply(heard)
        if self._parser.fault and self.stage is not Stage.OVER:
            self._break(self._parser.fault)
        events, self._events = self._events, []
        return events

    # replies

    def _is_granted(self, data: bytes) -> bool:
        """Whether `data` is all that is awaited, and all that is hoped for: MAIL, RCPT and DATA granted in one read.

        The replies would say no more one by one, in six times the time.
        """
        return (
            self.stage is Stage.ENVELOPE
            and not (self._to_send or self._output or self._reset or self._failure or self._parser.holds)
            and _GRANTED.fullmatch(data) is not None
        )

    def _reply(self, heard: Heard) -> None:
        if self._output or self.stage is Stage.IDLE:  # the answer to what was not said: it answers nothing (promise I2)
            self._break("closing" if heard.code == 421 else "unsolicited")
        elif self._blocks is not None or self.stage is Stage.HELD:
            self._interrupted(heard.reply())
        elif self.stage is Stage.ENVELOPE:
            self._agreed(heard.reply())
        else:
            reply = heard.reply()
            self._settle(self._failure or reply)
            if reply.code == 421:
                self._break("closing")

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
            return
        self.stage = Stage.FINAL
        content = self._content
        if len(content) > limits.SMTP_WHOLE_OCTETS_MAX:
            large = content if isinstance(content, Pieces) else Pieces([content])
            self._blocks = large.blocks(dotted=self._dotted)
            return
        if self._dotted:
            self._output.append(dots.stuff(content.joined() if isinstance(content, Pieces) else content))
        elif isinstance(content, Pieces):
            self._output += content.pieces  # joined with the dot: once
        else:
            self._output.append(content)
        self._end_content()

    def _end_content(self) -> None:
        self.stage = Stage.HELD
        if not self._hold:
            self.release()

    def _next(self, blocks: Iterator[bytes | memoryview]) -> bytes | memoryview:
        block = next(blocks, b"")
        if not block:
            self._blocks = None
            self._end_content()
            block = b"".join(self._output)
            self._output.clear()
        return block

    def _interrupted(self, reply: Reply) -> None:
        """An answer in the middle of the content: a refusal is one, a grant is none (promise I2), both end it."""
        if reply.code >= 400:
            self._settle(reply)
            self._break("closing")
        else:
            self._break("unsolicited")

    def _settle(self, reply: Reply) -> None:
        self.stage = Stage.IDLE
        self._content, self._blocks = b"", None
        self._to_send = []
        self._events.append(Done(reply))

    def _break(self, why: str) -> None:
        """What was not sent yet never will be."""
        if self._output:
            self._output.clear()
            self.dot_sent = False
        self._content, self._blocks = b"", None
        self.stage = Stage.OVER
        self._events.append(Broken(why))
