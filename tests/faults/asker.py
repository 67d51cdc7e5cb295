"""A gateway in a process of its own that asks all the time, and keeps every answer with the time of its question.

What matters is asked about most: those whose withdrawal is about to be acknowledged, or has just been. Beside them
everybody else in turn, and consents that were given and have not been seen yet.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from array import array
from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Final

import uvloop

from filters.model import Reason
from gateway import limits
from gateway.index.filter import FilteredIndex
from gateway.index.interface import Answers, Asked
from tests.faults.support import Recipient, filtered

AROUND: Final = 12  # asked about on both sides of the next withdrawal
SWEPT: Final = 24  # of everybody, in the same batch
GRANTED: Final = 8  # of the consents that have not been seen
REST_S: Final = 0.002  # between two batches: on two cores somebody has to get round to withdrawing, too
NOT_LISTED, LISTED, DEFERRED = 0, 1, 2

_context = multiprocessing.get_context("spawn")


class Board:
    """What the processes tell each other; single words, so nobody waits for anybody."""

    def __init__(self, askers: int) -> None:
        self.withdrawn: Any = _context.RawValue("q", 0)  # this many have been acknowledged, in the order of numbers
        self.granted: Any = _context.RawValue("q", 0)
        self.over: Any = _context.RawValue("b", 0)
        self.answers: Any = _context.RawArray("q", askers)  # of each asker so far


def started(board: Board, number: int, url: str, directory: Path, leaving: int, coming: range) -> BaseProcess:
    """Asks about `leaving` people who withdraw, and those `coming`; its answers are in `Heard.read` afterwards."""
    arguments = (board, number, url, directory, leaving, coming)
    process = _context.Process(target=_run, args=arguments, daemon=True)
    process.start()
    return process


class Heard:
    """All answers, as three columns."""

    def __init__(self) -> None:
        self.asked_ns = array("q")
        self.who = array("i")
        self.answer = array("b")

    @classmethod
    def read(cls, directory: Path, number: int) -> Heard:
        heard = cls()
        for column, path in zip(heard._columns(), _paths(directory, number), strict=True):
            column.frombytes(path.read_bytes())
        return heard

    def write(self, directory: Path, number: int) -> None:
        for column, path in zip(self._columns(), _paths(directory, number), strict=True):
            path.write_bytes(column.tobytes())

    def _columns(self) -> Sequence[array[int]]:
        return self.asked_ns, self.who, self.answer


def _paths(directory: Path, number: int) -> list[Path]:
    return [directory / f"asker-{number}.{column}" for column in ("asked", "who", "answer")]


def _run(board: Board, number: int, url: str, directory: Path, leaving: int, coming: range) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_Asker(board, number, leaving, coming).ask(url, directory))


class _Asker:
    def __init__(self, board: Board, number: int, leaving: int, coming: range) -> None:
        self._board = board
        self._number = number
        self._leaving = [Recipient(who) for who in range(leaving)]
        self._swept: Iterator[Recipient] = cycle(self._leaving)
        self._coming = coming
        self._unseen: dict[int, Recipient] = {}  # consents that were given and not listed yet
        self._granted = 0
        self._left: set[int] | None = None  # who has still to be answered about after all is over
        self._over_ns = 0
        self._heard = Heard()
        self._over = asyncio.Event()

    async def ask(self, url: str, directory: Path) -> None:
        self._index: FilteredIndex = filtered(url, directory)
        await self._index.start()
        self._send()
        while not self._over.is_set():
            self._index.poll()
            await asyncio.sleep(limits.TICK_S)
        await self._index.close()
        self._heard.write(directory, self._number)

    def _batch(self) -> list[Recipient]:
        board = self._board
        if board.over.value and self._left is None:
            self._left, self._over_ns = set(range(len(self._leaving))), time.monotonic_ns()
        while self._granted < board.granted.value:
            who = self._coming[self._granted]
            self._unseen[who] = Recipient(who)
            self._granted += 1
        edge = board.withdrawn.value
        return [
            *self._leaving[max(0, edge - AROUND) : edge + AROUND],
            *islice(self._swept, SWEPT),
            *islice(self._unseen.values(), GRANTED),
        ]

    def _send(self) -> None:
        batch = self._batch()
        left = len(batch)
        asked_ns = time.monotonic_ns()

        def done(questions: Sequence[Asked], answers: Answers) -> None:
            nonlocal left
            self._note(asked_ns, questions, answers)
            left -= len(questions)
            if not left:
                self._next()

        self._index.ask(batch, done)

    def _next(self) -> None:
        self._board.answers[self._number] = len(self._heard.who)
        if self._left is not None and not self._left and not self._unseen:
            self._over.set()
        else:
            asyncio.get_running_loop().call_later(REST_S, self._send)

    def _note(self, asked_ns: int, questions: Sequence[Asked], answers: Answers) -> None:
        people = [one.key[0] for one in questions if isinstance(one, Recipient)]
        said = [DEFERRED] * len(people) if isinstance(answers, Reason) else [int(listed) for listed in answers]
        self._heard.asked_ns.extend([asked_ns] * len(people))
        self._heard.who.extend(people)
        self._heard.answer.extend(said)
        if isinstance(answers, Reason):
            return
        if self._unseen:
            for who, answer in zip(people, said, strict=True):
                if answer == LISTED:
                    self._unseen.pop(who, None)
        if self._left is not None and asked_ns > self._over_ns:
            self._left.difference_update(people)
