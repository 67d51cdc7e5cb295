"""SMTP: smtp-source → the program in the middle → smtp-sink."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from bench import messages, programs
from bench.gateway import gateway, prove_notice
from bench.measure import Plan, Sample, Table, Target, interleave
from bench.process import Absent, Missing, Program, free_port, run, which

SESSIONS = 10
WARM_UP = 500
SETTLE_S = 0.05  # then the last daemon's CPU time stands in /proc

PEERS = ("haproxy", "proxy_filter", "haraka", "aiosmtpd", "rote", "izinli", "izinli_signing")
PROXIES = ("haproxy", "proxy_filter", "haraka", "izinli")


@dataclass(frozen=True, slots=True)
class Case:
    """One table: what is sent and how, and who takes part."""

    key: str
    title: str
    make: Callable[[int], bytes]
    size: int
    programs: tuple[str, ...]
    kept: bool = True  # connections stay for the next message
    recipients: int = 1  # of a message; above one the gateway is measured with one too, a row of its own
    limits: dict[str, float] = field(default_factory=dict)  # the gateway's CPU time over that of another row


CASES = (
    Case("smtp-2k", "2 kB", messages.plain, 2_000, PEERS, limits={"haproxy": 2.0, "proxy_filter": 0.5}),
    Case(
        "smtp-60k",
        "60 kB, text and HTML in quoted-printable",
        messages.designed,
        60_000,
        PEERS,
        limits={"haproxy": 2.0},
    ),
    Case("smtp-2k-new", "2 kB, a connection each", messages.plain, 2_000, PROXIES, kept=False, limits={"haproxy": 2.0}),
    Case(
        "smtp-2k-ten",
        f"2 kB, {messages.RECIPIENTS_MAX} recipients, figures per copy",
        messages.plain,
        2_000,
        ("izinli",),
        recipients=messages.RECIPIENTS_MAX,
        limits={"izinli_one": 1.2},
    ),
)
VERDICTS = {
    "haproxy": "at most {:g} × HAProxy",
    "proxy_filter": "at most {:g} × bare smtpd_proxy_filter",
    "izinli_one": "a copy of many costs at most {:g} × a message to one",
}


def tables(directory: Path, plan: Plan, *, profile: bool) -> Iterator[Table]:
    """One table per case, each with all its programs side by side; `profile` puts the gateway under the sampler."""
    for case in CASES:
        here = directory / case.key
        here.mkdir()
        file = here / f"{case.key}.eml"
        file.write_bytes(case.make(case.size))
        with ExitStack() as stack:
            next_hop = free_port()
            sampled = directory / f"{case.key}.profile" if profile else None
            running, absent = _stand_up(stack, here, next_hop, case.programs, sampled)
            for program in running:
                if program.key in ("izinli", "izinli_signing"):
                    prove_notice(here, program, next_hop, file)
            stack.enter_context(programs.smtp_sink(here, next_hop))
            rows = interleave(list(_targets(case, running, file)), plan, first_guess=WARM_UP)
        table = Table(case.key, f"SMTP, {case.title}, {SESSIONS} sessions", "ms", rows, absent)
        for floor, limit in case.limits.items():
            table.judge("izinli", floor, limit, VERDICTS[floor].format(limit))
        yield table


def _stand_up(
    stack: ExitStack, directory: Path, next_hop: int, wanted: tuple[str, ...], profile: Path | None
) -> tuple[list[Program], list[Absent]]:
    """Start what can be started here; what cannot is named in the table."""
    running: list[Program] = []
    absent: list[Absent] = []
    stands: dict[str, tuple[str, Callable[[], AbstractContextManager[Program]]]] = {
        "haproxy": ("HAProxy", lambda: programs.haproxy(directory, next_hop)),
        "proxy_filter": ("Postfix smtpd_proxy_filter", lambda: programs.postfix_proxy_filter(directory, next_hop)),
        "haraka": ("Haraka smtp_forward", lambda: programs.haraka(directory, next_hop)),
        "aiosmtpd": ("aiosmtpd", lambda: programs.aiosmtpd_sink(directory)),
        "rote": ("uvloop, by rote", lambda: programs.smtp_rote(directory, next_hop)),
        "izinli": ("izinli", lambda: gateway(directory, protocol="smtp", next_hop=next_hop, profile=profile)),
        "izinli_signing": (
            "izinli, signing",
            lambda: gateway(directory, protocol="smtp", next_hop=next_hop, signing=True),
        ),
    }
    for key in wanted:
        name, stand = stands[key]
        try:
            running.append(stack.enter_context(stand()))
        except Missing as why:
            absent.append(Absent(key, name, str(why)))
    return running, absent


def _targets(case: Case, running: list[Program], file: Path) -> Iterator[Target]:
    for program in running:
        name = program.name
        if case.recipients > 1:
            yield Target(f"{program.key}_one", f"{name}, 1 recipient", partial(_load, program, file, case.kept, 1))
            name += f", {case.recipients} recipients"
        yield Target(program.key, name, partial(_load, program, file, case.kept, case.recipients))


def _load(program: Program, file: Path, kept: bool, recipients: int, count: int) -> Sample:
    """Send `count` copies; smtp-source fails when any recipient is not accepted."""
    count = max(1, count // recipients)
    ends = ["-f", messages.SENDER, "-t", messages.RECIPIENT, "-r", str(recipients), "-F", str(file)]
    source = [which("smtp-source"), "-4", *(["-d"] if kept else []), "-s", str(SESSIONS), "-m", str(count), *ends]
    helper = program.helper
    cpu, helper_cpu = program.cpu(), helper.cpu() if helper else 0.0
    started = time.monotonic()
    run([*source, f"127.0.0.1:{program.port}"])
    seconds = time.monotonic() - started
    time.sleep(SETTLE_S)
    return Sample(count * recipients, seconds, program.cpu() - cpu, helper.cpu() - helper_cpu if helper else 0.0)
