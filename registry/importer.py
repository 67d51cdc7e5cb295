"""Consents from a CSV file (`registry.lines` has its form) into the ledger: streaming, resumable, idempotent.

Good lines are recorded, bad ones go to a reject file. Each batch is one transaction and a line that is in the log
already changes nothing, so whoever was killed simply starts again.
"""

from __future__ import annotations

import csv
import gc
import io
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import BinaryIO, Final, Protocol

import holidays
from holidays.constants import HALF_DAY, PUBLIC
from sqlalchemy.exc import SQLAlchemyError

from filters.workdays import oldest_in_time
from registry import sheet
from registry.ahead import parse, parse_ahead
from registry.append import Entry
from registry.evidence import actors
from registry.honoured import NOT_TAKEN, honour
from registry.index.interface import IndexDown
from registry.ledger import RECORDED, UNCHANGED, Judge
from registry.limits import AHEAD_BYTES_MIN, IMPORT_LINE_BYTES_MAX
from registry.lines import Bad, Batch, CsvError, Job, Parsed, read_batches, read_header, readable
from registry.publish import Publisher
from registry.rules import DECLARATION_WORKDAYS, REASONS, TURKEY, declaration_fault, turkey_time

REJECT_COLUMNS: Final = ("line", "code", "reason", "content")

Progress = Callable[[int, int, int], None]  # (bytes done, bytes in all, lines done)


@dataclass(frozen=True, slots=True)
class ImportResult:
    """What became of a file's lines (without header and blank ones): lines = recorded + unchanged + rejected."""

    lines: int
    recorded: int
    unchanged: int
    rejected: int
    reject_path: Path | None  # None: no line was rejected
    index_fault: str  # why the index does not know all this yet, "" when it does
    reasons: Mapping[str, int] = field(default_factory=dict)  # rejected lines by code (`registry.rules.REASONS`)
    honoured: int = 0  # rejections among the rejected lines that count here all the same


class Recorder(Protocol):
    """What an import writes to: a ledger, or what only says what a ledger would answer."""

    def record(
        self, entries: Sequence[Entry], *, origin: str, now: datetime, judge: Judge | None = None, actor: str = ""
    ) -> list[str]:
        """See `registry.ledger.Ledger.record`."""
        ...


class Importer:
    """One import into one brand. `declare`: the lines are new and must obey the national rules for declarations.
    `existing`: they are from before the national system; the origin that `registry.transition` gives them.

    The rules for what is recorded already (V1–V3) see each line after the ones before it, as single additions would.
    V11 is about one call of the batch API and V12 about its bodies; an unknown column is an error of the whole file.
    """

    def __init__(
        self,
        ledger: Recorder,
        fingerprint_key: bytes,
        brand: int,
        *,
        now: datetime,
        declare: bool = False,
        existing: str = "",
    ) -> None:
        self._ledger = ledger
        self._now = now
        self._origin = existing or ("declare" if declare else "import")
        self._actor = actors.operator()  # until a file is named
        self._judge = declaration_fault if declare else None
        oldest = oldest_declaration(now) if declare else ""
        self._job = Job(b"", brand, turkey_time(now), declare, oldest, fingerprint_key)
        self.lines = self.recorded = self.unchanged = self.rejected = self.honoured = 0
        self.reasons: Counter[str] = Counter()  # rejected lines by code

    def run(self, path: Path, rejects: Path, progress: Progress | None = None) -> None:
        """Import `path`. Raises CsvError, OSError or SQLAlchemyError; the batches before it stay recorded."""
        if rejects.exists() and rejects.samefile(path):
            raise CsvError("the reject file is the file to import")
        self._actor = actors.imported(path)
        with _lines_of(path) as file, RejectFile(rejects) as reject_file, _collector_resting():
            total = path.stat().st_size
            header, number = read_header(file)
            job = self._job._replace(header=header)
            batches = read_batches(file, number + 1)
            for batch, parsed in (parse_ahead if total >= AHEAD_BYTES_MIN else parse)(job, batches):
                reject_file.write(self._record(batch, parsed))
                gc.collect(0)
                if progress is not None:
                    progress(min(batch.end, total), total, self.lines)

    def _record(self, batch: Batch, parsed: Parsed) -> list[Bad]:
        """Record one batch; returns the lines that were not taken."""
        answers = self._ledger.record(
            parsed.entries, origin=self._origin, now=self._now, judge=self._judge, actor=self._actor
        )
        if self._judge is not None:
            pairs = zip(parsed.entries, answers, strict=True)
            first = [entry for entry, answer in pairs if answer in NOT_TAKEN]
            self.honoured += honour(self._ledger, first + parsed.late, now=self._now, actor=self._actor)
        recorded, unchanged = answers.count(RECORDED), answers.count(UNCHANGED)
        bad = parsed.bad
        if recorded + unchanged < len(answers):
            refused = (
                (place, code)
                for place, code in zip(parsed.places, answers, strict=True)
                if code not in (RECORDED, UNCHANGED)
            )
            bad = sorted(bad + [(batch.number + place, code, batch.lines[place]) for place, code in refused])
        self.recorded += recorded
        self.unchanged += unchanged
        self.rejected += len(bad)
        self.lines += recorded + unchanged + len(bad)
        self.reasons.update(code for _, code, _ in bad)
        return bad


