"""The keys of `[registry]` that are about onboarding: whether providers may apply, and how the registry writes to them.

It sends by the gateway's own doors: what proves a mail address goes to `mail_relay`, what proves a number to
`smpp_relay`. What is not set is confirmed by hand.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from filters.address import canonical_email
from filters.link import BRAND_MAX
from gateway.config.values import Address, parse_address, secret
from gateway.toml import Table

_SMPP = ("smpp_relay", "smpp_account", "smpp_password_file", "smpp_sender")
_SENDER_CHARACTERS_MAX = 11  # of an alphanumeric sender (GSM 03.40 §9.1.2.5); digits: 15


@dataclass(frozen=True, slots=True)
class MailRelay:
    """An SMTP listener, and who writes."""

    address: Address
    sender: str


@dataclass(frozen=True, slots=True)
class SmppRelay:
    """An SMPP listener, how to log in there, and who writes."""

    address: Address
    account: str
    password: str = field(repr=False)
    sender: str


@dataclass(frozen=True, slots=True)
class Onboarding:
    """Applications of providers. `codes_from`: the first brand code that may be given away."""

    served: bool = False
    codes_from: int = 900_000
    mail: MailRelay | None = None
    smpp: SmppRelay | None = None


def read_onboarding(table: Table, home: Path) -> Onboarding:
    """From `[registry]`."""
    served = table.flag("onboarding")
    codes_from = table.number("onboarding_codes_from", Onboarding().codes_from, 1, BRAND_MAX)
    return Onboarding(served, codes_from, _mail(table), _smpp(table, home))


def _mail(table: Table) -> MailRelay | None:
    relay, sender = table.text("mail_relay"), table.text("mail_from")
    if not relay and not sender:
        return None
    for key, text in (("mail_relay", relay), ("mail_from", sender)):
        if not text:
            table.note(key, "is missing", "mail_relay and mail_from belong together")
    address = table.parsed("mail_relay", parse_address, relay) if relay else None
    if sender and canonical_email(sender.encode()) is None:
        table.note("mail_from", f"not a mail address: {sender!r}", 'for example "basvuru@bilgi.example.com.tr"')
    return MailRelay(address, sender) if address is not None else None


def _smpp(table: Table, home: Path) -> SmppRelay | None:
    texts = {key: table.text(key) for key in _SMPP}
    if not any(texts.values()):
        return None
    for key, text in texts.items():
        if not text:
            table.note(key, "is missing", f"{', '.join(_SMPP)} belong together")
    address = table.parsed("smpp_relay", parse_address, texts["smpp_relay"]) if texts["smpp_relay"] else None
    if address is not None and ":" in address.host:
        table.note("smpp_relay", "must be an IPv4 address or a name", "let a listener listen there too")
    sender = texts["smpp_sender"]
    longest = 15 if sender.isdigit() else _SENDER_CHARACTERS_MAX
    if not sender.isascii() or not sender.isprintable() or len(sender) > longest:
        table.note("smpp_sender", "must be 1 to 11 ASCII characters, or up to 15 digits")
    password = secret(table, "smpp_password_file", home) if texts["smpp_password_file"] else b""
    if not password.isascii():
        table.note("smpp_password_file", "an SMPP password is ASCII")
        password = b""
    if address is None:
        return None
    return SmppRelay(address, texts["smpp_account"], password.decode("ascii"), sender)
