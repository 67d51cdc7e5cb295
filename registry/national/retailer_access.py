"""…/consents/retailers/access: which retailers may use a consent: added, replaced, listed, removed.

The national system's texts write the path with `consent` and with `consents`; both are served.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Final, NamedTuple
from uuid import uuid4

from fastapi import FastAPI, Response

from registry.limits import API_BODY_OCTETS_MAX, API_PAGE_MAX
from registry.national.consent_body import is_retailer_code, shown
from registry.national.errors import answer, refused
from registry.national.history import PAGINATION, paging
from registry.national.openapi import CODE, MOMENT, RECIPIENT, RECIPIENT_TYPE, TEXT, TYPE, Schema, listed, shape
from registry.national.retailer_store import Actor, RetailerStore, Target, UnknownConsents, UnknownRetailers
from registry.national.retailers import described
from registry.national.routes import CODE_DIGITS_MAX, Call, Endpoint, add
from registry.national.state import Api
from registry.national.status import CHANNELS, TYPES, read_query
from registry.rules import recipient_of, turkey_time

_BRAND: Final = "/sps/{iysCode}/brands/{brandCode}"
BASES: Final = (f"{_BRAND}/consents/retailers/access", f"{_BRAND}/consent/retailers/access")
ACCEPTED: Final = 202

_CODES = listed(CODE, minItems=1, maxItems=API_PAGE_MAX)
_MANY = listed(RECIPIENT, minItems=1, maxItems=API_PAGE_MAX)
_KEY = {"type": TYPE, "recipientType": RECIPIENT_TYPE}
_ALL = shape({**_KEY, "recipients": _MANY})
_PARTLY = shape({**_KEY, "recipients": _MANY, "retailerAccess": _CODES})
_ONE = shape({**_KEY, "retailerAccess": _CODES}, recipient=RECIPIENT, recipients=_MANY)
_DONE = shape({"transactionId": TEXT, "creationDate": MOMENT})
_LISTED: Schema = shape({"list": {"type": "array", "items": {"type": "object"}}, "pagination": PAGINATION})


class Change(NamedTuple):
    """One way to change access."""

    code: str  # of a body that is malformed
    grant: bool
    keep: bool  # what was granted before
    everything: bool  # no codes are said


ADD: Final = Change("H171", grant=True, keep=True, everything=False)
REPLACE: Final = Change("H171", grant=True, keep=False, everything=False)
REMOVE: Final = Change("H172", grant=False, keep=True, everything=False)
REMOVE_ALL: Final = Change("H172", grant=False, keep=False, everything=True)


def add_to(app: FastAPI, api: Api) -> None:
    """Serve all five, under both spellings."""
    store = api.rest.retailers
    for base in BASES:
        for method, path, change, body, status, summary in (
            ("POST", base, ADD, _ONE, 200, "Let retailers use consents"),
            ("PUT", base, REPLACE, _PARTLY, ACCEPTED, "Let these retailers alone use consents"),
            ("POST", f"{base}/remove", REMOVE, _PARTLY, ACCEPTED, "Let retailers use consents no more"),
            ("POST", f"{base}/remove/all", REMOVE_ALL, _ALL, ACCEPTED, "Let no retailer use consents"),
        ):
            handler = partial(_change, store, change, status)
            add(app, api, Endpoint(method, path, handler, summary, True, API_BODY_OCTETS_MAX, body, _DONE, status))
        listing = Endpoint(
            "POST",
            f"{base}/list",
            partial(_list, store),
            "Who may use a consent",
            octets_max=API_BODY_OCTETS_MAX,
            body=shape({**_KEY, "recipient": RECIPIENT}),
            answer=_LISTED,
            query=("offset", "limit"),
        )
        add(app, api, listing)


async def _change(store: RetailerStore, change: Change, status: int, call: Call) -> Response:
    targets, codes = read_change(call, change)
    ledger = call.api.ledger
    by = Actor(call.client.name, call.api.clock())
    work = partial(store.change, ledger, targets, codes, by, keep=change.keep, grant=change.grant)
    try:
        await call.api.in_thread(work)
    except UnknownRetailers as unknown:
        place = list(map(_code_of, call.body["retailerAccess"])).index(unknown.first)
        raise refused("H180", "retailerAccess", place, value=unknown.first) from None
    except UnknownConsents as unknown:
        raise refused("H401", "recipients", value=targets[unknown.first].recipient.decode()) from None
    return answer({"transactionId": str(uuid4()), "creationDate": turkey_time(call.api.clock())}, status)


async def _list(store: RetailerStore, call: Call) -> Response:
    offset, limit = paging(call)
    if not isinstance(call.body, dict):
        raise refused("H173")
    channel, kind, recipient = read_query(call.body)
    page = await call.api.in_thread(lambda: store.using(Target(call.brand, channel, recipient, kind), offset, limit))
    told = [described(one) for one in page.retailers]
    for one in told:
        del one["retailerAccessCount"]
    return answer({"list": told, "pagination": {"offset": offset, "pageSize": limit, "totalCount": page.total}})


def read_change(call: Call, change: Change) -> tuple[list[Target], list[int]]:
    """(consents, retailer codes) of a body. Raises NationalError."""
    said = call.body
    if not isinstance(said, dict):
        raise refused(change.code)
    allowed = ("type", "recipientType", "recipients", "recipient", *(() if change.everything else ("retailerAccess",)))
    for name in said:
        if name not in allowed:
            raise refused("H118", shown(name), value=shown(said[name]))
    codes = [] if change.everything else _codes(said)
    for name, code in (("type", "H111"), ("recipientType", "H170")):
        if said.get(name) in (None, ""):
            raise refused(code)
    channel = CHANNELS.get(said["type"]) if isinstance(said["type"], str) else None
    kind = TYPES.get(said["recipientType"]) if isinstance(said["recipientType"], str) else None
    if channel is None:
        raise refused("H117", value=shown(said["type"]))
    if kind is None:
        raise refused("H116", value=shown(said["recipientType"]))
    targets: list[Target] = []
    for index, text in enumerate(_recipients(said)):
        recipient = recipient_of(channel, text.encode("utf-8", "replace"), strict=True)
        if isinstance(recipient, str):
            where = ("recipients", index) if "recipients" in said else ("recipient",)
            raise refused(recipient, *where, value=shown(text))
        targets.append(Target(call.brand, channel, recipient, kind))
    return list(dict.fromkeys(targets)), codes


def _recipients(said: dict[str, Any]) -> list[str]:
    """Of one or of several."""
    if ("recipient" in said) == ("recipients" in said):
        raise refused("H168")
    found = said["recipients"] if "recipients" in said else [said["recipient"]]
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise refused("H478")
    if not found:
        raise refused("H164", value=[])
    if len(found) > API_PAGE_MAX:
        raise refused("H127", "recipients")
    return found


def _codes(said: dict[str, Any]) -> list[int]:
    codes = said.get("retailerAccess")
    if codes is None:
        raise refused("H169", "retailerAccess")
    if not isinstance(codes, list) or not all(map(is_retailer_code, map(_code_of, codes))):
        raise refused("H460", "retailerAccess")
    if not codes:
        raise refused("H163", "retailerAccess", value=[])
    if len(codes) > API_PAGE_MAX:
        raise refused("H126", "retailerAccess")
    return list(dict.fromkeys(map(_code_of, codes)))


def _code_of(said: Any) -> Any:
    """The national system's own description has the codes of a removal as texts, its examples as numbers."""
    is_number = isinstance(said, str) and said.isascii() and said.isdigit() and len(said) <= CODE_DIGITS_MAX
    return int(said) if is_number else said
