"""Batches of additions in the ledger's database: accepted at once, worked off one after the other, told for 60 days.

A batch and what became of it are written in the transaction that records it, so a process that is killed loses nothing
and does nothing twice. A rejection is told as done when the index knows it (promise I5); until then it is in the queue.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import uuid4

import msgspec
from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy.exc import DataError, IntegrityError

from filters.model import Channel, RecipientType, Status
from registry.bulk import among
from registry.ledger import Ledger
from registry.limits import API_BATCHES_OPEN_MAX
from registry.log import logger
from registry.national.gather import TooMany
from registry.national.recorder import UNCERTAIN, Added, Addition, Recorder
from registry.national.standing import REFUSED
from registry.national.stored import DONE, OPEN, RECORDED, api_batch
from registry.rules import Move
from registry.schema import appending, consent_event

KEPT: Final = timedelta(days=60)
UNSAVED: Final = "H101"


class Item(NamedTuple):
    """One consent of a batch, as it is stored."""

    sub_request: str
    channel: Channel
    recipient: str
    recipient_type: RecipientType
    status: Status
    source: str
    consent_date: str
    late: bool
    retailer: int
    retailer_access: tuple[int, ...]

    def move(self, brand: int) -> Move:
        """What it records."""
        said = self.status, self.source, self.consent_date
        return Move(brand, self.channel, self.recipient.encode(), self.recipient_type, *said)


class Result(NamedTuple):
    """What became of it; `first` is (requestId, subRequestId) of the batch that had brought the same before."""

    code: str
    transaction: str
    created: str
    again: bool = False
    first: tuple[str, str] | None = None


class Polled(NamedTuple):
    """A batch that somebody asks for."""

    request: str
    repeatable: bool
    state: str
    items: list[Item]
    results: list[Result]  # empty while it is open


class _Batch(NamedTuple):
    id: int
    brand: int
    client: str
    repeatable: bool
    items: list[Item]

    @classmethod
    def of(cls, row: Any) -> _Batch:
        """From the columns `_BATCH`."""
        number, brand, client, repeatable, consents = row[:5]
        return cls(number, brand, client, bool(repeatable), _items(consents))


_encode = msgspec.msgpack.Encoder().encode
_items = msgspec.msgpack.Decoder(list[Item]).decode
_results = msgspec.msgpack.Decoder(list[Result]).decode
_BATCH: Final = [api_batch.c[name] for name in ("id", "brand", "client", "repeatable", "consents")]


class Batches:
    """Thread-safe; a method is a transaction or a few, blocks, and raises SQLAlchemyError."""

    def __init__(self, ledger: Ledger, recorder: Recorder, clock: Callable[[], datetime]) -> None:
        self._ledger = ledger
        self._engine = ledger.engine
        self._writing = appending(ledger.engine)
        self._recorder = recorder
        self._clock = clock
        self.arrived = threading.Event()
        """Set when there may be something to work off."""

    def accept(self, brand: int, client: str, items: Sequence[Item], *, repeatable: bool) -> str:
        """Keep a batch; its requestId. Raises TooMany."""
        request = str(uuid4())
        row = {
            "request_id": request,
            "brand": brand,
            "client": client,
            "repeatable": repeatable,
            "created_at": int(self._clock().timestamp()),
            "state": OPEN,
            "consents": _encode(items),
        }
        waiting = select(func.count()).select_from(api_batch).where(api_batch.c.state == OPEN)
        with self._writing.begin() as connection:
            if connection.execute(waiting).scalar_one() >= API_BATCHES_OPEN_MAX:
                raise TooMany
            connection.execute(insert(api_batch).values(row))
        self.arrived.set()
        return request

    def find(self, brand: int, request: str) -> Polled | None:
        """A brand's batch; None: there is none, or it is too old."""
        oldest = int((self._clock() - KEPT).timestamp())
        names = ("request_id", "repeatable", "state", "consents", "results")
        query = select(*(api_batch.c[name] for name in names)).where(api_batch.c.request_id == request)
        query = query.where(api_batch.c.brand == brand, api_batch.c.created_at >= oldest)
        with self._engine.connect() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            return None
        results = [] if row.results is None else _results(row.results)
        return Polled(row.request_id, bool(row.repeatable), row.state, _items(row.consents), results)

    def work_off(self) -> bool:
        """Record the oldest open batch, and publish the oldest recorded one; False: there is nothing (more) to do."""
        recorded = self._record_next()
        return self._publish_next() or recorded

    def forget(self) -> int:
        """Delete what is older than 60 days; how many batches that were."""
        oldest = int((self._clock() - KEPT).timestamp())
        old = delete(api_batch).where(api_batch.c.created_at < oldest, api_batch.c.state == DONE)
        with self._writing.begin() as connection:
            return connection.execute(old).rowcount

    def _record_next(self) -> bool:
        number = self._oldest(OPEN)
        if number is None:
            return False
        try:
            self._record(number)
        except (DataError, IntegrityError, ValueError, LookupError, TypeError) as fault:
            # this batch will never go through; those behind it shall
            logger.error("batch_broken", batch=number, error=type(fault).__name__)
            self._give_up(number)
        return True

    def _record(self, number: int) -> None:
        with self._ledger.append() as log:
            row = _open(log.connection, number)
            if row is None:  # another process was faster
                return
            batch = _Batch.of(row)
            before = _last_event(log.connection)
            answers = self._recorder.record(log, self._additions(batch))
            firsts = _firsts(log.connection, batch, answers) if batch.repeatable else {}
            results = [Result(*answer[:4], firsts.get(place)) for place, answer in enumerate(answers)]
            last = _last_event(log.connection)
            done = {"state": RECORDED, "results": _encode(results), "last_seq": last if last > before else None}
            log.connection.execute(update(api_batch).where(api_batch.c.id == number).values(done))

    def _publish_next(self) -> bool:
        number = self._oldest(RECORDED)
        if number is None:
            return False
        query = select(*_BATCH, api_batch.c.results).where(api_batch.c.id == number)
        with self._engine.connect() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            return True
        batch = _Batch.of(row)
        answers = [Added(*result[:4]) for result in _results(row.results)]
        if any(answer.code == UNCERTAIN for answer in self._recorder.publish(self._additions(batch), answers)):
            return False  # the index is down: come again
        with self._writing.begin() as connection:
            connection.execute(update(api_batch).where(api_batch.c.id == number).values(state=DONE))
        return True

    def _give_up(self, number: int) -> None:
        with self._writing.begin() as connection:
            row = _open(connection, number)
            if row is not None:
                results = _encode([Result(UNSAVED, "", "")] * len(_Batch.of(row).items))
                given_up = {"state": DONE, "results": results}
                connection.execute(update(api_batch).where(api_batch.c.id == number).values(given_up))

    def _oldest(self, state: str) -> int | None:
        query = select(api_batch.c.id).where(api_batch.c.state == state).order_by(api_batch.c.id).limit(1)
        with self._engine.connect() as connection:
            return connection.execute(query).scalar_one_or_none()

    def _additions(self, batch: _Batch) -> list[Addition]:
        fingerprint, brand = self._ledger.fingerprint, batch.brand
        found = []
        for item in batch.items:
            move = item.move(brand)
            key = fingerprint(brand, move.channel, move.recipient)
            retailers = item.retailer, item.retailer_access
            found.append(Addition(key, move, batch.client, batch.repeatable, item.late, *retailers))
        return found


