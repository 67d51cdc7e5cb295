"""What binds cost in memory that say nothing, measured at a worker process of `izinli serve` (promise I7)."""

from __future__ import annotations

import asyncio
from pathlib import Path

from bench.smpp_idle import idle
from gateway.config import Address
from gateway.demo.house import House
from gateway.demo.smsc import BIND_TRANSCEIVER, Smsc
from tests.conftest import accepts, eventually_async

BINDS = 100
MB = 1_000_000
MB_MAX = 40
WITHIN_S = 60.0


def resident(house: House) -> dict[int, int]:
    """By its process id, what each child of the supervisor has in memory, in octets."""
    supervisor = house.pid("gateway")
    found = {}
    for child in Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split():
        status = Path(f"/proc/{child}/status").read_text()
        found[int(child)] = int(status.split("VmRSS:")[1].split()[0]) * 1024
    return found


async def test_i7_a_hundred_idle_binds_each_with_its_mirror(tmp_path: Path) -> None:
    house = House(tmp_path, [("# binds_max = 16", f"binds_max = {BINDS + 1}")])
    account = house.config.accounts[b"marka"]
    login = account.system_id.decode(), account.password.decode()
    at_smsc = account.upstream_system_id.decode(), account.upstream_password.decode()
    door = next(one.bind for one in house.config.listeners if one.protocol == "smpp")
    assert isinstance(door, Address)

    def measure() -> tuple[dict[int, int], dict[int, int], list[int]]:
        with idle(door.port, login, 1):  # what is loaded with the first bind is not a bind's
            before = resident(house)
            with idle(door.port, login, BINDS):
                return before, resident(house), [session.bound_as for session in centre.sessions]

    async with Smsc(dict([at_smsc]), house.config.upstreams["smsc"].hosts[0].port) as centre:
        try:
            house.start("gateway")
            await eventually_async(lambda: accepts(door.port), within=WITHIN_S, what="the door stands")
            before, after, bound_as = await asyncio.to_thread(measure)
            assert bound_as == [BIND_TRANSCEIVER] * (BINDS + 1)
            await eventually_async(lambda: not centre.sessions, within=WITHIN_S, what="the mirrors are gone too")
        finally:
            await asyncio.to_thread(house.close)
    assert before.keys() == after.keys()
    assert max(after[child] - before[child] for child in before) <= MB_MAX * MB
