"""A next hop that is slow: the client has its answer in time, and what is taken later is not sent again.

And the dots of a transaction, which wait for each other, but not for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from filters.model import Kind, RecipientType, Sealed, Stream
from gateway import limits
from gateway.smtp import upstream as pool
from gateway.smtp.delivered import Fate
from tests.conftest import eventually_async
from tests.faults.doomed_hop import DoomedHop
from tests.gateway.smtp.hop import HANG, HANG_UP, Hop
from tests.gateway.smtp.pool import Letter, answers, pooled
from tests.gateway.smtp.support import BRAND, STREAMS, House, fate, house

WITHIN_S = 60.0
SENDER = b"a@campaign.example.test"
TEXT = b"Message-ID: <1@campaign.example.test>\r\nSubject: x\r\n\r\nbody\r\n"
NAMES = ["a@example.test", "b@example.test", "c@example.test"]
PATHS = [name.encode() for name in NAMES]


@asynccontextmanager
async def timely(monkeypatch: pytest.MonkeyPatch, directory: Path, hop: DoomedHop, **keys: int) -> AsyncIterator[House]:
    """A house with little time for each message."""
    monkeypatch.setattr(limits, "SMTP_DELIVERY_S", 4.0)
    monkeypatch.setattr(limits, "SMTP_SWEEP_S", 0.02)
    async with house(directory, hop.port, hop=keys) as gate:
        yield gate


async def test_what_is_taken_late_without_a_notice_is_counted_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    sealed = Stream("s", BRAND, Kind.COMMERCIAL, RecipientType.BIREYSEL, "relay", signed_mail=Sealed.HEADERS)
    monkeypatch.setitem(STREAMS, b"campaign.example.test", sealed)
    content = b"Content-Type: multipart/signed; boundary=x\r\n\r\n--x\r\n\r\nmetin\r\n--x--\r\n"
    async with (
        DoomedHop(silent=set(NAMES)) as hop,
        timely(monkeypatch, tmp_path, hop, connections_max=6) as gate,
        gate.client() as client,
    ):
        assert (await client.send(content, *PATHS))[0] == 451
        assert gate.metrics.header_only["signed"] == 0
        hop.go_on()
        await eventually_async(lambda: gate.metrics.header_only["signed"] == 3, within=WITHIN_S, what="the late copies")
        assert (await client.send(content, *PATHS))[1][:22] == b"2.0.0 delivered before"
        assert gate.metrics.header_only == {"signed": 3, "encrypted": 0}


async def test_i2_what_is_taken_late_is_not_sent_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async with (
        DoomedHop(silent=set(NAMES)) as hop,
        timely(monkeypatch, tmp_path, hop, connections_max=6) as gate,
        gate.client() as client,
    ):
        assert await client.send(TEXT, *PATHS) == (451, pool.LATE.text + b" id=id1")
        assert [await fate(gate.door.delivered, SENDER, path, TEXT) for path in PATHS] == [Fate.UNDER_WAY] * 3
        code, text = await client.send(TEXT, *PATHS)
        assert (code, text[:22]) == (451, b"4.4.2 an earlier try f")
        hop.go_on()

        async def remembered() -> bool:
            return [await fate(gate.door.delivered, SENDER, path, TEXT) for path in PATHS] == [Fate.TAKEN] * 3

        await eventually_async(remembered, within=WITHIN_S, what="what was taken late")
        assert (await client.send(TEXT, *PATHS))[1][:22] == b"2.0.0 delivered before"
        assert hop.counts() == dict.fromkeys(NAMES, 1)
        assert gate.metrics.protocol_errors[("smtp", "next_hop_timeout")] == 3


@pytest.mark.parametrize("reply", [b"452 4.2.2 full", b""], ids=["refused", "cut off"])
async def test_what_is_not_taken_late_is_sent_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, reply: bytes
) -> None:
    async with (
        DoomedHop(silent={NAMES[1]}) as hop,
        timely(monkeypatch, tmp_path, hop, connections_max=6) as gate,
        gate.client() as client,
    ):
        assert (await client.send(TEXT, *PATHS))[0] == 451
        monkeypatch.setattr(limits, "SMTP_DELIVERY_S", 90.0)
        if reply:
            hop.go_on(reply)
        else:
            hop.kill()
            hop.silent.clear()
            await hop.live_again()

        async def taken() -> bool:
            return (await client.send(TEXT, *PATHS))[0] == 250

        await eventually_async(taken, within=WITHIN_S, what="the rest being taken")
        assert hop.counts() == dict.fromkeys(NAMES, 1)


async def test_i7_half_of_the_connections_may_wait_for_late_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SMTP_SWEEP_S", 0.02)
    async with Hop(script={"DOT": [HANG] * 4}) as hop, pooled(hop.port, connections_max=4) as upstream:
        letters = [Letter(deadline=asyncio.get_running_loop().time() + 0.3) for _ in range(4)]
        assert await answers(upstream, *letters) == [pool.LATE] * 4
        await eventually_async(lambda: sum(len(one.late_replies) for one in letters) == 2, within=WITHIN_S)
        assert sorted(map(str, (one.late_replies for one in letters)))[:2] == [str([pool.LOST])] * 2
        await eventually_async(lambda: len(hop.open) == 2, within=WITHIN_S, what="two connections let go")
        assert (await answers(upstream, Letter()))[0].code == 250


async def test_i7_nobody_waits_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SMTP_SWEEP_S", 0.02)
    monkeypatch.setattr(limits, "SMTP_LATE_S", 0.3)
    async with Hop(script={"DOT": [HANG]}) as hop, pooled(hop.port) as upstream:
        letter = Letter(deadline=asyncio.get_running_loop().time() + 0.1)
        assert await answers(upstream, letter) == [pool.LATE]
        await eventually_async(lambda: letter.late_replies == [pool.LOST], within=WITHIN_S)
        assert letter.replies == [pool.LATE], "answered once"


async def test_a_pool_that_closes_says_so_to_those_who_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SMTP_SWEEP_S", 0.02)
    letter = Letter(deadline=0.0)
    async with Hop(script={"DOT": [HANG]}) as hop, pooled(hop.port) as upstream:
        letter.deadline = asyncio.get_running_loop().time() + 0.1
        assert await answers(upstream, letter) == [pool.LATE]
    assert letter.late_replies == [pool.LOST]


def test_the_last_answer_comes_before_postfix_gives_up() -> None:
    """`smtpd_proxy_timeout` is 100 s: a deadline, a dot that was held as it passed, and how late both are noticed."""
    latest_s = limits.SMTP_DELIVERY_S + limits.SMTP_DOT_HELD_S + 2 * limits.SMTP_SWEEP_S
    assert latest_s < 100.0
    assert latest_s < limits.DRAIN_S, "and before a drain ends"


async def test_a_notification_has_no_time_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One copy refused, one taken, and the next hop is silent when it has the report: the client has its answer."""
    monkeypatch.setattr(limits, "SMTP_DELIVERY_S", 2.0)
    monkeypatch.setattr(limits, "SMTP_SWEEP_S", 0.02)
    script = {"RCPT": [b"550 5.1.1 unknown\r\n"], "DOT": [b"250 2.0.0 queued\r\n", HANG]}
    async with Hop(script=script) as hop, house(tmp_path, hop.port) as gate, gate.client() as client:
        assert (await client.send(TEXT, *PATHS[:2]))[0] == 451


