"""`izinli journal …`: what an operator, or an inspector beside one, does with the record of decisions."""

from __future__ import annotations

import re
import sys
from dataclasses import asdict
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from gateway import journal_check, seals
from gateway.cli_common import (
    EX_DATAERR,
    EX_UNAVAILABLE,
    AsJson,
    ConfigFile,
    console,
    fail,
    load_config,
    print_json,
    progress_bar,
)

journal_app = typer.Typer(help="The record of decisions: is it whole, and as it was written?", no_args_is_help=True)
_DIGEST = re.compile("[0-9a-f]{64}")


@journal_app.command()
def verify(
    config: ConfigFile,
    kept: Annotated[
        str, typer.Option("--digest", metavar="HEX", help="A digest noted elsewhere, which some seal must have.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Compute every seal again; exit 1 when a line was changed or is missing."""
    if kept and not _DIGEST.fullmatch(kept):
        fail("--digest: 64 hexadecimal digits, as the log and this command write them", EX_DATAERR)
    directory = load_config(config).data_dir / "journal"
    files = [path for worker in seals.journals(directory).values() for path in worker]
    with progress_bar("octets") as bar:
        total = sum(path.stat().st_size for path in files if path.exists())
        task = bar.add_task("computing", total=total, done=0)
        done = 0

        def advance(octets: int) -> None:
            nonlocal done
            done += octets
            bar.update(task, completed=done, done=done)

        try:
            found = journal_check.verify(directory, kept, advance)
        except OSError as error:
            fail(f"the journal cannot be read: {error}", EX_UNAVAILABLE)
    if as_json:
        print_json({"whole": not any(one.faults for one in found), "workers": [asdict(one) for one in found]})
    else:
        _show(found)
    sys.exit(1 if any(one.faults for one in found) else 0)


def _show(found: list[journal_check.Found]) -> None:
    if not found:
        console.print("there is no journal yet")
        return
    table = Table("worker", "files", "lines", "not sealed yet", "newest digest", box=None)
    for one in found:
        table.add_row(str(one.worker), f"{one.files:,}", f"{one.lines:,}", f"{one.unsealed:,}", one.digest)
    console.print(table)
    for one in found:
        if one.follows:
            console.print(f"worker {one.worker}: the first file follows {one.follows}, which was carried away")
        for fault in one.faults:
            console.print(f"[red]fault[/red] worker {one.worker}: {escape(fault)}")