@contextmanager
def _lines_of(path: Path) -> Iterator[BinaryIO]:
    """A CSV file, or a spreadsheet as one. Raises CsvError, OSError."""
    with path.open("rb") as file:
        magic = file.read(len(sheet.MAGIC))
        if magic == sheet.OLD_MAGIC:
            raise CsvError("an old spreadsheet (.xls), or one with a password; save it as .xlsx or CSV")
        if magic != sheet.MAGIC:
            file.seek(0)
            yield file
            return
    with sheet.as_csv(path) as lines:
        yield lines


@contextmanager
def _collector_resting() -> Iterator[None]:
    """A batch is some hundred thousand new tuples and no cycle, here and when the index is built; to look through them
    again and again costs a third."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class RejectFile:
    """The lines that were not taken: CSV with line number, code, reason and the line. Created with the first of them.

    A line is quoted as one field. Bytes that are not UTF-8 and control characters are written as escapes, and an
    apostrophe stands before what a spreadsheet would run as a formula.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: io.TextIOWrapper | None = None

    def __enter__(self) -> RejectFile:
        self._path.unlink(missing_ok=True)  # of an earlier run
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def write(self, bad: Sequence[Bad]) -> None:
        if not bad:
            return
        if self._file is None:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)  # it holds addresses
            self._file = open(descriptor, "w", encoding="utf-8", newline="")  # noqa: SIM115  closed by __exit__
            csv.writer(self._file, lineterminator="\n").writerow(REJECT_COLUMNS)
        rows = ((number, code, REASONS[code], quotable(raw)) for number, code, raw in bad)
        csv.writer(self._file, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n").writerows(rows)
        self._file.flush()


def quotable(raw: bytes) -> str:
    """A line as text that is safe to show and to open in a spreadsheet."""
    text = readable(raw[:IMPORT_LINE_BYTES_MAX].rstrip(b"\r\n"))
    text = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
    return "'" + text if text.startswith(("=", "+", "-", "@")) else text


def oldest_declaration(now: datetime) -> str:
    """The first moment whose consents may still be declared at `now`: three business days (V7), in Turkey time.

    The half day before a feast is no business day here: nobody is refused for want of an afternoon. Duties of our own
    are counted the other way (`registry.sync.outbox`).
    """
    today = now.astimezone(TURKEY).date()
    years = {today.year, (today - timedelta(days=60)).year}
    off = holidays.country_holidays("TR", years=years, categories=(PUBLIC, HALF_DAY))
    day = oldest_in_time(today, DECLARATION_WORKDAYS, off)
    return f"{day:%Y-%m-%d} 00:00:00"


def bring_up_to_date(publisher: Publisher) -> str:
    """Let the index know what an import has recorded, by the faster way; returns why it could not, or ""."""
    try:
        with _collector_resting():
            publisher.follow()
    except (IndexDown, SQLAlchemyError) as error:
        return f"{type(error).__name__}: {error}"
    return ""