# The dots.


async def test_no_dot_before_all_are_granted_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last copy's DATA is not answered: none of the others is sent to its end."""
    monkeypatch.setattr(limits, "SMTP_DOT_HELD_S", 50.0)
    async with (
        Hop(script={"DATA": [b"354 go on\r\n", b"354 go on\r\n", HANG]}) as hop,
        house(tmp_path, hop.port) as gate,
        gate.client() as client,
    ):
        commands = [b"MAIL FROM:<%b>" % SENDER, *(b"RCPT TO:<%b>" % path for path in PATHS), b"DATA"]
        assert set(await client.converse(*commands)) == {250, 354}
        client.writer.write(TEXT + b".\r\n")
        await eventually_async(lambda: len(gate.door.upstreams["relay"]._holding) == 2, within=WITHIN_S)
        assert hop.received == []
        await hop.stop()
        assert (await client.hear())[0] == 451
        assert hop.received == []
        await hop.start()

        async def taken() -> bool:
            return (await client.send(TEXT, *PATHS))[0] == 250

        await eventually_async(taken, within=WITHIN_S, what="the retry")
        assert len(hop.received) == 3


async def test_a_dot_does_not_wait_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SMTP_SWEEP_S", 0.02)
    monkeypatch.setattr(limits, "SMTP_DOT_HELD_S", 0.1)
    async with Hop(script={"RCPT": [HANG]}) as hop, house(tmp_path, hop.port) as gate, gate.client() as client:
        commands = [b"MAIL FROM:<%b>" % SENDER, *(b"RCPT TO:<%b>" % path for path in PATHS), b"DATA"]
        assert set(await client.converse(*commands)) == {250, 354}
        client.writer.write(TEXT + b".\r\n")
        await eventually_async(lambda: len(hop.received) == 2, within=WITHIN_S, what="the dots of the others")
        await hop.stop()
        assert (await client.hear())[0] == 451


