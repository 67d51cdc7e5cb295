"""How fast a file of consents is imported: `izinli import`, from its start until its end, the index included."""

from __future__ import annotations

import os
import pwd
import resource
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import psycopg

from bench import rows
from bench.measure import Row, Sample, Table, Verdict
from bench.process import START_S_MAX, TICK_S, Absent, Missing, Program, free_port, resident_octets, run, which
from bench.registry_served import Home

ROWS: Final = 1_000_000
SHEET_ROWS: Final = 200_000
ROWS_QUICK: Final = 20_000
SQLITE_S_MAX: Final = 60.0
POSTGRES_S_MAX: Final = 40.0
IMPORT_S_MAX: Final = 900.0  # then something is wrong
LOOK_S: Final = 0.1  # between two looks at the memory; a look costs some ms of a core
DEBIAN: Final = "postgresql/*/bin/postgres"


def tables(directory: Path, *, quick: bool) -> Iterator[Table]:
    """One table: a file into each kind of ledger, and a spreadsheet."""
    count = ROWS_QUICK if quick else ROWS
    file = rows.write_csv(directory / "consents.csv", count)
    sheet = rows.write_xlsx(directory / "consents.xlsx", ROWS_QUICK if quick else SHEET_ROWS)
    table = Table("registry-import", f"Import: {count:,} lines of CSV", "µs", [], of="row", helper="PostgreSQL")
    home = Home(directory / "import-sqlite")
    _add(table, "sqlite", "CSV → SQLite", home, file, count)
    try:
        with postgres(directory) as server:
            home = Home(directory / "import-postgresql", ledger=f"postgresql://izinli@127.0.0.1:{server.port}/postgres")
            _add(table, "postgresql", "CSV → PostgreSQL", home, file, count, server)
    except Missing as why:
        table.absent.append(Absent("postgresql", "CSV → PostgreSQL", str(why)))
    sheet_rows = ROWS_QUICK if quick else SHEET_ROWS
    _add(table, "xlsx", f".xlsx of {sheet_rows:,} → SQLite", Home(directory / "import-xlsx"), sheet, sheet_rows)
    if not quick:  # of a short file the start of the program is most
        for key, name, limit in (("sqlite", "SQLite", SQLITE_S_MAX), ("postgresql", "PostgreSQL", POSTGRES_S_MAX)):
            if row := table.row(key):
                text = f"{count:,} lines into {name} in seconds, at most {limit:g}"
                table.verdicts.append(Verdict(text, row.samples[0].seconds, limit))
    yield table


def _add(table: Table, key: str, name: str, home: Home, file: Path, count: int, server: Program | None = None) -> None:
    table.rows.append(Row(key, name, [_import(home, file, count, server)]))


def _import(home: Home, file: Path, count: int, server: Program | None) -> Sample:
    """Raises RuntimeError unless every line is recorded."""
    server_cpu = server.cpu() if server is not None else 0.0
    log = home.directory / "import.log"
    used, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    peak = 0
    with log.open("wb") as out:
        process = subprocess.Popen(home.importing(file), stdout=out, stderr=out, start_new_session=True)
        while process.poll() is None:
            peak = max(peak, sum(resident_octets(process.pid).values()))
            if time.monotonic() - began > IMPORT_S_MAX:
                process.kill()
                raise RuntimeError(f"an import takes more than {IMPORT_S_MAX:g} s")
            with suppress(subprocess.TimeoutExpired):
                process.wait(LOOK_S)
    seconds, said = time.monotonic() - began, log.read_text()
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    if process.returncode or f"{count:,} recorded" not in said:
        raise RuntimeError(f"izinli import ended with {process.returncode}:\n{said}")
    cpu = spent.ru_utime + spent.ru_stime - used.ru_utime - used.ru_stime
    return Sample(count, seconds, cpu, server.cpu() - server_cpu if server else 0.0, peak_octets=peak)


class _Postgres(Program):
    """Its processes lead sessions of their own; they are found by their parent, or, ended, in its own figures."""

    def cpu(self) -> float:
        ticks = 0
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            with suppress(FileNotFoundError, ProcessLookupError):
                # after "pid (name) ": state ppid …; utime stime cutime cstime are the 12th to the 15th
                fields = (entry / "stat").read_bytes().rpartition(b")")[2].split()
                if int(entry.name) == self.session:
                    ticks += sum(map(int, fields[11:15]))
                elif int(fields[1]) == self.session:
                    ticks += sum(map(int, fields[11:13]))
        return ticks * TICK_S


@contextmanager
def postgres(directory: Path) -> Iterator[Program]:
    """A PostgreSQL of this run alone, as it is installed: commits are on disk. As root it refuses to run."""
    found = [str(path) for path in sorted(Path("/usr/lib").glob(DEBIAN))] or [which("postgres")]
    home, port = directory / "postgresql", free_port()
    home.mkdir()
    somebody: list[str] = []
    if os.geteuid() == 0:
        if not any(one.pw_name == "postgres" for one in pwd.getpwall()):
            raise Missing("PostgreSQL does not run as root, and there is no user postgres")
        shutil.chown(home, "postgres", "postgres")
        somebody = [which("setpriv"), "--reuid=postgres", "--regid=postgres", "--clear-groups"]
    programs = Path(found[-1]).parent
    data = str(home / "data")
    run([*somebody, str(programs / "initdb"), "-D", data, "-A", "trust", "-U", "izinli", "-E", "UTF8", "--no-sync"])
    program = _Postgres("postgresql", "PostgreSQL", port, directory / "postgresql.log")
    options = ["-c", "listen_addresses=127.0.0.1", "-c", f"port={port}", "-c", "unix_socket_directories="]
    try:
        program.start([*somebody, str(programs / "postgres"), "-D", data, *options])
        _wait_until_it_answers(port)
        yield program
    finally:
        program.stop()


def _wait_until_it_answers(port: int) -> None:
    """It accepts connections before it has started; then it refuses them."""
    deadline = time.monotonic() + START_S_MAX
    while True:
        try:
            psycopg.connect(f"postgresql://izinli@127.0.0.1:{port}/postgres").close()
            return
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise
        time.sleep(LOOK_S)
