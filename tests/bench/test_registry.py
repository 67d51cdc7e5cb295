"""The load on the registry: invented consents that its rules take, each once, and requests that are right by octets."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

from bench import registry_load, rows
from filters.key import KEY_BYTES
from registry.importer import Importer
from registry.ledger import RECORDED, Entry
from registry.lines import COLUMNS, Columns
from registry.rules import LineRules, turkey_time

LINES = 3000


class Takes:
    """Records what it is given."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def record(self, entries: list[Entry], **_: object) -> list[str]:
        self.entries += entries
        return [RECORDED] * len(entries)


def imported(file: Path) -> list[Entry]:
    took = Takes()
    Importer(took, bytes(KEY_BYTES), 100001, now=datetime.now(UTC)).run(file, file.with_suffix(".rejects"))
    return took.entries


def test_each_number_comes_once_and_in_no_order() -> None:
    found = list(rows.numbers(100_000))
    assert len(set(found)) == 100_000
    assert sum(one < other for one, other in pairwise(found)) < 90_000
    assert {len(one) for one in found} == {len(rows.number(0))}


def test_each_line_of_both_kinds_of_file_is_taken(tmp_path: Path) -> None:
    lines = imported(rows.write_csv(tmp_path / "consents.csv", LINES))
    assert len({move.recipient for _, move in lines}) == LINES
    assert {move.status for _, move in lines} == {"ONAY", "RET"}
    assert imported(rows.write_xlsx(tmp_path / "consents.xlsx", LINES)) == lines


def test_a_body_is_a_consent_that_may_be_declared() -> None:
    now = datetime.now(UTC)
    said = rows.consent(rows.number(1), "ONAY", turkey_time(now))
    line = Columns(",".join(COLUMNS).encode()).pick(",".join(said[name] for name in COLUMNS).encode())
    assert line is not None
    move = LineRules(100001, turkey_time(now), declare=True, strict=True)(line)
    assert not isinstance(move, str)
    assert move.recipient == b"+905550000001"


def test_the_length_of_a_request_is_right_when_a_number_stands_in_it() -> None:
    body = rows.consent(rows.PREFIX + registry_load.MARK, "ONAY", "2026-01-05 10:00:00")
    whole = registry_load.request("/x", repr(body).encode(), 8080, "abc")
    filled = whole.replace(registry_load.MARK.encode(), b"0000001")
    head, _, sent = filled.partition(b"\r\n\r\n")
    assert filled != whole
    assert f"Content-Length: {len(sent)}".encode() in head.split(b"\r\n")
    assert b"Authorization: Bearer abc" in head.split(b"\r\n")


def test_the_summary_is_found_below_wrks_own_words() -> None:
    printed = 'Running 1s test\n  1 threads\nRequests/sec: 5\n{"requests": 5, "refused": 0}\n'
    assert registry_load.summary(printed) == {"requests": 5, "refused": 0}
