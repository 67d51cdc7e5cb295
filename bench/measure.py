"""Samples, rows and tables: interleaved rounds, medians, ratios to a floor, targets met or missed.

The machine may be small and others may work on it: rounds visit every program in turn, so that a bad moment hits all
of them alike; the median of the rounds is reported, and every single sample stands in the result file.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bench.process import Absent


@dataclass(frozen=True, slots=True)
class Plan:
    """How long: rounds, and seconds that each program is under load in each round."""

    rounds: int
    seconds: float


FULL = Plan(rounds=5, seconds=3.0)
QUICK = Plan(rounds=1, seconds=1.0)


@dataclass(frozen=True, slots=True)
class Sample:
    """One run against one program: messages, wall seconds, CPU seconds of the program and of its helper.

    `p50_s` and `p99_s`: seconds from a message to its answer, where some were timed. `cpu_s` 0: it was not measured.
    `peak_octets`: the most that the program had in memory at once, where that was looked at.
    """

    messages: int
    seconds: float
    cpu_s: float
    helper_cpu_s: float = 0.0
    p50_s: float | None = None
    p99_s: float | None = None
    peak_octets: int | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """What is to be measured: `load(n)` puts n messages through it."""

    key: str
    name: str
    load: Callable[[int], Sample]


@dataclass(slots=True)
class Row:
    """A target with its samples."""

    key: str
    name: str
    samples: list[Sample] = field(default_factory=list)

    @property
    def cpu_s(self) -> float:
        """Median CPU seconds per message."""
        return statistics.median(sample.cpu_s / sample.messages for sample in self.samples)

    @property
    def helper_cpu_s(self) -> float:
        """Median CPU seconds per message of the helper, shown apart."""
        return statistics.median(sample.helper_cpu_s / sample.messages for sample in self.samples)

    @property
    def rate(self) -> float:
        """Median messages per second of the whole chain on this machine."""
        return statistics.median(sample.messages / sample.seconds for sample in self.samples)

    def latency_s(self, percentile: int) -> float | None:
        """Median of the rounds' 50th or 99th percentile; None: no message was timed."""
        found = [sample.p50_s if percentile == 50 else sample.p99_s for sample in self.samples]
        timed = [seconds for seconds in found if seconds is not None]
        return statistics.median(timed) if timed else None

    @property
    def peak_octets(self) -> int | None:
        """Of the round that took most."""
        return max((sample.peak_octets for sample in self.samples if sample.peak_octets is not None), default=None)


@dataclass(frozen=True, slots=True)
class Verdict:
    """A target of the project: `value` against `limit`; `at_least` says which side is good."""

    text: str
    value: float
    limit: float
    at_least: bool = False

    @property
    def met(self) -> bool:
        return self.value >= self.limit if self.at_least else self.value <= self.limit


@dataclass(slots=True)
class Table:
    """One comparison: what was sent, the rows, what could not be measured, the verdicts; `unit` is "ms" or "µs".

    `of`: what is counted; `helper`: whose CPU time is shown apart.
    """

    key: str
    title: str
    unit: str
    rows: list[Row]
    absent: list[Absent] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    of: str = "message"
    helper: str = "its Redis index"

    def row(self, key: str) -> Row | None:
        return next((row for row in self.rows if row.key == key), None)

    def judge(self, key: str, floor: str, limit: float, text: str) -> None:
        """Add the verdict on the CPU per message of a row over that of another, when both were measured."""
        row, base = self.row(key), self.row(floor)
        if row and base:
            self.verdicts.append(Verdict(text, row.cpu_s / base.cpu_s, limit))

    def judge_per_core(self, key: str, limit: float, text: str) -> None:
        """Add the verdict on messages per second of CPU time of a row: what one core does that does nothing else."""
        if row := self.row(key):
            self.verdicts.append(Verdict(text, 1 / row.cpu_s, limit, at_least=True))


def percentile(values: Sequence[float], percent: float) -> float:
    """The value below which so many in a hundred are; of a few the highest."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(len(ranked) * percent / 100))]


def timed(seconds: Sequence[float], cpu_s: float = 0.0) -> Sample:
    """What was done one after the other, each with its time."""
    return Sample(len(seconds), sum(seconds), cpu_s, p50_s=percentile(seconds, 50), p99_s=percentile(seconds, 99))


def interleave(targets: Sequence[Target], plan: Plan, *, first_guess: int) -> list[Row]:
    """Warm up and size each target's runs to the plan, then go round all of them, starting elsewhere each time."""
    rows = {target.key: Row(target.key, target.name) for target in targets}
    counts = {}
    for target in targets:
        warm = target.load(first_guess)
        counts[target.key] = max(first_guess, int(warm.messages / warm.seconds * plan.seconds))
    for number in range(plan.rounds):
        start = number % len(targets)
        for target in (*targets[start:], *targets[:start]):
            rows[target.key].samples.append(target.load(counts[target.key]))
    return list(rows.values())
