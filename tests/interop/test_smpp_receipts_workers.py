"""The receipts of a split message at two worker processes, one of which is killed in between; smpplib hears the end."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import smpplib.client
import smpplib.exceptions

from gateway.config import Address
from tests.conftest import eventually_async
from tests.gateway.smpp.folding import LONG, nothing_more, receipt_body, submitted, tell
from tests.gateway.smpp.support import DELIVER
from tests.interop.test_long_sms_workers import bound_at, two_workers, workers

pytestmark = pytest.mark.interop

ROK = 0


def bound(door: Address, password: str) -> Any:
    """smpplib's client, as a receiver."""
    client = smpplib.client.Client(*door, timeout=30, allow_unknown_opt_params=True)
    client.connect()
    client.bind_receiver(system_id="marka", password=password)
    return client


def heard(client: Any) -> Any:
    """The next receipt that it gets, and answers."""
    got: list[Any] = []
    client.set_message_received_handler(lambda pdu: got.append(pdu))
    while not got:
        client.read_once()
    return got[0]


async def test_a_worker_is_killed_between_the_receipts(tmp_path: Path) -> None:
    async with two_workers(tmp_path) as chain:
        await asyncio.to_thread(chain.esme.close)
        await eventually_async(lambda: not chain.smsc.sessions, within=60, what="the end of the first bind")
        chain.smsc.behaviour.receipts = False
        door, password = chain.house.config.listeners[1].bind, chain.house.config.accounts[b"marka"].password.decode()
        assert isinstance(door, Address)
        async with bound_at(chain, 0) as one:
            fields = {"source": b"ORNEKMARKET", "dest": b"905550000001", "registered": 1}
            told, segments = await submitted(chain.smsc, one, LONG, **fields)
            assert await tell(chain.smsc, segments[1], "UNDELIV", error="011") == ROK
            await nothing_more(one)
            os.kill(workers(chain)[0], signal.SIGKILL)
            await eventually_async(lambda: not chain.smsc.sessions, within=60, what="the end of the killed bind")

            async def again() -> bool:
                try:
                    clients.append(await asyncio.to_thread(bound, door, password))
                except (OSError, smpplib.exceptions.ConnectionError, smpplib.exceptions.PDUError):
                    return False  # it fell to the dead one, which is not up again yet
                return True

            clients: list[Any] = []
            await eventually_async(again, within=60, what="a bind at a worker that lives")
            (client,) = clients
            await eventually_async(lambda: len(chain.smsc.sessions) == 1, within=60, what="its bind at the SMSC")
            before = len(chain.smsc.answered)
            chain.smsc.sessions[0].ask(DELIVER, receipt_body(segments[0]))
            receipt = await asyncio.to_thread(heard, client)
            assert receipt.receipted_message_id.rstrip(b"\0") == told.encode()
            assert receipt.short_message.startswith(f"id:{told} sub:001 dlvrd:000 ".encode())
            assert b"stat:UNDELIV err:011" in receipt.short_message
            assert receipt.message_state == 5
            await eventually_async(lambda: len(chain.smsc.answered) > before, within=90, what="its answer")
            assert chain.smsc.answered[before][1] == ROK
            await asyncio.to_thread(client.disconnect)
