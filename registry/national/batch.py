"""POST …/consents/request: up to 1000 consents are accepted at once and recorded afterwards; GET …/request/{requestId}
tells what became of each.

What is wrong with an item by itself refuses the whole batch, with the item's index. What depends on what is recorded
(V1–V3, V7, V9, retailers) is that item's own failure: a rejection that the national system would not take is so not
lost among 999 others.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from fastapi import FastAPI, Response

from filters.model import Status
from registry.limits import API_BATCH_CONSENTS_MAX, API_LIST_OCTETS_MAX
from registry.national.batch_store import Batches, Item, Polled, item_of
from registry.national.consent_body import Declared, read_consent
from registry.national.errors import MESSAGES, Fault, NationalError, answer, refused
from registry.national.openapi import (
    CONSENT,
    COUNT,
    MOMENT,
    RECIPIENT,
    RECIPIENT_TYPE,
    STATUS,
    TEXT,
    TRANSACTION,
    TYPE,
    listed,
    shape,
)
from registry.national.routes import Call, Endpoint, add
from registry.national.state import Api
from registry.national.stored import OPEN, RECORDED
from registry.rules import turkey_time

PATH: Final = "/sps/{iysCode}/brands/{brandCode}/consents/request"
REQUEST_CHARACTERS_MAX: Final = 36
ACCEPTED: Final = 202
NOT_FOUND: Final = 404

_SUB_REQUEST = shape(
    {
        "type": TYPE,
        "recipient": RECIPIENT,
        "status": STATUS,
        "recipientType": RECIPIENT_TYPE,
        "subRequestId": TEXT,
        "creationDate": MOMENT,
    },
    source=TEXT,
    consentDate=MOMENT,
)
_TAKEN = shape({"requestId": TEXT, "subRequests": listed(_SUB_REQUEST)})
_ERROR = shape({"code": TEXT, "message": TEXT})
_SAID = {
    "requestId": TEXT,
    "transactionId": TRANSACTION,
    "creationDate": MOMENT,
    "error": _ERROR,
}
_STATE = {"type": "string", "enum": ["success", "failure", "enqueue"]}
_REQUIRED = {"index": COUNT, "status": _STATE, "subRequestId": TEXT}
_ORIGINAL = shape({"requestId": TEXT, "subRequestId": TEXT})
_POLLED = listed(shape(_REQUIRED, **_SAID))
_POLLED_V2 = listed(shape(_REQUIRED, **_SAID, isAddConsentV2Service=TEXT, originalRequestInformation=_ORIGINAL))


def add_to(app: FastAPI, api: Api) -> None:
    """Serve both versions of both methods."""
    batches = api.rest.batches
    for prefix in ("", "/v2"):
        v2 = bool(prefix)
        post = Endpoint(
            "POST",
            prefix + PATH,
            partial(_accept, batches, v2),
            "Add up to 1000 consents" + (", idempotent" if v2 else ""),
            write=True,
            octets_max=API_LIST_OCTETS_MAX,
            body=listed(CONSENT, minItems=1, maxItems=API_BATCH_CONSENTS_MAX),
            answer=_TAKEN,
            status=ACCEPTED,
        )
        get = Endpoint(
            "GET",
            f"{prefix}{PATH}/{{requestId}}",
            partial(_tell, batches, v2),
            "What became of a batch; empty: not finished yet",
            answer=_POLLED_V2 if v2 else _POLLED,
        )
        add(app, api, post)
        add(app, api, get)


async def _accept(batches: Batches, v2: bool, call: Call) -> Response:
    items = read_batch(call)
    brand, client = call.brand, call.client.name
    request = await call.api.in_thread(lambda: batches.accept(brand, client, items, repeatable=v2))
    created = turkey_time(call.api.clock())
    told = {"requestId": request, "subRequests": [_accepted(item, created) for item in items]}
    return answer(told, ACCEPTED)


def read_batch(call: Call) -> list[Item]:
    """The items of a body. Raises NationalError with all that is wrong with them."""
    body = call.body
    if not isinstance(body, list) or not body:
        raise refused("H092")
    if len(body) > API_BATCH_CONSENTS_MAX:
        raise refused("H125")
    call.api.rulebook.turn()
    rules = call.api.rulebook.of(call.brand)
    items: list[Item] = []
    faults: list[Fault] = []
    seen: set[tuple[str, str, str]] = set()
    for index, said in enumerate(body):
        if not isinstance(said, dict):
            raise refused("H092", index=index)
        declared = read_consent(said, rules, index)
        if isinstance(declared, Fault):
            faults.append(declared)
            continue
        item = _item(declared)
        key = item.recipient, item.channel.value, item.recipient_type.value
        if key in seen:
            faults.append(Fault("H194", ("recipient",), item.recipient, index))
        seen.add(key)
        items.append(item)
    if faults:
        raise NationalError(*faults)
    return items


def _item(declared: Declared) -> Item:
    return item_of(declared.move, declared.late, declared.retailer, declared.retailer_access)


def _accepted(item: Item, created: str) -> dict[str, Any]:
    told = {
        "type": item.channel,
        "source": item.source,
        "recipient": item.recipient,
        "status": item.status,
        "consentDate": item.consent_date,
        "recipientType": item.recipient_type,
        "subRequestId": item.sub_request,
        "creationDate": created,
    }
    return {name: value for name, value in told.items() if value}


async def _tell(batches: Batches, v2: bool, call: Call) -> Response:
    request = call.part("requestId")
    if len(request) > REQUEST_CHARACTERS_MAX:
        raise refused("H198", "requestId")
    if request.isalpha():
        raise refused("H199", "requestId")
    if request.isdigit():
        raise refused("H400", "requestId")
    said = request.isascii() and request.isprintable()
    polled = await call.api.in_thread(lambda: batches.find(call.brand, request)) if said else None
    if polled is None:
        raise refused("X440", "requestId", status=NOT_FOUND)
    return answer(described(polled, v2=v2))


def described(polled: Polled, *, v2: bool) -> list[dict[str, Any]]:
    """One entry for each item, in their order; nothing while the batch is open."""
    if polled.state == OPEN:
        return []
    told: list[dict[str, Any]] = []
    for index, (item, result) in enumerate(zip(polled.items, polled.results, strict=True)):
        entry: dict[str, Any] = {"index": index, "subRequestId": item.sub_request, "requestId": polled.request}
        if polled.state == RECORDED and item.status is Status.RET:  # not before no message passes (promise I5)
            entry["status"] = "enqueue"
        elif result.code:
            entry |= {"status": "failure", "error": {"code": result.code, "message": MESSAGES[result.code]}}
        else:
            entry |= {"status": "success", "transactionId": result.transaction, "creationDate": result.created}
        if v2:
            entry["isAddConsentV2Service"] = "true" if polled.repeatable else "false"
            if result.first is not None and entry["status"] == "success":
                entry["originalRequestInformation"] = dict(
                    zip(("requestId", "subRequestId"), result.first, strict=True)
                )
        told.append(entry)
    return told
