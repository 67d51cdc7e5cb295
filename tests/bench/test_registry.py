"""The load on the registry: invented consents that its rules take, each once, and requests that are right by octets."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from threading import Thread

import pytest

from bench import registry_load, rows
from bench.registry_steady import CONNECTIONS, steady
from filters.key import KEY_BYTES
from registry.append import Entry
from registry.importer import Importer
from registry.ledger import RECORDED
from registry.lines import COLUMNS, Columns
from registry.rules import LineRules, turkey_time
from tests.waiting import eventually

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


@contextmanager
def answering(status: int) -> Iterator[tuple[int, list[str]]]:
    """A server's port, and the bodies that it got."""
    got: list[str] = []

    class Answer(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            got.append(self.rfile.read(int(self.headers["content-length"])).decode())
            self.send_response(status)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        serving = Thread(target=server.serve_forever)
        serving.start()
        try:
            yield server.server_address[1], got
        finally:
            server.shutdown()
            serving.join()


def whole(port: int) -> bytes:
    return registry_load.request("/x", registry_load.MARK.encode(), port, "abc")


def test_a_steady_load_has_a_number_for_each_request_and_is_told(tmp_path: Path) -> None:
    with answering(200) as (port, got):
        with steady(tmp_path / "load.http", whole(port), port, 1000, 200) as load:
            eventually(lambda: len(got) > 2 * CONNECTIONS, within=60)
        assert sorted(got) == [f"{number:07}" for number in range(1000, 1000 + len(got))]
        assert load.per_second > 0


def test_a_steady_load_that_is_refused_is_an_error(tmp_path: Path) -> None:
    with answering(429) as (port, got):
        load = steady(tmp_path / "load.http", whole(port), port, 1000, 200)
        with pytest.raises(RuntimeError, match="were refused"), load:
            eventually(lambda: got, within=60)
