"""Consents from a CSV file with the national column names: streaming, resumable, idempotent.

    recipient,type,status,source,recipientType,consentDate        in any order; the last three may be absent

UTF-8 with or without a byte order mark, LF or CRLF, comma or semicolon, fields quoted or not; a quoted field cannot
span lines, because no valid value does. Good lines are recorded, bad ones go to a reject file. Each batch is one
transaction and a line that is in the log already changes nothing, so whoever was killed simply starts again.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import BinaryIO, Final

import holidays
from sqlalchemy.exc import SQLAlchemyError

from filters.workdays import oldest_in_time
from registry.index import IndexDown
from registry.ledger import RECORDED, UNCHANGED, Entry, Ledger
from registry.limits import IMPORT_BATCH_LINES, IMPORT_LINE_BYTES_MAX
from registry.publish import Publisher
from registry.rules import (
    DECLARATION_WORKDAYS,
    REASONS,
    TURKEY,
    Line,
    LineRules,
    Move,
    declaration_fault,
    turkey_time,
)

COLUMNS: Final = ("recipient", "type", "status", "source", "recipientType", "consentDate")
REQUIRED: Final = COLUMNS[:3]
REJECT_COLUMNS: Final = ("line", "code", "reason", "content")
BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"

Progress = Callable[[int, int, int], None]  # (bytes done, bytes in all, lines done)
Bad = tuple[int, str, bytes]  # line number, code, the line


class CsvError(ValueError):
    """The file as a whole cannot be imported; nothing was recorded."""


@dataclass(frozen=True, slots=True)
class ImportResult:
    """What became of a file's lines (without header and blank ones): lines = recorded + unchanged + rejected."""

    lines: int
    recorded: int
    unchanged: int
    rejected: int
    reject_path: Path | None  # None: no line was rejected
    index_fault: str  # why the index does not know all this yet, "" when it does


class Importer:
    """One import into one brand. `declare`: the lines are new and must obey the national rules for declarations.

    The rules for what is recorded already (V1–V3) see each line after the ones before it, as single additions would.
    V11 is about one call of the batch API and V12 about its bodies; an unknown column is an error of the whole file.
    """

    def __init__(self, ledger: Ledger, brand: int, *, now: datetime, declare: bool = False) -> None:
        self._ledger = ledger
        self._brand = brand
        self._now = now
        self._origin = "declare" if declare else "import"
        oldest = oldest_declaration(now) if declare else ""
        self._rules = LineRules(brand, turkey_time(now), declare=declare, oldest=oldest)
        self._judge = declaration_fault if declare else None
        self.lines = self.recorded = self.unchanged = self.rejected = 0

    def run(self, path: Path, rejects: Path, progress: Progress | None = None) -> None:
        """Import `path`. Raises CsvError, OSError or SQLAlchemyError; the batches before it stay recorded."""
        if rejects.exists() and rejects.samefile(path):
            raise CsvError("the reject file is the file to import")
        with path.open("rb") as file, RejectFile(rejects) as reject_file:
            total = os.fstat(file.fileno()).st_size
            columns = Columns(file.readline(IMPORT_LINE_BYTES_MAX))
            lines = read_lines(file)
            number = 1
            while batch := list(islice(lines, IMPORT_BATCH_LINES)):
                reject_file.write(self._batch(columns, number + 1, batch))
                number += len(batch)
                if progress is not None:
                    progress(min(file.tell(), total), total, self.lines)

    def _batch(self, columns: Columns, number: int, batch: Sequence[bytes]) -> list[Bad]:
        """Record one batch whose first line has this number; returns the lines that were not taken."""
        bad: list[Bad] = []
        entries: list[Entry] = []
        origins: list[int] = []  # of each entry: its place in the batch
        rules, fingerprint, brand = self._rules, self._ledger.fingerprint, self._brand
        for place, raw in enumerate(batch):
            fields = columns.pick(raw)
            if fields is None:
                if raw.strip():
                    bad.append((number + place, "H460" if len(raw) > IMPORT_LINE_BYTES_MAX else "", raw))
                continue
            move = rules(fields)
            if isinstance(move, Move):
                entries.append((fingerprint(brand, move.channel, move.recipient), move))
                origins.append(place)
            else:
                bad.append((number + place, move, raw))
        answers = self._ledger.record(entries, origin=self._origin, now=self._now, judge=self._judge)
        recorded, unchanged = answers.count(RECORDED), answers.count(UNCHANGED)
        if recorded + unchanged < len(answers):
            for place, code in zip(origins, answers, strict=True):
                if code not in (RECORDED, UNCHANGED):
                    bad.append((number + place, code, batch[place]))
            bad.sort()
        self.recorded += recorded
        self.unchanged += unchanged
        self.rejected += len(bad)
        self.lines += recorded + unchanged + len(bad)
        return bad


