"""Citizens' moves on their way to receivers: in the order of the ledger's log, each until it was taken.

A receiver that fails is left alone for 5 seconds, then 10, and so on up to 15 minutes, and told from where it stopped.
What it was told twice it knows by the transactionId.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import Engine

from filters.model import Brand
from registry.limits import PUSH_MOVES_MAX, PUSH_RUN_MAX, PUSH_SKIP_EVENTS
from registry.log import logger
from registry.national.moves import Moved, Side, described, last_seq, made_by, moved, moves_of
from registry.national.outward import Outward, Unreachable
from registry.national.push_store import Receiver, Registrations
from registry.schema import consent_event, snapshot

OK: Final = range(200, 300)


class Delivery:
    """`step` is a `background.Step`. For one thread."""

    def __init__(
        self,
        engine: Engine,
        registrations: Registrations,
        outward: Outward,
        brands: Mapping[int, Brand],
        moved: Callable[[], None] = lambda: None,
    ) -> None:
        """`moved` is called before each request: a receiver may take its time."""
        self._moved = moved
        self._engine = engine
        self._registrations = registrations
        self._outward = outward
        self._brands = brands
        self._holder = f"{os.getpid()}-{secrets.token_hex(8)}"
        self._seen: dict[int, int] = {}  # by receiver: the event that it was found to be level with

    def step(self) -> bool:
        """Deliver a request or a few to every receiver that lags; True: to some there may be more."""
        due = self._registrations.due()
        if not due:
            return False
        with snapshot(self._engine) as connection:
            head = last_seq(connection)
        more = False
        for receiver in due:
            if max(receiver.cursor, self._seen.get(receiver.id, 0)) < head:
                more |= self._serve(receiver)
        self._seen = {receiver.id: self._seen[receiver.id] for receiver in due if receiver.id in self._seen}
        return more

    def _serve(self, told: Receiver) -> bool:
        moves, head = self._next(told)
        if not moves:
            self._seen[told.id] = head
            if head - told.cursor < PUSH_SKIP_EVENTS:  # a write for each event of others would cost more
                return False
        receiver = self._registrations.take(told, self._holder)
        if receiver is None:
            return False
        try:
            return self._deliver(receiver)
        finally:
            self._registrations.release(receiver, self._holder)

    def _deliver(self, receiver: Receiver) -> bool:
        """A few requests; True: there is more."""
        for _ in range(PUSH_RUN_MAX):
            moves, head = self._next(receiver)
            if moves and not self._post(receiver, moves):
                return False
            cursor = moves[-1].seq if len(moves) == PUSH_MOVES_MAX else head
            self._registrations.delivered(receiver, self._holder, cursor)
            receiver = receiver._replace(cursor=cursor, failures=0)
            if len(moves) < PUSH_MOVES_MAX:
                return False
        return True

    def _post(self, receiver: Receiver, moves: Sequence[Moved]) -> bool:
        brand = self._brands.get(receiver.brand)
        iys_code = receiver.brand if brand is None else brand.iys_code
        body = payload([(iys_code, receiver.brand, described(one)) for one in moves])
        password = self._registrations.password_of(receiver)
        self._moved()
        try:
            status = self._outward.post(receiver.url, body, receiver.username, password)
            fault = "" if status in OK else f"status {status}"
        except Unreachable as error:
            fault = str(error)
        if not fault:
            return True
        wait_s = self._registrations.failed(receiver, self._holder)
        logger.warning("push_failed", brand=receiver.brand, registration=receiver.id, fault=fault, wait_s=wait_s)
        return False

    def _next(self, receiver: Receiver) -> tuple[list[Moved], int]:
        """(the next moves, the newest event that was looked at)."""
        at = consent_event.c.seq
        query = moves_of(receiver.brand).where(made_by(Side.IYS), at > receiver.cursor)
        query = query.where(consent_event.c.channel == receiver.channel.value).order_by(at).limit(PUSH_MOVES_MAX)
        with snapshot(self._engine) as connection:
            head = last_seq(connection)
            found = [moved(row) for row in connection.execute(query.where(at <= head))]
        return found, head


def payload(moves: Sequence[tuple[int, int, dict[str, Any]]]) -> bytes:
    """The body of a request, of (iysCode, brandCode, move)."""
    told = [{"iysCode": iys_code, "brandCode": brand, **move} for iys_code, brand, move in moves]
    return msgspec.json.encode({"list": told})
