"""One SMTP server session (RFC 5321 §4), without sockets.

    session.receive(data, now)                  bytes in, and the time
    while event := session.next_event():        what the owner must act on; all the rest is answered in here
        session.answer(reply)                   now or later: the session stands still until then
        session.promise(slot)                   only for a Rcpt: `slot.reply` is good once `session.fulfil(slot)` ran
    session.output()                            bytes out: the replies, in the order of their commands

Rules the tables rest on:

* Each command gets one reply, in order. While promised replies are owed only further RCPTs of the same transaction are
  read, so the verdicts of a pipelined MAIL RCPT RCPT DATA are asked together and DATA knows them (RFC 2920 §3.1).
* Nothing a peer sends raises; a peer's fault is a reply, and a `Fault` event to be counted.
* Octets are framed in one way only: a line ends at CRLF, a message at CRLF.CRLF. A bare CR or LF in a command closes
  the session; in content it refuses the message, after its real end. Cutting the stream elsewhere changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from filters import dots
from gateway import limits
from gateway.smtp import grammar, replies
from gateway.smtp.events import (
    NO_TERMS,
    Data,
    Event,
    Fault,
    Impersonate,
    Mail,
    Message,
    Offer,
    Rcpt,
    Slot,
    State,
    Terms,
)
from gateway.smtp.introduction import Introduction
from gateway.smtp.sasl import Credentials

Commands = Mapping[bytes, Callable[["Session", bytes], object]]

_DATA: Final = State.DATA
_NOT_READING: Final = (State.MESSAGE, State.HANDSHAKE, State.CLOSED)
_CR, _LF = b"\r", b"\n"

# A whole command line without a fault in its framing: verb and argument. All others go the long way.
_COMMAND: Final = re.compile(rb"([^ \r\n]*+)(?: ([^\r\n]*+))?\r\n")


class Session(Introduction):
    """The state of one client connection. `offer` is asked at the greeting and at each EHLO."""

    commands: Commands  # by verb; what is not in it is not recognised
    commands_before_tls: Commands  # instead, where TLS is required

    def __init__(self, hostname: bytes, offer: Callable[[], Offer], terms: Terms = NO_TERMS) -> None:
        super().__init__(terms)
        self.state = State.GREETED
        self.helo = b""
        self.esmtp = False
        self.utf8 = False  # of the open transaction
        self.draining = False
        self.deadline = float("inf")  # on the owner's clock: after this moment the peer was silent for too long
        self._hostname = hostname
        self._offer = offer
        self._size_max = offer().size_max
        self._now = 0.0
        self._buffer = bytearray()
        self._replies: list[bytes | Slot] = []
        self._owed = 0  # promised replies not yet good
        self._asked: Event | None = None  # the event whose answer the session stands still for
        self._event: Event | None = None  # the event to hand out next
        self._errors = 0
        self._named = 0  # recipients of this transaction, accepted or not
        self._accepted = 0
        self._searched = 0  # octets of the buffer that were looked through for the end of data
        self._dot = -1  # the first of them that begins a line with a dot, be it the final one; -1: none
        self._overflow = b""  # the reply to a content that is thrown away as it comes
        self._progress = 0  # octets since the deadline moved

    # bytes in

    def greet(self, now: float) -> None:
        """Say 220 (RFC 5321 §3.1)."""
        self._now = now
        self.deadline = now + limits.SMTP_COMMAND_S
        if self.terms.tls_required and not self.secured:
            self.commands = self.commands_before_tls
        self._replies.append(self.greeting)

    @property
    def greeting(self) -> bytes:
        return replies.line(220, None, f"{self._hostname.decode()} ESMTP izinli")

    def secure(self, now: float) -> None:
        """The handshake is done: what was said before is forgotten (RFC 3207 §4.2)."""
        self._now = now
        self.secured = True
        self.commands = type(self).commands
        self._start_over()

    def receive(self, data: bytes, now: float) -> None:
        """Take what the peer sent; it is acted on by `next_event`."""
        if self.state is State.CLOSED:
            return
        self._now = now
        self._buffer += data
        if self.state is State.DATA:
            # RFC 5321 §4.5.3.2.5 gives each block its time; one octet a minute is not a block.
            self._progress += len(data)
            if self._progress >= limits.SMTP_BLOCK_OCTETS_MIN:
                self._progress = 0
                self.deadline = now + limits.SMTP_DATA_BLOCK_S

    @property
    def held(self) -> int:
        """Octets received and not acted on."""
        return len(self._buffer)

    @property
    def stands_still(self) -> bool:
        """Does the event handed out last wait for its answer?"""
        return self._asked is not None

    @property
    def owes(self) -> bool:
        """Is a reply still to come from the owner?"""
        return self._owed > 0 or self._asked is not None

    # events and bytes out

    def next_event(self) -> Event | None:
        """What the owner must act on; None: nothing before more input, or before an answer that is owed."""
        while (event := self._event) is None:
            if self._asked is not None or not (self._buffer or self.draining):
                return None
            state = self.state
            if state is _DATA:
                moved = self._read_content()
            elif state in _NOT_READING:
                moved = False
            else:
                moved = self._read_command()
            if not moved:
                return None
        self._event = None
        return event

    def output(self) -> bytes:
        """The replies that are due; none while an earlier one is owed."""
        due = self._replies
        if self._owed or not due:
            return b""
        self._replies = []
        if len(due) == 1:
            only = due[0]
            return only if isinstance(only, bytes) else only.reply
        return b"".join([reply if isinstance(reply, bytes) else reply.reply for reply in due])

    # the owner's answers

    def answer(self, reply: bytes) -> None:
        """Answer the event handed out last; after `close` nobody waits for it any more."""
        asked, self._asked = self._asked, None
        if asked is None:
            return
        self._replies.append(reply)
        granted = reply[:1]
        if isinstance(asked, Message):
            self.state = State.READY
            self.forwarded = {}
            self.deadline = self._now + limits.SMTP_COMMAND_S
        elif isinstance(asked, Mail):
            if granted == b"2":
                self._begin(asked)
        elif isinstance(asked, Data):
            if granted == b"3":
                self.state = State.DATA
                self._searched = self._progress = 0
                self._dot = -1
                self._overflow = b""
                self.deadline = self._now + limits.SMTP_DATA_BLOCK_S
            elif self._buffer:
                self._desynchronised()
        elif isinstance(asked, Rcpt):
            self._accepted += granted == b"2"
        elif isinstance(asked, Credentials):
            self._logged_in(asked, granted)
        elif isinstance(asked, Impersonate) and granted == b"2":
            self._start_over()
            self.account = asked.attributes.get(b"LOGIN") or b""

    def promise(self, slot: Slot) -> None:
        """Answer the Rcpt handed out last with `slot.reply`, which is not known yet."""
        self._asked = None
        self._replies.append(slot)
        self._owed += 1

    def fulfil(self, slot: Slot, now: float) -> None:
        """`slot.reply` is good now."""
        if self.state is State.CLOSED:
            return
        self._now = now
        self._owed -= 1
        if slot.reply[:1] == b"2":
            self._accepted += 1

    def overflow(self, reply: bytes) -> None:
        """Read the content that is coming to its end, keep nothing of it, and answer `reply`."""
        self._overflow = reply

    def drain(self) -> None:
        """Close with 421 at the next command boundary."""
        self.draining = True

    def close(self, reply: bytes) -> None:
        """Say `reply`, in place of what is owed, and read nothing more."""
        if self._owed:
            self._replies.clear()
            self._owed = 0
        self._replies.append(reply)
        self._asked = self._event = None
        self._shut()

    # commands

    def _read_command(self) -> bool:
        """Act on one command line. False: none is complete, or it has to wait for replies that are owed."""
        if self.draining and not self._owed:
            self.close(replies.DRAINING)
            return True
        buffer = self._buffer
        command = _COMMAND.match(buffer)
        if command is None or command.end() > limits.SMTP_LINE_OCTETS_MAX or self._exchange is not None:
            return self._read_odd_command()
        verb, argument = command.groups(b"")
        act = self.commands.get(verb) or self.commands.get(verb.upper(), Session._unknown)
        if self._owed and not (act is Session._rcpt and self.state is State.RCPT):
            return False
        del buffer[: command.end()]
        self.deadline = self._now + limits.SMTP_COMMAND_S
        act(self, argument)
        return True

    def _read_odd_command(self) -> bool:
        """`_read_command` for whatever comes: an unfinished line, one with a fault, a response to AUTH's challenge."""
        buffer = self._buffer
        end = buffer.find(_LF)
        if end < 0 or end >= limits.SMTP_LINE_OCTETS_MAX:
            if len(buffer) >= limits.SMTP_LINE_OCTETS_MAX and not self._owed:
                self._break_off("long_line", replies.line(500, "5.5.2", "line too long"))
                return True
            return False
        line = bytes(buffer[: end - 1]) if end else b""
        verb, _, argument = line.partition(b" ")
        verb = verb.upper()
        if self._owed and not (verb == b"RCPT" and self.state is State.RCPT):
            return False
        if not end or buffer[end - 1] != 0x0D:
            self._break_off("bare_lf", replies.BARE_LINE_END)
        elif _CR in line:
            self._break_off("bare_cr", replies.BARE_LINE_END)
        else:
            del buffer[: end + 1]
            self.deadline = self._now + limits.SMTP_COMMAND_S
            if self._exchange is not None:
                self._advance(self._exchange.respond(line))
            else:
                self.commands.get(verb, Session._unknown)(self, argument)
        return True

    def _ehlo(self, argument: bytes) -> None:
        if self._helo(argument):
            self.esmtp = True
            offer = self._offer()
            self._size_max = offer.size_max
            self._replies[-1] = replies.lines(250, [self._hostname, *offer.keywords, *self._keywords()])

    def _helo(self, argument: bytes) -> bool:
        """RFC 5321 §4.1.4: also a reset. Any printable name will do, it proves nothing."""
        name = argument.strip()
        if not 0 < len(name) <= _NAME_OCTETS_MAX or not name.isascii() or not name.decode("ascii").isprintable():
            self._bad(501, "5.5.4", f"syntax: {self.hello} hostname")
            return False
        self.helo, self.esmtp = name, False
        self.state = State.READY
        self._replies.append(b"250 %b\r\n" % self._hostname)
        return True

    def _mail(self, argument: bytes) -> None:
        if self.state is not State.READY:
            greeted = self.state is State.GREETED
            self._bad(503, "5.5.1", f"send {self.hello} first" if greeted else "a transaction is open already")
            return
        if self.terms.auth_required and not self.account:
            self._bad(530, "5.7.0", "authentication required")
            return
        parsed = grammar.mail_path(argument)
        if isinstance(parsed, grammar.Fault):
            self._bad(*parsed)
        elif not parsed.mailbox.isascii() and b"SMTPUTF8" not in parsed.parameters:
            self._bad(553, "5.6.7", "address needs SMTPUTF8")
        elif parsed.parameters and int(parsed.parameters.get(b"SIZE", b"SIZE=0")[5:]) > self._size_max:
            self._replies.append(replies.TOO_LARGE)
        else:
            self._ask(Mail(*parsed))

    def _rcpt(self, argument: bytes) -> None:
        if self.state is not State.MAIL and self.state is not State.RCPT:
            self._bad(503, "5.5.1", "need MAIL before RCPT")
            return
        parsed = grammar.rcpt_path(argument)
        self.state = State.RCPT
        if isinstance(parsed, grammar.Fault):
            self._bad(*parsed)
        elif not argument.isascii() and not self.utf8:
            self._bad(553, "5.6.7", "address needs SMTPUTF8")
        elif self._named >= self.terms.recipients_max:
            self._replies.append(replies.line(452, "4.5.3", "too many recipients"))
        else:
            self._named += 1
            self._ask(Rcpt(*parsed))

    def _data(self, argument: bytes) -> None:
        if argument:
            self._bad(501, "5.5.4", "DATA takes no parameter")
        elif self.state is not State.RCPT:
            self._bad(503, "5.5.1", "need RCPT before DATA")
        elif not self._accepted:
            self._nobody_accepted()
        else:
            self._ask(Data())
            return
        if self._buffer:
            self._desynchronised()

    def _nobody_accepted(self) -> None:
        self._bad(554, "5.5.1", "no valid recipients")

    def _rset(self, argument: bytes) -> None:
        if self.state is not State.GREETED:
            self.state = State.READY
        self.forwarded = {}
        self._replies.append(replies.OK)

    def _noop(self, argument: bytes) -> None:
        self._replies.append(replies.OK)

    def _quit(self, argument: bytes) -> None:
        self._replies.append(replies.BYE)
        self._shut()

    def _vrfy(self, argument: bytes) -> None:
        self._replies.append(replies.line(252, "2.0.0", "cannot verify, send some mail"))

    def _help(self, argument: bytes) -> None:
        self._replies.append(replies.line(214, "2.0.0", f"{self.hello} MAIL RCPT DATA RSET NOOP VRFY HELP QUIT"))

    def _unsupported(self, argument: bytes) -> None:
        self._bad(502, "5.5.1", "command not implemented")

    def _bdat(self, argument: bytes) -> None:
        """CHUNKING is not announced; the octets that follow must not be read as commands (RFC 3030 §2)."""
        self._break_off("bdat", replies.line(502, "5.5.1", "command not implemented"))

    def _unknown(self, argument: bytes) -> None:
        self._bad(500, "5.5.2", "command not recognized")

    # content

    def _read_content(self) -> bool:
        """Look for the end of data in what has come; keep no more than the limit."""
        buffer = self._buffer
        if self._dot < 0:
            self._dot = dots.find_dot(buffer, 0, self._searched)
        end = -1 if self._dot < 0 else dots.find_end(buffer, 0, max(self._dot, self._searched))
        if end < 0:
            if self._overflow or len(buffer) > self._size_max + limits.SMTP_SIZE_SLACK:
                self._overflow = self._overflow or replies.TOO_LARGE
                # What an end cut in two needs; the octet in front keeps a dot from seeming to open the content.
                buffer[:-4] = b"\0"
                self._dot = 0
            self._searched = len(buffer)
            return False
        dotted = self._dot < end
        content = bytes(memoryview(buffer)[:end])
        if dotted:
            content = dots.unstuff(content)
        del buffer[: end + dots.END_LENGTH]
        if self._overflow or len(content) > self._size_max:
            self._await_command(self._overflow or replies.TOO_LARGE)
        elif kind := dots.line_fault(content):
            self._event = Fault(kind)
            self._await_command(replies.CONTENT_FAULTS[kind])
        else:
            self.state = State.MESSAGE
            self.deadline = float("inf")  # the owner bounds what it does, and answers
            self._ask(Message(content, dotted))
        return True

    # small steps

    def _start_over(self) -> None:
        """As after the greeting."""
        self.state = State.GREETED
        self.helo, self.esmtp, self.utf8 = b"", False, False
        self.account = b""
        self.forwarded = {}
        self.deadline = self._now + limits.SMTP_COMMAND_S

    def _begin(self, mail: Mail) -> None:
        self.state = State.MAIL
        self._named = self._accepted = 0
        self.utf8 = b"SMTPUTF8" in mail.parameters

    def _ask(self, event: Event) -> None:
        self._asked = self._event = event

    def _await_command(self, reply: bytes) -> None:
        """The transaction is over."""
        self._replies.append(reply)
        self.state = State.READY
        self.forwarded = {}
        self.deadline = self._now + limits.SMTP_COMMAND_S

    def _bad(self, code: int, enhanced: str, text: str) -> None:
        """Refuse a command; too many of them end the session."""
        self._replies.append(replies.line(code, enhanced, text))
        self._errors += 1
        if self._errors >= limits.SMTP_ERRORS_MAX:
            self._break_off("bad_commands", replies.line(421, "4.7.0", "too many errors"))

    def _desynchronised(self) -> None:
        """Content sent without waiting for a 354 that did not come would be read as commands (RFC 2920 §3.1)."""
        self._break_off("pipelining", replies.line(421, "4.5.0", "input after a refused DATA"))

    def _break_off(self, kind: str, reply: bytes) -> None:
        self._event = Fault(kind)
        self._replies.append(reply)
        self._shut()

    def _shut(self) -> None:
        self.state = State.CLOSED
        self.deadline = float("inf")
        self._buffer.clear()


