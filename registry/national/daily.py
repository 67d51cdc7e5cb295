"""What both sides compare at the end of a day: counters, the hash of the day's file, the file, and that they agree.

A day is told when it is over, for a week. It is not frozen: what an import that began before midnight records after it
belongs to the day, so a hash that was computed earlier is computed anew, and whoever had agreed is asked again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, timedelta
from functools import partial
from typing import IO, Any, Final

from fastapi import FastAPI, Response
from fastapi.responses import StreamingResponse
from sqlalchemy import insert, select, update

from filters.model import Channel, RecipientType, Status
from registry.limits import API_BODY_OCTETS_MAX, API_DAY_WAIT_SECONDS, API_DAYS_WAITING_MAX, API_STREAM_OCTETS
from registry.national import day_file
from registry.national.audit import write_audit
from registry.national.consent_body import shown
from registry.national.errors import answer, refused
from registry.national.gather import TooMany
from registry.national.moves import Side
from registry.national.openapi import COUNT, TEXT, TYPE, listed, shape
from registry.national.routes import Call, Endpoint, add
from registry.national.state import Api
from registry.national.status import TYPES
from registry.national.stored import api_agreement
from registry.rules import TURKEY
from registry.schema import appending, snapshot

BASE: Final = "/sps/{iysCode}/brands/{brandCode}"
DAYS: Final = 7
HASH_METHOD: Final = "SHA-384"
COMPLETED: Final = "completed"
IN_PROGRESS: Final = "inprogress"

_COUNTER = shape({"source": TEXT, "approval": COUNT, "rejection": COUNT, "pending": COUNT, "total": COUNT})
_COUNTERS = shape({"changeStats": listed(shape({"type": TYPE, "consents": listed(_COUNTER)}))})
_HASH = shape(
    {"processStatus": TEXT, "hashMethod": TEXT, "agreementStatus": {"type": "boolean"}},
    hashValue=TEXT,
)
_AGREED = shape({"agreementStatus": {"type": "boolean", "enum": [True]}})
_CAPTURED = shape({"agreementCaptured": {"type": "boolean"}})


class Changed(Exception):
    """Something was recorded for a day while somebody agreed to it."""


class Days:
    """The days' files, computed by one thread. For one event loop."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._engine = api.ledger.engine
        self._writing = appending(self._engine)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="days")
        self._under_way: dict[tuple[int, date], asyncio.Future[tuple[str, bool] | None]] = {}
        self._waiting = 0

    async def agreement(self, brand: int, day: date) -> tuple[str, bool] | None:
        """(hash, whether somebody agreed) of a day; None: it has no moves. Raises TimeoutError: not computed yet."""
        key = brand, day
        computing = self._under_way.get(key)
        if computing is None:
            self._make_room()
            loop = asyncio.get_running_loop()
            computing = loop.run_in_executor(self._thread, partial(self._agreement, brand, day))
            self._under_way[key] = computing
            computing.add_done_callback(lambda _: self._forget(key))
        return await asyncio.wait_for(asyncio.shield(computing), API_DAY_WAIT_SECONDS)

    async def agree(self, brand: int, day: date, client: str) -> bool:
        """Note that the client agrees to the newest hash; False: the day has no moves. Raises TimeoutError, Changed."""
        found = await self.agreement(brand, day)
        if found is None:
            return False
        await self._api.in_thread(partial(self._agree, brand, day, client, found[0]))
        return True

    async def file(self, brand: int, day: date) -> IO[bytes] | None:
        """An open file; None: the day has no moves. Raises TooMany."""
        self._make_room()
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, partial(self._file, brand, day))
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """What is under way is finished."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _make_room(self) -> None:
        if self._waiting + len(self._under_way) >= API_DAYS_WAITING_MAX:
            raise TooMany

    def _forget(self, key: tuple[int, date]) -> None:
        done = self._under_way.pop(key, None)
        if done is not None and not done.cancelled():
            done.exception()  # who waited has gone perhaps: nobody else looks at it

    def _agreement(self, brand: int, day: date) -> tuple[str, bool] | None:
        with snapshot(self._engine) as connection:
            known = connection.execute(_agreement_of(brand, day)).one_or_none()
            if known is not None and not day_file.has_moves(connection, brand, day, known.through):
                return known.digest, known.agreed
            written = day_file.write(connection, brand, day)
        if not written.lines:
            return None
        row = {"digest": written.digest, "through": written.through, "agreed": False, "agreed_by": "", "agreed_at": ""}
        with self._writing.begin() as connection:
            if known is None:
                if connection.execute(_agreement_of(brand, day)).first() is None:
                    connection.execute(insert(api_agreement).values(brand=brand, day=day.isoformat(), **row))
            elif known.digest != written.digest:
                connection.execute(_update(brand, day).values(row))
            else:
                connection.execute(_update(brand, day).values(through=written.through))
        agreed = known is not None and known.agreed and known.digest == written.digest
        return written.digest, agreed

    def _agree(self, brand: int, day: date, client: str, digest: str) -> None:
        now = self._api.clock()
        at = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        with self._writing.begin() as connection:
            same = _update(brand, day).where(api_agreement.c.digest == digest)
            if not connection.execute(same.values(agreed=True, agreed_by=client, agreed_at=at)).rowcount:
                raise Changed
            write_audit(connection, client, "agreement", now, brand=brand, detail=day.isoformat())

    def _file(self, brand: int, day: date) -> IO[bytes] | None:
        out = day_file.temporary()
        with snapshot(self._engine) as connection:
            written = day_file.write(connection, brand, day, out)
        if not written.lines:
            out.close()
            return None
        out.seek(0)
        return out


def add_to(app: FastAPI, api: Api) -> None:
    """Serve all of them."""
    days = Days(api)
    api.at_close(days.close)
    agreement, dated = f"{BASE}/agreements/{{reportDate}}", f"{BASE}/changes/{{reportDate}}"
    for endpoint in (
        Endpoint("GET", f"{dated}/recipients/{{recipientType}}", counters, "A day's counters", answer=_COUNTERS),
        Endpoint("GET", f"{dated}/file", partial(_file, days), "A day's moves", media="text/csv", may_be_empty=True),
        Endpoint("GET", agreement, partial(_hash, days), "A day's hash", answer=_HASH, may_be_empty=True),
        Endpoint(
            "PUT",
            agreement,
            partial(_agree, days),
            "Agree to a day",
            write=True,
            octets_max=API_BODY_OCTETS_MAX,
            body=_AGREED,
            answer=_CAPTURED,
            may_be_empty=True,
        ),
        Endpoint("GET", f"{agreement}/timestamp", _timestamp, "A day's time stamp: there is none", status=204),
    ):
        add(app, api, endpoint)


async def counters(call: Call) -> Response:
    """Every type, and both sides of it."""
    day, kind = _day(call), TYPES.get(call.part("recipientType"))
    if kind is None:
        raise refused("H116", value=shown(call.part("recipientType")))
    found = await call.api.in_thread(lambda: _counted(call, day, kind))
    stats = [
        {"type": channel.value, "consents": [_counter(found, channel, side) for side in Side]} for channel in Channel
    ]
    return answer({"changeStats": stats})


def _counted(call: Call, day: date, kind: RecipientType) -> dict[tuple[Channel, Side, Status], int]:
    with snapshot(call.api.ledger.engine) as connection:
        return day_file.counts(connection, call.brand, day, kind)


def _counter(found: dict[tuple[Channel, Side, Status], int], channel: Channel, side: Side) -> dict[str, Any]:
    approval, rejection = (found.get((channel, side, status), 0) for status in (Status.ONAY, Status.RET))
    total = approval + rejection
    return {"source": side.value, "approval": approval, "rejection": rejection, "pending": 0, "total": total}


async def _hash(days: Days, call: Call) -> Response:
    day = _day(call)
    told: dict[str, Any] = {"processStatus": COMPLETED, "hashMethod": HASH_METHOD}
    try:
        found = await days.agreement(call.brand, day)
    except TimeoutError:
        return answer({**told, "processStatus": IN_PROGRESS, "agreementStatus": False})
    if found is None:
        return Response(status_code=204)
    digest, agreed = found
    return answer({**told, "hashValue": digest, "agreementStatus": agreed})


async def _agree(days: Days, call: Call) -> Response:
    day = _day(call)
    said = call.body
    if not isinstance(said, dict):
        raise refused("H512", "agreementStatus")
    for name in said:
        if name != "agreementStatus":
            raise refused("H118", shown(name), value=shown(said[name]))
    if said.get("agreementStatus") is not True:
        raise refused("H512", "agreementStatus", value=shown(said.get("agreementStatus")))
    try:
        agreed = await days.agree(call.brand, day, call.client.name)
    except (TimeoutError, Changed):
        raise refused("H123") from None
    return answer({"agreementCaptured": True}) if agreed else Response(status_code=204)


async def _file(days: Days, call: Call) -> Response:
    day = _day(call)
    found = await days.file(call.brand, day)
    if found is None:
        return Response(status_code=204)
    name = f"{call.brand}-{day.isoformat()}.csv"
    headers = {"cache-control": "no-store", "content-disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(_pieces(found), headers=headers, media_type="text/csv; charset=utf-8")


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        while piece := file.read(API_STREAM_OCTETS):
            yield piece


async def _timestamp(call: Call) -> Response:
    """Nobody stamps our files: no time-stamping authority can be configured."""
    _day(call)
    return Response(status_code=204)


def _day(call: Call) -> date:
    """`reportDate`: one of the last seven days that are over. Raises NationalError."""
    said = call.part("reportDate")
    try:
        day = date.fromisoformat(said)
    except ValueError:
        raise refused("H501", "reportDate", value=shown(said)) from None
    if day.isoformat() != said:
        raise refused("H501", "reportDate", value=shown(said))
    today = call.api.clock().astimezone(TURKEY).date()
    if not today - timedelta(days=DAYS) <= day < today:
        raise refused("H502", "reportDate", value=said)
    return day


def _agreement_of(brand: int, day: date) -> Any:
    return select(api_agreement).where(api_agreement.c.brand == brand, api_agreement.c.day == day.isoformat())


def _update(brand: int, day: date) -> Any:
    return update(api_agreement).where(api_agreement.c.brand == brand, api_agreement.c.day == day.isoformat())
