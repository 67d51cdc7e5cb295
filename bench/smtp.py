"""SMTP: smtp-source → the program in the middle → smtp-sink, kept connections, one recipient."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from pathlib import Path

from bench import messages, programs
from bench.gateway import gateway, prove_notice
from bench.measure import Plan, Sample, Table, Target, interleave
from bench.process import Absent, Missing, Program, free_port, run, which

SESSIONS = 10
WARM_UP = 500
SETTLE_S = 0.05  # then the last daemon's CPU time stands in /proc

SIZES: dict[str, tuple[str, Callable[[int], bytes], int]] = {
    "smtp-2k": ("2 kB, text/plain, 8bit", messages.plain, 2_000),
    "smtp-60k": ("60 kB, text and HTML, quoted-printable", messages.designed, 60_000),
}


def tables(directory: Path, plan: Plan, *, profile: bool) -> Iterator[Table]:
    """One table per message size, each with all programs side by side; `profile` puts the gateway under the sampler."""
    for key, (title, make, size) in SIZES.items():
        here = directory / key
        here.mkdir()
        file = here / f"{key}.eml"
        file.write_bytes(make(size))
        with ExitStack() as stack:
            next_hop = free_port()
            running, absent = _stand_up(stack, here, next_hop, directory / f"{key}.profile" if profile else None)
            for program in running:
                if program.key == "izinli":
                    prove_notice(here, program, next_hop, file)
            stack.enter_context(programs.smtp_sink(here, next_hop))
            targets = [Target(program.key, program.name, partial(_load, program, file)) for program in running]
            rows = interleave(targets, plan, first_guess=WARM_UP)
        table = Table(key, f"SMTP, {title}, {SESSIONS} sessions", "ms", rows, absent)
        _judge(table)
        yield table


def _stand_up(
    stack: ExitStack, directory: Path, next_hop: int, profile: Path | None
) -> tuple[list[Program], list[Absent]]:
    """Start what can be started here; what cannot is named in the table."""
    running: list[Program] = []
    absent: list[Absent] = []
    stands: list[tuple[str, str, Callable[[], AbstractContextManager[Program]]]] = [
        ("haproxy", "HAProxy", lambda: programs.haproxy(directory, next_hop)),
        ("proxy_filter", "Postfix smtpd_proxy_filter", lambda: programs.postfix_proxy_filter(directory, next_hop)),
        ("aiosmtpd", "aiosmtpd", lambda: programs.aiosmtpd_sink(directory)),
        ("izinli", "izinli", lambda: gateway(directory, protocol="smtp", next_hop=next_hop, profile=profile)),
    ]
    for key, name, stand in stands:
        try:
            running.append(stack.enter_context(stand()))
        except Missing as why:
            absent.append(Absent(key, name, str(why)))
    return running, absent


def _load(program: Program, file: Path, count: int) -> Sample:
    """Send `count` copies; smtp-source fails when any is not accepted."""
    ends = ["-f", messages.SENDER, "-t", messages.RECIPIENT, "-F", str(file)]
    source = [which("smtp-source"), "-4", "-d", "-s", str(SESSIONS), "-m", str(count), *ends]
    helper = program.helper
    cpu, helper_cpu = program.cpu(), helper.cpu() if helper else 0.0
    started = time.monotonic()
    run([*source, f"127.0.0.1:{program.port}"])
    seconds = time.monotonic() - started
    time.sleep(SETTLE_S)
    return Sample(count, seconds, program.cpu() - cpu, helper.cpu() - helper_cpu if helper else 0.0)


def _judge(table: Table) -> None:
    if table.key == "smtp-2k":
        table.judge("izinli", "haproxy", 4.0, "at most 4 × HAProxy")
        table.judge("izinli", "proxy_filter", 0.5, "at most ½ of bare smtpd_proxy_filter")
    else:
        table.judge("izinli", "haproxy", 3.0, "at most 3 × HAProxy")