_NAME_OCTETS_MAX: Final = 255  # RFC 5321 §4.5.3.1.2

Session.commands = {
    b"EHLO": Session._ehlo,
    b"HELO": Session._helo,
    b"MAIL": Session._mail,
    b"RCPT": Session._rcpt,
    b"DATA": Session._data,
    b"RSET": Session._rset,
    b"NOOP": Session._noop,
    b"QUIT": Session._quit,
    b"VRFY": Session._vrfy,
    b"HELP": Session._help,
    b"BDAT": Session._bdat,
    b"STARTTLS": Session._starttls,
    b"AUTH": Session._auth,
    b"XCLIENT": Session._xclient,
    b"XFORWARD": Session._xforward,
    **dict.fromkeys((b"EXPN", b"ETRN", b"TURN", b"ATRN", b"BURL"), Session._unsupported),
}
# RFC 3207 §4; and behind BDAT comes what is no command, whatever the state.
_BEFORE_TLS: Final = (b"EHLO", b"LHLO", b"NOOP", b"QUIT", b"STARTTLS", b"BDAT")


def before_tls(commands: Commands) -> Commands:
    """Of a session that has yet to be protected."""
    return {verb: act if verb in _BEFORE_TLS else Session._insecure for verb, act in commands.items()}


Session.commands_before_tls = before_tls(Session.commands)
