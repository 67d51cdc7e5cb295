"""SMPP: load generator → the program in the middle → sink, submit_sm to submit_sm_resp, four transceiver binds.

The program in the middle is held to one processor, the same for each in turn; the ends take what is left.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from pathlib import Path

from bench import programs
from bench.gateway import PASSWORD, SYSTEM_ID, gateway, prove_sms_notice
from bench.measure import Plan, Sample, Table, Target, interleave
from bench.process import Absent, Missing, Program, free_port

BINDS = 4
WINDOWS = (1, 10, 100)
WARM_UP = 2_000
SETTLE_S = 0.05  # then the last of the CPU time stands in /proc

CPU_TIMES_HAPROXY_MAX = 8.0
PER_CORE_MIN = 30_000


def tables(directory: Path, plan: Plan, *, profile: bool) -> Iterator[Table]:
    """One table per window, each with all programs side by side; `profile` puts the gateway under the sampler."""
    for window in WINDOWS:
        key = f"smpp-{window}"
        here = directory / key
        here.mkdir()
        with ExitStack() as stack:
            next_hop = free_port()
            running, absent = _stand_up(stack, here, next_hop, directory / f"{key}.profile" if profile else None)
            for program in running:
                if program.key == "izinli":
                    prove_sms_notice(here, program, next_hop)
            stack.enter_context(programs.smpp_sink(here, next_hop))
            targets = [Target(program.key, program.name, partial(_load, program, window)) for program in running]
            rows = interleave(targets, plan, first_guess=WARM_UP)
        table = Table(key, f"SMPP, submit_sm, {BINDS} binds, window {window}", "µs", rows, absent)
        _judge(table)
        yield table


def _stand_up(
    stack: ExitStack, directory: Path, next_hop: int, profile: Path | None
) -> tuple[list[Program], list[Absent]]:
    """Start what can be started here; what cannot is named in the table."""
    running: list[Program] = []
    absent: list[Absent] = []
    core = max(os.sched_getaffinity(0))
    stands: list[tuple[str, str, Callable[[], AbstractContextManager[Program]]]] = [
        ("haproxy", "HAProxy", lambda: programs.haproxy(directory, next_hop)),
        ("naive", "asyncio + smpplib", lambda: programs.smpp_naive(directory, next_hop)),
        (
            "izinli",
            "izinli",
            lambda: gateway(directory, protocol="smpp", next_hop=next_hop, core=core, profile=profile),
        ),
    ]
    for key, name, stand in stands:
        try:
            program = stack.enter_context(stand())
        except Missing as why:
            absent.append(Absent(key, name, str(why)))
            continue
        os.sched_setaffinity(program.session, {core})  # one process, one thread: HAProxy and the proxy by hand
        running.append(program)
    return running, absent


def _load(program: Program, window: int, count: int) -> Sample:
    """Send `count` messages; the generator fails when any is not answered with ESME_ROK."""
    helper = program.helper
    cpu, helper_cpu = program.cpu(), helper.cpu() if helper else 0.0
    seconds = programs.smpp_load(
        program.port, system_id=SYSTEM_ID, password=PASSWORD, binds=BINDS, window=window, count=count
    )
    time.sleep(SETTLE_S)
    return Sample(count, seconds, program.cpu() - cpu, helper.cpu() - helper_cpu if helper else 0.0)


def _judge(table: Table) -> None:
    if table.key == "smpp-10":
        table.judge("izinli", "haproxy", CPU_TIMES_HAPROXY_MAX, f"at most {CPU_TIMES_HAPROXY_MAX:g} × HAProxy")
    elif table.key == "smpp-100":
        rates = ", ".join(f"{row.name} {row.rate:,.0f}/s" for row in table.rows if row.key != "naive")
        text = f"at least {PER_CORE_MIN:,}/s on one core, by its CPU time (whole chain here: {rates})"
        table.judge_per_core("izinli", PER_CORE_MIN, text)
