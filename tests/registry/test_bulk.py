"""Many rows at once: the same on both databases, whatever stands in them, and a COPY that breaks leaves nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Engine, select, text
from sqlalchemy.exc import SQLAlchemyError

from registry import bulk
from registry.arrays import array
from registry.bulk import Bulk, among
from registry.evidence.tables import recording, removed_event
from registry.limits import COPY_ROWS_MIN
from registry.schema import open_engine

HARD = ["", "a", "ğüşİöç", 'tab\tline\nback\\slash "quoted" {braces}, \\N NULL', "x" * 5000]


@pytest.fixture
def engine(ledger_url: str, tmp_path: Path) -> Iterator[Engine]:
    engine = open_engine(ledger_url, tmp_path)
    with engine.begin() as connection:
        for table in (recording, removed_event):
            table.create(connection, checkfirst=True)
    yield engine
    engine.dispose()


def rows(count: int) -> list[tuple[int, str, bytes]]:
    """Of `recording`."""
    return [(seq, HARD[seq % len(HARD)], bytes([seq % 256]) * (seq % 33)) for seq in range(1, count + 1)]


def stored(engine: Engine) -> list[tuple[int, str, bytes]]:
    with engine.connect() as connection:
        found = connection.execute(select(recording).order_by(recording.c.seq))
        return [(seq, actor, bytes(digest)) for seq, actor, digest in found]


@pytest.mark.parametrize("count", [0, 1, COPY_ROWS_MIN - 1, COPY_ROWS_MIN, 3 * COPY_ROWS_MIN])
def test_what_is_inserted_is_there_as_it_was(engine: Engine, count: int) -> None:
    with engine.begin() as connection:
        Bulk(engine).insert(connection, recording, rows(count))
    assert stored(engine) == rows(count)


def test_the_block_runs_before_the_rows_have_to_be_there(engine: Engine) -> None:
    done = []
    with engine.begin() as connection:
        with Bulk(engine).inserting(connection, recording, rows(COPY_ROWS_MIN)):
            done.append("block")
        assert len(connection.execute(select(recording)).all()) == COPY_ROWS_MIN
    assert done == ["block"]


@pytest.mark.parametrize("count", [0, 3, COPY_ROWS_MIN])
def test_an_upsert_replaces_what_is_there(engine: Engine, count: int) -> None:
    changed = [(seq, "changed", digest) for seq, _, digest in rows(count)]
    with engine.begin() as connection:
        Bulk(engine).insert(connection, recording, rows(count))
        Bulk(engine).upsert(connection, recording, [*changed, (10_000, "new", b"")])
    assert stored(engine) == [*changed, (10_000, "new", b"")]


def test_a_row_that_is_there_already_fails_all_of_an_insert(engine: Engine) -> None:
    with engine.begin() as connection:
        Bulk(engine).insert(connection, recording, [(7, "first", b"")])
    with pytest.raises(SQLAlchemyError), engine.begin() as connection:
        Bulk(engine).insert(connection, recording, rows(COPY_ROWS_MIN))
    assert stored(engine) == [(7, "first", b"")]


def test_rows_are_found_by_octets_texts_and_numbers(engine: Engine) -> None:
    with engine.begin() as connection:
        Bulk(engine).insert(connection, recording, rows(40))
        wanted = sorted({digest for _, _, digest in rows(40)})
        assert len(list(among(connection, "SELECT seq FROM recording WHERE digest", wanted))) == 40
        assert len(list(among(connection, "SELECT seq FROM recording WHERE actor", HARD))) == 40
        assert [row[0] for row in among(connection, "SELECT seq FROM recording WHERE seq", [3, 99])] == [3]
        assert list(among(connection, "SELECT seq FROM recording WHERE digest", [])) == []


@pytest.mark.interop
def test_arrays_come_back_as_they_were(postgres_url: str, tmp_path: Path) -> None:
    engine = open_engine(postgres_url, tmp_path)
    octets = [b"", bytes(12), bytes(range(256))]
    with engine.connect() as connection:
        for kind, values in (("bytea", octets), ("text", HARD), ("bigint", [1, -1, 1 << 62]), ("text", [])):
            statement = f"SELECT value FROM unnest(%s::{kind}[]) AS value"
            found = connection.exec_driver_sql(statement, (array(values),)).scalars()
            assert [bytes(one) if isinstance(one, memoryview) else one for one in found] == values
    engine.dispose()


@pytest.mark.interop
def test_a_connection_that_breaks_within_a_copy_is_an_error_of_the_ledger(postgres_url: str, tmp_path: Path) -> None:
    engine = open_engine(postgres_url, tmp_path)

    def broken() -> None:
        with engine.begin() as connection, psycopg.connect(postgres_url, autocommit=True) as other:
            server = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
            with Bulk(engine).inserting(connection, recording, rows(COPY_ROWS_MIN)):
                assert other.execute("SELECT pg_terminate_backend(%s, 30000)", (server,)).fetchone() == (True,)

    with pytest.raises(SQLAlchemyError) as caught:
        broken()
    assert HARD[3] not in str(caught.value)
    assert stored(engine) == []  # the next connection is a good one
    engine.dispose()


@pytest.mark.interop
def test_an_error_of_copy_repeats_no_value(postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "COPY_ROWS_MIN", 1)
    engine = open_engine(postgres_url, tmp_path)
    with pytest.raises(SQLAlchemyError) as caught, engine.begin() as connection:
        Bulk(engine).insert(connection, recording, [(1, "+905550000001\0", b"")])
    assert "+905550000001" not in str(caught.value)
    engine.dispose()
