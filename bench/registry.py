"""The registry: its national API on one core, how soon the index knows, and how fast a file is imported."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from bench import registry_import, registry_plain, registry_seen, rows
from bench.measure import Plan, Row, Table, Target, Verdict, interleave, percentile, timed
from bench.process import Program, run
from bench.registry_load import MARK, Load, Wrk
from bench.registry_served import CONSENTS, Caller, Home, plain, registry
from registry.lines import COLUMNS
from registry.rules import turkey_time

TITLE: Final = "National API, one core"
KNOWN: Final = 50_000  # consents that are recorded before anything is asked
MANY: Final = 1000  # recipients of a query, consents of a batch
MANY_AT_ONCE: Final = 8  # such queries; more of them only wait for the two threads that find them
ADDS_MIN: Final = 1500  # a second
STATUSES_MIN: Final = 3000
BATCH_S_MAX: Final = 0.4
BATCH_NUMBERS: Final = 8_000_000  # the first number of the batches; those of single additions are below
POLL_S: Final = 0.01  # between two looks whether the results are there
RESULTS_S_MAX: Final = 60.0  # then something is wrong


@dataclass(frozen=True, slots=True)
class Case:
    """One table of requests that wrk makes."""

    key: str
    title: str
    ours: Load
    floor: Load | None = None
    per_second_min: int = 0
    known: int = 0  # consents that the floor has from the beginning


def tables(directory: Path, plan: Plan, *, profile: bool) -> Iterator[Table]:
    """All three parts."""
    quick = plan.rounds == 1
    yield from _api(directory, plan, profile=profile)
    yield from registry_seen.tables(directory, quick=quick)
    yield from registry_import.tables(directory, quick=quick)


def _api(directory: Path, plan: Plan, *, profile: bool) -> Iterator[Table]:
    """The registry and the floor on one processor, one after the other, the load wherever there is room."""
    core = max(os.sched_getaffinity(0))
    home = Home(directory / "national")
    home.let_in()
    run(home.importing(_known(directory / "known.csv")), seconds_max=120)
    for case in _cases():
        sampled = directory / f"{case.key}.profile" if profile else None
        with ExitStack() as stack:
            ours = stack.enter_context(registry(home, core, sampled))
            caller = Caller(ours.port)
            targets = [Target("izinli", "izinli", Wrk(ours, case.ours, caller.token, directory, plan.seconds))]
            if case.floor is not None:
                floor = stack.enter_context(plain(directory, core, known=case.known))
                load = Wrk(floor, case.floor, caller.token, directory, plan.seconds)
                targets.insert(0, Target(floor.key, floor.name, load))
            found = interleave(targets, plan, first_guess=1)
            table = Table(case.key, f"{TITLE}: {case.title}", "µs", found, of="request")
            caller.close()
        if (row := table.row("izinli")) and case.per_second_min:
            text = f"at least {case.per_second_min:,}/s on one core"
            table.verdicts.append(Verdict(text, row.rate, case.per_second_min, at_least=True))
        yield table
    with registry(home, core, directory / "registry-batch.profile" if profile else None) as ours:
        yield _batches(ours, plan)


def _cases() -> Iterator[Case]:
    said_at = turkey_time(datetime.now(UTC) - timedelta(minutes=5))
    adding = json.dumps(rows.consent(rows.PREFIX + MARK, "ONAY", said_at)).encode()
    asked = {"recipient": rows.PREFIX + MARK, "type": "MESAJ", "recipientType": "BIREYSEL"}
    asking = json.dumps(asked).encode()
    half_known = [rows.number(n if n % 2 else KNOWN + n) for n in range(MANY)]
    many = json.dumps({"recipients": half_known}).encode()
    plain_add, plain_status = Load(registry_plain.ADD, adding), Load(registry_plain.STATUS, asking, KNOWN)
    yield Case("registry-add", "add one consent", Load(CONSENTS, adding), plain_add, ADDS_MIN)
    status = Load(f"{CONSENTS}/status", asking, KNOWN)
    yield Case("registry-status", "status of one", status, plain_status, STATUSES_MIN, KNOWN)
    yield Case(
        "registry-many",
        f"status of {MANY}, half of them known",
        Load(f"{CONSENTS}/BIREYSEL/status/MESAJ", many, connections=MANY_AT_ONCE),
    )


def _known(path: Path) -> Path:
    """A file with the consents that are there."""
    said = "".join(f"{rows.number(n)},MESAJ,ONAY,HS_WEB,BIREYSEL,2026-01-05 10:00:00\n" for n in range(KNOWN))
    path.write_text(",".join(COLUMNS) + "\n" + said)
    return path


def _batches(program: Program, plan: Plan) -> Table:
    """One caller, one batch at a time: until it is accepted, and until its results are there."""
    caller, number = Caller(program.port), BATCH_NUMBERS
    accepted: list[float] = []
    done: list[float] = []
    began, cpu = time.monotonic(), program.cpu()
    while not done or time.monotonic() - began < plan.seconds * plan.rounds:
        said_at = turkey_time(datetime.now(UTC) - timedelta(minutes=5))
        batch = [rows.consent(rows.number(number + n), "ONAY", said_at) for n in range(MANY)]
        number += MANY
        body = json.dumps(batch).encode()
        sent = time.monotonic()
        request = caller.post(f"{CONSENTS}/request", body)["requestId"]
        accepted.append(time.monotonic() - sent)
        _results(caller, request)
        done.append(time.monotonic() - sent)
    spent = program.cpu() - cpu
    caller.close()
    found = [
        Row("accepted", "until it is accepted", [timed(accepted)]),
        Row("izinli", "until its results are there", [timed(done, spent)]),
    ]
    table = Table("registry-batch", f"{TITLE}: batches of {MANY}", "ms", found, of="request")
    text = f"p99 in ms until a batch of {MANY} has its results, at most"
    table.verdicts.append(Verdict(f"{text} {BATCH_S_MAX * 1e3:g}", percentile(done, 99) * 1e3, BATCH_S_MAX * 1e3))
    return table


def _results(caller: Caller, request: str) -> None:
    """Wait until each consent of a batch was recorded. Raises RuntimeError when one was not."""
    deadline = time.monotonic() + RESULTS_S_MAX
    while True:
        told = caller.get(f"{CONSENTS}/request/{request}")
        said = {entry["status"] for entry in told}
        if said == {"success"} and len(told) == MANY:
            return
        if said - {"success", "enqueue"} or time.monotonic() > deadline:
            raise RuntimeError(f"a batch has {len(told)} results after {RESULTS_S_MAX:g} s at most: {said or 'none'}")
        time.sleep(POLL_S)
