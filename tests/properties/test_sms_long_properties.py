"""A long message through every kind of bad luck: what the SMSC has taken is never a whole text without its notice, and
once its client has a yes to each part, it is a whole text with it.

No sockets: clients that send parts in any order to any of two workers and send again what was refused, an SMSC that
answers in any order, binds that are lost, workers that are started anew, timers that are early or late.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from types import SimpleNamespace
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.model import Outcome, Reason
from filters.sms import ALPHABETS
from gateway.pipeline import Pipeline, Question
from gateway.smpp.parts import Groups
from gateway.smpp.submit import Bind, Way, take
from gateway.smpp.upstream import Pending, Smsc
from tests.gateway.smpp.long_messages import part_of
from tests.gateway.smpp.support import CANONICAL, COMMERCIAL, SUBMIT, link_of, notice_of, pdu

ROK, SYSERR, SUBMITFAIL, THROTTLED, INVDSTADR = 0, 0x08, 0x45, 0x58, 0x0B
ROUNDS_MAX = 10  # of a client that sends again what was refused, until all is taken


@dataclass
class Centre:
    """The SMSC: what it was sent and has not answered, and what it took."""

    asked: list[tuple[Place, bytes, Pending]] = field(default_factory=list)
    taken: dict[int, dict[int, list[bytes]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(list)))

    def answer(self, number: int, status: int, *, heard: bool = True) -> None:
        """Whether or not anybody hears of it."""
        _, body, pending = self.asked.pop(number)
        if status == ROK:
            user_data = body[body.index(b"\5\0\3\7") :]
            self.taken[user_data[4]][user_data[5]].append(user_data[6:])
        pending.answered(status if heard else SYSERR, b"id\0" if status == ROK and heard else b"")


class Place:
    """A client's bind at a worker, as `submit` sees it."""

    def __init__(self, world: World, worker: int) -> None:
        self.world = world
        self.worker = worker
        self.pipeline = cast(Pipeline, world)
        self.groups = world.groups[worker]
        self.alphabets = ALPHABETS
        self.block_status = SUBMITFAIL
        self.noted = None
        self.splitter = None
        self.patient = True
        self.gone = False
        self.way = lambda _: world.way
        self.now = lambda: 0.0
        self.reference = lambda: 1
        self.later = lambda _, action: world.timers.append(action)
        self.occupy = lambda _: None
        self.respond = lambda _, status, sequence, body=b"": self.answer(sequence, status, body)

    @property
    def smsc(self) -> Smsc | None:
        return None if self.gone else cast(Smsc, SimpleNamespace(send=self._send))

    def _send(self, command: int, body: bytes, pending: Pending) -> None:
        self.world.centre.asked.append((self, body, pending))

    def answer(self, sequence: int, status: int, body: bytes = b"") -> None:
        self.world.heard(self, sequence, status)

    def block(self, submit: object, reason: Reason) -> None:
        raise AssertionError("consent is never in question here")

    def reply(self, *_: object) -> None:
        raise AssertionError("no such request was made")

    def step(self, action: Callable[[object], None], failed: Callable[[object], None], subject: object) -> None:
        action(subject)


