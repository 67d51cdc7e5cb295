"""The shared consent index: questions in, one pipelined write per server and tick out (`filters.layout`, Redis).

    ask ──▶ parts, one per server ──▶ SMISMEMBER bucket member MARKER … ──▶ judged by the state ──▶ done
        └─▶ reading, one per tick ──▶ HMGET state, TIME ────────────────────┘

The state is read at the same time as the buckets, never before a question was asked; that makes it a proof. Withdrawals
are written to the current epoch, and to one that is about to become it, before they are acknowledged, and an epoch that
is no longer current loses its buckets with their markers. So a bucket of the epoch that the state names, with its
marker, on servers that lack nothing, holds every withdrawal that was acknowledged before the question (promise I5).
Another epoch, or a bucket without its marker, means asking again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

import hiredis

from filters.index_url import IndexUrl
from filters.key import split
from filters.layout import (
    BITS_MAX,
    FAMILY_OF,
    FORMAT,
    INDEX_KEY,
    LANE_BITS,
    LANES,
    MARKER,
    READER_FIELDS,
    Family,
    Suspended,
    bucket_key,
)
from filters.model import Reason, RecipientType
from gateway import limits
from gateway.index.interface import UNKNOWN, Answers, Asked, Believed, Done, Fault, Status, reason_of
from gateway.index.nodes import nodes_of
from gateway.index.server import Server, fault_of, pack
from gateway.index.wire import Exchange

_STATE: Final = pack(("HMGET", INDEX_KEY, *READER_FIELDS)) + pack(("TIME",))
_STATE_REPLIES: Final = 2
_TRIES_MAX: Final = 4  # a bucket that was dropped after a switch, the new epoch, and one more rebuild on top
_LISTED: Final = [1, 1]
_ABSENT: Final = [0, 1]
_TO_LANE: Final = 32 - LANE_BITS
_MARKER: Final = f"${len(str(MARKER))}\r\n{MARKER}\r\n"

# What a server says of itself in place of an answer; the connection is as good as before.
_ELSEWHERE: Final = frozenset({Fault.CLUSTER_DOWN, Fault.NOT_MASTER})


class _Layout:
    """Where the members of one epoch are: the beginning of each lane's bucket keys, and how many bits follow it."""

    __slots__ = ("epoch", "families")

    def __init__(self, epoch: int, bits: dict[Family, int]) -> None:
        self.epoch = epoch
        self.families: dict[RecipientType, tuple[list[str], int]] = {}
        for kind, family in FAMILY_OF.items():
            keys = (bucket_key(epoch, family, bits[family], lane << _TO_LANE) for lane in range(LANES))
            self.families[kind] = ([key.rpartition(":")[0] + ":" for key in keys], 32 - bits[family])

    def encode(self, questions: Sequence[Asked]) -> bytes:
        """One SMISMEMBER each, as hiredis.pack_command would write it in thrice the time; all of it is ASCII."""
        families = self.families
        commands: list[str] = []
        add = commands.append
        for question in questions:
            assert question.stream is not None
            bucket_hash, member = split(question.fingerprint)
            prefixes, shift = families[question.stream.recipient_type]
            key, written = f"{prefixes[bucket_hash >> _TO_LANE]}{bucket_hash >> shift}", str(member)
            add(f"*4\r\n$10\r\nSMISMEMBER\r\n${len(key)}\r\n{key}\r\n${len(written)}\r\n{written}\r\n{_MARKER}")
        return "".join(commands).encode("ascii")


_NOWHERE: Final = _Layout(-1, dict.fromkeys(Family, BITS_MAX))  # before the first state


class _Reading:
    """One reading of the state, and the parts that wait for it. `status` is None until it is there."""

    __slots__ = ("parts", "runs", "status")

    def __init__(self) -> None:
        self.parts: list[_Part] = []
        self.runs: frozenset[bytes] = frozenset()
        self.status: Status | None = None


