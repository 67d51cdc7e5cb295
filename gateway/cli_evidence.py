"""`izinli evidence`: all that both planes hold about one recipient, for an inspector."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from filters.address import canonical_email, canonical_msisdn
from filters.key import Fingerprinter
from filters.model import Channel
from gateway import journal_check
from gateway.cli_common import (
    EX_CANTCREAT,
    EX_DATAERR,
    EX_UNAVAILABLE,
    AsJson,
    ConfigFile,
    console,
    errors,
    fail,
    keys_of,
    load_config,
    operator,
    print_json,
    progress_bar,
    reachable,
    settings_of,
)
from gateway.cli_ledger import computed
from gateway.config import Config
from gateway.evidence import decisions
from gateway.evidence.report import Channel as OneChannel
from gateway.evidence.report import Report
from gateway.evidence.sections import INTRODUCTION, sections
from gateway.keys import Keys


def evidence(
    config: ConfigFile,
    brand: Annotated[int, typer.Option("--brand", help="İYS brand code.")],
    recipient: Annotated[str, typer.Option("--recipient", help="E-mail address or telephone number.")],
    channel: Annotated[
        Channel | None,
        typer.Option(help="This one only; default: all it can have.", case_sensitive=False),
    ] = None,
    as_json: AsJson = False,
    pdf: Annotated[Path | None, typer.Option("--pdf", help="Write a PDF; nothing is overwritten.")] = None,
) -> None:
    """Consents, decisions and proof about one recipient; exit 1 when a record was changed or is missing."""
    loaded = load_config(config)
    canonical, channels = _canonical(recipient, channel)
    with reachable():
        report = _report(loaded, keys_of(loaded, create=False), brand, canonical, channels)
    if pdf is not None:
        _write_pdf(pdf, report)
    if as_json:
        print_json({"whole": report.whole, **asdict(report)})
    elif pdf is None:
        _show(report)
    sys.exit(0 if report.whole else 1)


def _canonical(recipient: str, channel: Channel | None) -> tuple[str, Sequence[Channel]]:
    """The recipient's canonical form, and the channels to look at."""
    raw = recipient.encode("utf-8", "replace")
    if (mail := canonical_email(raw)) is not None and channel in (None, Channel.EPOSTA):
        return mail.decode(), [Channel.EPOSTA]
    if (number := canonical_msisdn(raw)) is not None and channel is not Channel.EPOSTA:
        return number.decode(), [Channel.ARAMA, Channel.MESAJ] if channel is None else [channel]
    return fail("--recipient has no canonical form on this channel: nothing can be recorded about it", EX_DATAERR)


def _report(config: Config, keys: Keys, brand: int, recipient: str, channels: Sequence[Channel]) -> Report:
    """Raises SQLAlchemyError or KeyMismatch."""
    from registry.evidence import folds, history
    from registry.service import open_ledger

    settings = settings_of(config, keys)
    made_at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    fingerprint = Fingerprinter(keys.fingerprint)
    prints = {one: fingerprint(brand, one, recipient.encode()).hex() for one in channels}
    try:
        found, journal = _journal(config.data_dir / "journal", list(prints.values()))
    except OSError as error:
        fail(f"the journal cannot be read: {error}", EX_UNAVAILABLE)
    with open_ledger(settings) as ledger:
        events = {one: history.events(ledger.engine, brand, one, recipient) for one in channels}
        wrong = [
            fault
            for one, print_ in prints.items()
            for fault in folds.wrong_about(ledger.engine, brand, one, recipient, bytes.fromhex(print_))
        ]
        standing = {one: history.standing(ledger.engine, bytes.fromhex(prints[one])) for one in channels}
    whole = asdict(computed(settings))
    known = config.brands.get(brand)
    return Report(
        made_at=made_at,
        made_by=operator(),
        version=version("izinli"),
        brand=brand,
        brand_name=known.name if known else "",
        brand_title=known.title if known else "",
        mersis=known.mersis if known else "",
        recipient=recipient,
        channels=[
            OneChannel(
                one.value,
                prints[one],
                [asdict(stands) for stands in standing[one]],
                [asdict(event) for event in events[one]],
                [decision for decision in found.decisions if decision.fingerprint == prints[one]],
            )
            for one in channels
        ],
        decisions_left_out=found.left_out,
        unreadable=found.unreadable,
        ledger={**whole, "faults": [*whole["faults"], *wrong]},
        journal=journal,
    )


def _journal(directory: Path, prints: Sequence[str]) -> tuple[decisions.Found, list[journal_check.Found]]:
    """What it says of these fingerprints, and whether it is whole. Raises OSError."""
    with progress_bar("octets") as bar:
        task = bar.add_task("reading the journal", total=None, done=0)
        done = 0

        def advance(octets: int) -> None:
            nonlocal done
            done += octets
            bar.update(task, done=done)

        return decisions.find(directory, prints, advance), journal_check.verify(directory, progress=advance)


def _write_pdf(path: Path, report: Report) -> None:
    from gateway.evidence.pdf import pdf

    content = pdf(report)
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:  # it holds an address
            file.write(content)
    except OSError as error:
        fail(f"{path}: {error.strerror}; nothing was overwritten", EX_CANTCREAT)
    errors.print(escape(f"written: {path}"), soft_wrap=True)


def _show(report: Report) -> None:
    about, *others = sections(report)
    console.print(f"[bold]{escape(about.title)}[/bold]")
    for text in INTRODUCTION:
        console.print(escape(text))
    for section in (about, *others):
        if section is not about:
            console.print(f"\n[bold]{escape(section.title)}[/bold]")
        for name, value in section.facts:
            console.print(f"  {escape(name)}: {escape(value)}", soft_wrap=True)
        if section.table:
            head, *rows = section.table
            table = Table(*head, box=None)
            for row in rows:
                table.add_row(*map(escape, row))
            console.print(table)
