"""GET …/consents/changes: the moves of the last seven days, oldest first, with a cursor (`change_pages`)."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from fastapi import FastAPI, Response

from registry.limits import API_CHANGES_MAX
from registry.national.change_pages import CURSOR, Asked, Changes, cursor_of
from registry.national.errors import answer, refused
from registry.national.moves import Side, described
from registry.national.openapi import MOMENT, RECIPIENT, RECIPIENT_TYPE, STATUS, TEXT, TRANSACTION, TYPE, listed, shape
from registry.national.routes import Call, Endpoint, add
from registry.national.state import Api

MOVE: Final = shape(
    {
        "creationDate": MOMENT,
        "recipient": RECIPIENT,
        "recipientType": RECIPIENT_TYPE,
        "status": STATUS,
        "type": TYPE,
        "transactionId": TRANSACTION,
    },
    consentDate=MOMENT,
    source=TEXT,
)
_TOLD = shape({"after": TEXT, "list": listed(MOVE, minItems=1, maxItems=API_CHANGES_MAX)})


def add_to(app: FastAPI, api: Api) -> None:
    """Serve the path."""
    endpoint = Endpoint(
        "GET",
        "/sps/{iysCode}/brands/{brandCode}/consents/changes",
        partial(_changes, api.rest.changes),
        "What changed in the last seven days",
        answer=_TOLD,
        query=("after", "limit", "source"),
        may_be_empty=True,
    )
    add(app, api, endpoint)


async def _changes(changes: Changes, call: Call) -> Response:
    asked = _asked(call)
    found = await call.api.in_thread(lambda: changes.page(asked))
    if not found:
        return Response(status_code=204)
    return answer({"after": cursor_of(found[-1]), "list": [described(one) for one in found]})


def _asked(call: Call) -> Asked:
    said: Any = call.request.query_params
    source = said.get("source", Side.IYS.value)
    if source not in list(Side):
        raise refused("H506", "source", value=source[:20])
    limit = said.get("limit", str(API_CHANGES_MAX))
    if not (limit.isascii() and limit.isdigit() and len(limit) < 5 and 1 <= int(limit) <= API_CHANGES_MAX):
        raise refused("H507", "limit", value=limit[:20])
    after = said.get("after", "")
    if after and CURSOR.fullmatch(after) is None:
        raise refused("H460", "after")
    return Asked(call.brand, Side(source), after, int(limit))
