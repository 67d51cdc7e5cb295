"""POST …/consents/history: all that was ever recorded about one recipient, the newest consentDate first.

Also what the national system would not take: it is what the status shows.
"""

from __future__ import annotations

from typing import Any, Final

from fastapi import FastAPI, Response
from sqlalchemy import Engine, func, select

from filters.model import Channel, RecipientType
from registry.limits import API_BODY_OCTETS_MAX, API_PAGE_MAX
from registry.national.changes import MOVE
from registry.national.errors import answer, refused
from registry.national.moves import Moved, described, moved, rows_of
from registry.national.openapi import COUNT, RECIPIENT, RECIPIENT_TYPE, TYPE, listed, shape
from registry.national.routes import Call, Endpoint, add
from registry.national.state import Api
from registry.national.status import read_query
from registry.schema import consent_event

OFFSET_DIGITS_MAX: Final = 9
PAGINATION: Final = shape({"totalCount": COUNT, "pageSize": COUNT, "offset": COUNT})
_ASKED = shape({"recipient": RECIPIENT, "type": TYPE, "recipientType": RECIPIENT_TYPE})
_TOLD = shape({"list": listed(MOVE), "pagination": PAGINATION})


def add_to(app: FastAPI, api: Api) -> None:
    """Serve the path."""
    endpoint = Endpoint(
        "POST",
        "/sps/{iysCode}/brands/{brandCode}/consents/history",
        history,
        "What was ever recorded about one recipient",
        octets_max=API_BODY_OCTETS_MAX,
        body=_ASKED,
        answer=_TOLD,
        query=("limit", "offset"),
        quota=lambda shared: shared.turnstile.history,
    )
    add(app, api, endpoint)


async def history(call: Call) -> Response:
    """An empty list for whom nothing is recorded about."""
    offset, limit = paging(call)
    channel, kind, recipient = read_query(call.body)
    engine, brand = call.api.ledger.engine, call.brand
    total, found = await call.api.in_thread(lambda: events_of(engine, brand, channel, recipient, kind, offset, limit))
    pagination = {"totalCount": total, "pageSize": limit, "offset": offset}
    return answer({"list": [described(one) for one in found], "pagination": pagination})


def events_of(
    engine: Engine, brand: int, channel: Channel, recipient: bytes, kind: RecipientType, offset: int, limit: int
) -> tuple[int, list[Moved]]:
    """(how many there are, those of one page). Blocks."""
    at = consent_event.c
    whose = (at.recipient == recipient.decode(), at.brand == brand)
    here = (*whose, at.channel == channel.value, at.recipient_type == kind.value)
    with engine.connect() as connection:
        found = rows_of().where(*here)
        total = connection.execute(select(func.count()).select_from(found.subquery())).scalar_one()
        query = found.order_by(at.consent_date.desc(), at.seq.desc())
        return total, [moved(row) for row in connection.execute(query.offset(offset).limit(limit))]


def paging(call: Call) -> tuple[int, int]:
    """(offset, limit) of the query, 0 and API_PAGE_MAX by default. Raises NationalError."""
    said: Any = call.request.query_params
    offset, limit = said.get("offset", "0"), said.get("limit", str(API_PAGE_MAX))
    if not (offset.isascii() and offset.isdigit() and len(offset) <= OFFSET_DIGITS_MAX):
        raise refused("H182", "offset", value=offset[:20])
    if not (limit.isascii() and limit.isdigit()):
        raise refused("H183", "limit", value=limit[:20])
    if not limit.strip("0"):
        raise refused("H187", "limit", value=limit[:20])
    if len(limit) > OFFSET_DIGITS_MAX or int(limit) > API_PAGE_MAX:
        raise refused("H186", "limit", value=limit[:20])
    return int(offset), int(limit)
