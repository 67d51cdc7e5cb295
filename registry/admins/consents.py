"""What the ledger holds about one recipient and brand, and the refusal that a caller tells an operator.

Both are POSTs, so that no address stands in a URL, a history or a log. A look-up is written down before it is shown,
with the keyed fingerprint that the index and the journal have too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from fastapi import Response

from filters.address import canonical_email, canonical_msisdn
from filters.link import BRAND_MAX
from filters.model import Channel
from registry import rejections
from registry.admins import audit
from registry.admins.desk import Ask, May, Route, whole
from registry.evidence import history
from registry.limits import ADMIN_EVENTS_MAX
from registry.rejections import Refusal

PLACE: Final = "consents"
SOURCE: Final = "HS_CAGRI_MERKEZI"
_NONE: Final = "Nothing was looked up."


class Asked(NamedTuple):
    """What stands in the form."""

    brand: str = ""
    channel: str = Channel.MESAJ
    recipient: str = ""


@dataclass(frozen=True, slots=True)
class _About:
    """The same, understood."""

    brand: int
    channel: Channel
    recipient: bytes  # canonical


class _Fault(NamedTuple):
    """Why what was asked means nothing."""

    field: str  # of Asked
    text: str


class _Found(NamedTuple):
    """What the page shows."""

    title: str
    recipient: str
    standing: list[history.Standing]
    events: list[history.Event]
    more: bool


def ask_for_one(ask: Ask) -> Response:
    """The empty form."""
    return _page(ask, Asked())


def look_up(ask: Ask) -> Response:
    """State and history."""
    asked, about = _understood(ask)
    if isinstance(about, _Fault):
        return _page(ask, asked, _NONE, fault=about)
    _note(ask, about, audit.Action.LOOKUP)
    return _page(ask, asked, found=_found(ask, about))


def refuse(ask: Ask) -> Response:
    """Record a RET for a caller, and say so when no message can pass any more (promise I5).

    It is written down first; that it was recorded stands in the ledger, with the same actor. Raises IndexDown.
    """
    asked, about = _understood(ask)
    if isinstance(about, _Fault):
        return _page(ask, asked, _NONE, fault=about)
    _note(ask, about, audit.Action.REFUSAL)
    refusal = Refusal([about.brand], about.channel, about.recipient, SOURCE)
    rejections.record(ask.desk.ledger, ask.desk.publisher, refusal, rejections.CALLER, ask.session.actor)
    return _page(ask, asked, "The refusal is recorded and in effect.", _found(ask, about))


def _understood(ask: Ask) -> tuple[Asked, _About | _Fault]:
    """What was asked for, and what it means or why it means nothing."""
    asked = Asked(*(ask.form.get(name, "").strip() for name in Asked._fields))
    brand = whole(asked.brand, BRAND_MAX)
    if not brand:
        return asked, _Fault("brand", f"The brand code must be a number from 1 to {BRAND_MAX}.")
    if asked.channel not in list(Channel):
        return asked, _Fault("channel", "The channel must be ARAMA, MESAJ or EPOSTA.")
    channel = Channel(asked.channel)
    canonical = canonical_email if channel is Channel.EPOSTA else canonical_msisdn
    recipient = canonical(asked.recipient.encode("utf-8", "replace"))
    if recipient is None:
        text = "It has no canonical form on this channel, so nothing can be recorded about it."
        return asked, _Fault("recipient", text)
    return asked, _About(brand, channel, recipient)


def _note(ask: Ask, about: _About, action: audit.Action) -> None:
    fingerprint = ask.desk.ledger.fingerprint(about.brand, about.channel, about.recipient).hex()
    ask.desk.admins.note(ask.now, ask.session.actor, action, f"brand {about.brand} {about.channel}", fingerprint)


def _found(ask: Ask, about: _About) -> _Found:
    ledger, recipient = ask.desk.ledger, about.recipient.decode()
    known = ask.desk.onboarding.brands.get(about.brand)
    events = history.events(ledger.engine, about.brand, about.channel, recipient, ADMIN_EVENTS_MAX + 1)
    return _Found(
        "" if known is None else known.title,
        recipient,
        history.standing(ledger.engine, ledger.fingerprint(about.brand, about.channel, about.recipient)),
        events[-ADMIN_EVENTS_MAX:],
        len(events) > ADMIN_EVENTS_MAX,
    )


def _page(ask: Ask, asked: Asked, told: str = "", found: _Found | None = None, fault: _Fault | None = None) -> Response:
    """The form, what was found, and beside its field what is wrong."""
    status, channels = 200 if fault is None else 422, list(Channel)
    values = {"asked": asked, "told": told, "found": found, "fault": fault, "channels": channels}
    return ask.page("consents", place=PLACE, status=status, **values)


ROUTES: Final = (
    Route("GET", "/consents", May.READ, ask_for_one),
    Route("POST", "/consents", May.READ, look_up),
    Route("POST", "/consents/refusal", May.DECIDE, refuse),
)
