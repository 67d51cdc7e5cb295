"""From the lines of a CSV file to the moves they record: everything about an import that needs no database.

    recipient,type,status,source,recipientType,consentDate        in any order; the last three may be absent

UTF-8 with or without a byte order mark, or Windows' Turkish code page; LF or CRLF; comma, semicolon or tab, whichever
the header has, also behind Excel's `sep=;`; fields quoted or not, with blanks around them or not. Empty fields behind
the last column, as spreadsheets leave them, are none. A quoted field cannot span lines, because no valid value does.
What is valid in a line is ASCII, so the code page matters only for what is shown of it.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from itertools import islice
from operator import itemgetter
from typing import BinaryIO, Final, NamedTuple

from filters.key import Fingerprinter
from filters.model import Status
from registry.append import Entry
from registry.limits import IMPORT_BATCH_LINES, IMPORT_LINE_BYTES_MAX
from registry.rules import LATE, Line, LineRules, Move

COLUMNS: Final = ("recipient", "type", "status", "source", "recipientType", "consentDate")
REQUIRED: Final = COLUMNS[:3]
_BY_NAME: Final = {name.lower(): name for name in COLUMNS}
BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
DELIMITERS: Final = ",;\t"
_UTF_16: Final = (b"\xff\xfe", b"\xfe\xff")
TOO_LONG: Final = "H460"
NO_COLUMNS: Final = ""

Bad = tuple[int, str, bytes]  # line number, code (a key of `registry.rules.REASONS`), the line


class CsvError(ValueError):
    """The file as a whole cannot be imported; nothing was recorded."""


class Batch(NamedTuple):
    """Some lines of a file, the number of the first one, and where in the file they end (0: of a spreadsheet)."""

    number: int
    lines: Sequence[bytes]
    end: int


class Parsed(NamedTuple):
    """What a batch says: the moves in their order, for each its place in the batch, and the lines that say nothing.

    `late`: the rejections among the bad lines that break V7 alone.
    """

    entries: list[Entry]
    places: list[int]
    bad: list[Bad]
    late: list[Entry]


class Job(NamedTuple):
    """All that parsing depends on beside the lines. `now`, `oldest`: see `registry.rules.LineRules`."""

    header: bytes
    brand: int
    now: str
    declare: bool
    oldest: str
    fingerprint_key: bytes


class Parser:
    """Callable: a `Batch` -> `Parsed`. Raises CsvError when the header is none."""

    def __init__(self, job: Job) -> None:
        self._columns = Columns(job.header)
        self._rules = LineRules(job.brand, job.now, declare=job.declare, oldest=job.oldest)
        self._at_any_age = LineRules(job.brand, job.now, declare=job.declare)
        self._fingerprint = Fingerprinter(job.fingerprint_key)
        self._brand = job.brand

    def __call__(self, batch: Batch) -> Parsed:
        parsed = Parsed([], [], [], [])
        pick, rules, fingerprint, brand = self._columns.pick, self._rules, self._fingerprint, self._brand
        for place, raw in enumerate(batch.lines):
            line = pick(raw)
            if line is None:
                if not self._columns.is_blank(raw):
                    code = TOO_LONG if len(raw) > IMPORT_LINE_BYTES_MAX else NO_COLUMNS
                    parsed.bad.append((batch.number + place, code, raw))
                continue
            move = rules(line)
            if isinstance(move, str) and (trimmed := Line._make(map(bytes.strip, line))) != line:
                move = rules(trimmed)
            if isinstance(move, str):
                if move == LATE:
                    self._late(line, parsed)
                if not self._columns.is_blank(raw):
                    parsed.bad.append((batch.number + place, move, raw))
                continue
            parsed.entries.append((fingerprint(brand, move.channel, move.recipient), move))
            parsed.places.append(place)
        return parsed

    def _late(self, line: Line, parsed: Parsed) -> None:
        """Whoever refused is not written to, though the national system is told too late."""
        move = self._at_any_age(Line._make(map(bytes.strip, line)))
        if isinstance(move, Move) and move.status is Status.RET:
            parsed.late.append((self._fingerprint(self._brand, move.channel, move.recipient), move))


class Columns:
    """The header: which of a line's fields is which column. Raises CsvError."""

    def __init__(self, header: bytes) -> None:
        if header.startswith(_UTF_16):
            raise CsvError("the file is UTF-16; save it as CSV UTF-8")
        text = readable(header.removeprefix(BYTE_ORDER_MARK)).strip(" \r\n")
        if "\r" in text:
            raise CsvError("its lines end in CR alone; save it as CSV with the line ends of Windows or Unix")
        self._delimiter = max(DELIMITERS, key=text.count)
        self._separator = self._delimiter.encode()
        written = [name.strip() for name in next(csv.reader([text], delimiter=self._delimiter), [])]
        names = [_BY_NAME.get(name.lower(), name) for name in written]
        while names and not names[-1]:
            names.pop()
        if unknown := [name for name in names if name not in COLUMNS]:
            raise CsvError(f"unknown column {unknown[0][:40]!r}; the first line must name {', '.join(COLUMNS)}")
        if missing := [name for name in REQUIRED if name not in names]:
            raise CsvError(f"the first line does not name the column {missing[0]!r}")
        if len(set(names)) < len(names):
            raise CsvError("the first line names a column twice")
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
            if len(fields) < self._width or any(map(bytes.strip, fields[self._width :])):
                return None
            del fields[self._width :]
        fields.append(b"")
        return Line._make(self._order(fields))

    def is_blank(self, raw: bytes) -> bool:
        """Whether a line has nothing in it: not even in fields, as an empty row of a spreadsheet is written."""
        return not raw.strip(b'" \t\r\n' + self._separator)

    def _quoted(self, raw: bytes) -> list[bytes]:
        if len(raw) > IMPORT_LINE_BYTES_MAX:
            return []
        text = raw.rstrip(b"\r\n").decode("latin-1")  # each byte a character: nothing is lost on the way back
        try:
            rows = list(csv.reader([text], delimiter=self._delimiter, strict=True))
        except csv.Error:
            return []
        return [field.encode("latin-1") for field in rows[0]] if len(rows) == 1 else []


def readable(raw: bytes) -> str:
    """Octets of a file as text, in whichever of its two code pages they are."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("cp1254", "backslashreplace")


def read_header(file: BinaryIO) -> tuple[bytes, int]:
    """The first line that is not blank, as far as it can be one, and its number. Excel's `sep=;` is no header."""
    number = 1
    while (line := file.readline(IMPORT_LINE_BYTES_MAX)) and not line.removeprefix(BYTE_ORDER_MARK).strip():
        number += 1
    if line.removeprefix(BYTE_ORDER_MARK).lower().startswith(b"sep="):
        return file.readline(IMPORT_LINE_BYTES_MAX), number + 1
    return line, number


def read_batches(file: BinaryIO, number: int = 2) -> Iterator[Batch]:
    """The lines behind the header in batches of IMPORT_BATCH_LINES; the first of them has the `number`."""
    lines = _read_lines(file)
    place = file.tell if file.seekable() else lambda: 0
    while batch := list(islice(lines, IMPORT_BATCH_LINES)):
        yield Batch(number, batch, place())
        number += len(batch)


def _read_lines(file: BinaryIO) -> Iterator[bytes]:
    """The lines of a file; of one that is too long its first IMPORT_LINE_BYTES_MAX + 1 bytes."""
    while line := file.readline(IMPORT_LINE_BYTES_MAX + 1):
        rest = line
        while not rest.endswith(b"\n") and (rest := file.readline(IMPORT_LINE_BYTES_MAX)):
            continue
        yield line
