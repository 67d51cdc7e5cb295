"""`izinli import` and `izinli export`: consents from a file, and into one."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from gateway.cli_common import (
    EX_CANTCREAT,
    EX_DATAERR,
    EX_UNAVAILABLE,
    AsJson,
    ConfigFile,
    brand_of,
    console,
    errors,
    fail,
    keys_of,
    load_config,
    print_json,
    progress_bar,
    reachable,
    settings_of,
)

if TYPE_CHECKING:
    from registry.importer import ImportResult

BrandCode = Annotated[int, typer.Option("--brand", help="İYS brand code.")]


def import_consents(
    config: ConfigFile,
    consents: Annotated[Path, typer.Argument(help="CSV or .xlsx with the national columns: recipient,type,status …")],
    brand: BrandCode,
    declare: Annotated[
        bool, typer.Option("--declare", help="New consents, under the national system's rules for declarations.")
    ] = False,
    existing: Annotated[
        int | None,
        typer.Option(
            "--existing", metavar="HELD", min=0, help="Of before the national system, of a provider with HELD consents."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Record nothing; say what would become of each line.")
    ] = False,
    rejects: Annotated[Path | None, typer.Option(help="Where bad lines go; default: CONSENTS.rejects.csv")] = None,
    as_json: AsJson = False,
) -> None:
    """Load consents; without --declare: what the national system already holds."""
    from sqlalchemy.exc import SQLAlchemyError

    from registry.ledger import KeyMismatch
    from registry.lines import CsvError
    from registry.service import import_csv
    from registry.transition import TooLate

    if declare and existing is not None:
        fail("--declare and --existing: consents are either new or from before", EX_DATAERR)
    loaded = load_config(config)
    brand_of(loaded, brand)
    settings = settings_of(loaded, keys_of(loaded, create=True))
    try:
        with progress_bar("lines") as bar:
            task = bar.add_task("importing", total=None, done=0)

            def advance(done: int, total: int, lines: int) -> None:
                bar.update(task, completed=done, total=total, done=lines)

            result = import_csv(
                settings,
                brand,
                consents,
                declare=declare,
                held=existing,
                dry_run=dry_run,
                rejects=rejects,
                progress=advance,
            )
    except (CsvError, TooLate) as error:
        fail(f"{consents}: {error}", EX_DATAERR)
    except (OSError, SQLAlchemyError, KeyMismatch) as error:
        fail(f"{consents}: {error}", EX_UNAVAILABLE)
    if as_json:
        print_json(asdict(result))
    else:
        _print_summary(result, dry_run=dry_run)
    if result.reject_path is not None:
        errors.print(f"rejected lines, with line number and reason: {escape(str(result.reject_path))}")
    if result.index_fault:
        errors.print(f"recorded, but the index does not know it yet: {escape(result.index_fault)}")
    if result.rejected or result.index_fault:
        sys.exit(EX_DATAERR if result.rejected else EX_UNAVAILABLE)


def _print_summary(result: ImportResult, *, dry_run: bool) -> None:
    from registry.rules import REASONS

    console.print(
        ("dry run, nothing is recorded: " if dry_run else "")
        + f"{result.lines:,} lines: {result.recorded:,} recorded, {result.unchanged:,} unchanged, "
        f"{result.rejected:,} rejected"
    )
    for code, lines in sorted(result.reasons.items(), key=lambda reason: -reason[1]):
        console.print(f"  {lines:>9,}  {code or '–':<5} {REASONS[code]}")
    if result.honoured:
        console.print(f"  {result.honoured:>9,}  of these are refusals by citizens, and count here all the same")


def export_consents(
    config: ConfigFile,
    out: Annotated[Path, typer.Argument(help="The CSV file to write; it must not exist. -: standard output.")],
    brand: BrandCode,
) -> None:
    """Write a brand's standing consents with the columns that `import` reads, oldest first; not those that wait."""
    from registry.service import export_csv

    loaded = load_config(config)
    brand_of(loaded, brand)
    settings = settings_of(loaded, keys_of(loaded, create=False))
    to_screen = str(out) == "-"
    try:
        # it holds addresses
        file = sys.stdout.fileno() if to_screen else os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with (
            open(file, "w", encoding="utf-8", newline="", closefd=not to_screen) as lines,
            reachable(),
            progress_bar("lines") as bar,
        ):
            task = bar.add_task("exporting", total=None, done=0)
            done = export_csv(settings, brand, lines, lambda rows: bar.update(task, done=rows))
    except OSError as error:
        fail(f"{out}: {error.strerror or error}", EX_CANTCREAT)
    errors.print(f"{done:,} consents")
