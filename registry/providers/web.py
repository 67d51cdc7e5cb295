"""Onboarding over HTTP, for programs (JSON) and for people (pages).

    GET  /providers                  the form
    POST /providers                  apply: JSON, or the form
    GET  /providers/<id>             how the application stands; JSON for who accepts application/json
    POST /providers/<id>/code        {"code": "…"}: the code of the SMS
    POST /providers/<id>/again       {"way": "mobile"} or "email": another code, another link
    GET, POST /providers/confirm/<token>    the link of the mail

`<id>` is known to the applicant alone. Applications and tries are counted for each address.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from sqlalchemy.exc import SQLAlchemyError

from registry.forms import BodyFault, read_body
from registry.limits import (
    PROVIDER_APPLICATIONS_BURST,
    PROVIDER_APPLICATIONS_PER_SECOND,
    PROVIDER_BODIES_AT_ONCE,
    PROVIDER_BODY_OCTETS_MAX,
    PROVIDER_BODY_SECONDS_MAX,
    RETRY_SECONDS,
)
from registry.national.errors import Fault, NationalError, answer, refused
from registry.pages import HEADERS
from registry.providers import documents, form, pages
from registry.providers.application import Application, Unfit, parse
from registry.providers.proofs import Answer, Proofs
from registry.providers.states import Way
from registry.providers.store import Provider, Providers, TooManyOpen, Unknown
from registry.throttle import Throttle

T = TypeVar("T")

_CODES: Final = {
    Answer.SETTLED: "X609",
    Answer.TOO_SOON: "H465",
    Answer.TOO_OFTEN: "X429",
    Answer.WRONG: "H1052",
    Answer.TOO_MANY_TRIES: "H1050",
    Answer.EXPIRED: "H1051",
}
_STATUSES: Final = {413: "X413", 408: "X408", 400: "H014"}
_CHARGED: Final = frozenset({Answer.WRONG, Answer.TOO_MANY_TRIES, Answer.EXPIRED})
_TOLD: Final = "told"  # what the page says that a form redirects to


@dataclass(frozen=True, slots=True)
class Desk:
    """What the handlers need. `ways`: on which a confirmation can be sent."""

    providers: Providers
    proofs: Proofs
    data_dir: Path
    ways: frozenset[Way]
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)


def add_to(app: FastAPI, desk: Desk) -> None:
    """Serve the paths."""
    web = _Web(desk)
    add = app.add_api_route
    add("/providers", web.form, methods=["GET", "HEAD"], response_model=None)
    add("/providers", web.guarded(web.apply), methods=["POST"], response_model=None)
    add("/providers/confirm/{token}", web.guarded(web.ask_link), methods=["GET", "HEAD"], response_model=None)
    add("/providers/confirm/{token}", web.guarded(web.use_link), methods=["POST"], response_model=None)
    add("/providers/{handle}", web.guarded(web.standing), methods=["GET", "HEAD"], response_model=None)
    add("/providers/{handle}/code", web.guarded(web.code), methods=["POST"], response_model=None)
    add("/providers/{handle}/again", web.guarded(web.again), methods=["POST"], response_model=None)


class _Web:
    """Lives in one event loop; the database's work is done in a few threads."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._applications = Throttle(PROVIDER_APPLICATIONS_BURST, PROVIDER_APPLICATIONS_PER_SECOND)
        self._tries = Throttle()
        self._bodies = 0  # under way
        self._threads = ThreadPoolExecutor(PROVIDER_BODIES_AT_ONCE, thread_name_prefix="onboarding")

    def guarded(self, handle: Callable[[Request], Any]) -> Callable[[Request], Any]:
        """What goes wrong, in the shape that the caller understands."""

        async def guarded(request: Request) -> Response:
            try:
                response: Response = await handle(request)
                return response
            except BodyFault as fault:
                code = _STATUSES.get(fault.status, "H014")
                return _refusal(request, refused(code, status=fault.status), {"connection": "close"})
            except Unknown:
                self._tries.charge(_client(request), time.monotonic())
                return _refusal(request, refused("X404"))
            except NationalError as error:
                return _refusal(request, error, error.headers)
            except (OSError, SQLAlchemyError, TooManyOpen):
                return _refusal(request, refused("X503"), {"retry-after": str(RETRY_SECONDS)})

        return guarded

    async def form(self) -> Response:
        """The empty form."""
        return _page(pages.application({}, ()))

    async def apply(self, request: Request) -> Response:
        """Take an application in: 201 for JSON, 303 to its page for the form."""
        self._may(self._applications, request)
        if self._bodies >= PROVIDER_BODIES_AT_ONCE:
            raise refused("X503")
        self._bodies += 1
        try:
            body = await read_body(request, PROVIDER_BODY_OCTETS_MAX, PROVIDER_BODY_SECONDS_MAX)
            said = await self._in_thread(lambda: _application(request, body))
            application = await self._in_thread(lambda: parse(said))
            self._applications.charge(_client(request), time.monotonic())
            handle, sent = await self._in_thread(lambda: self._take(application))
        except Unfit as unfit:
            if _wants_json(request):
                raise NationalError(*unfit.faults) from None
            return _page(pages.application(form.typed(said), unfit.faults), 422)
        finally:
            self._bodies -= 1
        if not _wants_json(request):
            return RedirectResponse(f"/providers/{handle}", 303, {"cache-control": "no-store"})
        told = _told(handle, await self._found(handle))
        return answer({**told, "sent": {way.value: what.value for way, what in sent.items()}}, 201)

    async def standing(self, request: Request) -> Response:
        """How it stands."""
        self._may(self._tries, request)
        handle = request.path_params["handle"]
        one = await self._found(handle)
        if _wants_json(request):
            return answer(_told(handle, one))
        told = request.query_params.get(_TOLD, "")
        said = Answer(told) if told in list(map(_word, Answer)) else None
        return _page(pages.standing(handle, one, self._desk.ways, said))

    async def code(self, request: Request) -> Response:
        """The code of the SMS."""
        said = await self._said(request, "code")
        handle, desk = request.path_params["handle"], self._desk
        return await self._answered(request, lambda: desk.proofs.try_code(handle, said, desk.clock()))

    async def again(self, request: Request) -> Response:
        """Another code, another link."""
        said = await self._said(request, "way")
        if said not in list(Way):
            raise refused("H460", "way")
        handle, desk = request.path_params["handle"], self._desk
        return await self._answered(request, lambda: desk.proofs.send_again(handle, Way(said), desk.clock()))

    async def ask_link(self, request: Request) -> Response:
        """GET and HEAD change nothing."""
        self._may(self._tries, request)
        token, desk = request.path_params["token"], self._desk
        found = await self._in_thread(lambda: desk.proofs.look_at_link(token, desk.clock()))
        return _page(pages.question() if found is Answer.DONE else pages.confirmed(found))

    async def use_link(self, request: Request) -> Response:
        """The button behind the link."""
        self._may(self._tries, request)
        await read_body(request)
        token, desk = request.path_params["token"], self._desk
        found = await self._in_thread(lambda: desk.proofs.use_link(token, desk.clock()))
        if _wants_json(request) and found in _CODES:
            raise refused(_CODES[found])
        return _page(pages.confirmed(found))

    async def _answered(self, request: Request, work: Callable[[], Answer]) -> Response:
        found = await self._in_thread(work)
        if found in _CHARGED:
            self._tries.charge(_client(request), time.monotonic())
        handle = request.path_params["handle"]
        if not _wants_json(request):
            return RedirectResponse(f"/providers/{handle}?{_TOLD}={found.value}", 303, {"cache-control": "no-store"})
        if found in _CODES:
            raise refused(_CODES[found])
        return answer({**_told(handle, await self._found(handle)), "result": found.value})

    async def _said(self, request: Request, name: str) -> str:
        """The one field of a small body."""
        self._may(self._tries, request)
        body = await read_body(request)
        kind = request.headers.get("content-type", "")
        said = _json(body) if _wants_json(request) else form.fields(kind, body)
        value = said.get(name) if isinstance(said, dict) else None
        if not isinstance(value, str):
            raise refused("H460", name)
        return value.strip()

    async def _found(self, handle: str) -> Provider:
        one = await self._in_thread(lambda: self._desk.providers.standing(handle))
        if one is None:
            raise Unknown
        return one

    def _take(self, application: Application) -> tuple[str, dict[Way, Answer]]:
        desk = self._desk
        with desk.providers.reading() as connection:  # else documents of nobody would fill the disk
            desk.providers.check_room(connection, desk.clock())
        document = documents.keep(desk.data_dir, application.document, application.document_type)
        return desk.proofs.apply(application, document, desk.clock())

    def _may(self, throttle: Throttle, request: Request) -> None:
        """Raises NationalError for an address that has had its turns."""
        if wait_s := throttle.wait_s(_client(request), time.monotonic()):
            raise NationalError(Fault("X429"), headers={"retry-after": str(wait_s)})

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


