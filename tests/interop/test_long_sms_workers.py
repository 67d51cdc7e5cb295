"""The parts of one long SMS at two worker processes, which share nothing but the index and the SMSC."""

from __future__ import annotations

import asyncio
import os
import signal
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from tests.conftest import eventually_async
from tests.gateway.smpp.long_messages import WHOLE, part_of, places, statuses
from tests.gateway.smpp.support import SUBMIT, Client
from tests.interop.test_end_to_end_sms import LINK, Chain, chained

pytestmark = pytest.mark.interop

ROK, SUBMITFAIL = 0, 0x45
CONSENTED, STRANGER = b"905550000001", b"905550000009"


@asynccontextmanager
async def two_workers(directory: Path) -> AsyncIterator[Chain]:
    """Both answer."""
    async with chained(directory, ("workers = 1 ", "workers = 2 ")) as chain:

        async def both_answer() -> bool:
            page = await asyncio.to_thread(urllib.request.urlopen, f"{chain.house.url('gateway')}/metrics", timeout=60)
            return b"izinli_workers_up 2.0" in page.read()

        await eventually_async(both_answer, within=60, what="two workers")
        yield chain


@asynccontextmanager
async def bound_at(chain: Chain, worker: int) -> AsyncIterator[Client]:
    """A bind that this one of two workers has: the other stands still meanwhile."""
    account = chain.house.config.accounts[b"marka"]
    door = chain.house.config.listeners[1].bind
    with stopped(workers(chain)[1 - worker]):
        reader, writer = await asyncio.open_connection(door.host, door.port)
        client = Client(reader, writer)
        answer = await client.bind(password=account.password.decode())
    try:
        assert answer.status == ROK
        yield client
    finally:
        writer.close()


def workers(chain: Chain) -> list[int]:
    """Their process ids; the supervisor starts them first."""
    supervisor = chain.house.pid("gateway")
    return [int(child) for child in Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()][:2]


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


async def test_the_handset_gets_one_whole_message_with_its_notice(tmp_path: Path) -> None:
    async with two_workers(tmp_path) as chain, bound_at(chain, 0) as one, bound_at(chain, 1) as other:
        fields = {"source": b"ORNEKMARKET", "dest": CONSENTED}
        for reference, order in enumerate([(1, 2, 3), (3, 2, 1), (2, 1, 3)]):
            seen = len(chain.smsc.messages)
            at_one = [one.ask(SUBMIT, part_of(n, reference=reference, **fields)) for n in order if n != 2]
            at_other = [other.ask(SUBMIT, part_of(2, reference=reference, **fields))]
            assert await statuses(one, at_one) + await statuses(other, at_other) == [ROK] * 3
            came = places(chain.smsc)[seen:]
            assert sorted(came, key=str) == [(reference, 4, n) for n in (1, 2, 3, 4, 4)], "one notice from each worker"
            (text,) = await chain.taken()
            assert text.startswith(f"{WHOLE} Ornek Market Mersis 0123456789000015 RET http://")
            assert LINK.search(text)


async def test_i1_both_refuse_it_without_consent(tmp_path: Path) -> None:
    async with two_workers(tmp_path) as chain, bound_at(chain, 0) as one, bound_at(chain, 1) as other:
        fields = {"source": b"ORNEKMARKET", "dest": STRANGER}
        asked = [(client, client.ask(SUBMIT, part_of(n, **fields))) for n, client in enumerate((one, other, one), 1)]
        for client in (one, other):
            sequences = [sequence for whose, sequence in asked if whose is client]
            assert await statuses(client, sequences) == [SUBMITFAIL] * len(sequences)
        assert chain.smsc.messages == []
        assert [line["outcome"] for line in chain.house.decisions()] == ["block"] * 2, "one line at each worker"
