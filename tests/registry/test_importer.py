"""CSV files of consents: every form that is accepted, bad lines apart, the same file again, killed in the middle."""

from __future__ import annotations

import csv
import io
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from filters.model import Channel, RecipientType, Status
from registry import lines, service
from registry.ahead import parse, parse_ahead
from registry.importer import Importer, quotable
from registry.ledger import Ledger
from registry.lines import Columns, CsvError, Job, read_batches, read_header
from registry.rules import Move, turkey_time
from registry.service import import_csv, verify
from tests.conftest import RedisServer
from tests.registry.support import BRAND, HEADER, KEY, NOW, fold, onay, ret, settings, write_csv

GOOD = "+905550000001,MESAJ,ONAY,HS_WEB,BIREYSEL,2026-01-01 00:00:00"
JOB = Job(HEADER.encode(), BRAND, turkey_time(NOW), False, "", KEY)


def people(count: int, status: str = "ONAY", date: str = "2026-01-01 00:00:00") -> list[str]:
    return [f"+90555{index:07},MESAJ,{status},HS_WEB,BIREYSEL,{date}" for index in range(count)]


def import_bytes(ledger: Ledger, path: Path, content: bytes, *, declare: bool = False) -> Importer:
    path.write_bytes(content)
    run = Importer(ledger, KEY, BRAND, now=NOW, declare=declare)
    run.run(path, path.with_name("rejects.csv"))
    return run


def rejects(path: Path) -> list[tuple[int, str]]:
    """(line number, code) of each rejected line."""
    with path.open(encoding="utf-8", newline="") as file:
        return [(int(row["line"]), row["code"]) for row in csv.DictReader(file)]


def test_good_lines_are_recorded_and_bad_ones_set_aside(ledger: Ledger, tmp_path: Path) -> None:
    bad = "+905550000002,SMS,ONAY,HS_WEB,BIREYSEL,2026-01-01 00:00:00"
    content = [HEADER, GOOD, bad, "nonsense", "", GOOD.replace("0001", "0003"), ""]
    run = import_bytes(ledger, tmp_path / "in.csv", "\n".join(content).encode())
    assert (run.lines, run.recorded, run.unchanged, run.rejected) == (4, 2, 0, 2)
    assert rejects(tmp_path / "rejects.csv") == [(3, "H117"), (4, "")]
    assert fold(ledger, onay(1)) is fold(ledger, onay(3)) is Status.ONAY


def test_the_same_file_again_changes_nothing(ledger: Ledger, tmp_path: Path) -> None:
    history = [*people(3), *people(2, "RET", "2026-01-02 00:00:00"), "+905550000009,MESAJ,RET,,TACIR,", "bad"]
    content = "\n".join([HEADER, *history]).encode()
    first = import_bytes(ledger, tmp_path / "in.csv", content)
    head, bad = ledger.head(), (tmp_path / "rejects.csv").read_bytes()
    second = import_bytes(ledger, tmp_path / "in.csv", content)
    assert (first.recorded, first.unchanged, first.rejected) == (6, 0, 1)
    assert (second.recorded, second.unchanged, second.rejected) == (0, 6, 1)
    assert ledger.head() == head
    assert (tmp_path / "rejects.csv").read_bytes() == bad


FORMS = {
    "byte order mark": f"\ufeff{HEADER}\n{GOOD}\n",
    "CRLF": f"{HEADER}\r\n{GOOD}\r\n",
    "no end of line at the end": f"{HEADER}\n{GOOD}",
    "quoted fields": "\n".join('"' + line.replace(",", '","') + '"' for line in (HEADER, GOOD)),
    "semicolons": f"{HEADER};\n{GOOD};\n".replace(",", ";").replace(";\n", "\n"),
    "another order": "\n".join(",".join(reversed(line.split(","))) for line in (HEADER, GOOD)),
    "no recipientType": f"{HEADER}\n{GOOD}\n".replace(",recipientType", "").replace(",BIREYSEL", ""),
    "blank lines": f"{HEADER}\n\n\r\n{GOOD}\n\n",
    "tabs": f"{HEADER}\n{GOOD}\n".replace(",", "\t"),
    "Excel's hint": "sep=;\r\n" + f"{HEADER}\r\n{GOOD}\r\n".replace(",", ";"),
    "blank lines before the header": f"\n\r\n{HEADER}\n{GOOD}\n",
    "blanks in the header": f"{HEADER.replace(',', ' , ')}\n{GOOD}\n",
}


