"""Upload: waiting events go out in batches, and minutes later it is asked what became of them.

Batches go to /v2, where the same again is the same: one whose acceptance we did not live to hear is sent again, and
nothing is doubled. An ONAY that was taken counts from then on (`registry.awaiting`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from sqlalchemy import select

from filters.model import Channel, RecipientType, Status
from registry.append import move_of
from registry.ledger import Ledger
from registry.limits import (
    SYNC_BACKOFF_SECONDS_MAX,
    SYNC_BATCH_CONSENTS,
    SYNC_BATCH_SECONDS_MAX,
    SYNC_BATCHES_OPEN,
    SYNC_STATUS_RECIPIENTS,
)
from registry.log import logger
from registry.rules import Move
from registry.schema import consent_event
from registry.sync.apply import keep_receipts, remember
from registry.sync.client import UNREADABLE, Fault
from registry.sync.codes import Then, then, wait_s
from registry.sync.outbox import NOTHING_TO_TAKE_BACK, Outbox, Row, final_state
from registry.sync.pull import Wire, base
from registry.sync.settings import SyncedBrand
from registry.sync.tables import DONE, SENT, WAITING, national_upload
from registry.sync.wire import Told, consent

SUCCESS: Final = "success"
FAILURE: Final = "failure"


class Upload:
    """Of one brand. One process at a time. Raises Fault, Busy or SQLAlchemyError."""

    def __init__(self, wire: Wire, ledger: Ledger, brand: SyncedBrand, result_s: float) -> None:
        self._wire = wire
        self._ledger = ledger
        self._brand = brand
        self._result_s = result_s
        self._size = SYNC_BATCH_CONSENTS
        self.outbox = Outbox(ledger, wire.state, brand.code)

    def step(self, prolong: Callable[[], None]) -> int:
        """All that can be done now; how many events were sent."""
        self.outbox.feed()
        self.poll(prolong)
        sent = 0
        while len(self._open()) < SYNC_BATCHES_OPEN:
            prolong()
            rows = self.outbox.ready(self._size)
            if not rows:
                break
            sent += self._send(rows)
        return sent

    def _send(self, rows: Sequence[Row]) -> int:
        rows = self._checked(rows)
        if not rows:
            return 0
        path = f"/v2{base(self._brand)}/consents/request"
        try:
            answer = self._wire.ask_full(self._brand, "POST", path, body=[consent(row.move) for row in rows])
        except Fault as fault:
            self._refused(rows, fault)
            return 0
        said = answer.json()
        request = said.get("requestId") if isinstance(said, dict) else None
        if not isinstance(request, str) or not 0 < len(request) <= 100:
            raise Fault(Then.LATER, UNREADABLE, answer.status)
        names = _sub_requests(said.get("subRequests"))
        ask_at = self._now() + int(self._result_s)
        with self._ledger.append() as log:
            for row in rows:
                told = {"request": request, "sub_request": names.get(_named(row.move), ""), "next_at": ask_at}
                self.outbox.settle(log.connection, [row.seq], SENT, **told)
        self._size = SYNC_BATCH_CONSENTS
        return len(rows)

    def _checked(self, rows: Sequence[Row]) -> list[Row]:
        """Those that the national system would take. Of a RET that it would not, it is asked whether that is so."""
        codes = self.outbox.judged(rows)
        doubtful = [
            row
            for row, code in zip(rows, codes, strict=True)
            if row.move.status is Status.RET and code in NOTHING_TO_TAKE_BACK
        ]
        stands = self._standing([row.move for row in doubtful])
        wrong: dict[int, tuple[Move, str]] = {}
        early: list[int] = []
        good: list[Row] = []
        for row, code in zip(rows, codes, strict=True):
            if code and then(code) is not Then.FINAL:
                early.append(row.seq)
            elif code and not (code in NOTHING_TO_TAKE_BACK and row.move in stands):
                wrong[row.seq] = (row.move, code)
            else:
                good.append(row)
        if wrong:
            self.outbox.refuse(wrong)
        if early:  # dated by a clock that was ahead
            with self._ledger.append() as log:
                later = self._now() + int(SYNC_BACKOFF_SECONDS_MAX)
                self.outbox.settle(log.connection, early, WAITING, code="H162", next_at=later)
        return good

    def _standing(self, moves: Sequence[Move]) -> set[Move]:
        """Of RETs those about whom the national system has an ONAY."""
        found: set[Move] = set()
        for channel in Channel:
            for kind in RecipientType:
                mine = {one.recipient: one for one in moves if one.channel is channel and one.recipient_type is kind}
                for recipient in onay_among(self._wire, self._brand, channel, kind, sorted(mine)):
                    found.add(mine[recipient])
        return found

    def _refused(self, rows: Sequence[Row], fault: Fault) -> None:
        """A batch was not accepted. Raises the fault unless something can be done at once."""
        items = {place: code for place, code in fault.items.items() if place < len(rows)}
        final = {place: code for place, code in items.items() if then(code) is Then.FINAL}
        if final:
            logger.warning("national_items_refused", brand=self._brand.code, codes=sorted(set(final.values())))
            self.outbox.refuse({rows[place].seq: (rows[place].move, code) for place, code in final.items()})
        elif fault.then is Then.FINAL and len(rows) == 1:
            self.outbox.refuse({rows[0].seq: (rows[0].move, fault.code)})
        elif fault.then in (Then.FINAL, Then.SPLIT) and len(rows) > 1:
            self._size = max(1, len(rows) // 2)  # whichever it is that they do not like is found by halving
        else:
            raise fault

    def poll(self, prolong: Callable[[], None]) -> None:
        """Ask what became of the batches whose time has come."""
        for request in self._open(due=True):
            prolong()
            path = f"/v2{base(self._brand)}/consents/request/{request}"
            try:
                answer = self._wire.ask_full(self._brand, "GET", path)
            except Fault as fault:
                if fault.then is Then.LATER and fault.status >= 500:
                    self._results(request, [])  # one that they stumble over must not keep all others waiting
                    continue
                if fault.status not in (404, 422):
                    raise
                logger.error("national_batch_unknown", brand=self._brand.code, code=fault.code)
                self._again(request)
                continue
            said = [] if answer.empty else answer.json()
            if not isinstance(said, list):
                raise Fault(Then.LATER, UNREADABLE, answer.status)
            self._results(request, said)

    def _results(self, request: str, said: list[Any]) -> None:
        rows = self._rows_of(request)
        told = _by_place(said, [row[1] for row in rows])
        if not all(row[1] for row in rows) and not all(one.get("status") in (SUCCESS, FAILURE) for one in told):
            told = [{} for _ in rows]  # places mean something only as long as no item has left the batch
        now = self._wire.state.clock()
        taken: list[Told] = []
        seqs: list[int] = []
        with self._ledger.append() as log:
            for (seq, _, tries, changed_at, move), result in zip(rows, told, strict=True):
                status, code = result.get("status"), _code(result)
                if status == SUCCESS:
                    self.outbox.settle(log.connection, [seq], DONE, code="")
                    transaction, created = (str(result.get(name) or "") for name in ("transactionId", "creationDate"))
                    taken.append(Told(move, transaction[:64], created[:19]))
                    seqs.append(seq)
                elif status == FAILURE and then(code) is Then.FINAL:
                    self.outbox.settle(log.connection, [seq], final_state(move, code), code=code)
                elif status == FAILURE:
                    next_at = int(now.timestamp() + wait_s(then(code), tries, now))
                    again = {"code": code, "tries": tries + 1, "next_at": next_at}
                    self.outbox.settle(log.connection, [seq], WAITING, **again)
                elif now.timestamp() - changed_at > SYNC_BATCH_SECONDS_MAX:
                    self.outbox.settle(log.connection, [seq], WAITING, next_at=0)
                else:
                    self._ask_later(log.connection, seq)
            remember(log.connection, taken)
            keep_receipts(log.connection, zip(seqs, taken, strict=True), now)
            self._wire.taker.register_in(log, [one.move for one in taken])

    def _ask_later(self, connection: Any, seq: int) -> None:
        later = national_upload.update().where(national_upload.c.seq == seq)
        connection.execute(later.values(next_at=self._now() + int(self._result_s)))

    def _again(self, request: str) -> None:
        with self._ledger.append() as log:
            self.outbox.settle(log.connection, [row[0] for row in self._rows_of(request)], WAITING, next_at=0)

    def _rows_of(self, request: str) -> list[tuple[int, str, int, int, Move]]:
        """(event, subRequestId, tries, since when, move) in the order in which they were sent."""
        mine = national_upload
        columns = [mine.c.seq, mine.c.sub_request, mine.c.tries, mine.c.changed_at]
        query = select(*columns, *(consent_event.c[name] for name in Move._fields))
        query = query.join(consent_event, consent_event.c.seq == mine.c.seq).order_by(mine.c.seq)
        query = query.where(mine.c.request == request, mine.c.state == SENT, mine.c.brand == self._brand.code)
        with self._wire.state.engine.connect() as connection:
            return [(row[0], row[1], row[2], row[3], move_of(row[4:])) for row in connection.execute(query)]

    def _open(self, *, due: bool = False) -> list[str]:
        """The batches whose results are not all known, the oldest first."""
        mine = (national_upload.c.brand == self._brand.code, national_upload.c.state == SENT)
        query = select(national_upload.c.request).where(*mine)
        if due:
            query = query.where(national_upload.c.next_at <= self._now())
        with self._wire.state.engine.connect() as connection:
            return list(dict.fromkeys(connection.execute(query.order_by(national_upload.c.seq)).scalars()))

    def _now(self) -> int:
        return int(self._wire.state.clock().timestamp())


def onay_among(
    wire: Wire, brand: SyncedBrand, channel: Channel, kind: RecipientType, recipients: Sequence[bytes]
) -> set[bytes]:
    """Which of these the national system has in ONAY. Raises Fault."""
    found: set[bytes] = set()
    for start in range(0, len(recipients), SYNC_STATUS_RECIPIENTS):
        part = recipients[start : start + SYNC_STATUS_RECIPIENTS]
        body = {"recipients": [one.decode() for one in part]}
        answer = wire.ask(brand, "POST", f"/consents/{kind.value}/status/{channel.value}", body=body)
        said = answer.json()
        listed = said.get("list") if isinstance(said, dict) else None
        if not isinstance(listed, list):
            raise Fault(Then.LATER, UNREADABLE, answer.status)
        found |= {str(one).lower().encode("utf-8", "replace") for one in listed} & set(part)
    return found


def _named(move: Move) -> tuple[str, str, str]:
    return move.channel.value, move.recipient.decode(), move.recipient_type.value


def _sub_requests(said: Any) -> dict[tuple[str, str, str], str]:
    """The subRequestId of each consent."""
    found: dict[tuple[str, str, str], str] = {}
    for one in said if isinstance(said, list) else []:
        if isinstance(one, dict):
            kind = str(one.get("recipientType") or RecipientType.BIREYSEL.value)
            named = str(one.get("type")), str(one.get("recipient")).lower(), kind
            found[named] = _sub_request(one)
    return found


def _by_place(said: list[Any], names: Sequence[str]) -> list[dict[str, Any]]:
    """The result of each item, {} while there is none: by subRequestId, else by index, which was 1-based in 2020."""
    results = [one for one in said if isinstance(one, dict)]
    by_name = {_sub_request(one): one for one in results if _sub_request(one)}
    indexes = [one["index"] for one in results if type(one.get("index")) is int]
    base_ = 1 if indexes and min(indexes) == 1 and max(indexes) == len(names) else 0
    by_index = {one["index"] - base_: one for one in results if type(one.get("index")) is int}
    return [by_name.get(name) or ({} if name else by_index.get(place, {})) for place, name in enumerate(names)]


def _sub_request(one: dict[str, Any]) -> str:
    found = one.get("subRequestId", one.get("subrequestId"))
    return found[:100] if isinstance(found, str) else ""


def _code(result: dict[str, Any]) -> str:
    error = result.get("error")
    code = error.get("code") if isinstance(error, dict) else None
    return code[:20] if isinstance(code, str) else ""
