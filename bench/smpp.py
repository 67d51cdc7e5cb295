"""SMPP: load generator → the program in the middle → sink, submit_sm to submit_sm_resp, four transceiver binds.

The program in the middle is held to one processor, the same for each in turn; the ends take what is left. All programs
stand from the first table to the last, each table has a sink of its own behind them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from bench import programs, smpp_idle
from bench.gateway import LOGIN, gateway, prove_long_notice, prove_sms_notice
from bench.measure import Plan, Sample, Table, Target, Verdict, interleave
from bench.process import TICK_S, Absent, Missing, Program, free_port

BINDS = 4
WARM_UP = 2_000
SETTLE_S = 0.05  # then the last of the CPU time stands in /proc
QUICK_S = 0.4  # of a row in a short run: many rows, and nobody reads the figures
ROUNDS_MAX = 3  # of the tables beside the three main ones …
SECONDS_MAX = 2.0  # … which say something else than how fast

PEERS = ("haproxy", "naive", "rote", "izinli")
WITHOUT_NAIVE = ("haproxy", "rote", "izinli")
LONG_PERCENT = 10
DELAY_MS, DELAY_WINDOW = 20, 500

CPU_TIMES_HAPROXY_MAX = {"smpp-1": 2.0, "smpp-10": 5.0}
PER_CORE_MIN = 40_000
LONG_TIMES_SHORT_MAX = 1.5
IDLE_BINDS = 100
IDLE_MB_MAX = 40.0
MB = 1_000_000


@dataclass(frozen=True, slots=True)
class Case:
    """One table: what the clients do, what the SMSC does, and who takes part."""

    key: str
    title: str
    window: int
    programs: tuple[str, ...] = PEERS
    receipts: bool = False
    delay_ms: int = 0  # before the SMSC answers
    long: int = 0  # messages in a hundred that come in two parts; above none, all-short ones are a row of their own
    is_main: bool = False


CASES = (
    *(Case(f"smpp-{window}", f"submit_sm, window {window}", window, is_main=True) for window in (1, 10, 100)),
    *(
        Case(
            f"smpp-{window}-receipts",
            f"submit_sm and its receipt, window {window}",
            window,
            WITHOUT_NAIVE,
            receipts=True,
        )
        for window in (10, 100)
    ),
    Case(
        "smpp-delay",
        f"the SMSC answers after {DELAY_MS} ms, window {DELAY_WINDOW}: "
        f"at most {BINDS * DELAY_WINDOW * 1000 // DELAY_MS:,}/s",
        DELAY_WINDOW,
        WITHOUT_NAIVE,
        delay_ms=DELAY_MS,
    ),
    Case(
        "smpp-long",
        f"{LONG_PERCENT} long messages of two parts in a hundred, window 100, figures per submit_sm",
        100,
        ("izinli",),
        long=LONG_PERCENT,
    ),
)


@dataclass(frozen=True, slots=True)
class Standing:
    """The programs that run, those that could not be started, and what is behind the gateway."""

    directory: Path
    next_hop: int
    running: list[Program]
    absent: list[Absent]


def tables(directory: Path, plan: Plan, *, profile: bool) -> Iterator[Table]:
    """A table per case, each with all its programs side by side, and one of idle binds.

    `profile` puts the gateway under the sampler, a new one for each table.
    """
    if profile:
        for case in CASES:
            with _standing(directory / case.key, directory / f"{case.key}.profile") as standing:
                yield _table(case, standing, plan)
        return
    with _standing(directory / "smpp", None) as standing:
        idle = _idle(standing)  # before anything else: what was used once is not given back
        for case in CASES:
            yield _table(case, standing, plan)
        yield idle


def _table(case: Case, standing: Standing, plan: Plan) -> Table:
    if plan.rounds == 1:
        plan = replace(plan, seconds=QUICK_S)
    elif not case.is_main:
        plan = Plan(min(plan.rounds, ROUNDS_MAX), min(plan.seconds, SECONDS_MAX))
    running = [program for program in standing.running if program.key in case.programs]
    absent = [program for program in standing.absent if program.key in case.programs]
    with programs.smpp_sink(standing.directory, standing.next_hop, delay_ms=case.delay_ms) as sink:
        rows = interleave(list(_targets(case, running, sink)), plan, first_guess=WARM_UP)
    table = Table(case.key, f"SMPP, {BINDS} binds, {case.title}", "µs", rows, absent)
    _judge(table)
    return table


@contextmanager
def _standing(directory: Path, profile: Path | None) -> Iterator[Standing]:
    """Start what can be started here, and prove that the gateway does its work."""
    directory.mkdir()
    next_hop = free_port()
    core = max(os.sched_getaffinity(0))
    stands: list[tuple[str, str, Callable[[], AbstractContextManager[Program]]]] = [
        ("haproxy", "HAProxy", lambda: programs.haproxy(directory, next_hop)),
        ("naive", "asyncio + smpplib", lambda: programs.smpp_naive(directory, next_hop)),
        ("rote", "uvloop, by rote", lambda: programs.smpp_rote(directory, next_hop)),
        (
            "izinli",
            "izinli",
            lambda: gateway(directory, protocol="smpp", next_hop=next_hop, core=core, profile=profile),
        ),
    ]
    standing = Standing(directory, next_hop, [], [])
    with ExitStack() as stack:
        for key, name, stand in stands:
            try:
                program = stack.enter_context(stand())
            except Missing as why:
                standing.absent.append(Absent(key, name, str(why)))
                continue
            os.sched_setaffinity(program.session, {core})  # one process, one thread each, but for the gateway's own
            standing.running.append(program)
        if subject := _gateway_of(standing):
            prove_sms_notice(directory, subject, next_hop)
            prove_long_notice(directory, subject, next_hop)
        yield standing


def _gateway_of(standing: Standing) -> Program | None:
    return next((program for program in standing.running if program.key == "izinli"), None)


def _targets(case: Case, running: list[Program], sink: Program) -> Iterator[Target]:
    for program in running:
        if case.long:
            short = replace(case, long=0)
            yield Target(f"{program.key}_short", f"{program.name}, all short", partial(_load, program, sink, short))
            name = f"{program.name}, {case.long} long in a hundred"
            yield Target(program.key, name, partial(_load, program, sink, case))
        else:
            yield Target(program.key, program.name, partial(_load, program, sink, case))


def _load(program: Program, sink: Program, case: Case, count: int) -> Sample:
    """Send `count` messages; RuntimeError when any of them, or of their receipts, is not answered with ESME_ROK."""
    helper = program.helper
    cpu, helper_cpu = program.cpu(), helper.cpu() if helper else 0.0
    try:
        done = programs.smpp_load(
            program.port,
            login=LOGIN,
            binds=BINDS,
            window=case.window,
            count=count,
            receipts=case.receipts,
            long=case.long,
        )
    except RuntimeError as why:
        raise RuntimeError(f"{program.name}: {why}\n{program.log_tail()}\n{sink.log_tail()}") from why
    time.sleep(SETTLE_S)
    cpu = max(program.cpu() - cpu, TICK_S)  # in a short run HAProxy needs less than one, which reads as none
    helper_cpu = helper.cpu() - helper_cpu if helper else 0.0
    if not sink.is_running:
        raise RuntimeError(f"{program.name}: {sink.log_tail()}")
    return Sample(done.messages, done.seconds, cpu, helper_cpu, done.p50_s, done.p99_s)


def _idle(standing: Standing) -> Table:
    """What a hundred idle binds take in the worker's memory."""
    table = Table("smpp-idle", f"SMPP, {IDLE_BINDS} idle binds, each with its mirror", "µs", [])
    if program := _gateway_of(standing):
        with programs.smpp_sink(standing.directory, standing.next_hop):
            octets = smpp_idle.growth(program.port, program.session, LOGIN, IDLE_BINDS)
        text = f"MB that the worker grows by (RSS), at most {IDLE_MB_MAX:g}"
        table.verdicts.append(Verdict(text, octets / MB, IDLE_MB_MAX))
    else:
        table.absent += standing.absent
    return table


def _judge(table: Table) -> None:
    if limit := CPU_TIMES_HAPROXY_MAX.get(table.key):
        table.judge("izinli", "haproxy", limit, f"at most {limit:g} × HAProxy")
    elif table.key == "smpp-100":
        rates = ", ".join(f"{row.name} {row.rate:,.0f}/s" for row in table.rows if row.key in ("haproxy", "izinli"))
        text = f"at least {PER_CORE_MIN:,}/s on one core, by its CPU time (whole chain here: {rates})"
        table.judge_per_core("izinli", PER_CORE_MIN, text)
    elif table.key == "smpp-long":
        text = f"a submit_sm costs at most {LONG_TIMES_SHORT_MAX:g} × one among short ones only"
        table.judge("izinli", "izinli_short", LONG_TIMES_SHORT_MAX, text)
