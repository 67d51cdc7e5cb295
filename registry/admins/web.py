"""The admins' pages over HTTP: who may come in, and what every request has to prove.

    GET, POST /login     name, password and code in one form; the same answer to whatever is wrong
    all others           a session, else the way to /login; a POST needs our origin and the session's form token too

A session's token is in a cookie that scripts and other sites do not get; the form token is computed from it.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar
from urllib.parse import urlsplit

from fastapi import FastAPI, Request, Response
from fastapi.responses import RedirectResponse
from sqlalchemy.exc import SQLAlchemyError

from registry.admins import audit, audit_page, consents, pages, provider_pages
from registry.admins.desk import Ask, Denied, Desk, May, Route
from registry.admins.known import KnownBrowsers
from registry.admins.logins import TOKEN_OCTETS, Logins, Session
from registry.admins.store import NAME, Role
from registry.forms import BodyFault, read_body
from registry.index.interface import IndexDown
from registry.limits import (
    ADMIN_BODY_OCTETS_MAX,
    ADMIN_CODE_CHARACTERS_MAX,
    ADMIN_KNOWN_SECONDS,
    ADMIN_NAME_TRIES_BURST,
    ADMIN_NAME_TRIES_PER_SECOND,
    ADMIN_NAMES_MAX,
    ADMIN_THREADS,
    ADMIN_TRIES_BURST,
    ADMIN_TRIES_PER_SECOND,
    ADMIN_WAITING_MAX,
    RETRY_SECONDS,
)
from registry.log import logger
from registry.providers.form import fields
from registry.throttle import Throttle

T = TypeVar("T")
Handler = Callable[[Request], Awaitable[Response]]

LOGIN: Final = "/login"
REFUSED: Final = "Name, password or code is wrong, or the code was used already."


class _LoggedOut(Exception):
    """There is no session, or not any more."""


def create_app(desk: Desk) -> FastAPI:
    """The ASGI application."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    door = _Door(desk)
    routes = (
        *provider_pages.ROUTES,
        *consents.ROUTES,
        *audit_page.ROUTES,
        Route("GET", "/", May.READ, lambda ask: RedirectResponse(pages.HOME, 303)),
        Route("POST", "/logout", May.READ, door.leave),
    )
    for route in routes:
        methods = ["GET", "HEAD"] if route.method == "GET" else [route.method]
        app.add_api_route(route.path, door.guarded(route), methods=methods, response_model=None)
    app.add_api_route(LOGIN, door.outside(door.show_login), methods=["GET", "HEAD"], response_model=None)
    app.add_api_route(LOGIN, door.outside(door.log_in), methods=["POST"], response_model=None)
    app.add_exception_handler(404, door.fault(404))
    app.add_exception_handler(405, door.fault(404))
    app.add_exception_handler(500, door.fault(503))
    return app


