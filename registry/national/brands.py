"""GET /sps/{iysCode}/brands: the client's brands of one provider, with how many consents and retailers they have.

To count looks at every consent, so it is done at most once in API_COUNT_SECONDS, in a thread, for all who ask.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

from fastapi import FastAPI, Response
from sqlalchemy import Engine

from filters.model import Status
from registry.limits import API_COUNT_SECONDS
from registry.national.errors import answer
from registry.national.openapi import CODE, COUNT, TEXT, listed, shape
from registry.national.routes import Call, Endpoint, add, brands_of
from registry.national.state import Api
from registry.subscription import Counts, counted

_STATS: Final = shape(
    {
        "consents": shape({"approval": COUNT, "rejection": COUNT, "total": COUNT}),
        "retailers": shape({"total": COUNT}),
    }
)
_BRAND: Final = shape({"brandCode": CODE, "name": TEXT, "master": {"type": "boolean"}, "stats": _STATS})


def add_to(app: FastAPI, api: Api) -> None:
    """Serve the path."""
    counted = Counted(api)

    async def brands(call: Call) -> Response:
        return answer(await _brands(call, counted))

    add(app, api, Endpoint("GET", "/sps/{iysCode}/brands", brands, "My brands", answer=listed(_BRAND)))


class Counted:
    """The newest counts; one counting at a time."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._lock = asyncio.Lock()
        self._counts: Counts = {}
        self._until = float("-inf")  # monotonic

    async def counts(self) -> Counts:
        """How many keys of each brand stand in ONAY and in RET. Raises SQLAlchemyError or TooMany."""
        async with self._lock:
            if time.monotonic() >= self._until:
                self._counts = await self._api.in_thread(lambda: count_consents(self._api.ledger.engine))
                self._until = time.monotonic() + API_COUNT_SECONDS
            return self._counts


def count_consents(engine: Engine) -> Counts:
    """Blocks, for about a second for each million."""
    with engine.connect() as connection:
        return counted(connection)


def _total(counts: Counts, brand: int) -> int:
    """Also those that do not count yet."""
    return sum(count for (code, _), count in counts.items() if code == brand)


async def _brands(call: Call, counted: Counted) -> list[dict[str, Any]]:
    counts = await counted.counts()
    retailers = await call.api.in_thread(lambda: call.api.rest.retailers.count(call.client.grants))
    told = []
    for brand in brands_of(call.api, call.client, call.iys_code):
        approval, rejection = (counts.get((brand.code, status.value), 0) for status in (Status.ONAY, Status.RET))
        consents = {"approval": approval, "rejection": rejection, "total": _total(counts, brand.code)}
        told.append(
            {
                "brandCode": brand.code,
                "name": brand.name,
                "master": brand.code == brand.iys_code,
                "stats": {"consents": consents, "retailers": {"total": retailers.get(brand.code, 0)}},
            }
        )
    return told
