"""`izinli serve` while the memory of mixed endings is away: not ready, all mail deferred, and back by itself."""

from __future__ import annotations

import asyncio
import smtplib
import sqlite3
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from gateway.demo.house import House
from gateway.demo.sink import Sink
from tests.conftest import RedisServer, eventually_async
from tests.interop.letters import letter
from tests.interop.test_retries import housed, smtp_port
from tests.interop.ways import CAMPAIGN, CONSENTED

pytestmark = pytest.mark.interop

WITHIN_S = 60.0
RECEIPTS = "a@bilgi.example.com.tr"


def page(house: House, name: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"{house.url('gateway')}/{name}", timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def send(house: House, sender: str) -> tuple[int, bytes]:
    """What the final dot hears."""
    with smtplib.SMTP("127.0.0.1", smtp_port(house), timeout=60) as client:
        client.ehlo()
        assert client.mail(sender)[0] == 250
        assert client.rcpt(CONSENTED[0])[0] == 250
        return client.data(letter("plain", "8bit", "utf-8"))


@contextmanager
def without_table(house: House, server: RedisServer | None) -> Iterator[None]:
    file = house.config.data_dir / "delivered.sqlite"
    with closing(sqlite3.connect(file, timeout=30)) as database:
        database.execute("ALTER TABLE entry RENAME TO aside")
    yield
    with closing(sqlite3.connect(file, timeout=30)) as database:
        database.execute("ALTER TABLE aside RENAME TO entry")


@contextmanager
def without_rights(house: House, server: RedisServer | None) -> Iterator[None]:
    """The index can be asked as before: only what lies beside it is out of reach."""
    assert server is not None
    server.cli("ACL", "SETUSER", "default", "resetkeys", "~izinli:index", "~{izinli:index}:*", "~izinli:[0-9]*")
    yield
    server.cli("ACL", "SETUSER", "default", "allkeys")


@pytest.mark.parametrize(("kind", "without"), [("sqlite", without_table), ("redis", without_rights)])
async def test_not_ready_for_as_long_as_it_lasts(
    tmp_path: Path, request: pytest.FixtureRequest, kind: str, without: Callable[..., Iterator[None]]
) -> None:
    server: RedisServer | None = request.getfixturevalue("redis_server") if kind == "redis" else None
    async with Sink() as sink:
        edits = [("127.0.0.1:2526", f"127.0.0.1:{sink.port}")]
        edits += [('url = "sqlite"', f'url = "{server.url}"')] if server else []
        async with housed(tmp_path, *edits) as house:

            async def says(code: int, text: str) -> None:
                async def said() -> bool:
                    return await asyncio.to_thread(page, house, "readyz") == (code, text)

                await eventually_async(said, within=WITHIN_S, what=f"readyz saying {text}")

            assert (await asyncio.to_thread(send, house, RECEIPTS))[0] == 250
            with without(house, server):  # type: ignore[attr-defined]
                await says(503, "worker-0 delivered_unreadable\nworker-0 delivered_unwritable\n")
                for sender in (RECEIPTS, CAMPAIGN):
                    code, text = await asyncio.to_thread(send, house, sender)
                    assert (code, b"4.3.0 cannot look up who has this message already" in text) == (451, True), text
                assert (await asyncio.to_thread(page, house, "livez"))[0] == 200
                _, metrics = await asyncio.to_thread(page, house, "metrics")
                assert 'izinli_delivered_fault{operation="read"} 1.0' in metrics
                assert 'izinli_delivered_fault{operation="write"} 1.0' in metrics
                assert 'izinli_delivered_failures_total{operation="read"} 2.0' in metrics
                assert len(sink.messages) == 1
            await says(200, "ok\n")
            for sender in (RECEIPTS, CAMPAIGN):
                assert (await asyncio.to_thread(send, house, sender))[0] == 250
            assert len(sink.messages) == 3
