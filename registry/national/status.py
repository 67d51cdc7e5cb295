"""What is recorded about one recipient, and which of many have an ONAY."""

from __future__ import annotations

from typing import Any, Final
from uuid import uuid4

from fastapi import FastAPI, Response

from filters.model import Channel, RecipientType, Status
from registry.ledger import transaction_id
from registry.limits import API_BODY_OCTETS_MAX, API_LIST_OCTETS_MAX, API_RECIPIENTS_MAX
from registry.national.consent_body import shown
from registry.national.errors import answer, refused
from registry.national.openapi import (
    COUNT,
    MOMENT,
    RECIPIENT,
    RECIPIENT_TYPE,
    TEXT,
    TRANSACTION,
    TYPE,
    listed,
    shape,
)
from registry.national.retailer_store import Target
from registry.national.routes import Call, Endpoint, add
from registry.national.standing import Standing
from registry.national.state import Api
from registry.rules import Move, recipient_of

BASE: Final = "/sps/{iysCode}/brands/{brandCode}/consents"
FIELDS: Final = ("recipient", "type", "recipientType")
CHANNELS: Final = {channel.value: channel for channel in Channel}
TYPES: Final = {kind.value: kind for kind in RecipientType}
NOT_FOUND: Final = 404

_ASKED = shape({"recipient": RECIPIENT, "type": TYPE, "recipientType": RECIPIENT_TYPE})
_TOLD = shape(
    {
        "recipient": RECIPIENT,
        "type": TYPE,
        "recipientType": RECIPIENT_TYPE,
        "status": {"type": "string", "enum": [one.value for one in Status]},
        "creationDate": MOMENT,
        "transactionId": TRANSACTION,
        "retailerAccessCount": COUNT,
    },
    consentDate=MOMENT,
    source=TEXT,
    retailerCode=COUNT,
    retailerTitle=TEXT,
)
_MANY = shape({"recipients": listed(RECIPIENT, minItems=1, maxItems=API_RECIPIENTS_MAX)})
_ALLOWED = shape({"requestId": TEXT, "list": listed(RECIPIENT)})


def add_to(app: FastAPI, api: Api) -> None:
    """Serve both."""
    one = Endpoint(
        "POST",
        f"{BASE}/status",
        status_of_one,
        "The consent of one recipient",
        octets_max=API_BODY_OCTETS_MAX,
        body=_ASKED,
        answer=_TOLD,
        quota=lambda shared: shared.turnstile.status,
    )
    many = Endpoint(
        "POST",
        f"{BASE}/{{recipientType}}/status/{{type}}",
        status_of_many,
        "Which of up to 1000 recipients have an ONAY",
        octets_max=API_LIST_OCTETS_MAX,
        body=_MANY,
        answer=_ALLOWED,
    )
    add(app, api, one)
    add(app, api, many)


async def status_of_one(call: Call) -> Response:
    """404 (H401) where nothing is recorded."""
    channel, kind, recipient = read_query(call.body)
    standing = await call.api.finding((call.api.ledger.fingerprint(call.brand, channel, recipient), kind.value))
    if standing is None:
        raise refused("H401", "recipient", status=NOT_FOUND)
    told = described(call.brand, channel, recipient, kind, standing)
    retailers = call.api.rest.retailers
    if retailers.may_tell():
        target = Target(call.brand, channel, recipient, kind)
        told |= (await call.api.marking((target, standing.seq))).told
    return answer(told)


async def status_of_many(call: Call) -> Response:
    """Those in ONAY, each once, in the order of the question and in canonical spelling."""
    channel = CHANNELS.get(call.part("type"))
    kind = TYPES.get(call.part("recipientType"))
    if channel is None:
        raise refused("H117", value=shown(call.part("type")))
    if kind is None:
        raise refused("H116", value=shown(call.part("recipientType")))
    recipients = read_recipients(call.body, channel)
    fingerprint, brand = call.api.ledger.fingerprint, call.brand
    known = [one for one in recipients if one is not None]
    keys = [(fingerprint(brand, channel, one), kind.value) for one in known]
    found = await call.api.in_thread(lambda: call.api.find(keys))
    pairs = zip(known, found, strict=True)
    allowed = [one.decode() for one, standing in pairs if standing and standing.status is Status.ONAY]
    return answer({"requestId": str(uuid4()), "list": allowed})


def read_query(body: Any) -> tuple[Channel, RecipientType, bytes]:
    """Channel, type and canonical recipient of `{recipient, type, recipientType}`. Raises NationalError."""
    if not isinstance(body, dict):
        raise refused("H097")
    for name in body:
        if name not in FIELDS:
            raise refused("H118", shown(name), value=shown(body[name]))
    said = {name: body.get(name) for name in FIELDS}
    for name, code in zip(FIELDS, ("H114", "H111", "H170"), strict=True):
        if said[name] is None or said[name] == "":
            raise refused(code)
    channel = CHANNELS.get(said["type"]) if isinstance(said["type"], str) else None
    kind = TYPES.get(said["recipientType"]) if isinstance(said["recipientType"], str) else None
    if channel is None:
        raise refused("H117", value=shown(said["type"]))
    if kind is None:
        raise refused("H116", value=shown(said["recipientType"]))
    if not isinstance(said["recipient"], str):
        raise refused("H122", value=shown(said["recipient"]))
    recipient = recipient_of(channel, said["recipient"].encode("utf-8", "replace"), strict=True)
    if isinstance(recipient, str):
        raise refused("H166" if recipient == "H160" else recipient, value=shown(said["recipient"]))
    return channel, kind, recipient


def read_recipients(body: Any, channel: Channel) -> list[bytes | None]:
    """Canonical recipients; None: nobody can have a consent under this spelling. Raises NationalError."""
    if not isinstance(body, dict):
        raise refused("H097")
    for name in body:
        if name != "recipients":
            raise refused("H118", shown(name), value=shown(body[name]))
    if "recipients" not in body:
        raise refused("H168")
    said = body["recipients"]
    if not isinstance(said, list) or not all(type(one) is str for one in said):
        raise refused("H478")
    if not said:
        raise refused("H164", value=[])
    if len(said) > API_RECIPIENTS_MAX:
        raise refused("H091", "recipients")
    found: list[bytes | None] = []
    seen: set[str | bytes] = set()
    for index, text in enumerate(said):
        recipient = recipient_of(channel, text.encode("utf-8", "replace"), strict=True)
        if recipient == "H464":
            raise refused("H464", "recipients", index, value=shown(text))
        known = recipient if isinstance(recipient, bytes) else None
        if (key := known or text) in seen:
            raise refused("H193", "recipients", index, value=shown(text))
        seen.add(key)
        found.append(known)
    return found


def described(
    brand: int, channel: Channel, recipient: bytes, kind: RecipientType, standing: Standing
) -> dict[str, Any]:
    """The object that says it; what is not known is left out."""
    date, said, source = standing.consent
    move = Move(brand, channel, recipient, kind, said, source, date)
    told = {
        "consentDate": date,
        "source": source,
        "recipient": recipient.decode(),
        "recipientType": kind.value,
        "status": standing.status.value,
        "type": channel.value,
        "creationDate": standing.created,
        "retailerAccessCount": 0,
        "transactionId": transaction_id(move).hex(),
    }
    return {name: value for name, value in told.items() if value != ""}