@pytest.mark.parametrize("content", FORMS.values(), ids=FORMS.keys())
def test_a_form_of_csv_that_is_accepted(sqlite_ledger: Ledger, tmp_path: Path, content: str) -> None:
    run = import_bytes(sqlite_ledger, tmp_path / "in.csv", content.encode())
    assert (run.lines, run.recorded) == (1, 1)
    assert fold(sqlite_ledger, onay(1)) is Status.ONAY
    assert not (tmp_path / "rejects.csv").exists()


def test_merchants_need_neither_source_nor_date(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    content = "recipient,type,status,recipientType\n+905550000001,MESAJ,RET,TACIR\n+905550000002,MESAJ,ONAY,BIREYSEL\n"
    import_bytes(sqlite_ledger, tmp_path / "in.csv", content.encode())
    assert fold(sqlite_ledger, ret(1, kind=RecipientType.TACIR)) is Status.RET
    assert rejects(tmp_path / "rejects.csv") == [(3, "H113")]


HEADERS = {
    "a blank line": ("", "unknown column"),  # the next one is it, then
    "an unknown column": (f"{HEADER},name", "unknown column 'name'"),
    "a missing column": ("recipient,type", "does not name the column 'status'"),
    "a column twice": ("recipient,type,status,status", "twice"),
    "data at once": (GOOD, "unknown column"),
}


@pytest.mark.parametrize(("header", "message"), HEADERS.values(), ids=HEADERS.keys())
def test_a_header_that_is_none_is_one_clear_error(
    sqlite_ledger: Ledger, tmp_path: Path, header: str, message: str
) -> None:
    with pytest.raises(CsvError, match=message):
        import_bytes(sqlite_ledger, tmp_path / "in.csv", f"{header}\n{GOOD}\n".encode())
    assert sqlite_ledger.head() == 0
    assert not (tmp_path / "rejects.csv").exists()


@pytest.mark.parametrize(("codec", "said"), [("utf-16", "UTF-16"), ("cp1254", "unknown column 'açıklama'")])
def test_a_header_in_another_encoding_is_one_clear_error(
    sqlite_ledger: Ledger, tmp_path: Path, codec: str, said: str
) -> None:
    with pytest.raises(CsvError, match=said):
        import_bytes(sqlite_ledger, tmp_path / "in.csv", f"{HEADER},açıklama\n{GOOD},ş\n".encode(codec))


def test_a_file_without_a_line_is_one_clear_error(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    with pytest.raises(CsvError, match="does not name the column 'recipient'"):
        import_bytes(sqlite_ledger, tmp_path / "in.csv", b"\n \n")


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"a" * 5000, "H460"),
        (b"a" * 200_000, "H460"),
        (b'"+905550000001,MESAJ,ONAY', ""),
        (b"\xff\xfe\x00,MESAJ,ONAY,HS_WEB,BIREYSEL,2026-01-01 00:00:00", "H121"),
        (GOOD.encode() + b",more", ""),
    ],
)
def test_a_broken_line_costs_only_itself(sqlite_ledger: Ledger, tmp_path: Path, line: bytes, code: str) -> None:
    content = b"\n".join([HEADER.encode(), line, GOOD.encode()])
    run = import_bytes(sqlite_ledger, tmp_path / "in.csv", content)
    assert (run.recorded, run.rejected) == (1, 1)
    assert rejects(tmp_path / "rejects.csv") == [(2, code)]


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"plain,line\r\n", "plain,line"),
        (b'=HYPERLINK("http://x")', '\'=HYPERLINK("http://x")'),
        (b"+905550000001,SMS", "'+905550000001,SMS"),
        (b"@cmd", "'@cmd"),
        (b"-1+1", "'-1+1"),
        (b"a\x00\x1b[31mb\tc", "a\\x00\\x1b[31mb\\tc"),
        ("şüphe".encode("cp1254"), "şüphe"),
        (b"\x81", "\\x81"),
        ("\u202eevil".encode(), "\\u202eevil"),
        ("Ayşe".encode(), "Ayşe"),
    ],
)
def test_a_rejected_line_is_safe_to_show(raw: bytes, shown: str) -> None:
    assert quotable(raw) == shown


