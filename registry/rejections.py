"""Rejections that reach the gateway itself, as a citizen's answer to an SMS does: it hands them in here.

The request is `filters.handover`'s, with the secret of keys/internal.key. 200: recorded for all of these brands and out
of the index, so no message passes any more (promise I5). Repeating it is harmless. 503: not certain; come again. 400,
401, 408, 413: as ever. A proxy in front of the citizen page need not pass this path on.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from sqlalchemy.exc import SQLAlchemyError

from filters.address import canonical_email, canonical_msisdn
from filters.handover import BRANDS_MAX, PATH, bearer
from filters.link import BRAND_MAX
from filters.model import Channel, RecipientType, Status
from registry.append import Entry, Key
from registry.evidence import actors
from registry.forms import BodyFault, read_body
from registry.index.interface import IndexDown
from registry.ledger import Ledger
from registry.limits import RETRY_SECONDS
from registry.publish import Publisher
from registry.rules import HS_SOURCES, Move

ORIGIN: Final = "sms"
CALLER: Final = "call"  # a citizen told an operator (`registry.admins.consents`)

InThread = Callable[[Callable[[], None]], Awaitable[None]]


class Refusal(NamedTuple):
    """Who refuses whom, on which channel; `source` is the national system's word for how that became known."""

    brands: Sequence[int]
    channel: Channel
    recipient: bytes  # canonical
    source: str


def record(ledger: Ledger, publisher: Publisher, refusal: Refusal, origin: str, actor: str) -> None:
    """Record a RET and remove it from the index; returns when both are done. Raises SQLAlchemyError or IndexDown.

    It counts for both recipient types: the citizen refuses a sender and a channel, and knows nothing of the list that
    the sender keeps them in. That the national system would not take a RET as a first record (V1) binds declarations to
    it, not us. A RET that stands already stays as it is, and is published again: the index may have missed it.
    """
    brands, channel, recipient, source = refusal
    entries: list[Entry] = []
    keys: list[Key] = []
    for brand in brands:
        fingerprint = ledger.fingerprint(brand, channel, recipient)
        for kind in RecipientType:
            entries.append((fingerprint, Move(brand, channel, recipient, kind, Status.RET, source, "")))
            keys.append((fingerprint, kind))
    ledger.record(entries, origin=origin, now=datetime.now(UTC), actor=actor)
    publisher.publish_now(keys)


def add_to(app: FastAPI, ledger: Ledger, publisher: Publisher, in_thread: InThread, secret: bytes) -> None:
    """Serve `PATH` to whoever knows the secret."""
    expected = bearer(secret).encode()

    async def take(request: Request) -> Response:
        """Nothing is read of whoever does not know the secret."""
        said = request.headers.get("authorization", "").encode("latin-1", "replace")
        if not hmac.compare_digest(said, expected):
            return _answer(401, "the secret of keys/internal.key is wanted", {"www-authenticate": "Bearer"})
        try:
            refusal = parse(await read_body(request))
        except BodyFault as fault:
            return _answer(fault.status, "the body is too long, too late or cut off", {"connection": "close"})
        except ValueError as fault:
            return _answer(400, str(fault))
        try:
            await in_thread(lambda: record(ledger, publisher, refusal, ORIGIN, actors.HANDSET))
        except (IndexDown, SQLAlchemyError) as fault:
            return _answer(503, f"not certain yet: {type(fault).__name__}", {"retry-after": str(RETRY_SECONDS)})
        return _answer(200, "recorded")

    app.add_api_route(PATH, take, methods=["POST"], response_model=None)


def parse(body: bytes) -> Refusal:
    """Raises ValueError, in words that name a field and repeat nothing of the body."""
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        raise ValueError("not JSON") from None
    if not isinstance(said, dict) or said.keys() != {"brands", "channel", "recipient", "source"}:
        raise ValueError("an object with brands, channel, recipient and source is wanted")
    brands, channel, recipient, source = said["brands"], said["channel"], said["recipient"], said["source"]
    if not isinstance(brands, list) or not 0 < len(brands) <= BRANDS_MAX or not all(map(_is_brand, brands)):
        raise ValueError(f"brands: 1 to {BRANDS_MAX} İYS brand codes")
    if channel not in list(Channel):
        raise ValueError("channel: ARAMA, MESAJ or EPOSTA")
    raw = recipient.encode("utf-8", "replace") if isinstance(recipient, str) else b""
    canonical = canonical_email if channel == Channel.EPOSTA else canonical_msisdn
    if not raw or canonical(raw) != raw:
        raise ValueError("recipient: not in canonical form")
    if not isinstance(source, str) or source not in HS_SOURCES:
        raise ValueError("source: none that a provider may set")
    return Refusal(sorted(set(brands)), Channel(channel), raw, source)


def _is_brand(code: object) -> bool:
    return type(code) is int and 0 < code <= BRAND_MAX


def _answer(status: int, text: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"result": text}, status, {"cache-control": "no-store", **(headers or {})})
