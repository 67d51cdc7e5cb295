"""Parts of one long message at several workers: each has a table of its own, and none knows of the others' parts.

Two doors before one SMSC know as little of each other as two processes do; `tests.interop` has the processes.
"""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest

from gateway import limits
from tests.conftest import eventually_async
from tests.gateway.smpp.long_messages import WHOLE, part_of, places, send, statuses
from tests.gateway.smpp.support import BLOCKED, CANONICAL, SUBMIT, house, notice_of, smsc

ROK, SUBMITFAIL = 0, 0x45
FOR_EVER, HARDLY = 3600.0, 0.01
WAYS = [(0, 1, 0), (0, 0, 1), (1, 0, 0), (0, 1, 2)]
"""Which worker has the first part, the second, the third."""


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 2, 1)])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ["udh8", "sar"])
async def test_each_worker_puts_the_same_total_into_its_parts(
    kind: str, way: tuple[int, ...], order: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SMPP_PARTS_S", HARDLY)
    async with smsc() as centre, AsyncExitStack() as stack:
        gates = [await stack.enter_async_context(house(centre.port)) for _ in set(way)]
        clients = [await stack.enter_async_context(gate.client()) for gate in gates]
        asked = [(clients[way[n - 1]], clients[way[n - 1]].ask(SUBMIT, part_of(n, kind=kind))) for n in order]
        for client in clients:
            sequences = [sequence for one, sequence in asked if one is client]
            assert await statuses(client, sequences) == [ROK] * len(sequences)
        assert {place and place[:2] for place in places(centre)} == {(7, 4)}
        assert sorted(place[2] for place in places(centre) if place) == [1, 2, 3] + [4] * len(gates)
        assert centre.take_texts() == [WHOLE + notice_of()], "with one notice, however often that part came"


async def test_all_parts_at_one_worker_and_one_of_them_again_at_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that lost an answer with its connection sends the part again: it cannot spoil the message."""
    monkeypatch.setattr(limits, "SMPP_PARTS_S", FOR_EVER)
    async with smsc() as centre, house(centre.port) as one, house(centre.port) as other:
        async with one.client() as client:
            sequences = [client.ask(SUBMIT, part_of(n)) for n in (1, 2, 3)]
            assert await statuses(client, sequences) == [ROK] * 3
        assert centre.take_texts() == [WHOLE + notice_of()]
        monkeypatch.setattr(limits, "SMPP_PARTS_S", HARDLY)
        async with other.client() as client:
            assert await send(client, part_of(2)) == [ROK]
        assert places(centre)[3:] == [(7, 4, 4), (7, 4, 2)]
        assert centre.take_texts() == []


async def test_i5_a_withdrawal_between_two_workers_counts_at_the_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SMPP_PARTS_S", HARDLY)
    async with smsc() as centre, house(centre.port) as one, house(centre.port) as other:
        async with one.client() as client:
            assert await send(client, part_of(1), part_of(2)) == [ROK] * 2
        other.judge.verdicts[CANONICAL] = BLOCKED
        async with other.client() as client:
            assert await send(client, part_of(3)) == [SUBMITFAIL]
        assert centre.take_texts() == []


async def test_a_client_that_is_lost_in_the_middle_goes_on_at_another_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it was not answered it sends again, elsewhere; what was sent and not answered came twice."""
    monkeypatch.setattr(limits, "SMPP_PARTS_S", HARDLY)
    async with smsc() as centre, house(centre.port) as one, house(centre.port) as other:
        async with one.client() as client:
            assert await send(client, part_of(1)) == [ROK]
            centre.behaviour.holding = True
            client.ask(SUBMIT, part_of(2))
            await eventually_async(lambda: len(centre.messages) == 3, within=90)
        centre.behaviour.holding = False
        centre.held.clear()
        await eventually_async(lambda: not one.door.sessions, within=90)
        async with other.client() as client:
            assert await send(client, part_of(2), part_of(3)) == [ROK] * 2
        assert {place and place[:2] for place in places(centre)} == {(7, 4)}
        assert centre.take_texts() == [WHOLE + notice_of()]
