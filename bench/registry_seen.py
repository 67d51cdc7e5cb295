"""How soon a reader of the consent index sees what the API has recorded, alone and among many other additions.

One caller adds a consent, this process looks: at the ledger until that event is committed, at the index until a
question about it is answered anew, the way the gateway asks, and at the connection until the caller has its answer. All
three in turn and without pause, so that a time is right to some 0.1 ms.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

from bench import programs, rows
from bench.index import Question, asyncio_run
from bench.measure import Row, Table, Verdict, percentile, timed
from bench.registry_load import MARK, request
from bench.registry_served import BRAND, CONSENTS, Caller, Home, registry
from bench.registry_steady import steady
from filters import index_url
from filters.key import Fingerprinter
from filters.model import Channel, Status
from gateway import keys
from gateway.index.embedded import SqliteIndex
from gateway.index.interface import Answers, Believed, ConsentIndex
from gateway.index.shared import RedisIndex
from registry.rules import turkey_time
from registry.schema import LEDGER_FILE

PAIRS: Final = 300  # an ONAY and a RET each
PAIRS_QUICK: Final = 20
ADDS_PER_SECOND: Final = 500  # beside it, about other people
RATE_MIN: Final = 0.95  # of them; with less it is another load that was measured
OTHERS: Final = 1_000_000  # the first of their numbers
SEEN_S_MAX: Final = 0.05
WAIT_S_MAX: Final = 30.0  # then something is wrong
AGE_S_MAX: Final = 10.0  # as a gateway believes an index


class Seen(NamedTuple):
    """Seconds: from the commit until the index says so, from the request until its answer."""

    index_s: float
    answer_s: float


def tables(directory: Path, *, quick: bool) -> Iterator[Table]:
    """One table for both forms of the index."""
    pairs, core = PAIRS_QUICK if quick else PAIRS, max(os.sched_getaffinity(0))
    table = Table(
        "registry-seen", "From the commit of a consent until a reader of the index sees it", "ms", [], of="consent"
    )
    with programs.redis(directory) as server:
        for name, url in (("SQLite", "sqlite"), ("Redis", f"redis://127.0.0.1:{server.port}/0")):
            home = Home(directory / f"seen-{name}", index=url)
            home.let_in()
            with registry(home, core) as program:
                caller = Caller(program.port)
                token = caller.token
                caller.close()
                seen = asyncio_run(_watch(home, url, token, range(pairs)))
                others = _adding(home, token)
                with steady(directory / "steady.http", others, home.port, OTHERS, ADDS_PER_SECOND) as load:
                    among = asyncio_run(_watch(home, url, token, range(pairs, 2 * pairs)))
            _add(table, name, "", seen)
            _add(table, name, f", {ADDS_PER_SECOND}/s beside", among)
            text = f"{name} index: additions a second beside, at least {RATE_MIN * ADDS_PER_SECOND:g}"
            table.verdicts.append(Verdict(text, load.per_second, RATE_MIN * ADDS_PER_SECOND, at_least=True))
    yield table


def _adding(home: Home, token: str) -> bytes:
    """What the others send."""
    said = rows.consent(rows.PREFIX + MARK, "ONAY", turkey_time(datetime.now(UTC) - timedelta(minutes=5)))
    return request(CONSENTS, json.dumps(said).encode(), home.port, token)


def _add(table: Table, index: str, beside: str, found: dict[str, list[Seen]]) -> None:
    for status, times in found.items():
        key = f"{status.lower()}_{index.lower()}{'_loaded' if beside else ''}"
        seen = [one.index_s for one in times]
        table.rows.append(Row(key, f"{status}, {index} index{beside}", [timed(seen)]))
        answered = [one.answer_s for one in times]
        table.rows.append(Row(f"{key}_answer", "  from its request to its answer", [timed(answered)]))
        text = f"{status}, {index} index{beside}: p99 in ms until it is seen, at most {SEEN_S_MAX * 1e3:g}"
        table.verdicts.append(Verdict(text, percentile(seen, 99) * 1e3, SEEN_S_MAX * 1e3))


async def _watch(home: Home, url: str, token: str, numbers: range) -> dict[str, list[Seen]]:
    fingerprint = Fingerprinter(keys.load(home.data_dir).fingerprint)
    ledger = sqlite3.connect(f"file:{home.data_dir / LEDGER_FILE}?mode=ro", uri=True, isolation_level=None)
    found: dict[str, list[Seen]] = {"ONAY": [], "RET": []}
    now = datetime.now(UTC)
    with closing(ledger):
        async with _reader(home, url, fingerprint.check_value()) as index:
            for number in numbers:
                recipient = rows.number(number)
                question = Question(fingerprint(BRAND, Channel.MESAJ, recipient.encode()))
                for status, age_s in (("ONAY", 120), ("RET", 60)):
                    body = json.dumps(rows.consent(recipient, status, turkey_time(now - timedelta(seconds=age_s))))
                    sent = request(CONSENTS, body.encode(), home.port, token)
                    event = (recipient, status)
                    found[status].append(await _seen(home.port, sent, ledger, event, index, question))
    return found


@asynccontextmanager
async def _reader(home: Home, url: str, check: bytes) -> AsyncIterator[ConsentIndex]:
    """As a gateway reads."""
    believed = Believed(check, AGE_S_MAX)
    index: ConsentIndex
    index = SqliteIndex(home.data_dir, believed) if url == "sqlite" else RedisIndex(index_url.parse(url), believed)
    await index.start()
    try:
        yield index
    finally:
        await index.close()


async def _seen(
    port: int,
    sent: bytes,
    ledger: sqlite3.Connection,
    event: tuple[str, str],
    index: ConsentIndex,
    question: Question,
) -> Seen:
    """Send one request, about `event` (recipient, status), and look. Raises RuntimeError when it is refused or never
    seen."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    listed, began = event[1] == Status.ONAY, time.perf_counter()
    writer.write(sent)
    answer = asyncio.get_running_loop().create_task(_answer(reader))
    committed = seen = 0.0
    while not (committed and seen and answer.done()):
        if not committed and _is_committed(ledger, event):
            committed = time.perf_counter()
        if not seen and await _ask(index, question) == [listed]:
            seen = time.perf_counter()
        await asyncio.sleep(0)
        if time.perf_counter() - began > WAIT_S_MAX:
            raise RuntimeError(f"not seen after {WAIT_S_MAX:g} s: committed {committed:g}, in the index {seen:g}")
    status, answered = answer.result()
    writer.close()
    if b" 200 " not in status:
        raise RuntimeError(f"an addition was answered with {status!r}")
    return Seen(seen - committed, answered - began)


async def _answer(reader: asyncio.StreamReader) -> tuple[bytes, float]:
    head = await reader.readuntil(b"\r\n\r\n")
    return head.partition(b"\r\n")[0], time.perf_counter()


def _is_committed(ledger: sqlite3.Connection, event: tuple[str, str]) -> bool:
    query = "SELECT 1 FROM consent_event WHERE recipient = ? AND status = ?"
    return ledger.execute(query, event).fetchone() is not None


async def _ask(index: ConsentIndex, question: Question) -> Answers:
    told: asyncio.Future[Answers] = asyncio.get_running_loop().create_future()

    def done(_questions: object, answers: Answers) -> None:
        told.set_result(answers)

    index.ask([question], done)
    return await told
