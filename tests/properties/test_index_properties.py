"""Whatever happens to a shared index in whatever order: nobody passes without a consent, and in the end all is right.

A ledger, two publishers, one real Redis and one gateway with its filter, which works in a loop of its own all the time.
The model is what each key may be answered with: the state that was published last, and until the next publication also
what was recorded since.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import threading
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import pytest
import uvloop
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from filters.index_url import parse
from filters.model import Reason, RecipientType, Status
from gateway import limits
from gateway.index.changes import Follower
from gateway.index.filter import FilteredIndex
from gateway.index.interface import ConsentIndex
from gateway.index.snapshot import FILE, SnapshotFault
from gateway.metrics import Metrics
from registry import publish
from registry.index.interface import IndexDown
from registry.ledger import Ledger
from registry.publish import Publisher, open_index
from registry.rules import SAID, Move
from tests.conftest import RedisServer, eventually, require, running
from tests.faults.support import FINGERPRINT, WITHIN_S, Recipient, gateway, take_snapshot
from tests.gateway.asking import each
from tests.registry.support import KEY, differences, fingerprint, move, record

pytestmark = pytest.mark.interop

PEOPLE = 6
CONSENTING = 3  # of them, in the beginning
people = st.integers(0, PEOPLE - 1)
kinds = st.sampled_from(RecipientType)
statuses = st.sampled_from(SAID)
which = st.integers(0, 1)

T = TypeVar("T")
Key = tuple[int, RecipientType]


class Gateway:
    """A worker's index with the filter before it, in a loop that turns whether it is asked or not."""

    def __init__(self, url: str, machine: Path) -> None:
        self.machine = machine
        self._url = url
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._index, self._follower = self.do(self._opened())

    def do(self, what: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(what, self._loop).result(WITHIN_S)

    async def _opened(self) -> tuple[ConsentIndex, Follower]:
        follower = Follower(parse(self._url), self.machine / FILE, FINGERPRINT.check_value())
        index = FilteredIndex(gateway(self._url), follower, Metrics())
        await index.start()
        return index, follower

    def ask(self, recipients: list[Recipient]) -> list[bool | Reason]:
        return self.do(self._ask(recipients))

    async def _ask(self, recipients: list[Recipient]) -> list[bool | Reason]:
        self._index.poll()
        return await each(self._index, recipients)

    def take_snapshot(self) -> None:
        """And wait until the worker uses it."""
        with suppress(SnapshotFault):  # Redis is empty, or not mended yet: there is none
            self.do(take_snapshot(self._url, self.machine))
            eventually(lambda: self._follower.level, within=WITHIN_S, what="the snapshot being used")

    def close(self) -> None:
        self.do(self._index.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class IndexMachine(RuleBasedStateMachine):
    """Of one Redis, which all examples share: it is emptied in between."""

    server: RedisServer

    @initialize(with_filter=st.booleans())
    def begin(self, with_filter: bool) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="izinli-property-"))
        self.server.cli("FLUSHALL")
        self.ledger = Ledger.open("sqlite", self.directory / "data", KEY)
        self.writers = [open_index(self.server.url, self.directory, FINGERPRINT.check_value()) for _ in range(2)]
        self.publishers = [Publisher(self.ledger, writer) for writer in self.writers]
        (self.directory / "machine").mkdir()
        self.recipients = [Recipient(who, kind) for who in range(PEOPLE) for kind in RecipientType]
        self.recorded: dict[Key, bool] = {one.key: False for one in self.recipients}  # listed, says the ledger
        self.possible: dict[Key, set[bool]] = {one.key: {False} for one in self.recipients}
        self.minutes = 0
        self.said(*((who, RecipientType.BIREYSEL, Status.ONAY) for who in range(CONSENTING)))
        self.publishers[0].ensure()
        self.server.cli("SAVE")
        self.published(*self.recorded)
        self.gateway = Gateway(self.server.url, self.directory / "machine")
        if with_filter:
            self.gateway.take_snapshot()

    def teardown(self) -> None:
        if not hasattr(self, "gateway"):
            return
        try:
            self.all_is_right_in_the_end()
        finally:
            self.gateway.close()
            for writer in self.writers:
                writer.close()
            self.ledger.close()
            shutil.rmtree(self.directory)

    # what is said

    def said(self, *moves: tuple[int, RecipientType, Status]) -> list[Move]:
        """Record moves, each later than all before."""
        found = []
        for who, kind, status in moves:
            self.minutes += 1
            date = f"2026-01-01 {self.minutes // 60:02}:{self.minutes % 60:02}:00"
            found.append(move(who, status, date, kind=kind))
            listed = status is (Status.ONAY if kind is RecipientType.BIREYSEL else Status.RET)
            self.recorded[who, kind] = listed
            self.possible[who, kind].add(listed)
        record(self.ledger, *found)
        return found

    def published(self, *keys: Key) -> None:
        """From now on readers know it; but a filter may not have heard yet of whom it does not exclude any more."""
        for key in keys:
            listed = self.recorded[key]
            fresh = listed and key[1] is RecipientType.BIREYSEL and False in self.possible[key]
            self.possible[key] = {True, False} if fresh else {listed}

    @rule(who=people, kind=kinds)
    def grants(self, who: int, kind: RecipientType) -> None:
        self.said((who, kind, Status.ONAY))

    @rule(moves=st.lists(st.tuples(people, kinds, statuses), min_size=1, max_size=12))
    def imports(self, moves: list[tuple[int, RecipientType, Status]]) -> None:
        self.said(*moves)

    @rule(who=people, by=which)
    def withdraws(self, who: int, by: int) -> None:
        keys: list[Key] = [(who, kind) for kind in RecipientType]
        gone = self.said(*((who, kind, Status.RET) for _, kind in keys))
        with suppress(IndexDown):  # empty, or half built: it is not acknowledged
            self.publishers[by].publish_now([(fingerprint(self.ledger, gone[0]), kind) for _, kind in keys])
            self.published(*keys)

    # what publishers do

    @rule(by=which)
    def ticks(self, by: int) -> None:
        self.insist(self.publishers[by].tick)
        self.published(*self.recorded)

    @rule(by=which, anew=st.booleans())
    def rebuilds(self, by: int, anew: bool) -> None:
        self.insist(lambda: self.publishers[by].rebuild(anew=anew))
        self.published(*self.recorded)

    @rule(by=which, after=st.integers(1, 4))
    def is_cut_short_in_a_rebuild(self, by: int, after: int) -> None:
        steps = 0

        def progress(_done: int, _total: int) -> None:
            nonlocal steps
            steps += 1
            if steps == after:
                raise IndexDown("cut short")

        with in_small_steps(), suppress(IndexDown):
            self.publishers[by].rebuild(progress)
            self.published(*self.recorded)

    # what happens to Redis and to the gateway

    @rule()
    def redis_saves(self) -> None:
        self.server.cli("SAVE")

    @rule()
    def redis_is_emptied(self) -> None:
        self.server.cli("FLUSHALL")

    @rule(who=people, by=which)
    def redis_saves_too_early(self, who: int, by: int) -> None:
        """What is saved is the current epoch, and a consent that is withdrawn by then: nothing but its run is wrong."""
        self.redis_saves()
        self.withdraws(who, by)
        self.redis_is_started_again()

    @rule()
    def redis_is_started_empty(self) -> None:
        (self.server.directory / "dump.rdb").unlink(missing_ok=True)
        self.redis_is_started_again()

    @rule()
    def redis_is_started_again(self) -> None:
        """As it was when it was saved last."""
        self.server.kill()
        self.server.start()
        # connected again: there must be somebody who could be wrong
        eventually(self.is_connected, within=WITHIN_S, what="the gateway having found Redis again")

    def is_connected(self) -> bool:
        return Reason.INDEX_DOWN not in self.gateway.ask(self.recipients)

    @rule()
    def a_snapshot_is_taken(self) -> None:
        self.gateway.take_snapshot()

    @rule()
    def a_snapshot_is_lost(self) -> None:
        for path in self.gateway.machine.glob("index.bloom"):
            path.unlink()

    # what has to hold

    @invariant()
    def i1_nobody_passes_without_a_consent(self) -> None:
        for one, answer in zip(self.recipients, self.gateway.ask(self.recipients), strict=True):
            assert isinstance(answer, Reason) or answer in self.possible[one.key], (one.key, answer)

    @rule()
    def all_is_right_in_the_end(self) -> None:
        self.insist(self.publishers[0].ensure)
        self.insist(self.publishers[1].tick)
        self.published(*self.recorded)
        expected = [self.recorded[one.key] for one in self.recipients]
        deadline = time.monotonic() + WITHIN_S
        while (answers := self.gateway.ask(self.recipients)) != expected:
            assert time.monotonic() < deadline, (answers, expected)
            self.i1_nobody_passes_without_a_consent()
            time.sleep(0.01)
        self.possible = {key: {listed} for key, listed in self.recorded.items()}
        assert differences(self.writers[1], self.ledger) == []

    def insist(self, step: Any) -> None:
        """The step of a publisher, again while Redis or another publisher is in its way."""
        deadline = time.monotonic() + WITHIN_S
        while True:
            try:
                step()
                return
            except IndexDown:
                assert time.monotonic() < deadline
                time.sleep(0.01)


@contextmanager
def in_small_steps() -> Iterator[None]:
    usual, publish.BUILD_CHUNK_MEMBERS = publish.BUILD_CHUNK_MEMBERS, 1
    try:
        yield
    finally:
        publish.BUILD_CHUNK_MEMBERS = usual


def test_i5_the_index_under_everything_that_can_happen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # so that the filter and a new connection take part in most steps, not in every tenth
    monkeypatch.setattr(limits, "FILTER_POLL_S", 0.02)
    monkeypatch.setattr(limits, "INDEX_RETRY_S", 0.05)
    with running(RedisServer(require("redis-server"), tmp_path, keep=True)) as server:

        class Machine(IndexMachine):
            pass

        Machine.server = server
        slow = list(HealthCheck)  # a step may start a server
        run_state_machine_as_test(
            Machine,
            settings=settings(max_examples=25, stateful_step_count=20, deadline=None, suppress_health_check=slow),
        )
