"""A registry, gateways that ask without a pause, and from when on which answers are wrong.

with House(tmp_path, url) as house:          the registry: ledger, writer, publisher
    house.settle(members=range(100))         who consents before anything happens
    with house.publishing():                 the publisher's loop, as the service runs it
        house.withdraw(7)                    True once it is acknowledged (promise I5)

campaign = Campaign(index, house)            a gateway; `wrong` has to stay empty
await campaign.during(asyncio.to_thread(something))
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from filters.index_url import parse
from filters.key import Fingerprinter
from filters.model import Channel, Reason, RecipientType, Stream
from gateway.index.changes import Follower
from gateway.index.filter import FilteredIndex
from gateway.index.interface import Answers, Asked, ConsentIndex
from gateway.index.snapshot import FILE, build
from gateway.metrics import Metrics
from registry.index.interface import IndexDown
from registry.ledger import Ledger
from registry.publish import Publisher, open_index
from registry.publisher_loop import PublisherLoop
from tests.gateway.asking import WITHIN_S, reader
from tests.gateway.conftest import BIREYSEL, TACIR, Asking
from tests.registry.support import BRAND, KEY, number, onay, record, ret

FINGERPRINT = Fingerprinter(KEY)
LATER = "2026-02-01 00:00:00"
BATCH = 200  # questions asked together
PERSON, MERCHANT = RecipientType.BIREYSEL, RecipientType.TACIR
_STREAMS: dict[RecipientType, Stream] = {PERSON: BIREYSEL, MERCHANT: TACIR}

Key = tuple[int, RecipientType]


class Recipient(Asking):
    """A commercial message to one of the invented people, as a person or as a merchant."""

    def __init__(self, who: int, kind: RecipientType = PERSON) -> None:
        super().__init__(_STREAMS[kind], number(who))
        self.channel = Channel.MESAJ
        self.fingerprint = FINGERPRINT(BRAND, Channel.MESAJ, number(who))
        self.key: Key = (who, kind)


def gateway(url: str) -> ConsentIndex:
    """The index as a worker without the filter asks it; inside a running loop."""
    return reader(url, key=KEY)


def filtered(url: str, directory: Path) -> FilteredIndex:
    """The same behind the filter whose snapshot is in `directory`."""
    follower = Follower(parse(url), directory / FILE, FINGERPRINT.check_value())
    return FilteredIndex(gateway(url), follower, Metrics())


async def take_snapshot(url: str, directory: Path) -> None:
    """For `filtered`. Raises SnapshotFault."""
    directory.mkdir(exist_ok=True)
    await build(parse(url), FINGERPRINT.check_value(), directory)


class House:
    """The registry, and what gateways must know of it by now.

    Every key changes at most once after `settle`: so an answer is right or wrong, whichever moment it was about.
    """

    def __init__(self, directory: Path, url: str) -> None:
        self.ledger = Ledger.open("sqlite", directory / "data", KEY)
        self.writer = open_index(url, directory / "data", FINGERPRINT.check_value())
        self.publisher = Publisher(self.ledger, self.writer)
        self._before: dict[Key, bool] = {}  # listed
        self._then: dict[Key, bool] = {}
        self._acknowledged: dict[Key, int] = {}  # monotonic ns: later questions have one right answer

    def __enter__(self) -> House:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.writer.close()
        self.ledger.close()

    # what happens

    def settle(self, members: Iterable[int], refusing: Iterable[int] = (), strangers: Iterable[int] = ()) -> None:
        """The beginning: persons who consent, merchants who refuse, people who said nothing; then the index."""
        consenting, refused = list(members), list(refusing)
        everybody = {*consenting, *refused, *strangers}
        self._before = {(who, kind): False for who in sorted(everybody) for kind in (PERSON, MERCHANT)}
        self._before.update({(who, PERSON): True for who in consenting})
        self._before.update({(who, MERCHANT): True for who in refused})
        record(self.ledger, *map(onay, consenting), *(ret(who, kind=MERCHANT) for who in refused))
        self.publisher.ensure()

    def withdraw(self, who: int) -> bool:
        """As the citizen's page does it, for both families. False: it is recorded, but not acknowledged."""
        self._then.update({(who, PERSON): False, (who, MERCHANT): True})
        record(self.ledger, *(ret(who, LATER, kind=kind) for kind in (PERSON, MERCHANT)))
        return self.acknowledge(who)

    def acknowledge(self, who: int) -> bool:
        """What a citizen who was told to try again does: the same for a withdrawal that is recorded already."""
        fingerprint = FINGERPRINT(BRAND, Channel.MESAJ, number(who))
        try:
            self.publisher.publish_now([(fingerprint, kind) for kind in (PERSON, MERCHANT)])
        except IndexDown:
            return False
        self._acknowledged.update(dict.fromkeys([(who, PERSON), (who, MERCHANT)], time.monotonic_ns()))
        return True

    def grant(self, *people: int) -> None:
        """Consents that are recorded; the publisher's loop has to find them by itself."""
        self._then.update({(who, PERSON): True for who in people})
        record(self.ledger, *(onay(who, LATER) for who in people))

    @contextmanager
    def publishing(self) -> Iterator[PublisherLoop]:
        """The publisher's loop in a thread. Whatever else than the end of the block ends it fails the test."""
        stop = threading.Event()
        loop = PublisherLoop(self.publisher, stop)
        faults: list[BaseException] = []

        def run() -> None:
            try:
                loop.run()
            except BaseException as fault:  # noqa: BLE001 — raised again below
                faults.append(fault)

        thread = threading.Thread(target=run, name="publisher")
        thread.start()
        try:
            yield loop
        finally:
            stop.set()
            thread.join()
        if faults:
            raise faults[0]

    # what is known of it

    def recipients(self) -> list[Recipient]:
        """Everybody, as a person and as a merchant."""
        return [Recipient(*key) for key in self._before]

    def final(self, recipients: Sequence[Recipient]) -> list[bool]:
        """The answers once all that was recorded is published."""
        return [self._then.get(one.key, self._before[one.key]) for one in recipients]

    def acknowledged_ns(self, who: int) -> int:
        """When a withdrawal was acknowledged (`time.monotonic_ns`, the same clock in all processes)."""
        return self._acknowledged[who, PERSON]

    def explains(self, key: Key, listed: bool, asked_ns: int) -> bool:
        """Whether something that was said explains this answer to a question of that moment."""
        then = self._then.get(key)
        if then is None:
            return listed is self._before[key]
        acknowledged = self._acknowledged.get(key)
        return listed is then or acknowledged is None or asked_ns < acknowledged