async def test_dots_do_not_wait_for_copies_that_wait_for_their_connections(tmp_path: Path) -> None:
    """Two transactions share a pool that is too small for either."""
    recipients = [b"r%d@example.test" % number for number in range(15)]
    keys = {"connections_max": 4}
    async with Hop() as hop, house(tmp_path, hop.port, hop=keys) as gate, gate.client() as one, gate.client() as other:
        began = asyncio.get_running_loop().time()
        codes = await asyncio.gather(one.send(TEXT, *recipients), other.send(TEXT + b"\r\n", *recipients))
        assert [code for code, _ in codes] == [250, 250]
        assert len(hop.received) == 30
        assert asyncio.get_running_loop().time() < began + limits.SMTP_DELIVERY_S


async def test_what_is_taken_early_is_written_down_before_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Should this worker be killed before the last answer, another one knows of the others."""
    monkeypatch.setattr(limits, "SMTP_DELIVERED_EARLY_S", 0.02)
    async with (
        DoomedHop(silent={NAMES[2]}) as hop,
        house(tmp_path, hop.port) as gate,
        house(tmp_path, hop.port) as sibling,
        gate.client() as client,
    ):
        commands = [b"MAIL FROM:<%b>" % SENDER, *(b"RCPT TO:<%b>" % path for path in PATHS), b"DATA"]
        assert set(await client.converse(*commands)) == {250, 354}
        client.writer.write(TEXT + b".\r\n")

        async def known() -> bool:
            fates = [await fate(sibling.door.delivered, SENDER, path, TEXT) for path in PATHS]
            return fates == [Fate.TAKEN, Fate.TAKEN, None]

        await eventually_async(known, within=WITHIN_S, what="what was taken early")
        hop.go_on()
        assert (await client.hear())[0] == 250

        async def forgotten() -> bool:
            fates = [await fate(sibling.door.delivered, SENDER, path, TEXT) for path in PATHS]
            return fates == [None] * 3

        await eventually_async(forgotten, within=WITHIN_S, what="an end that the client knows")


async def test_a_client_that_comes_back_too_early_is_told_to_wait(tmp_path: Path) -> None:
    async with DoomedHop(silent=set(NAMES)) as hop, house(tmp_path, hop.port) as gate:
        async with gate.client() as client:
            commands = [b"MAIL FROM:<%b>" % SENDER, *(b"RCPT TO:<%b>" % path for path in PATHS), b"DATA"]
            assert set(await client.converse(*commands)) == {250, 354}
            client.writer.write(TEXT + b".\r\n")
            await eventually_async(lambda: len(hop.waiting) == 3, within=WITHIN_S, what="copies under way")
        await eventually_async(lambda: all(one.gone for one in gate.door.sessions), within=WITHIN_S)
        async with gate.client() as again:
            assert (await again.send(TEXT, *PATHS))[1][:22] == b"4.4.2 an earlier try f"
            hop.go_on()

            async def over() -> bool:
                return (await again.send(TEXT, *PATHS))[1][:22] == b"2.0.0 delivered before"

            await eventually_async(over, within=WITHIN_S, what="the first try's end")
        assert hop.counts() == dict.fromkeys(NAMES, 1)


async def test_a_client_that_left_may_send_again_what_was_not_taken(tmp_path: Path) -> None:
    async with Hop(always={"DOT": HANG_UP}) as hop, house(tmp_path, hop.port) as gate:
        hop.script["DOT"] = [HANG]
        async with gate.client() as client:
            commands = [b"MAIL FROM:<%b>" % SENDER, b"RCPT TO:<%b>" % PATHS[0], b"DATA"]
            assert set(await client.converse(*commands)) == {250, 354}
            client.writer.write(TEXT + b".\r\n")
            await eventually_async(lambda: b"DATA" in hop.commands, within=WITHIN_S)
        await eventually_async(lambda: all(one.gone for one in gate.door.sessions), within=WITHIN_S)
        hop.always.clear()
        hop.hang_up()
        async with gate.client() as again:

            async def taken() -> bool:
                return (await again.send(TEXT, PATHS[0]))[0] == 250

            await eventually_async(taken, within=WITHIN_S, what="the retry being sent")
        assert len(hop.received) == 1