class _Door:
    """Lives in one event loop; what takes time is done in a few threads."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        admins = desk.admins
        self._logins = Logins(admins)
        self._known = KnownBrowsers(admins.vault)
        self._origin = origin_of(desk.url)
        self._secure = self._origin.startswith("https:")
        prefix = "__Host-" if self._secure else ""  # such a cookie cannot come from another host
        self._cookie, self._login_cookie = f"{prefix}izinli-admin", f"{prefix}izinli-admin-login"
        self._known_cookie = f"{prefix}izinli-admin-known"
        self._headers = {**pages.HEADERS, **(pages.HTTPS_HEADERS if self._secure else {})}
        self._by_address = Throttle(ADMIN_TRIES_BURST, ADMIN_TRIES_PER_SECOND)
        self._by_name = Throttle(ADMIN_NAME_TRIES_BURST, ADMIN_NAME_TRIES_PER_SECOND, ADMIN_NAMES_MAX)
        self._threads = ThreadPoolExecutor(ADMIN_THREADS, thread_name_prefix="admins")
        self._waiting = 0

    def guarded(self, route: Route) -> Handler:
        """A route for who has a session, and may."""

        async def guarded(request: Request) -> Response:
            token = request.cookies.get(self._cookie, "")
            session = await self._in_thread(lambda: self._session(token))
            form: Mapping[str, str] = {}
            if route.method == "POST":
                form = await self._form(request, token)
            if route.may is May.DECIDE and session.role is not Role.OPERATOR:
                await self._in_thread(lambda: self._note_denied(session, route))
                raise Denied(403, "Auditors read; an operator decides.")
            ask = Ask(self._desk, request, session, _csrf(token), form, self._desk.clock())
            return await self._in_thread(lambda: route.handler(ask))

        return self.outside(guarded)

    def outside(self, handle: Handler) -> Handler:
        """What goes wrong becomes a page, and every answer has the headers."""

        async def outside(request: Request) -> Response:
            return self._dressed(await self._answer(handle, request))

        return outside

    def fault(self, status: int) -> Callable[[Request, Exception], Awaitable[Response]]:
        """The page for what no route takes."""

        async def fault(_request: Request, _error: Exception) -> Response:
            return self._dressed(pages.notice(status))

        return fault

    async def show_login(self, request: Request) -> Response:
        """The form; GET and HEAD change nothing."""
        return self._login_page(request)

    async def log_in(self, request: Request) -> Response:
        """A session, or the form again."""
        form = await self._form(request, request.cookies.get(self._login_cookie, ""))
        client = request.client.host if request.client is not None else ""
        name = form.get("name", "").strip()
        name = name if NAME.fullmatch(name) else ""
        mark = self._known.mark(name, request.cookies.get(self._known_cookie, ""))
        tried = f"{name} {mark}" if mark else name  # tries of other browsers do not keep a known one out
        now = time.monotonic()
        if wait_s := max(self._by_address.wait_s(client, now), self._by_name.wait_s(tried, now)):
            return pages.notice(429, back=LOGIN, headers={"retry-after": str(wait_s)})
        self._by_address.charge(client, now)  # before the answer is known: tries at the same time count too
        self._by_name.charge(tried, now)
        password, code = form.get("password", ""), form.get("code", "")[:ADMIN_CODE_CHARACTERS_MAX]
        token = await self._in_thread(lambda: self._logins.enter(name, password, code, self._desk.clock(), client))
        if token is None:
            return self._login_page(request, REFUSED, 401)
        if old := request.cookies.get(self._cookie, ""):
            await self._in_thread(lambda: self._logins.forget(old))
        response = RedirectResponse(pages.HOME, 303)
        self._set(response, self._cookie, token)
        if not mark:
            self._set(response, self._known_cookie, self._known.cookie(name), ADMIN_KNOWN_SECONDS)
        self._clear(response, self._login_cookie)
        return response

    def leave(self, ask: Ask) -> Response:
        """The end of a session."""
        self._logins.leave(ask.request.cookies[self._cookie], ask.session, ask.now)
        response = RedirectResponse(LOGIN, 303)
        self._clear(response, self._cookie)
        return response

    def _session(self, token: str) -> Session:
        session = self._logins.session(token, self._desk.clock()) if token else None
        if session is None:
            raise _LoggedOut
        return session

    def _note_denied(self, session: Session, route: Route) -> None:
        self._desk.admins.note(self._desk.clock(), session.actor, audit.Action.DENIED, route.path)

    async def _form(self, request: Request, token: str) -> Mapping[str, str]:
        """The fields of a POST that comes from a form of ours. Raises Denied or BodyFault."""
        if request.headers.get("origin", "") != self._origin:
            raise Denied(403, f"Nothing was changed: this form was not sent from {self._origin}.")
        body = await read_body(request, ADMIN_BODY_OCTETS_MAX)
        found = fields(request.headers.get("content-type", ""), body)
        if found is None:
            raise Denied(400)
        form = {name: value for name, value in found.items() if isinstance(value, str) and "\0" not in value}
        if not token or not hmac.compare_digest(form.get("csrf", "").encode("utf-8", "replace"), _csrf(token).encode()):
            raise Denied(403, "Nothing was changed: the form is of an earlier session. Open its page again.")
        return form

    def _login_page(self, request: Request, told: str = "", status: int = 200) -> Response:
        token = request.cookies.get(self._login_cookie, "") or secrets.token_urlsafe(TOKEN_OCTETS)
        response = pages.page("login", csrf=_csrf(token), status=status, told=told)
        self._set(response, self._login_cookie, token)
        return response

    def _dressed(self, response: Response) -> Response:
        for name, value in self._headers.items():
            response.headers.setdefault(name, value)
        return response

    async def _answer(self, handle: Handler, request: Request) -> Response:
        try:
            return await handle(request)
        except _LoggedOut:
            return RedirectResponse(LOGIN, 303)
        except Denied as denied:
            return pages.notice(denied.status, str(denied))
        except BodyFault as broken:
            return pages.notice(broken.status, headers={"connection": "close"})
        except (SQLAlchemyError, IndexDown, OSError, _Busy) as away:
            logger.warning("admin_page_unavailable", fault=type(away).__name__)
            return pages.notice(503, headers={"retry-after": str(RETRY_SECONDS)})

    async def _in_thread(self, work: Callable[[], T]) -> T:
        if self._waiting >= ADMIN_WAITING_MAX:
            raise _Busy
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._waiting -= 1

    def _set(self, response: Response, name: str, value: str, seconds: int | None = None) -> None:
        response.set_cookie(name, value, seconds, path="/", secure=self._secure, httponly=True, samesite="strict")

    def _clear(self, response: Response, name: str) -> None:
        response.delete_cookie(name, path="/", secure=self._secure, httponly=True, samesite="strict")


class _Busy(Exception):
    """Too many wait already."""


def origin_of(url: str) -> str:
    """As browsers write it (RFC 6454 §6.2): small letters, without a port that is the scheme's own."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    usual = parts.port in (None, {"http": 80, "https": 443}[parts.scheme])
    return f"{parts.scheme}://{host}" if usual else f"{parts.scheme}://{host}:{parts.port}"


def _csrf(token: str) -> str:
    """What a form has to hold that belongs to the cookie `token`; who does not know that cannot make it."""
    return hmac.new(token.encode("utf-8", "replace"), b"izinli admin form", hashlib.sha256).hexdigest()
