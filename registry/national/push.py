"""POST and GET …/push/registration, POST …/push/unregistration: who is told of citizens' moves as they happen.

A receiver is taken when it answers a fixed test record within five seconds with a status of 200 to 299; it must drop
that record. Then it gets what is recorded from there on, see `registry.national.push_delivery`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, NamedTuple

from fastapi import FastAPI, Response

from filters.model import Channel
from registry.limits import API_BODY_OCTETS_MAX, PUSH_CONNECTIONS_MAX, PUSH_CREDENTIAL_CHARACTERS_MAX
from registry.national.consent_body import shown
from registry.national.errors import Fault, NationalError, answer, refused
from registry.national.openapi import MOMENT, TEXT, TYPE, listed, shape
from registry.national.outward import BadUrl, Outward, TooSlow, Unreachable, read_url
from registry.national.push_delivery import OK, payload
from registry.national.push_store import Receiver, Registrations, TooManyReceivers
from registry.national.routes import Call, Endpoint, add
from registry.national.state import Api
from registry.national.status import CHANNELS
from registry.rules import turkey_time

BASE: Final = "/sps/{iysCode}/brands/{brandCode}/push"
FIELDS: Final = ("url", "type", "username", "password")
TEST_CODE: Final = 121212
TEST_RECIPIENT: Final = "pushtest@iys.org.tr"
REGISTERED: Final = "Bağlantı Oluşturuldu"
FAILING: Final = "Bağlantı Oluşturulamadı"
REMOVED: Final = "Bağlantı Kaldırıldı"
NOT_IN_TIME: Final = "the address did not answer within 5 seconds"  # the code means something else elsewhere
NOT_FOUND: Final = 404

_ONE = shape({"url": TEXT, "type": TYPE, "username": TEXT, "password": TEXT})
_ASKED = shape({"connection": listed(_ONE, minItems=1, maxItems=PUSH_CONNECTIONS_MAX)})
_MESSAGE = shape({"message": TEXT})
_LISTED = listed(shape({"url": TEXT, "type": TYPE, "status": TEXT, "registerTime": MOMENT}))


class Wanted(NamedTuple):
    """One receiver, as somebody describes it."""

    url: str
    channel: Channel
    username: str
    password: str


def add_to(app: FastAPI, api: Api) -> None:
    """Serve all three."""
    kept, outward = api.rest.registrations, api.rest.outward
    path, put = f"{BASE}/registration", partial(_register, kept, outward)
    octets = API_BODY_OCTETS_MAX
    add(app, api, Endpoint("POST", path, put, "Be told of moves", True, octets, _ASKED, _MESSAGE))
    add(app, api, Endpoint("GET", path, partial(_listed, kept), "Who is told", answer=_LISTED))
    gone = partial(_unregister, kept)
    add(app, api, Endpoint("POST", f"{BASE}/unregistration", gone, "Be told no more", True, octets, _ONE, _MESSAGE))


async def _register(kept: Registrations, outward: Outward, call: Call) -> Response:
    said = call.body.get("connection") if isinstance(call.body, dict) else None
    if not isinstance(said, list) or not 0 < len(said) <= PUSH_CONNECTIONS_MAX or len(call.body) != 1:
        raise refused("H460", "connection")
    wanted = [read_wanted(one) for one in said]
    for one in wanted:
        if not await call.api.in_thread(partial(kept.room, call.brand, one.channel, one.url)):
            raise refused("X430", "type", value=one.channel.value)
        await call.api.rest.outside(partial(_try, outward, one, test_record(call.api.clock())))
    asked = [(one.channel, one.url, one.username, one.password) for one in wanted]
    try:  # all of them or none: whoever is refused has registered nobody
        await call.api.in_thread(partial(kept.add_all, call.brand, asked, call.client.name))
    except TooManyReceivers as full:
        raise refused("X430", "type", value=full.channel.value) from None
    call.api.rest.told.set()
    return answer({"message": REGISTERED})


async def _listed(kept: Registrations, call: Call) -> Response:
    return answer([_described(one) for one in await call.api.in_thread(partial(kept.of, call.brand))])


async def _unregister(kept: Registrations, call: Call) -> Response:
    one = read_wanted(call.body)
    gone = partial(kept.remove, call.brand, one[1], one[0], one[2], one[3], call.client.name)
    if not await call.api.in_thread(gone):
        raise refused("X440", "url", status=NOT_FOUND)
    return answer({"message": REMOVED})


def read_wanted(said: Any) -> Wanted:
    """From a JSON object. Raises NationalError."""
    if not isinstance(said, dict):
        raise refused("H460", "connection")
    for name in said:
        if name not in FIELDS:
            raise refused("H118", shown(name))
    kind, url = said.get("type"), said.get("url")
    if kind is None or kind == "":
        raise refused("H111")
    channel = CHANNELS.get(kind) if isinstance(kind, str) else None
    if channel is None:
        raise refused("H117", value=shown(kind))
    for name in ("username", "password"):
        value = said.get(name)
        if not isinstance(value, str) or not value:
            raise refused("H093", name)
        if len(value) > PUSH_CREDENTIAL_CHARACTERS_MAX or not value.isprintable():
            raise refused("H460", name)
        if name == "username" and ":" in value:  # it would end there (RFC 7617 section 2)
            raise refused("H460", name)
    if not isinstance(url, str):
        raise refused("H531", "url")
    try:
        read_url(url)
    except BadUrl as fault:
        raise refused("H530" if fault.secure else "H531", "url", value=shown(url)) from None
    return Wanted(url, channel, said["username"], said["password"])


def test_record(now: datetime) -> bytes:
    """What is posted to try a receiver."""
    moment = turkey_time(now)
    move = {
        "consentDate": moment,
        "creationDate": moment,
        "source": "IYS_MOBIL",
        "recipient": TEST_RECIPIENT,
        "recipientType": "BIREYSEL",
        "status": "ONAY",
        "type": "EPOSTA",
        "transactionId": "0" * 64,
    }
    return payload([(TEST_CODE, TEST_CODE, move)])


def _try(outward: Outward, one: Wanted, body: bytes) -> None:
    try:
        status = outward.post(one.url, body, one.username, one.password)
    except TooSlow:
        raise NationalError(Fault("H191", ("url",), message=NOT_IN_TIME)) from None
    except Unreachable:
        raise refused("H530", "url") from None
    if status not in OK:
        raise refused("H530", "url", value=status)


def _described(one: Receiver) -> dict[str, Any]:
    return {
        "url": one.url,
        "type": one.channel.value,
        "status": FAILING if one.failures else REGISTERED,
        "registerTime": turkey_time(datetime.fromtimestamp(one.registered_at, UTC)),
    }
