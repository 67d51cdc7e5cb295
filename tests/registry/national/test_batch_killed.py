"""A process that is killed with SIGKILL while it works off batches loses nothing and does nothing twice."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from sqlalchemy import func, select

from filters.model import Channel, RecipientType, Status
from registry.national.batch_store import Batches, item_of
from registry.national.stored import DONE, RECORDED
from registry.rules import Move
from registry.schema import consent_event
from tests.registry.national.batch_child import opened
from tests.registry.support import BRAND, differences, number

BATCHES, ITEMS = 24, 40
JANUARY, FEBRUARY = "2026-01-01 00:00:00", "2026-02-01 00:00:00"


def accept(batches: Batches, first: int, count: int, status: Status, date: str) -> str:
    moves = (
        Move(BRAND, Channel.MESAJ, number(index), RecipientType.BIREYSEL, status, "HS_WEB", date)
        for index in range(first, first + count)
    )
    return batches.accept(BRAND, "api@firma.test", [item_of(move, False, 0, ()) for move in moves], repeatable=False)


def killed_after(data_dir: Path, lines: int, *mode: str) -> list[str]:
    """What a child said before it was killed, `lines` lines after its first, or ended."""
    command = [sys.executable, "-m", "tests.registry.national.batch_child", str(data_dir), *mode]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        said = [child.stdout.readline().strip() for _ in range(1 + lines)]
        child.kill()
        rest = child.stdout.read().split()
    assert said[0] == "ready", said
    return [*said[1:], *rest]


def test_killed_again_and_again(tmp_path: Path) -> None:
    ledger, writer, batches = opened(tmp_path)
    requests = [accept(batches, batch * ITEMS, ITEMS, Status.ONAY, JANUARY) for batch in range(BATCHES)]
    for lines in (1, 3, 2):
        assert "done" not in killed_after(tmp_path, lines), "it was never killed at work"
    while batches.work_off():
        pass
    with ledger.engine.connect() as connection:
        events, people = connection.execute(
            select(func.count(), func.count(consent_event.c.recipient.distinct()))
        ).one()
    assert events == people == BATCHES * ITEMS
    for request in requests:
        polled = batches.find(BRAND, request)
        assert polled is not None
        assert (polled.state, {result.code for result in polled.results}) == (DONE, {""})
    assert differences(writer, ledger) == []
    writer.close()
    ledger.close()


def test_killed_between_recording_and_publishing(tmp_path: Path) -> None:
    ledger, writer, batches = opened(tmp_path)
    accept(batches, 0, ITEMS, Status.ONAY, JANUARY)
    while batches.work_off():
        pass
    request = accept(batches, 0, ITEMS, Status.RET, FEBRUARY)
    assert killed_after(tmp_path, 1, "recorded") == ["recorded"]
    polled = batches.find(BRAND, request)
    assert polled is not None
    assert polled.state == RECORDED
    assert differences(writer, ledger), "the index cannot know it yet"
    while batches.work_off():
        pass
    polled = batches.find(BRAND, request)
    assert polled is not None
    assert (polled.state, {result.code for result in polled.results}) == (DONE, {""})
    assert differences(writer, ledger) == []
    assert ledger.head() == 2 * ITEMS
    writer.close()
    ledger.close()
