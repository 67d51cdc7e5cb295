"""Messages as a person reads them: text before and after, without the wrapping of MIME."""

from __future__ import annotations

from email import message_from_bytes
from email.policy import SMTP

from gateway.demo.sink import Captured

SHOWN_FIELDS = ("List-Unsubscribe", "List-Unsubscribe-Post")


def mail_before(content: bytes) -> str:
    """What the sender wrote."""
    return _texts(content)


def readable(captured: Captured) -> str:
    """What the next hop got: the fields that were put in, and each text part."""
    message = message_from_bytes(captured.content, policy=SMTP)
    fields = [f"{name}: {message[name]}" for name in SHOWN_FIELDS if message[name]]
    return "\n".join([*fields, *([""] if fields else []), _texts(captured.content)])


def _texts(content: bytes) -> str:
    message = message_from_bytes(content, policy=SMTP)
    parts = [part for part in message.walk() if part.get_content_maintype() == "text"]
    return "\n\n".join(part.get_content().replace("\r\n", "\n").strip() for part in parts)
