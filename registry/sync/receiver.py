"""POST /national/push/{brand}: the national system tells citizens' moves as they happen.

200 only when they are in the ledger and every rejection among them is out of the index; 503 when that cannot be
promised in the time that the national system waits: it, or the next pull, brings them again. Whoever cannot prove who
they are is not read.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Protocol

import msgspec
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from sqlalchemy.exc import SQLAlchemyError

from registry.forms import BodyFault, read_body
from registry.index.interface import IndexDown
from registry.limits import (
    RETRY_SECONDS,
    SYNC_PUSH_OCTETS_MAX,
    SYNC_PUSH_SECONDS,
    SYNC_PUSH_THREADS,
    SYNC_PUSHES_WAITING_MAX,
)
from registry.log import logger
from registry.sync.settings import Login, SyncedBrand
from registry.sync.wire import rows_of, without_tests

PATH: Final = "/national/push/{brand}"
CODE_DIGITS: Final = 10  # 2^31 - 1 has as many
_decode = msgspec.json.Decoder().decode


class Take(Protocol):
    """Records rows about a brand and publishes them; blocks. Raises SQLAlchemyError or IndexDown."""

    def __call__(self, brand: SyncedBrand, rows: list[Any]) -> object: ...


class Receiver:
    """Lives in one event loop; closed after it."""

    def __init__(self, find: Callable[[int], SyncedBrand | None], take: Take) -> None:
        """`find` knows a brand by its code and does not block."""
        self._find = find
        self._take = take
        self._threads = ThreadPoolExecutor(SYNC_PUSH_THREADS, thread_name_prefix="push")
        self._under_way: set[asyncio.Future[object]] = set()

    def add_to(self, app: FastAPI) -> None:
        """Serve the path."""
        app.add_api_route(PATH, self.receive, methods=["POST"], response_model=None)

    def close(self) -> None:
        """What is under way is finished."""
        self._threads.shutdown(wait=True)

    async def receive(self, brand: str, request: Request) -> Response:
        """200, 400, 401, 408, 413 or 503."""
        known = self._find(int(brand)) if brand.isascii() and brand.isdecimal() and len(brand) <= CODE_DIGITS else None
        if not may(known.push if known else None, request.headers.get("authorization", "")) or known is None:
            return _answer(401, "user name and password are wrong", {"www-authenticate": 'Basic realm="push"'})
        deadline = asyncio.get_running_loop().time() + SYNC_PUSH_SECONDS
        try:
            rows = rows_of(_decode(await read_body(request, SYNC_PUSH_OCTETS_MAX)))
        except BodyFault as fault:
            return _answer(fault.status, "the body is too long, too late or cut off")
        except (ValueError, RecursionError):  # msgspec's faults are ValueErrors
            return _answer(400, "a JSON object with a list is wanted")
        return await self._in_time(known, without_tests(rows), deadline)

    async def _in_time(self, brand: SyncedBrand, rows: list[Any], deadline: float) -> Response:
        if any(_brand_of(row) not in ("", str(brand.there)) for row in rows):
            return _answer(400, "a move of another brand")
        if len(self._under_way) >= SYNC_PUSH_THREADS + SYNC_PUSHES_WAITING_MAX:
            return _later("busy")
        loop = asyncio.get_running_loop()
        work: Callable[[], object] = lambda: self._take(brand, rows)  # noqa: E731
        taking = loop.run_in_executor(self._threads, work)
        self._under_way.add(taking)
        taking.add_done_callback(self._ended)
        await asyncio.wait([taking], timeout=max(0.0, deadline - loop.time()))
        if not taking.done():
            return _later("not certain yet")
        fault = taking.exception()
        if isinstance(fault, IndexDown | SQLAlchemyError):
            return _later(f"not certain yet: {type(fault).__name__}")
        taking.result()
        return _answer(200, "taken")

    def _ended(self, taking: asyncio.Future[object]) -> None:
        self._under_way.discard(taking)
        if (fault := taking.exception()) is not None:
            logger.warning("national_push_fault", error=type(fault).__name__)


def may(login: Login | None, said: str) -> bool:
    """Whether an Authorization header has this user name and password; as slow for nobody as for somebody."""
    scheme, _, text = said.partition(" ")
    try:
        given = b64decode(text.strip(), validate=True) if scheme.lower() == "basic" else b""
    except (NotBase64, ValueError):
        given = b""
    expected = b"\0" if login is None else f"{login.username}:".encode() + login.password
    same = hmac.compare_digest(hashlib.sha256(given).digest(), hashlib.sha256(expected).digest())
    return same and login is not None


def _brand_of(row: Any) -> str:
    code = row.get("brandCode") if isinstance(row, dict) else None
    return "" if code is None else str(code)


def _later(text: str) -> Response:
    return _answer(503, text, {"retry-after": str(RETRY_SECONDS)})


def _answer(status: int, text: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"result": text}, status, {"cache-control": "no-store", **(headers or {})})
