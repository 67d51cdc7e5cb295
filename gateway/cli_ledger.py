"""`izinli ledger …`: what an operator, or an inspector beside one, does with the record of consents."""

from __future__ import annotations

import re
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.markup import escape
from rich.table import Table

from gateway.cli_common import (
    EX_DATAERR,
    EX_TEMPFAIL,
    AsJson,
    ConfigFile,
    console,
    control,
    fail,
    operator,
    print_json,
    progress_bar,
    reachable,
)

if TYPE_CHECKING:
    from registry.evidence.check import Checked
    from registry.service import Settings

ledger_app = typer.Typer(help="The record of consents: is it whole, and what may go from it?", no_args_is_help=True)
DIGEST: Final = re.compile("[0-9a-f]{64}")

KeptDigest = Annotated[
    str, typer.Option("--digest", metavar="HEX", help="A digest noted elsewhere, which some recording must have.")
]


@ledger_app.command()
def verify(config: ConfigFile, kept: KeptDigest = "", as_json: AsJson = False) -> None:
    """Compute the chain again; exit 1 when an event was changed or is missing, or a quota's count is wrong."""
    if kept and not DIGEST.fullmatch(kept):
        fail("--digest: 64 hexadecimal digits, as the log and this command write them", EX_DATAERR)
    with reachable():
        found = computed(control(config), kept)
    if as_json:
        print_json({"whole": not found.faults, **asdict(found)})
    else:
        table = Table("events", "removed by retention", "newest entry", "newest digest", box=None)
        table.add_row(f"{found.events:,}", f"{found.removed:,}", f"{found.head:,}", found.digest)
        console.print(table)
        for fault in found.faults:
            console.print(f"[red]fault[/red] {escape(fault)}", soft_wrap=True)
    sys.exit(1 if found.faults else 0)


@ledger_app.command()
def retain(
    config: ConfigFile,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go; change nothing.")] = False,
    vouched: Annotated[
        bool,
        typer.Option("--clock-is-right", help="Remove although nobody looked for long: you have checked the clock."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Take out consents that ended more than three years ago; the registry does it daily by itself."""
    from registry.evidence import retention
    from registry.evidence.clock import ClockInDoubt
    from registry.service import open_ledger

    with reachable(), open_ledger(control(config)) as ledger, retention.alone(ledger.engine) as alone:
        if not alone:
            fail("another process is at it; the ledger was not changed by this one", EX_TEMPFAIL)
        with progress_bar("events") as bar:
            task = bar.add_task("removing", total=None, done=0)
            who = f"ledger retain, {operator()}"

            def advance(events: int) -> None:
                bar.update(task, done=events)

            now = datetime.now(UTC)
            try:
                done = retention.retain(ledger, now, who, dry_run=dry_run, vouched=vouched, progress=advance)
            except ClockInDoubt as doubt:
                fail(f"{doubt}; nothing was removed. Where that is right, say --clock-is-right", EX_TEMPFAIL)
    if as_json:
        print_json({"dry_run": dry_run, **asdict(done)})
    else:
        said = "would be removed" if dry_run else "removed"
        console.print(f"{done.events:,} events of consents that ended before {done.cutoff} (Turkey time) {said}")


def computed(settings: Settings, kept: str = "") -> Checked:
    """The chain of the ledger and what quotas count, with a bar of progress. Raises SQLAlchemyError or KeyMismatch."""
    from registry import quotas
    from registry.evidence import check
    from registry.service import open_ledger

    with open_ledger(settings) as ledger, progress_bar("entries") as bar:
        task = bar.add_task("computing", total=ledger.head(), done=0)
        found = check.verify(ledger.engine, kept, lambda seq: bar.update(task, completed=seq, done=seq))
        found.faults += quotas.wrong(ledger)
        return found
