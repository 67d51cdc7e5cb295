"""A registry that is killed while it writes to an applicant: nothing is lost, and one letter may come twice."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import pytest

from gateway.demo.sink import Sink
from gateway.demo.smsc import Smsc
from registry import limits
from registry.ledger import Ledger
from registry.providers import doors as hops
from registry.providers.outbox import Outbox
from registry.providers.states import Way
from tests.registry.providers.outbox_child import doors
from tests.registry.providers.support import Office
from tests.registry.providers.test_outbox import waiting


@pytest.mark.parametrize("way", list(Way))
@pytest.mark.parametrize(("when", "times"), [("claimed", 1), ("sent", 2)])
async def test_killed_with_a_letter_in_hand(
    tmp_path: Path, sqlite_ledger: Ledger, monkeypatch: pytest.MonkeyPatch, way: Way, when: str, times: int
) -> None:
    monkeypatch.setattr(hops, "OUTBOX_WAIT_SECONDS", 30.0)
    office = Office(sqlite_ledger.engine)
    office.apply()
    url = str(sqlite_ledger.engine.url)
    async with Sink() as sink, Smsc({"izinli": "geheim"}) as smsc:
        child = "tests.registry.providers.outbox_child"
        arguments = (url, str(tmp_path), str(sink.port), str(smsc.port), way.value, when)
        process = await asyncio.create_subprocess_exec(sys.executable, "-m", child, *arguments)
        assert await process.wait() == -signal.SIGKILL

        outbox = Outbox(sqlite_ledger.engine, office.vault, doors(sink.port, smsc.port))
        await asyncio.to_thread(outbox.tick, office.clock())
        assert waiting(sqlite_ledger) == 1, "whoever claimed it may still be at it"
        office.clock.forward(limits.OUTBOX_LEASE_SECONDS)
        await asyncio.to_thread(outbox.tick, office.clock())
        assert waiting(sqlite_ledger) == 0
        came = {Way.EMAIL: len(sink.messages), Way.MOBILE: len(smsc.messages)}
    assert came == {way: times} | {other: 1 for other in Way if other is not way}