class Campaign:
    """One gateway that asks about everybody again and again, and works as a worker does beside it."""

    def __init__(self, index: ConsentIndex, house: House) -> None:
        self._index = index
        self._house = house
        self._recipients = house.recipients()
        self._stopped = False
        self.wrong: list[tuple[Key, bool, int]] = []  # who, listed, when it was asked
        self.answered = 0
        self.deferred: dict[Reason, int] = dict.fromkeys((Reason.INDEX_STALE, Reason.INDEX_DOWN), 0)
        self.epochs: set[int] = set()

    def __str__(self) -> str:
        deferred = sum(self.deferred.values())
        share = deferred / max(1, deferred + self.answered)
        return f"{self.answered} answers, {deferred} deferred ({share:.2%}), {len(self.wrong)} wrong"

    async def during(self, what: Awaitable[object]) -> None:
        """Ask beside `what`, and at least everybody once more after it."""
        asking = asyncio.get_running_loop().create_task(self._run())
        try:
            await what
        finally:
            self._stopped = True
            await asking
        self._stopped = False

    async def until_right(self, what: str) -> None:
        """Ask until nobody is deferred and all answers are what was said last; none on the way may be wrong."""
        expected = dict(zip((one.key for one in self._recipients), self._house.final(self._recipients), strict=True))
        deadline = time.monotonic() + WITHIN_S
        while True:
            found = await self.round()
            if found == expected:
                return
            if time.monotonic() > deadline:
                differing = [key for key, listed in expected.items() if found.get(key) is not listed]
                raise AssertionError(f"{what}: not right within {WITHIN_S:g} s: {differing[:10]} {self._index.status}")

    async def round(self) -> dict[Key, bool]:
        """Ask about everybody once; those that were not deferred."""
        self._index.poll()  # as a worker does once a second
        found: dict[Key, bool] = {}
        for start in range(0, len(self._recipients), BATCH):
            await self._ask(self._recipients[start : start + BATCH], found)
            await asyncio.sleep(0.001)
        self.epochs.add(self._index.status.epoch)
        return found

    async def _run(self) -> None:
        last = False
        while not last:
            last = self._stopped
            await self.round()

    async def _ask(self, batch: Sequence[Recipient], found: dict[Key, bool]) -> None:
        asked_ns = time.monotonic_ns()
        left = len(batch)
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def done(questions: Sequence[Asked], answers: Answers) -> None:
            nonlocal left
            left -= len(questions)
            assert left >= 0, "more answers than questions"
            if isinstance(answers, Reason):
                self.deferred[answers] += len(questions)
            else:
                for one, listed in zip(questions, answers, strict=True):
                    self._heard(one, listed, asked_ns, found)
            if not left and not ready.done():
                ready.set_result(None)

        self._index.ask(batch, done)
        async with asyncio.timeout(WITHIN_S):
            await ready

    def _heard(self, one: Asked, listed: bool, asked_ns: int, found: dict[Key, bool]) -> None:
        assert isinstance(one, Recipient)
        found[one.key] = listed
        if self._house.explains(one.key, listed, asked_ns):
            self.answered += 1
        else:
            self.wrong.append((one.key, listed, asked_ns))
