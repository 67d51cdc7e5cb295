"""What a question to the consent index costs the gateway, beside redis-py's Pipeline and what Redis' own client needs.

One process asks: CPU time is that of the asking program alone, Redis has its own. `redis-benchmark` is C and makes
nothing of the answers: nobody will be below it.
"""

from __future__ import annotations

import asyncio
import os
import random
import resource
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import redis as redis_py
import uvloop

from bench import consents
from bench.measure import Plan, Sample, Table, Target, Verdict, interleave
from bench.process import which
from filters import index_url
from filters.key import Fingerprinter, split
from filters.layout import MARKER, Family, bucket_key
from filters.model import Brand, Kind, RecipientType, Stream
from gateway.index.interface import Answers, Asked, Believed
from gateway.index.shared import RedisIndex
from registry.index.shared import RedisIndexWriter

MEMBERS = 100_000
BATCHES = (1, 10, 100, 1000)
IN_FLIGHT = 8  # batches under way, as under load: sessions do not wait for each other
HALF_LOAD = 27_500  # checks per second: half of the messages that one worker carries at best (submit_sm, window 100)
BRAND = Brand(100001, "Örnek Market", "Örnek Market Ticaret A.Ş.", "0123456789000015", 100001)
STREAM = Stream("campaign", BRAND, Kind.COMMERCIAL, RecipientType.BIREYSEL, "relay")
CPU_LIMIT_S = 6e-6  # at batch 100
P99_LIMIT_S = 2e-3


class Question:
    """What the index needs of one."""

    __slots__ = ("fingerprint", "stream")

    def __init__(self, fingerprint: bytes) -> None:
        self.fingerprint = fingerprint
        self.stream: Stream | None = STREAM


def tables(directory: Path, plan: Plan, *, profile: bool) -> Iterator[Table]:
    """One table for each size of batch, and how long answers take at half load."""
    del profile  # these run in this process
    with consents.redis(directory) as server:
        url, check = f"redis://127.0.0.1:{server.port}/0", Fingerprinter(consents.KEY).check_value()
        writer = RedisIndexWriter(url, check)
        members = consents.fingerprints(MEMBERS)
        build = writer.build(1, (MEMBERS, 0), 0)
        build.add(Family.BIREYSEL, members)
        build.announce()
        build.switch(0)
        keys = [_key(one) for one in random.sample(members, 20_000)] + [_key(os.urandom(12)) for _ in range(20_000)]
        asked = [Question(one) for one in random.sample(members, 20_000)] + [
            Question(os.urandom(12)) for _ in range(20_000)
        ]
        random.shuffle(keys)
        random.shuffle(asked)
        for batch in BATCHES:
            targets = [
                Target("ours", f"izinli, {IN_FLIGHT} batches in flight", _ours(url, check, asked, batch)),
                Target("redis_py", "redis-py, Pipeline", _redis_py(server.port, keys, batch)),
                Target("floor", f"redis-benchmark -P {batch} -c {IN_FLIGHT}", _floor(server.port, keys[0], batch)),
            ]
            rows = interleave(targets, plan, first_guess=max(2_000, 4 * batch))
            table = Table(f"index-{batch}", f"Index: one check of {batch} asked together", "µs", rows)
            if batch == 100 and (ours := table.row("ours")):
                table.verdicts.append(Verdict("CPU of a check ≤ 6 µs", ours.cpu_s * 1e6, CPU_LIMIT_S * 1e6))
            if batch == BATCHES[-1]:
                waits = asyncio_run(_paced(url, check, asked, HALF_LOAD, plan.seconds * plan.rounds))
                p99 = waits[int(len(waits) * 0.99)]
                text = f"p99 in ms of a check at {HALF_LOAD:,}/s ≤ 2 (median {waits[len(waits) // 2] * 1e3:.2f})"
                table.verdicts.append(Verdict(text, p99 * 1e3, P99_LIMIT_S * 1e3))
            yield table
        writer.close()


