"""Threads in the background: none of them dies or hangs without a word."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from structlog.testing import capture_logs

from filters.link import LinkMinter
from registry import background
from registry.background import ENDED, HANGS, Pulse, Timed, Watch, Worker
from registry.citizen import create_app
from registry.index.interface import IndexDown
from registry.ledger import Ledger
from registry.metrics import Figures
from registry.publish import Publisher, open_index
from registry.publisher_loop import PublisherLoop
from tests.conftest import eventually
from tests.registry.support import BRANDS
from tests.registry.test_metrics import told


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "FAULT_SECONDS", 0.001)
    monkeypatch.setattr(background, "BACKGROUND_BACKOFF_SECONDS_MAX", 0.01)


@pytest.fixture
def ask(sqlite_ledger: Ledger, tmp_path: Path) -> Iterator[tuple[Watch, Callable[[str], tuple[int, str]]]]:
    """(what is watched, a question to the page that watches)."""
    writer = open_index("sqlite", tmp_path / "index", sqlite_ledger.fingerprint.check_value())
    publisher = Publisher(sqlite_ledger, writer)
    publisher.ensure()
    watch = Watch()
    app = create_app(sqlite_ledger, publisher, LinkMinter({0: bytes(32)}, 0), BRANDS, watch=watch)

    async def get(path: str) -> tuple[int, str]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://here") as client:
            answer = await client.get(path)
            return answer.status_code, answer.text

    yield watch, lambda path: asyncio.run(get(path))
    writer.close()


@pytest.mark.parametrize("kind", [ValueError, IndexDown, SystemExit, MemoryError])
def test_a_step_that_raises_is_told_once_counted_and_tried_again(
    ask: tuple[Watch, Callable[[str], tuple[int, str]]], kind: type[BaseException]
) -> None:
    watch, get = ask
    pulse = watch.pulse("pushes")
    mended = threading.Event()
    steps: list[int] = []

    def step() -> bool:
        steps.append(1)
        if not mended.is_set():
            raise kind("of this test")
        return False

    worker = Worker(pulse, step, 0.001)
    with capture_logs() as logs:
        worker.start()
        eventually(lambda: pulse.faults >= 5, within=90, what="the step being tried again")
        assert get("/readyz")[0] == 200, "citizens are to be let in"
        assert f'"pushes":"{kind.__name__}"' in get("/readyz")[1]
        assert get("/livez") == (200, "ok\n"), "a new process would not help"
        mended.set()
        eventually(lambda: pulse.fault == "", within=90, what="the step going through")
        worker.stop(30)
    assert [(entry["worker"], entry["error"]) for entry in logs if "worker" in entry] == [("pushes", kind.__name__)]
    assert '"pushes":"ok"' in get("/readyz")[1]
    assert len(steps) > pulse.faults >= 5


def test_the_waits_grow_and_begin_anew() -> None:
    pulse = Pulse("one")
    waits = [pulse.failed(ValueError()) for _ in range(6)]
    assert waits == [0.001, 0.002, 0.004, 0.008, 0.01, 0.01]
    pulse.well()
    assert pulse.failed(ValueError()) == 0.001
    assert pulse.faults == 7


def test_a_step_that_hangs_is_told_and_asks_for_a_new_process(
    ask: tuple[Watch, Callable[[str], tuple[int, str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    watch, get = ask
    monkeypatch.setattr(background, "BACKGROUND_STALLED_SECONDS", 0.01)
    go_on = threading.Event()
    worker = Worker(watch.pulse("batches"), lambda: not go_on.wait(60), 60)
    worker.start()
    eventually(lambda: watch.faults == {"batches": HANGS}, within=90, what="the thread being missed")
    assert get("/livez") == (503, "the thread batches hangs\n")
    assert f'"batches":"{HANGS}"' in get("/readyz")[1]
    go_on.set()
    eventually(lambda: watch.faults == {"batches": ""}, within=90, what="the thread being back")
    assert get("/livez")[0] == 200
    worker.stop(30)


def test_a_thread_that_ended_is_told() -> None:
    watch = Watch()
    thread = threading.Thread(target=lambda: None)
    watch.pulse("one").lives_in(thread)
    assert watch.faults == {"one": ENDED}
    assert watch.hanging == ["one"]


def test_a_worker_that_was_stopped_is_not_missed() -> None:
    watch = Watch()
    worker = Worker(watch.pulse("one"), lambda: False, 0.001)
    worker.start()
    worker.stop(30)
    assert watch.faults == {"one": ""}


def test_parts_of_a_step() -> None:
    pulse = Pulse("national")
    assert [pulse.stumbled("100001 pull", kind) for kind in ("KeyError", "KeyError", "", "KeyError")] == [
        True,
        False,
        False,
        True,
    ]
    pulse.well()
    assert (pulse.fault, pulse.faults) == ("KeyError", 3), "another part that goes through says nothing of this one"
    pulse.only(["100002 pull"])
    assert pulse.fault == ""


def test_what_is_done_once_in_a_while() -> None:
    done: list[int] = []

    def work() -> float:
        done.append(1)
        return 0.0 if len(done) < 3 else 3600.0

    step = Timed(work, 0.0)
    assert [step() for _ in range(5)] == [False] * 5
    assert len(done) == 3
    never = Timed(work, 3600.0)
    never()
    assert len(done) == 3


def test_monitoring_hears_of_threads(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    writer = open_index("sqlite", tmp_path / "index", sqlite_ledger.fingerprint.check_value())
    watch = Watch()
    pulse = watch.pulse("pushes")
    loop = PublisherLoop(Publisher(sqlite_ledger, writer), threading.Event())
    figures = Figures(sqlite_ledger, loop, None, watch=watch)
    assert told(figures)["izinli_registry_thread_up pushes"] == 1
    pulse.failed(ValueError())
    assert told(figures)["izinli_registry_thread_up pushes"] == 0
    assert told(figures)["izinli_registry_thread_faults_total pushes"] == 1
    writer.close()
