"""How confirmations are sent: by the gateway's own doors, as an ordinary client of them (smtplib, smpplib).

Blocking, for the outbox' thread. A connection is made for each letter: there are few.
"""

from __future__ import annotations

import smtplib
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, make_msgid
from typing import Final

import smpplib.client
import smpplib.consts
import smpplib.exceptions

from registry.limits import OUTBOX_WAIT_SECONDS
from registry.providers.letters import Letter
from registry.providers.outbox import CannotSend, NeverSend, Send
from registry.providers.states import Way

_AGAIN: Final = frozenset(
    {
        smpplib.consts.SMPP_ESME_RSYSERR,
        smpplib.consts.SMPP_ESME_RMSGQFUL,
        smpplib.consts.SMPP_ESME_RTHROTTLED,
    }
)
_ALPHANUMERIC: Final = 5  # SMPP 3.4 §5.2.5, type of number
_INTERNATIONAL: Final = 1
_ISDN: Final = 1  # §5.2.6, numbering plan


@dataclass(frozen=True, slots=True)
class MailDoor:
    """An SMTP listener that lets us relay."""

    host: str
    port: int
    sender: str

    def send(self, letter: Letter) -> None:
        """Raises CannotSend."""
        try:
            with smtplib.SMTP(self.host, self.port, timeout=OUTBOX_WAIT_SECONDS) as client:
                client.send_message(self._message(letter), self.sender, [letter.recipient])
        except smtplib.SMTPRecipientsRefused as refused:
            code, text = next(iter(refused.recipients.values()))
            raise _refused(code, text) from None
        except smtplib.SMTPResponseException as fault:
            raise _refused(fault.smtp_code, fault.smtp_error) from None
        except (OSError, smtplib.SMTPException) as fault:
            raise CannotSend(f"{self.host}:{self.port}: {type(fault).__name__}") from None

    def _message(self, letter: Letter) -> EmailMessage:
        message = EmailMessage(policy=SMTP)
        message["From"] = self.sender
        message["To"] = letter.recipient
        message["Subject"] = letter.subject
        message["Date"] = format_datetime(datetime.now(UTC))
        message["Message-ID"] = make_msgid(domain=self.sender.rpartition("@")[2])
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834 §5
        message.set_content(letter.text, cte="quoted-printable")
        return message


@dataclass(frozen=True, slots=True)
class SmsDoor:
    """An SMPP listener and an account there."""

    host: str
    port: int
    account: str
    password: str = field(repr=False)
    sender: str

    def send(self, letter: Letter) -> None:
        """Raises CannotSend."""
        client = smpplib.client.Client(self.host, self.port, timeout=OUTBOX_WAIT_SECONDS, allow_unknown_opt_params=True)
        try:
            client.connect()
            client.bind_transmitter(system_id=self.account, password=self.password)
            status = self._submit(client, letter)
            if not status:
                client.unbind()
        except (OSError, smpplib.exceptions.ConnectionError) as fault:
            raise CannotSend(f"{self.host}:{self.port}: {type(fault).__name__}") from None
        except (smpplib.exceptions.PDUError, smpplib.exceptions.UnknownCommandError, struct.error) as fault:
            raise CannotSend(f"{self.host}:{self.port}: {fault}") from None
        finally:
            client.disconnect()
        if status:
            fault_kind = CannotSend if status in _AGAIN else NeverSend
            raise fault_kind(f"{self.host}:{self.port}: status {status:#x}")

    def _submit(self, client: smpplib.client.Client, letter: Letter) -> int:
        """The status of the answer."""
        sent = client.send_message(
            source_addr_ton=0 if self.sender.isdigit() else _ALPHANUMERIC,
            source_addr=self.sender,
            dest_addr_ton=_INTERNATIONAL,
            dest_addr_npi=_ISDN,
            destination_addr=letter.recipient.removeprefix("+"),
            short_message=letter.text.encode("ascii"),
        )
        deadline = time.monotonic() + OUTBOX_WAIT_SECONDS
        while time.monotonic() < deadline:  # a door that asks whether we live has not answered
            heard = client.read_pdu()
            if heard.command == "submit_sm_resp" and heard.sequence == sent.sequence:
                return int(heard.status)
        raise TimeoutError


def sends_of(mail: MailDoor | None, sms: SmsDoor | None) -> Mapping[Way, Send]:
    """On which ways something can be sent, and how."""
    doors: dict[Way, Send] = {}
    if mail is not None:
        doors[Way.EMAIL] = mail.send
    if sms is not None:
        doors[Way.MOBILE] = sms.send
    return doors


def _refused(code: int, text: bytes | str) -> CannotSend:
    """The words of a refusal may repeat the address, so only its enhanced code and reason go into the log."""
    said = text.decode("ascii", "replace") if isinstance(text, bytes) else text
    words = said.split()[:2]
    shown = " ".join(word for word in words if "@" not in word)
    return (NeverSend if 500 <= code < 600 else CannotSend)(f"{code} {shown}")
