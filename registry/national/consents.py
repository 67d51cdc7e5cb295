"""POST …/consents: one consent is added; under /v2 the same again is answered with the same transactionId."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import FastAPI, Response

from registry.limits import API_BODY_OCTETS_MAX
from registry.national.consent_body import Declared, read_consent, shown
from registry.national.errors import FIELD_OF, Fault, NationalError, answer, refused
from registry.national.openapi import CONSENT, MOMENT, TRANSACTION, shape
from registry.national.recorder import Addition
from registry.national.routes import Call, Endpoint, add
from registry.national.state import Api

PATH = "/sps/{iysCode}/brands/{brandCode}/consents"
_TOLD = shape({"transactionId": TRANSACTION, "creationDate": MOMENT})


def add_to(app: FastAPI, api: Api) -> None:
    """Serve both versions."""
    for prefix, handler in (("", add_one), ("/v2", add_one_v2)):
        summary = "Add one consent" + (", idempotent" if prefix else "")
        add(app, api, Endpoint("POST", prefix + PATH, handler, summary, True, API_BODY_OCTETS_MAX, CONSENT, _TOLD))


async def add_one(call: Call) -> Response:
    """The same again is refused (H178, H174)."""
    return await _add(call, repeatable=False)


async def add_one_v2(call: Call) -> Response:
    """The same again changes nothing and has the same answer."""
    return await _add(call, repeatable=True)


async def _add(call: Call, *, repeatable: bool) -> Response:
    api, body = call.api, call.body
    if not isinstance(body, dict):
        raise refused("H085")
    api.rulebook.turn()
    declared = read_consent(body, api.rulebook.of(call.brand))
    if isinstance(declared, Fault):
        raise NationalError(declared)
    added = await api.adding(addition_of(api, call.client.name, declared, repeatable=repeatable))
    if added.retailer:
        raise unknown_retailer(added.retailer, body.get("retailerCode"), body.get("retailerAccess", ()))
    if not added.taken:
        field = FIELD_OF.get(added.code)
        raise refused(added.code, value=shown(body.get(field)))
    return answer({"transactionId": added.transaction, "creationDate": added.created})


def unknown_retailer(retailer: int, taker: object, access: Sequence[object]) -> NationalError:
    """H180, with the place where the code stands."""
    where = ("retailerCode",) if retailer == taker else ("retailerAccess", access.index(retailer))
    return refused("H180", *where, value=retailer)


def addition_of(api: Api, client: str, declared: Declared, *, repeatable: bool) -> Addition:
    """What the recorder is to take."""
    move = declared.move
    fingerprint = api.ledger.fingerprint(move.brand, move.channel, move.recipient)
    return Addition(fingerprint, move, client, repeatable, declared.late, declared.retailer, declared.retailer_access)
