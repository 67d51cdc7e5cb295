"""What monitoring hears of the registry."""

from __future__ import annotations

import threading
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from sqlalchemy import insert, text

from registry.ledger import Ledger
from registry.metrics import Figures, served
from registry.publish import Publisher, open_index
from registry.publisher_loop import PublisherLoop
from registry.sync.client import Ratio
from registry.sync.loop import Sync
from registry.sync.outbox import WAITING
from registry.sync.tables import national_upload
from tests.registry.support import BRAND

NOON = datetime(2026, 3, 4, 9, 0, tzinfo=UTC)  # in Turkey


def told(figures: Figures) -> dict[str, float]:
    """Each sample by its name and labels' values."""
    return {
        " ".join((sample.name, *sample.labels.values())): sample.value
        for metric in figures.collect()
        for sample in metric.samples
    }


def loop_of(ledger: Ledger, tmp_path: Path) -> PublisherLoop:
    writer = open_index("sqlite", tmp_path / "index", ledger.fingerprint.check_value())
    stop = threading.Event()
    loop = PublisherLoop(Publisher(ledger, writer), stop)
    loop.fault = ""
    return loop


def synced() -> Sync:
    """Only what monitoring asks of it."""
    return cast(
        Sync, SimpleNamespace(brands=SimpleNamespace(codes=lambda: [BRAND]), client=SimpleNamespace(ratio=Ratio()))
    )


def test_how_much_time_is_left_to_tell_the_national_system(ledger: Ledger, tmp_path: Path) -> None:
    figures = Figures(ledger, loop_of(ledger, tmp_path), synced(), lambda: NOON)
    assert told(figures)[f"izinli_registry_national_due_seconds {BRAND}"] == 3 * 86_400
    row = {column.name: 0 if column.type.python_type is int else "" for column in national_upload.c}
    row |= {"seq": 1, "brand": BRAND, "state": WAITING, "due": "2026-03-04"}
    row |= {name: b"x" for name in row if national_upload.c[name].type.python_type is bytes}
    with ledger.engine.begin() as connection:
        connection.execute(insert(national_upload), row)
    after = told(figures)
    assert after[f"izinli_registry_national_due_seconds {BRAND}"] == 12 * 3600, "to midnight in Turkey"
    assert after[f"izinli_registry_national_events {BRAND} {WAITING}"] == 1
    late = Figures(ledger, loop_of(ledger, tmp_path), synced(), lambda: NOON.replace(day=5))
    assert told(late)[f"izinli_registry_national_due_seconds {BRAND}"] == -12 * 3600


def test_a_ledger_that_cannot_be_read_is_said_to_be_down(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    figures = Figures(sqlite_ledger, loop_of(sqlite_ledger, tmp_path), synced())
    assert told(figures)["izinli_registry_up"] == 1
    with sqlite_ledger.engine.begin() as connection:
        connection.execute(text("ALTER TABLE recording RENAME TO gone"))
    after = told(figures)
    assert after["izinli_registry_up"] == 0
    assert "izinli_registry_ledger_events" not in after


def test_a_publisher_with_a_fault_is_told(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    loop = loop_of(sqlite_ledger, tmp_path)
    loop.fault = "IndexDown: away"
    assert told(Figures(sqlite_ledger, loop, None))["izinli_registry_up"] == 0


def test_prometheus_reads_it(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    figures = Figures(sqlite_ledger, loop_of(sqlite_ledger, tmp_path), synced())
    with served(figures, "127.0.0.1", 0) as port:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
            lines = answer.read().decode().splitlines()
        assert "izinli_registry_up 1.0" in lines
    with pytest.raises(OSError):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5)
