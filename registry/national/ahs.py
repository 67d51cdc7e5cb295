"""What the national system offers to intermediaries (AHS): whose brands there are, and whom not to send to.

Their API has a host of its own there and wants user and password with every request; ours takes a token too. The list
is the opposite of `…/status/…`: who is missing may be sent to. A consumer nobody knows of is on it, because the law
wants consent first; a merchant nobody knows of is not, unless that is chosen. A recipient that cannot be read is on it.
"""

from __future__ import annotations

from typing import Final

from fastapi import FastAPI, Response

from filters.model import RecipientType, Status
from registry.limits import API_LIST_OCTETS_MAX, API_RECIPIENTS_MAX
from registry.national.consent_body import shown
from registry.national.errors import answer, refused
from registry.national.openapi import CODE, RECIPIENT, TEXT, listed, shape
from registry.national.routes import Call, Endpoint, add
from registry.national.standing import Standing
from registry.national.state import Api
from registry.national.status import CHANNELS, TYPES, read_recipients
from registry.numbers import vkn_of

NOT_FOUND: Final = 404
_BRAND = shape({"brandCode": CODE, "name": TEXT, "iysCode": CODE, "title": TEXT})
_MANY = shape({"recipients": listed(RECIPIENT, minItems=1, maxItems=API_RECIPIENTS_MAX)})


def add_to(app: FastAPI, api: Api) -> None:
    """Serve both."""
    rejected = Endpoint(
        "POST",
        "/brands/{brandCode}/consents/{recipientType}/rejected/{type}",
        rejected_of_many,
        "Which of up to 1000 recipients must not be sent to",
        octets_max=API_LIST_OCTETS_MAX,
        body=_MANY,
        answer=shape({"list": listed(RECIPIENT)}),
        basic=True,
    )
    add(app, api, rejected)
    told = listed(_BRAND)
    add(app, api, Endpoint("GET", "/brands/{tin}", brands_of_tin, "Brands of a tax number", answer=told, basic=True))


async def rejected_of_many(call: Call) -> Response:
    """In the order and the spelling of the question."""
    channel = CHANNELS.get(call.part("type"))
    kind = TYPES.get(call.part("recipientType"))
    if channel is None:
        raise refused("H117", value=shown(call.part("type")))
    if kind is None:
        raise refused("H116", value=shown(call.part("recipientType")))
    recipients = read_recipients(call.body, channel)
    api, brand = call.api, call.brand
    keys = [(api.ledger.fingerprint(brand, channel, one), kind.value) for one in recipients if one is not None]
    found = iter(await api.in_thread(lambda: api.find(keys)))
    told = [
        text
        for text, one in zip(call.body["recipients"], recipients, strict=True)
        if one is None or _is_rejected(next(found), kind, api.unknown_merchants_rejected)
    ]
    return answer({"list": told})


def _is_rejected(standing: Standing | None, kind: RecipientType, unknown_merchant: bool) -> bool:
    if kind is RecipientType.BIREYSEL:
        return standing is None or standing.status is not Status.ONAY
    return unknown_merchant if standing is None else standing.status is Status.RET


async def brands_of_tin(call: Call) -> Response:
    """Those of the user's brands whose MERSİS number holds the tax number; 404 without any."""
    tin, api = call.part("tin"), call.api
    mine = (api.brands[code] for code in sorted(call.client.grants) if code in api.brands)
    told = [
        {"brandCode": brand.code, "name": brand.name, "iysCode": brand.iys_code, "title": brand.title}
        for brand in mine
        if vkn_of(brand.mersis) == tin
    ]
    if not told:
        raise refused("X440", "tin", status=NOT_FOUND)
    return answer(told)
