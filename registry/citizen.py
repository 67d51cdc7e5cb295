"""The reject link: whoever opens `/r/<token>` can take back a consent, without an account and without a script.

GET shows a page and never changes anything, because scanners open links (regulation art. 9: the means to refuse must be
easy and free). POST records the RET, removes it from the index and only then says so (promise I5): with the page's
button, or in one click from a mail program (RFC 8058), to which a redirect is no answer.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse
from sqlalchemy.exc import SQLAlchemyError

from filters.link import LinkMinter, Reject
from filters.model import Brand
from registry import pages, rejections
from registry.background import Watch
from registry.evidence import actors
from registry.forms import BodyFault, Wish, read_body, wish
from registry.index.interface import IndexDown
from registry.ledger import Ledger
from registry.limits import RETRY_SECONDS, STALLED_SECONDS, WITHDRAWALS_AT_ONCE
from registry.publish import Publisher
from registry.publisher_loop import PublisherLoop
from registry.rejections import Refusal
from registry.throttle import Throttle

SOURCES: Final = {Wish.BUTTON: "HS_WEB", Wish.ONE_CLICK: "HS_EPOSTA"}
ACTORS: Final = {Wish.BUTTON: actors.LINK_PAGE, Wish.ONE_CLICK: actors.LINK_ONE_CLICK}
TRAILING: Final = ".,;:!?)>\"'"  # what message apps take for a part of the link before them

T = TypeVar("T")


def create_app(
    ledger: Ledger,
    publisher: Publisher,
    minter: LinkMinter,
    brands: Mapping[int, Brand],
    loop: PublisherLoop | None = None,
    *,
    internal_secret: bytes = b"",
    watch: Watch | None = None,
) -> FastAPI:
    """The ASGI application: `/r/{token}`, `/livez`, `/readyz`. `loop` and `watch` are watched by the latter two.

    With an `internal_secret` the gateway may hand in rejections too (`registry.rejections`).
    """
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    citizen = _Citizen(ledger, publisher, minter, brands)
    app.add_api_route("/r/{token}", citizen.show, methods=["GET", "HEAD"], response_model=None)
    app.add_api_route("/r/{token}", citizen.refuse, methods=["POST"], response_model=None)
    app.add_api_route("/livez", _livez(loop, watch), methods=["GET", "HEAD"], response_model=None)
    app.add_api_route("/readyz", _readyz(citizen, loop, watch), methods=["GET", "HEAD"], response_model=None)
    app.add_api_route("/robots.txt", _robots, methods=["GET", "HEAD"], response_model=None)
    if internal_secret:
        rejections.add_to(app, ledger, publisher, citizen.in_thread, internal_secret)
    app.add_exception_handler(404, _not_found)
    app.add_exception_handler(405, _not_found)
    app.add_exception_handler(500, _our_fault)
    return app


class _Citizen:
    """What the handlers share. Lives in one event loop; the database work is done in a few threads."""

    def __init__(self, ledger: Ledger, publisher: Publisher, minter: LinkMinter, brands: Mapping[int, Brand]) -> None:
        self.ledger = ledger
        self.publisher = publisher
        self._minter = minter
        self._minting = threading.Lock()  # a minter's ciphers have state
        self._brands = brands
        self._throttle = Throttle()
        self._threads = ThreadPoolExecutor(WITHDRAWALS_AT_ONCE, thread_name_prefix="withdrawal")

    async def show(self, token: str, request: Request) -> Response:
        """GET and HEAD: a page with one button."""
        found = self._read(token, request)
        if isinstance(found, Response):
            return found
        return _answer(pages.page("ask", self._facts(found)))

    async def refuse(self, token: str, request: Request) -> Response:
        """POST: 200 once no message can pass any more, 503 while that cannot be promised; repeating it is harmless."""
        try:
            body = await read_body(request)
        except BodyFault as fault:
            return _answer(pages.notice(fault.status), fault.status, {"connection": "close"})
        found = self._read(token, request)
        if isinstance(found, Response):
            return found
        wanted = wish(request.headers.get("content-type", ""), body)
        if wanted is None:
            return _answer(pages.notice(400), 400)
        try:
            await self.in_thread(lambda: withdraw(self.ledger, self.publisher, found, wanted))
        except (IndexDown, SQLAlchemyError):
            return _answer(pages.page("unsaved", self._facts(found)), 503, {"retry-after": str(RETRY_SECONDS)})
        return _answer(pages.page("done", self._facts(found)))

    async def in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def _read(self, token: str, request: Request) -> Reject | Response:
        """The link's meaning, or the page for whoever has none (404) or had none too often (429)."""
        client = request.client.host if request.client is not None else ""
        if wait_s := self._throttle.wait_s(client, time.monotonic()):
            return _answer(pages.notice(429), 429, {"retry-after": str(wait_s)})
        with self._minting:
            reject = self._minter.read(token.rstrip(TRAILING).encode("ascii", "replace"))
        if reject is None:
            self._throttle.charge(client, time.monotonic())
            return _answer(pages.notice(404), 404)
        return reject

    def _facts(self, reject: Reject) -> pages.Facts:
        return pages.facts(reject, self._brands.get(reject.brand))


def withdraw(ledger: Ledger, publisher: Publisher, reject: Reject, wanted: Wish) -> None:
    """Record a RET and remove it from the index (`rejections.record`). Raises SQLAlchemyError or IndexDown."""
    refusal = Refusal([reject.brand], reject.channel, reject.recipient, SOURCES[wanted])
    rejections.record(ledger, publisher, refusal, wanted.value, ACTORS[wanted])


def _answer(html: str, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return HTMLResponse(html, status, {**pages.HEADERS, **(headers or {})})


def _livez(loop: PublisherLoop | None, watch: Watch | None) -> Callable[[], Response]:
    def livez() -> Response:
        """Does this process still work? A thread that hangs is cured by a restart, a missing database is not."""
        hanging = ["publisher"] if loop is not None and loop.moved_age_s >= STALLED_SECONDS else []
        hanging += watch.hanging if watch is not None else []
        text = "".join(f"the thread {name} hangs\n" for name in hanging) or "ok\n"
        return PlainTextResponse(text, 503 if hanging else 200)

    return livez


def _readyz(citizen: _Citizen, loop: PublisherLoop | None, watch: Watch | None) -> Callable[[], object]:
    async def readyz() -> Response:
        """Could a rejection be recorded and published now? Of a fault only the kind is told: its text names hosts.

        The other threads are told too, but whatever they lack, citizens are still to be let in.
        """
        faults = {
            "ledger": await _fault_of(citizen, citizen.ledger.probe),
            "index": await _fault_of(citizen, lambda: citizen.publisher.status().fault),
            "publisher": loop.fault.partition(":")[0] if loop is not None else "",
        }
        ready = not any(faults.values())
        background = watch.faults if watch is not None else {}
        answer = {name: fault or "ok" for name, fault in (faults | background).items()}
        return JSONResponse(answer, 200 if ready else 503)

    return readyz


async def _fault_of(citizen: _Citizen, probe: Callable[[], str | None]) -> str:
    try:
        return await citizen.in_thread(probe) or ""
    except (IndexDown, SQLAlchemyError) as error:
        return type(error).__name__


async def _robots() -> Response:
    return PlainTextResponse("User-agent: *\nDisallow: /\n")


async def _not_found(_request: Request, _error: Exception) -> Response:
    return _answer(pages.notice(404), 404)


async def _our_fault(_request: Request, _error: Exception) -> Response:
    return _answer(pages.notice(503), 503, {"retry-after": str(RETRY_SECONDS)})
