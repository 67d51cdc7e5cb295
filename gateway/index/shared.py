"""The shared consent index: one connection to Redis per worker, one pipelined round trip per batch.

A batch is its SISMEMBERs, then the state of the index (HMGET, TIME). Old epochs are dropped only after a switch, so a
state that still names the epoch that was asked proves that all answers before it came from a whole index; another
epoch means asking again. Nothing is ever cancelled: an answer that is late, missing or not understood closes the
connection, so that it can never be taken for the answer to the next question (promise I3).
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Sequence
from typing import Any, Final, cast
from urllib.parse import parse_qs, unquote, urlsplit

import hiredis

from filters.key import split
from filters.layout import FAMILY_OF, INDEX_FIELDS, INDEX_KEY, bucket_prefix
from filters.model import Reason, RecipientType
from gateway import limits
from gateway.index.interface import UNKNOWN, Answers, Asked, Believed, Done, Status
from gateway.log import logger

_pack: Any = hiredis.pack_command  # its stub takes tuples of one
_STATE: Final = _pack(("HMGET", INDEX_KEY, *INDEX_FIELDS)) + _pack(("TIME",))
_STATE_REPLIES: Final = 2
_TRIES_MAX: Final = 3  # epochs change once a rebuild, not within a batch


class _Batch:
    """Questions that went out together."""

    __slots__ = ("deadline", "done", "epoch", "questions", "replies", "tries")

    def __init__(self, questions: Sequence[Asked], done: Done | None, deadline: float) -> None:
        self.questions = questions
        self.done = done
        self.deadline = deadline
        self.epoch = 0
        self.replies: list[Any] = []
        self.tries = 0


class RedisIndex:
    """`redis://[user[:password]@]host:port/db`, `rediss://…` (TLS, verified), `unix:///path?db=0`."""

    def __init__(self, url: str, believed: Believed) -> None:
        self.status = UNKNOWN
        self._url = urlsplit(url)
        self._believed = believed
        self._loop = asyncio.get_running_loop()
        self._wire: _Wire | None = None  # None: not connected
        self._in_flight: deque[_Batch] = deque()
        self._waiting: deque[_Batch] = deque()
        self._epoch = 0
        self._prefixes: dict[RecipientType, str] = {}
        self._shift = 32
        self._closed = False
        self._connecting: asyncio.Task[None] | None = None
        self._sweeper: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Connect once and wait for the state, at most INDEX_CONNECT_S."""
        self._connect()
        if self._connecting is not None:
            await asyncio.wait([self._connecting], timeout=limits.INDEX_CONNECT_S)

    def ask(self, questions: Sequence[Asked], done: Done) -> None:
        now = self._loop.time()
        if self._wire is None:
            done(questions, Reason.INDEX_DOWN)
            return
        for start in range(0, len(questions), limits.INDEX_BATCH_MAX):
            part = questions[start : start + limits.INDEX_BATCH_MAX]
            self._submit(_Batch(part, done, now + limits.INDEX_DEADLINE_S))

    def poll(self) -> None:
        if self._wire is None:
            self._connect()
        elif not self._in_flight:
            self._submit(_Batch((), None, self._loop.time() + limits.INDEX_DEADLINE_S))

    async def close(self) -> None:
        self._closed = True
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.gather(self._connecting, return_exceptions=True)
        if self._wire is not None:
            self._wire.abort()
        self.lost("closed")

    # what goes out

    def _submit(self, batch: _Batch) -> None:
        if len(self._in_flight) < limits.INDEX_BATCHES_IN_FLIGHT_MAX:
            self._send(batch)
        else:
            self._waiting.append(batch)

    def _send(self, batch: _Batch) -> None:
        assert self._wire is not None
        batch.epoch = self._epoch
        batch.replies = []
        batch.tries += 1
        self._in_flight.append(batch)
        prefixes, shift = self._prefixes, self._shift
        commands = []
        for question in batch.questions:
            assert question.stream is not None
            bucket_hash, member = split(question.fingerprint)
            key, written = f"{prefixes[question.stream.recipient_type]}{bucket_hash >> shift}", str(member)
            # What hiredis.pack_command would make of it, in half the time; all of it is ASCII.
            commands.append(f"*3\r\n$9\r\nSISMEMBER\r\n${len(key)}\r\n{key}\r\n${len(written)}\r\n{written}\r\n")
        self._wire.write("".join(commands).encode("ascii") + _STATE)
        if self._sweeper is None:
            self._sweeper = self._loop.call_at(batch.deadline, self._sweep)

    def _sweep(self) -> None:
        """The oldest batch is late: the connection is not to be trusted any more."""
        self._sweeper = None
        now = self._loop.time()
        oldest = self._in_flight or self._waiting
        if not oldest:
            return
        if oldest[0].deadline <= now:
            if self._wire is not None:
                self._wire.abort()
            self.lost("timeout")
        else:
            self._sweeper = self._loop.call_at(oldest[0].deadline, self._sweep)

    # what comes back

    def received(self, reply: Any) -> None:
        """One reply, in the order of the commands."""
        if not self._in_flight:
            raise ValueError("a reply to nothing")
        batch = self._in_flight[0]
        batch.replies.append(reply)
        if len(batch.replies) == len(batch.questions) + _STATE_REPLIES:
            self._in_flight.popleft()
            self._answer(batch)

    def _answer(self, batch: _Batch) -> None:
        *listed, fields, clock = batch.replies
        self.status, bits = self._state(fields, clock)
        answers: Answers
        if self.status.reason is not None:
            answers = self.status.reason
        elif self.status.epoch != batch.epoch:
            self._learn(self.status.epoch, bits)
            if batch.questions and batch.tries < _TRIES_MAX:
                self._send(batch)
                return
            answers = Reason.INDEX_STALE
        elif all(one == 0 or one == 1 for one in listed):
            answers = [one == 1 for one in listed]
        else:
            answers = Reason.INDEX_DOWN  # an error in place of an answer
        if batch.done is not None:
            batch.done(batch.questions, answers)
        if self._waiting and self._wire is not None and len(self._in_flight) < limits.INDEX_BATCHES_IN_FLIGHT_MAX:
            self._send(self._waiting.popleft())

    def _state(self, fields: Any, clock: Any) -> tuple[Status, int]:
        if isinstance(fields, hiredis.ReplyError) or isinstance(clock, hiredis.ReplyError):
            return Status(Reason.INDEX_DOWN, self.status.epoch, self.status.age_s), 0  # loading, no permission, moved
        try:
            version, epoch, bits, heartbeat_ms = (int(field) for field in fields[:4])
            now_ms = int(clock[0]) * 1000 + int(clock[1]) // 1000
        except (TypeError, ValueError):
            return self._believed.status(None, 0), 0
        if not 0 <= bits <= 32:
            return self._believed.status(None, 0), 0
        return self._believed.status((version, epoch, heartbeat_ms, fields[4]), now_ms), bits

    def _learn(self, epoch: int, bits: int) -> None:
        self._epoch = epoch
        self._shift = 32 - bits
        self._prefixes = {kind: bucket_prefix(epoch, family) for kind, family in FAMILY_OF.items()}

    # the connection

    def ready(self, wire: _Wire, fields: Any, clock: Any) -> None:
        """`wire` is logged in and told the state of the index."""
        self.status, bits = self._state(fields, clock)
        self._learn(self.status.epoch, bits)
        self._wire = wire

    def lost(self, why: str) -> None:
        """The connection is gone: whoever waits hears so."""
        if self._wire is not None and not self._closed:
            logger.warning("consent index lost", why=why)
        self._wire = None
        self.status = Status(Reason.INDEX_DOWN, self.status.epoch, self.status.age_s)
        failed = [*self._in_flight, *self._waiting]
        self._in_flight.clear()
        self._waiting.clear()
        for batch in failed:
            if batch.done is not None:
                batch.done(batch.questions, Reason.INDEX_DOWN)
        if not self._closed and self._connecting is None:
            self._loop.call_later(limits.INDEX_RETRY_S, self._connect)

    def _connect(self) -> None:
        if self._closed or self._connecting is not None or self._wire is not None:
            return
        self._connecting = self._loop.create_task(self._reach())
        self._connecting.add_done_callback(self._reached)

    def _reached(self, task: asyncio.Task[None]) -> None:
        self._connecting = None
        if not task.cancelled() and (fault := task.exception()) is not None:
            self._loop.call_exception_handler({"message": "connecting to the index", "exception": fault})
        if self._wire is None and not self._closed:
            self._loop.call_later(limits.INDEX_RETRY_S, self._connect)

    async def _reach(self) -> None:
        wire = _Wire(self)
        try:
            async with asyncio.timeout(limits.INDEX_CONNECT_S):
                await self._open(wire)
                for command in self._login():
                    await wire.call(command)
                fields, clock = await wire.call(_STATE, _STATE_REPLIES)
        except (OSError, TimeoutError, hiredis.HiredisError) as error:
            logger.warning("consent index not reached", why=f"{type(error).__name__}: {error}")
            wire.abort()
            return
        self.ready(wire, fields, clock)

    async def _open(self, wire: _Wire) -> None:
        url = self._url
        if url.scheme == "unix":
            await self._loop.create_unix_connection(lambda: wire, unquote(url.path))
            return
        tls = ssl.create_default_context() if url.scheme == "rediss" else None
        if tls is not None and (ca_file := self._option("ssl_ca_certs")):
            tls.load_verify_locations(ca_file)
        host, port = url.hostname or "127.0.0.1", url.port or 6379
        await self._loop.create_connection(lambda: wire, host, port, ssl=tls)

    def _login(self) -> list[bytes]:
        url = self._url
        commands = []
        if url.password is not None:
            names = [unquote(url.username)] if url.username else []
            commands.append(_pack(("AUTH", *names, unquote(url.password))))
        database = self._option("db") if url.scheme == "unix" else url.path.strip("/")
        if database and database != "0":
            commands.append(_pack(("SELECT", database)))
        return commands

    def _option(self, name: str) -> str:
        return parse_qs(self._url.query).get(name, [""])[0]


