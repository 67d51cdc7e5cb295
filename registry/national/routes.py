"""What all requests to the national API have in common: who asks, how often, about which brand, with which body.

A handler gets a `Call` that has passed all of that, and returns a response or raises NationalError. FastAPI knows the
routes and describes them; its way of solving dependencies for each request is passed by, because it costs more than
the requests themselves do.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import msgspec
from fastapi import FastAPI, Request, Response
from fastapi.routing import APIRoute
from sqlalchemy.exc import SQLAlchemyError

from filters.model import Brand
from registry.forms import BodyFault, read_body
from registry.index.interface import IndexDown
from registry.log import logger
from registry.national.access import Client
from registry.national.errors import Fault, NationalError, OAuthError, refused
from registry.national.gather import TooMany
from registry.national.openapi import describe
from registry.national.rates import Quota
from registry.national.state import Api

BEARER: Final = "bearer "
CODE_DIGITS_MAX: Final = 10

_decode = msgspec.json.Decoder().decode


@dataclass(slots=True)
class Call:
    """A request of a known client about its own brand (0: the path names none)."""

    api: Api
    request: Request
    client: Client
    iys_code: int
    brand: int
    body: Any = None  # JSON, of any shape; None where the route takes none

    def part(self, name: str) -> str:
        """A part of the path."""
        return str(self.request.path_params[name])


Handler = Callable[[Call], Awaitable[Response]]


class Endpoint(NamedTuple):
    """One method of one path. `{iysCode}` and `{brandCode}` in the path are checked against the client's brands."""

    method: str
    path: str
    handler: Handler
    summary: str
    write: bool = False  # wants the right to change the brand's consents
    octets_max: int = 0  # of the body, which is JSON; 0: none is read
    body: dict[str, Any] | None = None  # JSON schema, for the description
    answer: dict[str, Any] | None = None  # likewise
    status: int = 200
    query: tuple[str, ...] = ()  # names of query parameters, for the description
    quota: Callable[[Api], Quota] | None = None  # counted besides the requests of each second
    may_be_empty: bool = False  # 204, for the description
    media: str = "application/json"  # of the answer, likewise
    basic: bool = False  # user and password do instead of a token


class PlainRoute(APIRoute):
    """A route whose endpoint gets the request as it came."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        endpoint = self.endpoint

        async def plain(scope: Any, receive: Any, send: Any) -> None:
            response = await endpoint(Request(scope, receive, send))
            await response(scope, receive, send)

        self.app = plain


def add(app: FastAPI, api: Api, endpoint: Endpoint) -> None:
    """Serve an endpoint."""

    async def asked(request: Request) -> Response:
        return await guarded(lambda: _answer(api, endpoint, request))

    add_plain(app, endpoint.method, endpoint.path, asked, endpoint.summary, describe(endpoint))


def add_plain(
    app: FastAPI,
    method: str,
    path: str,
    asked: Callable[[Request], Awaitable[Response]],
    summary: str,
    description: dict[str, Any],
) -> None:
    """Serve a path whose handler does everything itself."""
    app.router.add_api_route(
        path,
        asked,
        methods=[method],
        summary=summary,
        response_model=None,
        openapi_extra=description,
        name=f"{method} {path}",
        route_class_override=PlainRoute,
    )


async def guarded(work: Callable[[], Awaitable[Response]]) -> Response:
    """The response of `work`, or that of what it raised: whatever cannot be done now is temporary (promise I4)."""
    try:
        return await work()
    except (NationalError, OAuthError) as refusal:
        return refusal.response()
    except TooMany:
        return refused("H123").response()
    except (IndexDown, SQLAlchemyError) as fault:
        logger.warning("api_fault", error=type(fault).__name__)
        return refused("H192").response()


async def _answer(api: Api, endpoint: Endpoint, request: Request) -> Response:
    address = address_of(request)
    await api.turnstile.charge(api.turnstile.second, address)
    client = await _client(api, request, basic=endpoint.basic)
    if endpoint.quota is not None:
        await api.turnstile.charge(endpoint.quota(api), address)
    iys_code, brand = _codes(api, client, request.path_params, write=endpoint.write)
    body = None
    if endpoint.octets_max:
        body = decoded(await bounded_body(request, endpoint.octets_max))
    return await endpoint.handler(Call(api, request, client, iys_code, brand, body))


def address_of(request: Request) -> str:
    """Who counts as one caller."""
    return request.client.host if request.client is not None else ""


async def bounded_body(request: Request, octets_max: int) -> bytes:
    """The body within its bounds. Raises NationalError."""
    try:
        return await read_body(request, octets_max)
    except BodyFault as fault:
        code = {413: "X413", 408: "X408"}.get(fault.status, "H014")
        raise NationalError(Fault(code), headers={"connection": "close"}) from None


def decoded(body: bytes) -> Any:
    """JSON. Raises NationalError (H014)."""
    try:
        return _decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise refused("H014") from None


async def _client(api: Api, request: Request, *, basic: bool) -> Client:
    said = request.headers.get("authorization", "")
    if basic:

        async def charge() -> None:
            """A password that is checked is a login."""
            await api.turnstile.charge(api.turnstile.tokens, address_of(request))

        if (client := await api.basics.client_of(said, charge)) is not None:
            return client
    if said[:7].lower() == BEARER:
        session = await api.sessions.of(said[7:].strip())
        if session is not None:
            return session.client
    # an unknown caller keeps no connection; some libraries send a password only after they were asked for one
    schemes = 'Basic realm="izinli", charset="UTF-8", Bearer' if basic else "Bearer"
    raise NationalError(Fault("H351"), headers={"connection": "close", "www-authenticate": schemes})


def _codes(api: Api, client: Client, path: dict[str, str], *, write: bool) -> tuple[int, int]:
    """(iysCode, brandCode) of the path as far as it has them, if they are this client's. Raises NationalError."""
    iys_code = _code(path, "iysCode", "H190")
    brand_code = _code(path, "brandCode", "H191")
    if brand_code:
        brand = api.brands.get(brand_code)
        may_write = client.grants.get(brand_code)
        if brand is None or may_write is None or iys_code not in (0, brand.iys_code):
            raise refused("H353")
        if write and not may_write:
            raise refused("H355")
    elif iys_code and not brands_of(api, client, iys_code):
        raise refused("H353")
    return iys_code, brand_code


def brands_of(api: Api, client: Client, iys_code: int) -> list[Brand]:
    """The client's brands of one provider."""
    mine = (api.brands[code] for code in sorted(client.grants) if code in api.brands)
    return [brand for brand in mine if brand.iys_code == iys_code]


def _code(path: dict[str, str], name: str, code: str) -> int:
    said = path.get(name)
    if said is None:
        return 0
    if not (said.isascii() and said.isdigit() and len(said) <= CODE_DIGITS_MAX and int(said)):
        raise refused(code, name, value=said[:CODE_DIGITS_MAX])
    return int(said)