def asyncio_run(main: Any) -> Any:
    """As a worker runs."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


def _key(fingerprint: bytes) -> tuple[str, int]:
    bucket_hash, member = split(fingerprint)
    return bucket_key(1, Family.BIREYSEL, 10, bucket_hash), member


def _ours(url: str, check: bytes, questions: Sequence[Question], batch: int) -> Callable[[int], Sample]:
    def load(wanted: int) -> Sample:
        began, cpu = time.monotonic(), time.process_time()
        answered: int = asyncio_run(_closed_loop(url, check, questions, batch, wanted))
        return Sample(answered, time.monotonic() - began, time.process_time() - cpu)

    return load


async def _closed_loop(url: str, check: bytes, questions: Sequence[Question], batch: int, wanted: int) -> int:
    index = RedisIndex(index_url.parse(url), Believed(check, 86_400))
    await index.start()
    over = asyncio.get_running_loop().create_future()
    state = {"sent": 0, "answered": 0}

    def ask() -> None:
        start = state["sent"] % (len(questions) - batch)
        state["sent"] += batch
        index.ask(questions[start : start + batch], done)

    def done(some: Sequence[Asked], answers: Answers) -> None:
        if not isinstance(answers, list):
            if not over.done():
                over.set_exception(RuntimeError(f"not answered: {answers}; is the machine busy?"))
            return
        state["answered"] += len(some)
        if state["sent"] < wanted:
            ask()
        elif state["answered"] >= state["sent"] and not over.done():
            over.set_result(None)

    for _ in range(IN_FLIGHT):
        ask()
    await over
    await index.close()
    return state["answered"]


async def _paced(url: str, check: bytes, questions: Sequence[Question], rate: int, seconds: float) -> list[float]:
    """How long each check of a steady stream took from the asking, ascending. What is due is asked once a loop tick.

    Not the loop's clock: uvloop's stands still within a tick.
    """
    index = RedisIndex(index_url.parse(url), Believed(check, 86_400))
    await index.start()
    loop = asyncio.get_running_loop()
    began, sent = loop.time(), 0
    waits: list[float] = []
    failed: list[Answers] = []

    def done_since(asked_at: float) -> Callable[[Sequence[Asked], Answers], None]:
        def done(some: Sequence[Asked], answers: Answers) -> None:
            if not isinstance(answers, list):
                failed.append(answers)
            waits.extend([time.perf_counter() - asked_at] * len(some))

        return done

    while (now := loop.time()) < began + seconds:
        due = int((now - began) * rate) - sent
        if due > 0:
            start = sent % (len(questions) - due)
            index.ask(questions[start : start + due], done_since(time.perf_counter()))
            sent += due
        await asyncio.sleep(0.0001)
    await asyncio.sleep(1)
    await index.close()
    if failed or len(waits) != sent:
        raise RuntimeError(f"{sent - len(waits)} never and {len(failed)} batches not answered; is the machine busy?")
    return sorted(waits)


def _redis_py(port: int, keys: Sequence[tuple[str, int]], batch: int) -> Callable[[int], Sample]:
    client: Any = redis_py.Redis(port=port)

    def load(wanted: int) -> Sample:
        began, cpu, asked = time.monotonic(), time.process_time(), 0
        while asked < wanted:
            start = asked % (len(keys) - batch)
            with client.pipeline(transaction=False) as pipe:
                for key, member in keys[start : start + batch]:
                    pipe.execute_command("SMISMEMBER", key, member, MARKER)
                answers = pipe.execute()
            assert len(answers) == batch
            asked += batch
        return Sample(asked, time.monotonic() - began, time.process_time() - cpu)

    return load


def _floor(port: int, key: tuple[str, int], batch: int) -> Callable[[int], Sample]:
    program = which("redis-benchmark")

    def load(wanted: int) -> Sample:
        wanted = max(wanted, 20 * batch * IN_FLIGHT)
        command = [program, "-p", str(port), "-c", str(IN_FLIGHT), "-n", str(wanted), "-P", str(batch), "-q"]
        began, cpu = time.monotonic(), _children_cpu()
        asked = [*command, "SMISMEMBER", key[0], str(key[1]), str(MARKER)]
        subprocess.run(asked, check=True, stdout=subprocess.DEVNULL)
        return Sample(wanted, time.monotonic() - began, _children_cpu() - cpu)

    return load


def _children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
