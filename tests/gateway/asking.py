"""Asking an index in a test: one answer for each question, however many parts they came back in."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from filters.index_url import parse
from filters.key import Fingerprinter
from filters.model import Reason
from gateway.index.interface import Answers, Asked, Believed, ConsentIndex, Fault
from gateway.index.shared import RedisIndex
from tests.conftest import eventually_async
from tests.gateway.conftest import BIREYSEL, KEY, Asking

# Servers start, fail over and are looked for again, on a machine that has other things to do.
WITHIN_S = 60.0


def citizen(name: bytes) -> Asking:
    return Asking(BIREYSEL, name + b"@example.test")


def citizens(count: int, seed: bytes = b"m") -> list[Asking]:
    return [citizen(b"%b%d" % (seed, number)) for number in range(count)]


def reader(url: str, *, key: bytes = KEY, age_max_s: float = 900.0, sentinel: tuple[str, str] = ("", "")) -> RedisIndex:
    """Inside a running loop. `sentinel`: user and password, which a configuration reads from a file."""
    place = replace(parse(url), sentinel_username=sentinel[0], sentinel_password=sentinel[1])
    return RedisIndex(place, Believed(Fingerprinter(key).check_value(), age_max_s))


async def each(index: ConsentIndex, questions: Sequence[Asking]) -> list[bool | Reason]:
    """The answer to each of the questions, asked together; each came exactly once."""
    found: dict[int, list[bool | Reason]] = {id(question): [] for question in questions}

    def done(asked: Sequence[Asked], answers: Answers) -> None:
        split = [answers] * len(asked) if isinstance(answers, Reason) else answers
        for question, answer in zip(asked, split, strict=True):
            found[id(question)].append(answer)

    index.ask(questions, done)
    await eventually_async(lambda: all(found.values()), within=WITHIN_S, what="answers")
    await asyncio.sleep(0)
    assert {len(answers) for answers in found.values()} == {1}
    return [answers[0] for answers in found.values()]


async def ask(index: ConsentIndex, *questions: Asking) -> Answers:
    """The same; the reason alone when all are told the same one."""
    answers = await each(index, questions)
    told = [answer for answer in answers if not isinstance(answer, Reason)]
    if len(told) == len(answers):
        return told
    (reason,) = set(answers)
    assert isinstance(reason, Reason)
    return reason


async def becomes(index: ConsentIndex, questions: Sequence[Asking], expected: list[bool]) -> None:
    """Ask until the answers are these; none before was wrong, only deferred."""

    async def right() -> bool:
        index.poll()  # as a worker does once a second
        answers = await each(index, questions)
        assert all(got is want for got, want in zip(answers, expected, strict=True) if not isinstance(got, Reason))
        return answers == expected

    await eventually_async(right, within=WITHIN_S, what="the right answers")


async def shows(index: ConsentIndex, *faults: Fault) -> None:
    """Wait until the index has exactly these faults."""

    def same() -> bool:
        index.poll()
        return index.status.faults == set(faults)

    try:
        await eventually_async(same, within=WITHIN_S, what=f"the faults {faults}")
    except AssertionError as error:
        error.add_note(f"they are {index.status.faults}")
        raise


class Load:
    """Questions one batch after the other, while something happens; `wrong` are answers that no state explains."""

    def __init__(
        self, index: ConsentIndex, questions: Sequence[Asking], allowed: Callable[[Asking, bool], bool]
    ) -> None:
        self._index = index
        self._questions = questions
        self._allowed = allowed
        self._stopped = False
        self.wrong: list[bytes | None] = []
        self.answered = self.deferred = 0

    async def run(self) -> None:
        while not self._stopped:
            self._index.poll()
            for question, answer in zip(self._questions, await each(self._index, self._questions), strict=True):
                if isinstance(answer, Reason):
                    self.deferred += 1
                elif self._allowed(question, answer):
                    self.answered += 1
                else:
                    self.wrong.append(question.recipient)
            await asyncio.sleep(0.002)

    async def during(self, what: Awaitable[None]) -> None:
        """Run beside `what`."""
        running = asyncio.get_running_loop().create_task(self.run())
        try:
            await what
        finally:
            self._stopped = True
            await running