def test_the_reject_file_survives_a_spreadsheet_and_is_its_owners_alone(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    bad = '=cmd|"x"!A0,"one",\ttwo'
    import_bytes(sqlite_ledger, tmp_path / "in.csv", f"{HEADER}\n{bad}\n".encode())
    path = tmp_path / "rejects.csv"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    rows = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8"))))
    reason = "the line does not have the columns of the header"
    assert rows == [["line", "code", "reason", "content"], ["2", "", reason, '\'=cmd|"x"!A0,"one",\\ttwo']]


def test_rejects_of_an_earlier_run_are_not_left_lying_about(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    import_bytes(sqlite_ledger, tmp_path / "in.csv", f"{HEADER}\nbad\n".encode())
    import_bytes(sqlite_ledger, tmp_path / "in.csv", f"{HEADER}\n{GOOD}\n".encode())
    assert not (tmp_path / "rejects.csv").exists()


def test_the_reject_file_is_not_the_file_itself(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "in.csv", [GOOD])
    with pytest.raises(CsvError):
        Importer(sqlite_ledger, KEY, BRAND, now=NOW).run(path, path)
    assert path.read_text().startswith(HEADER)


def test_a_declaration_obeys_the_national_rules(ledger: Ledger, tmp_path: Path) -> None:
    today = "2026-03-04 09:00:00"
    history = [
        f"+905550000001,MESAJ,ONAY,HS_WEB,BIREYSEL,{today}",
        f"+905550000001,MESAJ,ONAY,HS_WEB,BIREYSEL,{today}",  # the same again: idempotent
        f"+905550000001,MESAJ,RET,HS_WEB,BIREYSEL,{today}",  # V3, V14
        "+905550000001,MESAJ,RET,HS_WEB,BIREYSEL,2026-03-04 09:00:01",
        "+905550000001,MESAJ,RET,HS_WEB,BIREYSEL,2026-03-04 09:00:02",  # V2
        f"+905550000002,MESAJ,RET,HS_WEB,BIREYSEL,{today}",  # V1
        f"+905550000003,MESAJ,ONAY,IYS_WEB,BIREYSEL,{today}",  # V10
        "+905550000004,MESAJ,ONAY,HS_WEB,BIREYSEL,2026-02-20 10:00:00",  # V7
        "+905550000005,MESAJ,ONAY,HS_2015,BIREYSEL,2015-05-01 00:00:00",
    ]
    run = import_bytes(ledger, tmp_path / "in.csv", "\n".join([HEADER, *history]).encode(), declare=True)
    assert rejects(tmp_path / "rejects.csv") == [(4, "H178"), (6, "H174"), (7, "H175"), (8, "H119"), (9, "H467")]
    assert (run.recorded, run.unchanged, run.rejected) == (3, 1, 5)
    assert fold(ledger, onay(1)) is Status.RET
    assert fold(ledger, onay(2)) is Status.RET  # refused, and honoured (test_honoured.py)


def test_an_import_takes_what_the_national_system_holds(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    """A first RET, old dates, sources of the national system, a closed line without a date."""
    history = [
        "+905550000001,MESAJ,RET,IYS_KISAMESAJ,BIREYSEL,2019-01-01 00:00:00",
        "+905550000002,MESAJ,RET,IYS_AHS_HAT_KAPATMA,BIREYSEL,",
        "ayse@example.com.tr,EPOSTA,ONAY,HS_2015,BIREYSEL,2015-05-01 00:00:00",
    ]
    run = import_bytes(sqlite_ledger, tmp_path / "in.csv", "\n".join([HEADER, *history]).encode())
    assert run.recorded == 3
    mail = Move(BRAND, Channel.EPOSTA, b"ayse@example.com.tr", RecipientType.BIREYSEL, Status.ONAY, "HS_2015", "")
    assert fold(sqlite_ledger, mail) is Status.ONAY


def test_progress_is_told_after_each_batch(
    sqlite_ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "IMPORT_BATCH_LINES", 10)
    path = write_csv(tmp_path / "in.csv", people(25))
    steps: list[tuple[int, int, int]] = []
    Importer(sqlite_ledger, KEY, BRAND, now=NOW).run(path, tmp_path / "r.csv", lambda *step: steps.append(step))
    assert [step[2] for step in steps] == [10, 20, 25]
    assert steps[-1][0] == steps[-1][1] == path.stat().st_size
    assert sorted(steps) == steps


@pytest.mark.parametrize("parsing", [parse, parse_ahead])
def test_lines_keep_their_numbers_across_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parsing: Callable[..., object]
) -> None:
    monkeypatch.setattr(lines, "IMPORT_BATCH_LINES", 7)
    content = [*people(20), "bad", *people(3), "worse"]
    path = write_csv(tmp_path / "in.csv", content)
    with path.open("rb") as file:
        job = JOB._replace(header=read_header(file)[0])
        found = list(parsing(job, read_batches(file)))  # type: ignore[call-overload]
    assert [len(batch.lines) for batch, _ in found] == [7, 7, 7, 4]
    assert [bad[0] for _, parsed in found for bad in parsed.bad] == [22, 26]
    assert [entry[1] for _, parsed in found for entry in parsed.entries][:20] == [onay(index) for index in range(20)]


def test_the_helper_says_what_we_would_have_said(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "in.csv", [*people(50), "bad", "+905550000001,SMS,ONAY,HS_WEB,BIREYSEL,x"])

    def found(parsing: Callable[..., object]) -> list[object]:
        with path.open("rb") as file:
            job = JOB._replace(header=read_header(file)[0])
            return list(parsing(job, read_batches(file)))  # type: ignore[call-overload]

    assert found(parse) == found(parse_ahead)


def test_a_helper_that_is_killed_is_an_error_not_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "IMPORT_BATCH_LINES", 10)
    path = write_csv(tmp_path / "in.csv", people(100))
    started: list[subprocess.Popen[bytes]] = []

    class Remembered(subprocess.Popen[bytes]):
        def __init__(self, *args: object, **options: object) -> None:
            super().__init__(*args, **options)  # type: ignore[call-overload]
            started.append(self)

    monkeypatch.setattr(subprocess, "Popen", Remembered)
    with path.open("rb") as file:
        parsed = parse_ahead(JOB._replace(header=read_header(file)[0]), read_batches(file))
        next(parsed)
        started[0].kill()
        with pytest.raises(ChildProcessError):
            list(parsed)


def test_a_bad_header_needs_no_helper() -> None:
    with pytest.raises(CsvError):
        list(parse_ahead(JOB._replace(header=b"name\n"), iter([])))


def test_columns_absent_at_the_end_are_empty() -> None:
    found = Columns(b"status,recipient,type\n").pick(b"ONAY,+905550000001,MESAJ\n")
    assert found == (b"+905550000001", b"MESAJ", b"ONAY", b"", b"", b"")


# the whole way, as the command line goes it


def test_an_import_is_in_the_index_when_it_returns(tmp_path: Path, index_url: str) -> None:
    chosen = settings(tmp_path / "data", index_url)
    path = write_csv(tmp_path / "in.csv", [*people(30), "bad"])
    result = import_csv(chosen, BRAND, path)
    assert (result.lines, result.recorded, result.unchanged, result.rejected) == (31, 30, 0, 1)
    assert result.reject_path == tmp_path / "in.csv.rejects.csv"
    assert result.reject_path.exists()
    assert result.index_fault == ""
    write_csv(path, people(5, "RET", "2026-02-01 00:00:00"))
    again = import_csv(chosen, BRAND, path, rejects=tmp_path / "other.csv")
    assert (again.recorded, again.reject_path) == (5, None)
    verification = verify(chosen)
    assert verification.equal
    assert verification.index_members == 25


@pytest.mark.interop
def test_an_import_without_its_index_is_recorded_and_says_so(tmp_path: Path, redis_server: RedisServer) -> None:
    chosen = settings(tmp_path / "data", redis_server.url)
    redis_server.stop()
    result = import_csv(chosen, BRAND, write_csv(tmp_path / "in.csv", people(3)))
    assert result.recorded == 3
    assert "IndexDown" in result.index_fault
    redis_server.start()
    assert import_csv(chosen, BRAND, tmp_path / "in.csv").index_fault == ""
    assert verify(chosen).equal


KILLED = """
import os, signal, sys
from pathlib import Path
from registry import importer, lines
from registry.service import import_csv
from tests.registry.support import BRAND, settings
lines.IMPORT_BATCH_LINES = 1000
importer.AHEAD_BYTES_MIN = 0
def progress(done, total, count):
    if count == 3000:
        os.kill(os.getpid(), signal.SIGKILL)
import_csv(settings(Path(sys.argv[1])), BRAND, Path(sys.argv[2]), progress=progress)
"""


def test_a_killed_import_goes_on_where_it_was(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "in.csv", [*people(1500), "bad", *people(8500, date="2026-01-02 00:00:00")])
    command = [sys.executable, "-c", KILLED, str(tmp_path / "data"), str(path)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    chosen = settings(tmp_path / "data")
    result = import_csv(chosen, BRAND, path)
    assert (result.lines, result.recorded, result.unchanged, result.rejected) == (10_001, 7001, 2999, 1)
    assert verify(chosen).equal
    with service.open_registry(chosen) as registry:
        assert registry.ledger.head() == 10_000


def test_the_file_of_the_command_line_must_exist(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        import_csv(settings(tmp_path), BRAND, tmp_path / "nowhere.csv")