class _Part:
    """Questions that go to one server together."""

    __slots__ = ("answered", "deadline", "done", "layout", "questions", "reading", "replies", "server", "tries")

    def __init__(self, questions: Sequence[Asked], done: Done, deadline: float, server: Server) -> None:
        self.questions = questions
        self.done = done
        self.deadline = deadline
        self.server = server
        self.tries = 0
        self.layout = _NOWHERE
        self.reading: _Reading
        self.replies: list[Any] | None = None
        self.answered = False

    def answer(self, answers: Answers) -> None:
        if not self.answered:
            self.answered = True
            self.done(self.questions, answers)


class RedisIndex:
    """The index at `url` (`filters.index_url`), on one server or many."""

    def __init__(self, url: IndexUrl, believed: Believed) -> None:
        self._believed = believed
        self._loop = asyncio.get_running_loop()
        self._nodes = nodes_of(url, self)
        self.suspended: frozenset[int] = frozenset()
        self._layout = _NOWHERE
        self._read = UNKNOWN  # the state as it was read last
        self._runs: frozenset[bytes] = frozenset()
        self._seen: dict[Fault, float] = {}  # when answers to questions last showed it
        self._known = asyncio.Event()  # the state was read once
        self._polled = float("inf")
        self._fields: Any = None  # as they came last, and what they mean
        self._meaning: tuple[tuple[int, int, int, bytes], int, int, frozenset[bytes], frozenset[int]]

    @property
    def status(self) -> Status:
        read, state = self._read, self._nodes.state
        if state is None or state.wire is None:
            fault = (state.fault if state is not None else self._nodes.fault) or Fault.DOWN
            return Status.failed(fault, read.epoch, read.age_s)
        faults: set[Fault] = set()
        if self._seen:
            shown_from = self._loop.time() - limits.INDEX_FAULT_SHOWN_S
            faults.update(fault for fault, at in self._seen.items() if at > shown_from)
        runs = self._runs  # of a state that was believed
        for server in self._nodes.servers:
            if server.fault is not None:
                faults.add(server.fault)
            if read.reason is None and server.run and server.run not in runs:
                faults.add(Fault.UNVOUCHED)
        if self._nodes.of_lane is not None and None in self._nodes.of_lane:
            faults.add(Fault.CLUSTER_DOWN)
        return read._replace(faults=read.faults | faults) if faults else read

    async def start(self) -> None:
        """Try to connect to all servers and wait for the state, at most INDEX_CONNECT_S."""
        self._nodes.start()
        with suppress(TimeoutError):
            async with asyncio.timeout(limits.INDEX_CONNECT_S):
                await self._nodes.tried.wait()
                for server in list(self._nodes.servers):
                    await server.tried.wait()
                if self._nodes.state is not None and self._nodes.state.wire is not None:
                    await self._known.wait()

    def ask(self, questions: Sequence[Asked], done: Done) -> None:
        deadline = self._loop.time() + limits.INDEX_DEADLINE_S
        state, of_lane = self._nodes.state, self._nodes.of_lane
        if state is None or state.wire is None:
            done(questions, self._silent(state))
            return
        parts = []
        for server, group in [(state, questions)] if of_lane is None else _by_server(questions, of_lane):
            if server is None or server.wire is None:
                done(group, self._silent(server))
                continue
            for start in range(0, len(group), limits.INDEX_BATCH_MAX):
                chunk = group[start : start + limits.INDEX_BATCH_MAX]
                parts.append(_Part(chunk, done, deadline, server))
        if parts:
            self._send(parts, deadline)

    def poll(self) -> None:
        now = self._loop.time()
        if now > self._polled + limits.INDEX_STILL_S:
            # This process was stopped, maybe with its servers (a paused host): meanwhile others may have taken their
            # places, and who has just woken up does not know it. Ask again who is who before anything is believed.
            for server in list(self._nodes.servers):
                server.hang_up("this process stood still")
        self._polled = now
        self._nodes.poll()
        self._read_state()

    async def close(self) -> None:
        await self._nodes.close()

    # its servers

    def came(self, server: Server) -> None:
        if server is self._nodes.state:
            self._read_state()

    def went(self, server: Server) -> None:
        if server is self._nodes.state:
            self._runs = frozenset()

    def _silent(self, server: Server | None) -> Reason:
        """What a question hears whose server is not connected."""
        return Reason.INDEX_DOWN if server is None or server.fault is None else reason_of(server.fault)

    # what goes out

    def _read_state(self) -> None:
        state = self._nodes.state
        if state is not None and state.wire is not None:
            self._send([], self._loop.time() + limits.INDEX_DEADLINE_S)

    def _send(self, parts: list[_Part], deadline: float) -> None:
        """Ask them all under the epoch that is known, and the state once, beside the first part on its server."""
        reading = _Reading()
        reading.parts = parts
        layout, state = self._layout, self._nodes.state
        beside = None
        for part in parts:
            part.reading, part.layout, part.replies = reading, layout, None
            part.tries += 1
            if beside is None and part.server is state:
                beside = part
        if beside is None:
            if state is None or state.wire is None:
                self._heard_state(reading, None)
            else:
                state.wire.send(Exchange(_STATE, _STATE_REPLIES, deadline, self._to_reading(reading)))
        for part in parts:
            if not part.answered:
                self._send_part(part, with_state=part is beside)

    def _send_part(self, part: _Part, *, with_state: bool) -> None:
        wire = part.server.wire
        if wire is None:
            if with_state:
                self._heard_state(part.reading, None)
            part.answer(Reason.INDEX_DOWN)
            return
        known = part.layout is not _NOWHERE
        data = part.layout.encode(part.questions) if known else b""
        wanted = len(part.questions) if known else 0
        if with_state:
            wire.send(Exchange(data + _STATE, wanted + _STATE_REPLIES, part.deadline, self._to_both(part)))
        elif known:
            wire.send(Exchange(data, wanted, part.deadline, self._to_part(part)))
        else:
            self._heard(part, [])

    # what comes back

    def _to_reading(self, reading: _Reading) -> Callable[[list[Any] | None], None]:
        return lambda replies: self._heard_state(reading, replies)

    def _to_part(self, part: _Part) -> Callable[[list[Any] | None], None]:
        return lambda replies: self._heard(part, replies)

    def _to_both(self, part: _Part) -> Callable[[list[Any] | None], None]:
        def heard(replies: list[Any] | None) -> None:
            state = None if replies is None else replies[-_STATE_REPLIES:]
            part.replies = None if replies is None else replies[:-_STATE_REPLIES]
            self._heard_state(part.reading, state)

        return heard

    def _heard(self, part: _Part, replies: list[Any] | None) -> None:
        part.replies = replies
        if replies is None:
            part.answer(Reason.INDEX_DOWN)
        elif part.reading.status is not None:
            self._judge(part, part.reading.status)

    def _heard_state(self, reading: _Reading, replies: list[Any] | None) -> None:
        """None: it will not come."""
        # Parts know their reading: if it went on knowing them, whole batches would wait for the collector of cycles.
        parts, reading.parts = reading.parts, []
        if replies is None:
            reading.status = Status.failed(Fault.DOWN, self._read.epoch, self._read.age_s)
            for part in parts:
                part.answer(Reason.INDEX_DOWN)
            return
        reading.status = status = self._understand(reading, *replies)
        self._read = status
        if not self._known.is_set():
            self._known.set()
        if Fault.UNVOUCHED in status.faults and (state := self._nodes.state) is not None:
            self._nodes.doubt(state)
        for part in parts:
            if part.replies is not None:
                self._judge(part, status)

    def _understand(self, reading: _Reading, fields: Any, clock: Any) -> Status:
        """The state, and its layout when the epoch is another one.

        Its fields change once a second, and it is read many hundred times.
        """
        known = self._read
        for reply in (fields, clock):
            if isinstance(reply, hiredis.ReplyError):
                return self._refused(self._nodes.state, fault_of(reply), known)
        try:
            if fields != self._fields:
                if all(field is None for field in fields):
                    return self._believed.status(None, 0)
                version, epoch, bits_b, bits_t, heartbeat_ms = (int(field) for field in fields[:5])
                key_check, runs = bytes(fields[5]), self._believed.runs(bytes(fields[6] or b""))
                suspended = Suspended.parse(fields[7]).brands
                self._meaning = (version, epoch, heartbeat_ms, key_check), bits_b, bits_t, runs, suspended
                self._fields = fields
            now_ms = int(clock[0]) * 1000 + int(clock[1]) // 1000
        except (AttributeError, TypeError, ValueError):
            # Another format may have other fields; half a state is none.
            other = fields[0] is not None and fields[0] != b"%d" % FORMAT
            return Status.failed(Fault.OTHER_FORMAT if other else Fault.ABSENT)
        found, bits_b, bits_t, runs, suspended = self._meaning
        epoch = found[1]
        state = self._nodes.state
        vouched = state is not None and state.run in runs
        status = self._believed.status(found, now_ms, vouched=vouched)
        if not LANE_BITS <= min(bits_b, bits_t) <= max(bits_b, bits_t) <= BITS_MAX:
            return Status.failed(Fault.OTHER_FORMAT, epoch, status.age_s) if status.reason is None else status
        if status.reason is None:
            reading.runs = self._runs = runs
            self.suspended = suspended
            if epoch != self._layout.epoch:
                self._layout = _Layout(epoch, {Family.BIREYSEL: bits_b, Family.TACIR: bits_t})
        return status

    def _refused(self, server: Server | None, fault: Fault, known: Status) -> Status:
        if fault in _ELSEWHERE and server is not None:
            self._nodes.doubt(server)
        return Status.failed(fault, known.epoch, known.age_s)

    def _judge(self, part: _Part, status: Status) -> None:
        """Both the answers of a part and the state are there."""
        if part.answered:
            return
        if status.reason is not None:
            part.answer(status.reason)
            return
        if part.layout.epoch != status.epoch:
            self._again(part, None)
            return
        replies = part.replies
        assert replies is not None
        if part.server.run not in part.reading.runs:
            self._nodes.doubt(part.server)
            part.answer(Reason.INDEX_STALE)
            return
        listed = [reply == _LISTED for reply in replies]
        if listed.count(True) + replies.count(_ABSENT) == len(replies):
            part.answer(listed)
        else:
            self._pick(part, replies)

    def _pick(self, part: _Part, replies: list[Any]) -> None:
        """Some answers are none: give those that are, and ask again or say why not."""
        good: list[int] = []
        by_fault: dict[Fault, list[int]] = {}
        for at, reply in enumerate(replies):
            if reply in (_LISTED, _ABSENT):
                good.append(at)
                continue
            marked = isinstance(reply, list) and len(reply) == 2 and reply[1] == 0
            fault = Fault.BUCKET_LOST if marked else fault_of(reply) if isinstance(reply, hiredis.ReplyError) else None
            by_fault.setdefault(fault or Fault.MALFORMED, []).append(at)
        part.answered = True
        if good:
            part.done([part.questions[at] for at in good], [replies[at] == _LISTED for at in good])
        for fault, places in by_fault.items():
            rest = _Part([part.questions[at] for at in places], part.done, part.deadline, part.server)
            rest.tries = part.tries
            if fault is Fault.MALFORMED:
                part.server.hang_up("malformed reply")
            if fault in _ELSEWHERE:
                self._nodes.doubt(part.server)
            if fault is Fault.BUCKET_LOST:
                self._again(rest, fault)
            else:
                self._seen[fault] = self._loop.time()
                rest.answer(reason_of(fault))

    def _again(self, part: _Part, fault: Fault | None) -> None:
        """The epoch has changed, or seems to have: ask once more, a few times."""
        if part.tries < _TRIES_MAX:
            self._send([part], part.deadline)
            return
        if fault is not None:
            self._seen[fault] = self._loop.time()
        part.answer(Reason.INDEX_STALE)


def _by_server(questions: Sequence[Asked], of_lane: list[Server | None]) -> list[tuple[Server | None, list[Asked]]]:
    groups: dict[Server | None, list[Asked]] = {}
    for question in questions:
        server = of_lane[int.from_bytes(question.fingerprint[:4]) >> _TO_LANE]
        if server in groups:
            groups[server].append(question)
        else:
            groups[server] = [question]
    return list(groups.items())