class Columns:
    """The header: which of a line's fields is which column. Raises CsvError."""

    def __init__(self, header: bytes) -> None:
        try:
            text = header.removeprefix(BYTE_ORDER_MARK).decode().strip()
        except UnicodeDecodeError as error:
            raise CsvError("the file is not UTF-8 text") from error
        delimiter = ";" if ";" in text and "," not in text else ","
        names = [name.strip() for name in next(csv.reader([text], delimiter=delimiter), [])]
        if unknown := [name for name in names if name not in COLUMNS]:
            raise CsvError(f"unknown column {unknown[0][:40]!r}; the first line must name {', '.join(COLUMNS)}")
        if missing := [name for name in REQUIRED if name not in names]:
            raise CsvError(f"the first line does not name the column {missing[0]!r}")
        if len(set(names)) < len(names):
            raise CsvError("the first line names a column twice")
        self._delimiter = delimiter
        self._separator = delimiter.encode()
        self._width = len(names)
        # a column that is absent is the empty field that `pick` puts behind the others
        self._order = itemgetter(*(names.index(name) if name in names else self._width for name in COLUMNS))

    def pick(self, raw: bytes) -> Line | None:
        """The national columns of one line, or None when it has not the header's columns (or is blank, or too long)."""
        if b'"' in raw or len(raw) > IMPORT_LINE_BYTES_MAX:
            fields = self._quoted(raw)
        else:
            fields = raw.rstrip(b"\r\n").split(self._separator)
        if len(fields) != self._width:
            return None
        fields.append(b"")
        return Line._make(self._order(fields))

    def _quoted(self, raw: bytes) -> list[bytes]:
        if len(raw) > IMPORT_LINE_BYTES_MAX:
            return []
        text = raw.rstrip(b"\r\n").decode("latin-1")  # each byte a character: nothing is lost on the way back
        try:
            rows = list(csv.reader([text], delimiter=self._delimiter, strict=True))
        except csv.Error:
            return []
        return [field.encode("latin-1") for field in rows[0]] if len(rows) == 1 else []


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
        rows = ((number, code, REASONS.get(code, ""), quotable(raw)) for number, code, raw in bad)
        csv.writer(self._file, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n").writerows(rows)
        self._file.flush()


def quotable(raw: bytes) -> str:
    """A line as text that is safe to show and to open in a spreadsheet."""
    text = raw[:IMPORT_LINE_BYTES_MAX].rstrip(b"\r\n").decode("utf-8", "backslashreplace")
    text = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
    return "'" + text if text.startswith(("=", "+", "-", "@")) else text


def read_lines(file: BinaryIO) -> Iterator[bytes]:
    """The lines of a file; of one that is too long its first IMPORT_LINE_BYTES_MAX + 1 bytes."""
    while line := file.readline(IMPORT_LINE_BYTES_MAX + 1):
        rest = line
        while not rest.endswith(b"\n") and (rest := file.readline(IMPORT_LINE_BYTES_MAX)):
            continue
        yield line


def oldest_declaration(now: datetime) -> str:
    """The first moment whose consents may still be declared at `now`: three business days (V7), in Turkey time."""
    today = now.astimezone(TURKEY).date()
    years = {today.year, (today - timedelta(days=60)).year}
    day = oldest_in_time(today, DECLARATION_WORKDAYS, holidays.country_holidays("TR", years=years))
    return f"{day:%Y-%m-%d} 00:00:00"


def bring_up_to_date(publisher: Publisher) -> str:
    """Let the index know what an import has recorded, by the faster way; returns why it could not, or ""."""
    try:
        publisher.follow()
    except (IndexDown, SQLAlchemyError) as error:
        return f"{type(error).__name__}: {error}"
    return ""