class _Wire(asyncio.Protocol):
    """One socket: octets to replies. Until it is handed over they answer `call`, afterwards they go to the index."""

    def __init__(self, index: RedisIndex) -> None:
        self._index = index
        self._reader: Any = hiredis.Reader()
        self._transport: asyncio.Transport | None = None
        self._called: asyncio.Future[list[Any]] | None = None
        self._wanted = 0
        self._replies: list[Any] = []
        self._over = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if self._over:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._over:
            return
        try:
            self._reader.feed(data)
            while (reply := self._reader.gets()) is not False:
                if self._index._wire is self:
                    self._index.received(reply)
                else:
                    self._hear(reply)
        except (hiredis.HiredisError, ValueError):
            self.abort()
            self._gone("malformed reply")

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._over:
            self._over = True
            self._gone("connection closed")

    def write(self, data: bytes) -> None:
        assert self._transport is not None
        self._transport.write(data)

    async def call(self, command: bytes, replies: int = 1) -> list[Any]:
        """The replies to what is said before the first question; an error is raised."""
        self._called = asyncio.get_running_loop().create_future()
        self._wanted, self._replies = replies, []
        self.write(command)
        heard = await self._called
        for reply in heard:
            if isinstance(reply, hiredis.ReplyError):
                raise ConnectionError(str(reply))
        return heard

    def abort(self) -> None:
        self._over = True
        if self._transport is not None:
            self._transport.abort()

    def _hear(self, reply: Any) -> None:
        self._replies.append(reply)
        if self._called is not None and not self._called.done() and len(self._replies) == self._wanted:
            self._called.set_result(self._replies)

    def _gone(self, why: str) -> None:
        if self._index._wire is self:
            self._index.lost(why)
        elif self._called is not None and not self._called.done():
            self._called.set_exception(ConnectionError(why))