def item_of(move: Move, late: bool, retailer: int, retailer_access: tuple[int, ...]) -> Item:
    """With a subRequestId of its own."""
    _, channel, recipient, kind, status, source, date = move
    return Item(str(uuid4()), channel, recipient.decode(), kind, status, source, date, late, retailer, retailer_access)


def _open(connection: Connection, number: int) -> Any:
    """The columns of the batch, None: it is not open any more."""
    query = select(*_BATCH).where(api_batch.c.id == number, api_batch.c.state == OPEN)
    return connection.execute(query).one_or_none()


def _last_event(connection: Connection) -> int:
    return int(connection.execute(select(func.coalesce(func.max(consent_event.c.seq), 0))).scalar_one())


def _firsts(connection: Connection, batch: _Batch, answers: Sequence[Added]) -> dict[int, tuple[str, str]]:
    """Of items that were recorded before (by place): which batch had brought them, as far as one did."""
    again = {batch.items[place].move(batch.brand): place for place, answer in enumerate(answers) if answer.again}
    if not again:
        return {}
    columns = ", ".join((*Move._fields, "origin", "seq"))
    query = f"SELECT {columns} FROM consent_event WHERE recipient"
    events: dict[int, Move] = {}
    for row in among(connection, query, sorted({move.recipient.decode() for move in again})):
        *said, origin, seq = row
        brand, channel, recipient, kind, status, source, date = said
        move = Move(brand, Channel(channel), recipient.encode(), RecipientType(kind), Status(status), source, date)
        if origin not in REFUSED and move in again:
            events[seq] = move
    found: dict[int, tuple[str, str]] = {}
    known, request, last = dict[Move, str](), "", 0
    for seq, move in sorted(events.items()):
        if seq > last:
            last, request, known = _batch_of_event(connection, seq)
        if move in known:
            found[again[move]] = request, known[move]
    return found


def _batch_of_event(connection: Connection, seq: int) -> tuple[int, str, dict[Move, str]]:
    """(last event, requestId, subRequestId of each move it was the first to bring) of the batch that may have brought
    an event: the first that ended at it or later."""
    names = ("last_seq", "request_id", "brand", "consents", "results")
    query = (
        select(*(api_batch.c[name] for name in names))
        .where(api_batch.c.last_seq >= seq)
        .order_by(api_batch.c.last_seq)
        .limit(1)
    )
    row = connection.execute(query).one_or_none()
    if row is None:
        return seq, "", {}
    pairs = zip(_items(row.consents), _results(row.results), strict=True)
    known = {item.move(row.brand): item.sub_request for item, result in pairs if not (result.code or result.again)}
    return row.last_seq, row.request_id, known
