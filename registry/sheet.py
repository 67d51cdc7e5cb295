"""A spreadsheet (.xlsx) as the lines of a CSV file, read in a process of its own: `python -m registry.sheet`.

The first sheet, from its first row on; line N is row N. Dates become the national form, whole numbers lose their ".0".
A sheet is read whole, and files from elsewhere may be made to hurt: so the reader has a bound on its memory, and
neither it nor a fault of it is in the process that holds the ledger.
"""

from __future__ import annotations

import csv
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import IO, BinaryIO, Final, cast

from registry.limits import SHEET_MEMORY_OCTETS_MAX
from registry.lines import CsvError
from registry.rules import DATE_FORMAT

MAGIC: Final = b"PK\x03\x04"
"""An .xlsx file is a ZIP archive."""

OLD_MAGIC: Final = b"\xd0\xcf\x11\xe0"
"""An .xls file, or an .xlsx with a password."""

_FAULT: Final = 65  # EX_DATAERR


@contextmanager
def as_csv(path: Path) -> Iterator[BinaryIO]:
    """The lines of a spreadsheet. Raises CsvError, also at the end, when the file was none; ChildProcessError."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-m", "registry.sheet", str(path), str(SHEET_MEMORY_OCTETS_MAX)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as reader:
        lines, said = cast(BinaryIO, reader.stdout), cast("IO[bytes]", reader.stderr)
        try:
            yield lines
        finally:  # what is wrong with the file comes before what its missing lines led to
            lines.close()
            what, ended = said.read().decode(errors="replace").strip(), reader.wait()
            if ended == _FAULT:
                raise CsvError(what) from None
        if ended:
            raise ChildProcessError(f"the process that reads the spreadsheet has ended with {ended}")


def main() -> int:
    """Write the first sheet of the file that the command line names, in no more memory than it says (octets)."""
    import python_calamine

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to both; the importer decides
    resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[2]), int(sys.argv[2])))
    try:
        sheet = python_calamine.load_workbook(sys.argv[1]).get_sheet_by_index(0)
        with open(sys.stdout.fileno(), "w", encoding="utf-8", newline="") as out:
            write = csv.writer(out, lineterminator="\n").writerow
            for row in sheet.iter_rows():
                cells = [_text(cell) for cell in row]
                write(cells if any(cells) else ())
    except BrokenPipeError:
        os._exit(0)
    except (python_calamine.CalamineError, MemoryError) as error:
        what = "too large a spreadsheet" if isinstance(error, MemoryError) else "not a spreadsheet (.xlsx)"
        print(f"{what}; save it as CSV", file=sys.stderr)
        return _FAULT
    return 0


def _text(value: object) -> str:
    """A cell as a CSV file would have it; nothing may become a second line."""
    if isinstance(value, datetime):
        return value.strftime(DATE_FORMAT)
    if isinstance(value, date):
        return f"{value.isoformat()} 00:00:00"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return " ".join(str(value).splitlines())


if __name__ == "__main__":
    sys.exit(main())
