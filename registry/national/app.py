"""The national API as an ASGI application, and its place beside the citizen's page.

A client library for the national system works with it when its host is changed: same paths, bodies, codes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from types import MappingProxyType
from typing import Any, Final

from fastapi import FastAPI, Request, Response

from registry.log import logger
from registry.national import (
    ahs,
    batch,
    brands,
    changes,
    consents,
    daily,
    hash_links,
    history,
    push,
    retailer_access,
    retailers,
    status,
    token,
)
from registry.national.errors import NationalError, refused
from registry.national.openapi import SECURITY
from registry.national.routes import PlainRoute
from registry.national.state import Api

DOCUMENTS: Final = ("/docs", "/openapi.json")  # for everybody
PREFIXES: Final = ("/sps/", "/v2/", "/brands/", "/oauth2/", *DOCUMENTS)
MODULES: Final = (
    *(consents, status, batch, ahs, changes, history, brands, token),
    *(retailers, retailer_access, push, daily, hash_links),
)
"""Each adds its routes; those that are asked most stand first, because routes are tried in their order."""

_Scope = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
_Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
ASGI = Callable[[_Scope, _Receive, _Send], Awaitable[None]]

_CLOSE: Final = (b"connection", b"close")


class _Straight(FastAPI):
    """A request that fits a route is led to it past FastAPI's own layers, which take a tenth of a status query.

    They have nothing to do there: `routes.guarded` turns what is raised into answers, and what is our own fault is
    answered here. What fits no route goes through all of them.
    """

    def lead(self) -> None:
        """Every route is there."""
        ours = [route for route in self.router.routes if isinstance(route, PlainRoute)]
        self._ours = [(route.path_regex.match, route.methods or (), route.app) for route in ours]

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        if scope["type"] == "http":
            path, method = scope["path"], scope["method"]
            for match, methods, served in self._ours:
                if method in methods and (found := match(path)) is not None:
                    scope["path_params"] = found.groupdict()
                    await _led(served, scope, receive, send)
                    return
        await super().__call__(scope, receive, send)


async def _led(served: ASGI, scope: _Scope, receive: _Receive, send: _Send) -> None:
    """Also answers for what is our own fault, and raises it again: the server logs where it was."""
    begun = False

    async def noted(message: MutableMapping[str, Any]) -> None:
        nonlocal begun
        begun = True
        await send(message)

    try:
        await served(scope, receive, noted)
    except Exception as error:
        if not begun:
            response = await _our_fault(Request(scope), error)
            await response(scope, receive, send)
        raise


def create_api(api: Api) -> FastAPI:
    """All routes; what is wrong with a request is said in the national system's shape."""
    app = _Straight(
        title="izinli",
        description="The consent registry, in the words of the national system (İYS API 3.2.0).",
        redoc_url=None,
        redirect_slashes=False,
    )
    for module in MODULES:
        module.add_to(app, api)
    app.add_exception_handler(404, _no_path)
    app.add_exception_handler(405, _no_method)
    app.add_exception_handler(500, _our_fault)
    _secure(app)
    app.lead()
    return app


def beside(page: ASGI, api: ASGI | None) -> ASGI:
    """One application of both; without an API of the page alone.

    A connection carries one request of a citizen, and many of the API's callers.
    """

    async def both(scope: _Scope, receive: _Receive, send: _Send) -> None:
        asked = api if api is not None and scope["type"] == "http" and scope["path"].startswith(PREFIXES) else page
        if asked is not page and not scope["path"].startswith(DOCUMENTS):
            await asked(scope, receive, send)
            return

        async def last(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), _CLOSE]
            await send(message)

        await asked(scope, receive, last)

    return both


def _secure(app: FastAPI) -> None:
    """Say in the description how callers prove who they are."""
    described = app.openapi

    def openapi() -> dict[str, Any]:
        found = described()
        found.setdefault("components", {})["securitySchemes"] = SECURITY
        return found

    app.openapi = openapi  # type: ignore[method-assign]


async def _no_path(_request: Request, _error: Exception) -> Response:
    return _closing("X404")


async def _no_method(request: Request, _error: Exception) -> Response:
    """With those it knows (RFC 9110 §15.5.6)."""
    path = request.scope["path"]
    ours = [route for route in request.app.router.routes if isinstance(route, PlainRoute)]
    known = {method for route in ours if route.path_regex.match(path) for method in route.methods or ()}
    if path.startswith(DOCUMENTS):
        known = {"GET", "HEAD"}
    return _closing("X405", {"allow": ", ".join(sorted(known))})


async def _our_fault(_request: Request, error: Exception) -> Response:
    logger.error("api_broken", error=type(error).__name__)
    return _closing("H015")


def _closing(code: str, headers: Mapping[str, str] = MappingProxyType({})) -> Response:
    fault: NationalError = refused(code)
    fault.headers |= {"connection": "close", **headers}
    return fault.response()