def _application(request: Request, body: bytes) -> Any:
    if _wants_json(request):
        return _json(body)
    found = form.fields(request.headers.get("content-type", ""), body)
    if found is None:
        raise refused("H014")
    return form.application(found)


def _json(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise refused("H014") from None


def _wants_json(request: Request) -> bool:
    """A program: it sends JSON, or accepts it."""
    wanted = "application/json"
    headers = request.headers
    return headers.get("content-type", "").startswith(wanted) or wanted in headers.get("accept", "")


def _told(handle: str, one: Provider) -> dict[str, Any]:
    """What an applicant may know."""
    confirmed = {way.value: yes for way, yes in one.confirmed.items()}
    told: dict[str, Any] = {"id": handle, "status": one.state.value, "confirmed": confirmed}
    if one.iys_code is not None:
        brands = [{"brandCode": code, "name": name} for name, code in one.brands]
        told |= {"iysCode": one.iys_code, "brands": brands}
    return told


def _word(said: Answer) -> str:
    return said.value


def _client(request: Request) -> str:
    return request.client.host if request.client is not None else ""


def _refusal(request: Request, error: NationalError, headers: Mapping[str, str] | None = None) -> Response:
    if _wants_json(request):
        response = error.response()
        response.headers.update(headers or {})
        return response
    return _page(pages.notice(error.status), error.status, headers)


def _page(html: str, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return HTMLResponse(html, status, {**HEADERS, **(headers or {})})