class World:
    """One message of `total` parts, its client, two workers and the SMSC."""

    def __init__(self, total: int, coding: int) -> None:
        self.words = {n: f"{n} " * 20 for n in range(1, total + 1)}
        self.coding = coding
        self.centre = Centre()
        self.way = Way(COMMERCIAL, 5)
        self.groups = [Groups(), Groups()]
        self.timers: list[Callable[[], None]] = []
        self.waiting: list[Question] = []  # for their verdicts
        self.places = [Place(self, worker) for worker in (0, 0, 1)]
        self.under_way: dict[int, Place] = {}  # by part
        self.accepted: set[int] = set()

    # the pipeline

    def ask(self, question: Question) -> None:
        question.outcome, question.reason = Outcome.PASS, Reason.CONSENT
        self.waiting.append(question)

    def link(self, question: Question) -> bytes:
        return link_of(CANONICAL)

    # the client

    def send(self, part: int, place: Place) -> None:
        """Unless it is under way, or taken."""
        if part in self.accepted or part in self.under_way:
            return
        self.under_way[part] = place
        body = part_of(part, total=len(self.words), word=self.words[part], coding=self.coding)
        take(cast(Bind, place), part, pdu(SUBMIT, part, body))

    def heard(self, place: Place, part: int, status: int) -> None:
        if place.gone:
            return
        assert self.under_way.pop(part) is place, "an answer that nobody waits for"
        if status == ROK:
            self.accepted.add(part)

    # what happens

    def lose(self, number: int, *, heard: bool) -> None:
        """A client's connection, and the bind behind it; what was under way is known to nobody, and taken or not."""
        lost = self.places[number]
        self.places[number] = Place(self, lost.worker)
        lost.gone = True
        self.under_way = {part: place for part, place in self.under_way.items() if place is not lost}
        while any(place is lost for place, _, _ in self.centre.asked):
            at = next(n for n, (place, _, _) in enumerate(self.centre.asked) if place is lost)
            self.centre.answer(at, ROK if heard else SYSERR, heard=False)

    def restart(self, worker: int) -> None:
        """Nothing is left of it."""
        self.groups[worker] = Groups()
        for number, place in enumerate(self.places):
            if place.worker == worker:
                self.lose(number, heard=True)

    def decide(self) -> None:
        waiting, self.waiting = self.waiting, []
        for question in waiting:
            question.decided()

    def wait(self) -> None:
        timers, self.timers = self.timers, []
        for action in timers:
            action()

    def finish(self) -> None:
        """Fair weather: what was refused is sent again until all of it is taken."""
        for _ in range(ROUNDS_MAX):
            for part in self.words:
                self.send(part, self.places[part % len(self.places)])
            while self.waiting or self.timers or self.centre.asked:
                self.decide()
                self.wait()
                while self.centre.asked:
                    self.centre.answer(0, ROK)
            if len(self.accepted) == len(self.words):
                return
        raise AssertionError("the message does not get through")

    def texts(self) -> list[str]:
        """All that a handset could make of what the SMSC took, with the first or the last of what came twice."""
        found = []
        for total, parts in self.centre.taken.items():
            if len(parts) == total:
                for which in (0, -1):
                    joined = b"".join(parts[n][which] for n in range(1, total + 1))
                    found.append(joined.decode("utf-16-be" if self.coding == 8 else "ascii"))
        return found


@pytest.mark.parametrize("coding", [0, 8])
@settings(deadline=None, max_examples=200)
@given(data=st.data())
def test_i1_i2_nothing_whole_without_a_notice_and_with_every_yes_all_of_it(coding: int, data: st.DataObject) -> None:
    world = World(data.draw(st.integers(1, 4), label="parts"), coding)
    parts, places, booleans = st.sampled_from([*world.words]), st.integers(0, 2), st.booleans()
    statuses = st.sampled_from([ROK, ROK, ROK, THROTTLED, INVDSTADR])
    for _ in range(data.draw(st.integers(0, 40), label="steps")):
        actions: list[Callable[[], None]] = [
            lambda: world.send(data.draw(parts), world.places[data.draw(places)]),
            lambda: world.send(data.draw(parts), world.places[data.draw(places)]),
            world.decide,
            world.wait,
            lambda: world.lose(data.draw(places), heard=data.draw(booleans)),
            partial(world.restart, 1),
        ]
        if world.centre.asked:
            last = len(world.centre.asked) - 1
            actions += [
                lambda: world.centre.answer(data.draw(st.integers(0, last)), data.draw(statuses))  # noqa: B023
            ] * 3
        data.draw(st.sampled_from(actions))()
        assert all(text.endswith(notice_of()) for text in world.texts())
    world.finish()
    assert set(world.texts()) == {"".join(world.words.values()) + notice_of()}
