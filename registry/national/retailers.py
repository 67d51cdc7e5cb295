"""POST and GET …/retailers, GET and DELETE …/retailers/{retailerCode}: dealers that take or use consents of a brand."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from fastapi import FastAPI, Response
from fastapi.responses import PlainTextResponse

from filters.address import canonical_msisdn
from registry.limits import API_BODY_OCTETS_MAX, API_RETAILER_CHARACTERS_MAX
from registry.national.consent_body import shown
from registry.national.errors import Fault, NationalError, answer, refused
from registry.national.history import paging
from registry.national.openapi import CODE, COUNT, TEXT, listed, shape
from registry.national.retailer_store import Details, Repeated, Retailer, RetailerStore, TooManyRetailers
from registry.national.routes import Call, Endpoint, add
from registry.national.state import Api
from registry.numbers import MERSIS_DIGITS, TCKN_DIGITS, VKN_DIGITS, is_mersis, is_tckn, is_vkn

PATH: Final = "/sps/{iysCode}/brands/{brandCode}/retailers"
FIELDS: Final = ("title", "name", "tckn", "tin", "city", "town", "mersis", "alias", "mobile", "status")
STATES: Final = ("active", "passive", "suspended")
CREATED: Final = 201
_MISSING: Final = {"title": "H214", "name": "H215", "tckn": "H216", "tin": "H288", "city": "H217", "town": "H220"}
_PLACES: Final = {"city": ("H218", "H219"), "town": ("H221", "H222")}
_SHORT: Final = ("title", "city", "status")

_PLACE = shape({"code": TEXT, "name": TEXT})
_STATE = {"type": "string", "enum": list(STATES)}
_GIVEN = {"title": TEXT, "name": TEXT, "tckn": TEXT, "tin": TEXT, "city": _PLACE, "town": _PLACE}
_OPTIONAL = {"mersis": TEXT, "alias": TEXT, "mobile": TEXT, "status": _STATE}
_ASKED = shape(_GIVEN, **_OPTIONAL)
_COUNTED = {"retailerCode": CODE, "retailerAccessCount": COUNT}
_ONE = shape({**_GIVEN, "status": _STATE, **_COUNTED}, mersis=TEXT, alias=TEXT, mobile=TEXT)
_LISTED = shape({"title": TEXT, "city": _PLACE, "status": _STATE, **_COUNTED}, **_GIVEN, **_OPTIONAL)
_PAGES = shape({"offset": COUNT, "pageSize": COUNT, "totalCount": COUNT, "currentPage": COUNT})


def add_to(app: FastAPI, api: Api) -> None:
    """Serve all four."""
    store = api.rest.retailers
    one = f"{PATH}/{{retailerCode}}"
    made = shape({"retailerCode": CODE})
    octets, new = API_BODY_OCTETS_MAX, partial(_add, store)
    for endpoint in (
        Endpoint("POST", PATH, new, "A new retailer", True, octets, _ASKED, made, CREATED),
        Endpoint(
            "GET",
            PATH,
            partial(_list, store),
            "The brand's retailers",
            answer=shape({"list": listed(_LISTED), "pagination": _PAGES}),
            query=("offset", "limit", "all", "short"),
        ),
        Endpoint("GET", one, partial(_one, store), "A retailer", answer=_ONE),
        Endpoint("DELETE", one, partial(_remove, store), "Remove a retailer", write=True, media="text/plain"),
    ):
        add(app, api, endpoint)


async def _add(store: RetailerStore, call: Call) -> Response:
    details = read_details(call.body)
    brand, client, now = call.brand, call.client.name, call.api.clock()
    try:
        code = await call.api.in_thread(lambda: store.add(brand, details, client, now))
    except TooManyRetailers:
        raise refused("X432") from None
    except Repeated as repeated:
        raise refused(repeated.code, status=400) from None
    return answer({"retailerCode": code}, CREATED)


async def _list(store: RetailerStore, call: Call) -> Response:
    offset, limit = paging(call)
    everything, short = _flag(call, "all", "H184"), _flag(call, "short", "H185")
    size = None if everything else limit
    page = await call.api.in_thread(lambda: store.page(call.brand, 0 if everything else offset, size))
    told = [described(one, short=short) for one in page.retailers]
    pages = {
        "offset": 0 if everything else offset,
        "pageSize": len(told) if everything else limit,
        "totalCount": page.total,
        "currentPage": 1 if everything else offset // limit + 1,
    }
    return answer({"list": told, "pagination": pages})


async def _one(store: RetailerStore, call: Call) -> Response:
    code = _code(call)
    found = await call.api.in_thread(lambda: store.one(call.brand, code))
    if found is None:
        raise refused("H058", "retailerCode", value=code)
    return answer(described(found))


async def _remove(store: RetailerStore, call: Call) -> Response:
    code, now = _code(call), call.api.clock()
    if not await call.api.in_thread(lambda: store.remove(call.brand, code, call.client.name, now)):
        raise refused("H058", "retailerCode", value=code)
    return PlainTextResponse("Başarı", headers={"cache-control": "no-store"})


def described(one: Retailer, *, short: bool = False) -> dict[str, Any]:
    """As it came, with its code and how many consents it may use."""
    details = {name: value for name, value in one.details.items() if not short or name in _SHORT}
    return {**details, "retailerCode": one.code, "retailerAccessCount": one.access}


def read_details(said: Any) -> Details:
    """From the JSON object. Raises NationalError."""
    if not isinstance(said, dict):
        raise refused("H090")
    for name in said:
        if name not in FIELDS:
            raise refused("H118", shown(name), value=shown(said[name]))
    for name, code in _MISSING.items():
        if said.get(name) in (None, ""):
            raise refused(code, name)
    details: Details = {}
    for name, value in said.items():
        details[name] = _place(name, value) if name in _PLACES else _text(name, value)
    _check_numbers(details)
    if details.setdefault("status", STATES[0]) not in STATES:
        raise refused("H201", "status", value=details["status"])
    return details


def _check_numbers(details: Details) -> None:
    tckn, tin, mersis = details["tckn"], details["tin"], details.get("mersis")
    if len(tckn) != TCKN_DIGITS:
        raise NationalError(Fault("H226", ("tckn",), tckn, message="tckn must have 11 characters"))
    if not is_tckn(tckn):
        raise NationalError(Fault("H225", ("tckn",), tckn, message="tckn is invalid"))
    if (mobile := details.get("mobile")) is not None and not _is_e164(mobile):
        raise refused("H224", "mobile", value=mobile)
    if len(tin) not in (VKN_DIGITS, TCKN_DIGITS):
        raise refused("H244", "tin")
    if not (is_vkn(tin) or is_tckn(tin)):
        raise refused("H243", "tin")
    if mersis is not None and len(mersis) != MERSIS_DIGITS:
        raise refused("H228", "mersis")
    if mersis is not None and not is_mersis(mersis):
        raise refused("H227", "mersis")


def _is_e164(text: str) -> bool:
    return canonical_msisdn(raw := text.encode("utf-8", "replace")) == raw


def _place(name: str, value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        raise refused("H090", name)
    for part, code in zip(("code", "name"), _PLACES[name], strict=True):
        if value.get(part) in (None, ""):
            raise refused(code, name, part)
    if value.keys() != {"code", "name"}:
        raise refused("H118", name)
    return {part: _text(name, value[part]) for part in ("code", "name")}


def _text(name: str, value: Any) -> str:
    """Numbers are written as such in some of the national system's examples."""
    text = str(value) if type(value) is int and 0 <= value < 1 << 63 else value
    if not isinstance(text, str) or not text:
        raise refused("H090", name)
    if len(text) > API_RETAILER_CHARACTERS_MAX or not text.isprintable():
        raise refused("H229", name)
    return text


def _flag(call: Call, name: str, code: str) -> bool:
    said = str(call.request.query_params.get(name, "false")).lower()
    if said not in ("true", "false", "1", "0"):
        raise refused(code, name, value=said[:20])
    return said in ("true", "1")


def _code(call: Call) -> int:
    said = call.part("retailerCode")
    if not (said.isascii() and said.isdigit() and len(said) <= 10):
        raise refused("H058", "retailerCode", value=shown(said))
    return int(said)
