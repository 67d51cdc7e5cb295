"""LMTP (RFC 2033): SMTP with another greeting, and an answer for each recipient after the final dot.

    LHLO, MAIL, RCPT, RCPT, DATA …        as in SMTP
    .                                     250 …   the first accepted RCPT's
                                          550 …   the second's

So mixed endings need neither a notification nor a memory: who was refused is refused, what may come again comes again,
and nobody else does. It is for the mail server next door, never for port 25 (§5).
"""

from __future__ import annotations

from typing import Any

from gateway.smtp import replies
from gateway.smtp.delivery import Transaction
from gateway.smtp.events import Message
from gateway.smtp.grammar import Parameters
from gateway.smtp.parties import Client, Door, Recipient
from gateway.smtp.session import Session, before_tls


class LmtpSession(Session):
    """A session whose messages are answered once for each accepted RCPT (§4.2).

    The owner answers a Message with `replies.Each`; any other reply is said for each.
    """

    hello = "LHLO"
    commands = {  # §4.1: no HELO, no EHLO
        b"LHLO": Session.commands[b"EHLO"],
        **{verb: act for verb, act in Session.commands.items() if verb not in (b"EHLO", b"HELO")},
    }
    commands_before_tls = before_tls(commands)

    @property
    def greeting(self) -> bytes:
        return replies.line(220, None, f"{self._hostname.decode()} LMTP izinli")

    def _nobody_accepted(self) -> None:
        self._bad(503, "5.5.1", "no valid recipients")  # §4.2

    def answer(self, reply: bytes) -> None:
        super().answer(self._for_each(reply) if isinstance(self._asked, Message) else reply)

    def _await_command(self, reply: bytes) -> None:
        super()._await_command(self._for_each(reply))

    def _for_each(self, reply: bytes) -> bytes:
        return reply if isinstance(reply, replies.Each) else reply * self._accepted


class LmtpTransaction(Transaction):
    """A transaction whose copies are answered for themselves."""

    one_answer = False

    def __init__(self, door: Door, client: Client, **options: Any) -> None:
        super().__init__(door, client, **options)
        self._named: list[Recipient] = []  # by each RCPT: who is named twice gets one copy, and two answers (§4.2)

    def recipient(self, path: bytes, parameters: Parameters) -> Recipient:
        known = super().recipient(path, parameters)
        self._named.append(known)
        return known

    def _settle(self) -> None:
        accepted = [one for one in self._named if one.reply[:1] == b"2"]
        answers = b"".join(replies.passed_on(one.answer, one.id) for one in accepted)
        self._conclude(replies.Each(answers), complete=True)
