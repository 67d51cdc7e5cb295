"""Our process is killed (SIGKILL) in the middle of an upload and of a pull: nothing is lost, nothing is doubled."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from filters.model import Status
from registry.rules import turkey_time
from registry.sync.state import Busy
from tests.conftest import eventually
from tests.registry.national.support import Clock
from tests.registry.support import onay, record, ret
from tests.registry.sync.support import SYNCED, Here, Line, There, here, line, there

PEOPLE = 30
ONE_OF_US = """
import sys
import time
from pathlib import Path
from tests.registry.national.support import Clock
from tests.registry.sync.support import SYNCED, here
from registry.sync.loop import SyncLoop, utc_now

with here(Path(sys.argv[1]), int(sys.argv[2]), utc_now, url=sys.argv[3], lease_s=2, pull_s=0.1, upload_s=0.1) as one:
    print("up", flush=True)
    loop = SyncLoop(one.sync)
    while True:
        loop.step()
        time.sleep(0.05)
"""


@pytest.fixture
def now() -> Clock:
    """The processes' clock is the machine's; ours follows it."""
    return Clock(datetime.now(UTC))


@contextmanager
def one_of_us(directory: Path, wire: Line, url: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", ONE_OF_US, str(directory), str(wire.port), url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "up\n"
            yield process
        finally:
            process.kill()


def in_step(us: Here, national: There) -> bool:
    """Everything is taken there, and known here."""
    try:
        us.sync.push(SYNCED)
        us.sync.pull(SYNCED)
    except Busy:
        return False
    taken = all(national.holds(onay(index)) is Status.ONAY for index in range(PEOPLE))
    return taken and all(us.stands(ret(100 + index)) is Status.RET for index in range(PEOPLE))


@pytest.mark.parametrize("where", ["POST /v2", "changes"])
def test_killed_in_the_middle(tmp_path: Path, ledger_url: str, now: Clock, where: str) -> None:
    killed_in(tmp_path, ledger_url, now, where)


def test_killed_while_it_asked_for_results(tmp_path: Path, now: Clock) -> None:
    killed_in(tmp_path, "sqlite", now, "GET /v2")


def killed_in(tmp_path: Path, ledger_url: str, now: Clock, where: str) -> None:
    """The call that it was killed in has been answered, and nobody was there to hear it."""
    date = turkey_time(now() - timedelta(minutes=5))
    with there(tmp_path / "there", now) as national, line(national.port) as wire:
        with here(tmp_path / "here", wire.port, now, url=ledger_url) as us:
            record(us.ledger, *(onay(100 + index, date) for index in range(PEOPLE)))
            us.say(*(onay(index, date) for index in range(PEOPLE)))
            national.record(*(ret(100 + index, turkey_time(now())) for index in range(PEOPLE)))
        victim: list[subprocess.Popen[str]] = []

        def rules(method: str, path: str) -> Any:
            if victim and where in f"{method} {path}":
                victim.pop().send_signal(signal.SIGKILL)
                return "cut"
            return None

        wire.rules = rules
        with one_of_us(tmp_path / "here", wire, ledger_url) as process:
            victim.append(process)
            assert process.wait(60) == -signal.SIGKILL
        now.now = datetime.now(UTC) + timedelta(minutes=1)  # leases of the dead end
        with here(tmp_path / "here", wire.port, now, url=ledger_url) as us:
            eventually(lambda: in_step(us, national), within=90, what="both sides in step", every=0.05)
            us.publisher.ensure()
            assert all(us.passes(onay(index)) for index in range(PEOPLE))
            assert not any(us.passes(onay(100 + index)) for index in range(PEOPLE))
            assert set(Counter(us.events()).values()) == {1}
        assert set(Counter(national.events()).values()) == {1}
        assert all(status < 400 for status in wire.answered)


def test_two_processes_share_the_work(tmp_path: Path, now: Clock) -> None:
    date = turkey_time(now() - timedelta(minutes=5))
    with there(tmp_path / "there", now) as national, line(national.port) as wire:
        with here(tmp_path / "here", wire.port, now) as us:
            us.say(*(onay(index, date) for index in range(PEOPLE)))
            with one_of_us(tmp_path / "here", wire, "sqlite"), one_of_us(tmp_path / "here", wire, "sqlite"):
                eventually(
                    lambda: all(us.stands(onay(index)) is Status.ONAY for index in range(PEOPLE)),
                    within=90,
                    what="every consent registered",
                    every=0.05,
                )
            assert set(Counter(us.events()).values()) == {1}
        assert set(Counter(national.events()).values()) == {1}
        assert wire.count("/oauth2/token") == 1
