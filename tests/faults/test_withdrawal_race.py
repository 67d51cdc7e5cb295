"""Ten thousand withdrawals while two gateways ask about nothing else: none passes after its acknowledgement (I5)."""

from __future__ import annotations

import asyncio
import time
from array import array
from pathlib import Path
from statistics import median

import pytest

from tests.conftest import eventually
from tests.faults.asker import DEFERRED, LISTED, Board, Heard, started
from tests.faults.support import WITHIN_S, House, take_snapshot

pytestmark = pytest.mark.interop

GATEWAYS = 2
GRANT_EVERY = 100  # withdrawals
ENOUGH = 1000  # answers, before it begins


@pytest.mark.parametrize(("servers", "withdrawals"), [("redis_server", 10_000), ("redis_cluster", 2_000)])
def test_i5_no_question_after_an_acknowledgement_is_answered_with_a_consent(
    servers: str, withdrawals: int, tmp_path: Path, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    url: str = request.getfixturevalue(servers).url
    coming = range(withdrawals, withdrawals + withdrawals // GRANT_EVERY)
    board, machine, granted_ns = Board(GATEWAYS), tmp_path / "machine", array("q")
    with House(tmp_path, url) as house:
        house.settle(range(withdrawals), strangers=coming)
        asyncio.run(take_snapshot(url, machine))
        with house.publishing():
            askers = [started(board, number, url, machine, withdrawals, coming) for number in range(GATEWAYS)]
            eventually(lambda: min(board.answers) >= ENOUGH, within=WITHIN_S, what="gateways that ask")
            begun = time.monotonic()
            for who in range(withdrawals):
                if who % GRANT_EVERY == 0:
                    house.grant(coming[len(granted_ns)])
                    granted_ns.append(time.monotonic_ns())
                    board.granted.value = len(granted_ns)
                assert house.withdraw(who)
                board.withdrawn.value = who + 1
            took_s = time.monotonic() - begun
            board.over.value = 1
            for asker in askers:
                asker.join(WITHIN_S)
                assert asker.exitcode == 0, f"{asker} still waits for an answer, or for a consent to count"
        acknowledged_ns = array("q", map(house.acknowledged_ns, range(withdrawals)))

    heard = [Heard.read(machine, number) for number in range(GATEWAYS)]
    with capsys.disabled():
        print(f"\n  {servers}: {withdrawals} withdrawals in {took_s:.1f} s")
        for one in heard:
            print(f"  {no_late_pass(one, acknowledged_ns)}")
        print(f"  a consent counts everywhere after {counting(heard, coming, granted_ns)}")


def no_late_pass(heard: Heard, acknowledged_ns: array[int]) -> str:
    """Nobody was listed for a question that was asked after the acknowledgement, and everybody was asked about then."""
    late: list[tuple[int, int]] = []
    after, before, close, deferred = array("i", bytes(4 * len(acknowledged_ns))), 0, 0, 0
    for asked_ns, who, answer in zip(heard.asked_ns, heard.who, heard.answer, strict=True):
        if answer == DEFERRED:
            deferred += 1
        elif who < len(acknowledged_ns):
            gap_ns = asked_ns - acknowledged_ns[who]
            if gap_ns < 0:
                before += answer == LISTED
                continue
            after[who] += 1
            close += gap_ns < 2_000_000
            if answer == LISTED:
                late.append((who, gap_ns))
    assert late == []
    assert min(after) > 0, "not everybody was asked about after the acknowledgement: nothing was proven"
    assert before >= len(after), "hardly anybody was listed before the acknowledgement: nothing was proven"
    return (
        f"{len(heard.who)} answers, {sum(after)} after the acknowledgement ({close} within 2 ms), {deferred} deferred"
    )


def counting(heard: list[Heard], coming: range, granted_ns: array[int]) -> str:
    """How long it took until a consent that was recorded was listed in each gateway."""
    first: list[dict[int, int]] = [{} for _ in heard]
    for one, seen in zip(heard, first, strict=True):
        for asked_ns, who, answer in zip(one.asked_ns, one.who, one.answer, strict=True):
            if who >= coming.start and answer == LISTED:
                seen.setdefault(who, asked_ns)
    waits = [(max(seen[who] for seen in first) - at_ns) / 1e9 for who, at_ns in zip(coming, granted_ns, strict=True)]
    return f"{median(waits):.2f} s (median), {max(waits):.2f} s (most) of {len(waits)}"
