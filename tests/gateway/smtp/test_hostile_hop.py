"""A next hop that breaks the protocol: a defined answer, bounded memory, and the other host's messages undisturbed."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gateway import limits
from gateway.config import Address
from gateway.smtp import upstream as pool
from tests.conftest import eventually_async
from tests.gateway.smtp.hop import HANG, HANG_UP, Hop
from tests.gateway.smtp.pool import Letter, answers, at_any, counted, pooled

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]


@asynccontextmanager
async def talking(talk: Talk) -> AsyncIterator[int]:
    """A server on a port of 127.0.0.1 that says what `talk` says, for as long as somebody listens."""
    talks: set[asyncio.Task[Any] | None] = set()  # the loop itself holds them weakly, and one may wait for nothing

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talks.add(asyncio.current_task())
        try:
            await talk(reader, writer)
        except ConnectionError:
            return  # it is cut off in mid-sentence: that is what is tested
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def flood(writer: asyncio.StreamWriter, octets: bytes, times: int) -> None:
    for _ in range(times):
        writer.write(octets)
        await writer.drain()


@pytest.mark.parametrize(
    ("octets", "why"),
    [
        (b"220" + b"x" * 65533, "long_reply"),
        (b"220-x\r\n" * 9000, "long_reply"),
        (b"\0" * 65536, "long_reply"),
        (b"\r\n" * 32768, "malformed_reply"),
    ],
)
async def test_i7_ten_megabytes_of_banner(octets: bytes, why: str) -> None:
    async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await flood(writer, octets, 160)

    async with talking(talk) as port, at_any(Address("127.0.0.1", port)) as (upstream, metrics):
        tracemalloc.start()
        try:
            assert await answers(upstream, Letter()) == [pool.UNREACHABLE]
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert counted(metrics) == {why: 1}
        assert peak < 5_000_000


async def test_a_banner_of_one_octet_at_a_time_does_not_stretch_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SMTP_CONNECT_S", 0.3)

    async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await flood(writer, b"220-x\r\n"[:1], 1)
            await asyncio.sleep(0.02)

    async with talking(talk) as port, at_any(Address("127.0.0.1", port)) as (upstream, metrics):
        assert await answers(upstream, Letter()) == [pool.UNREACHABLE]
        assert counted(metrics) == {"timeout": 1}


@pytest.mark.parametrize("step", ["MAIL", "RCPT", "DATA", "DOT"])
@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"250-never\r\n" * 200, "long_reply"),
        (b"2" * 5000, "long_reply"),
        (b"hello\r\n", "malformed_reply"),
        (b"\0\0\0\r\n", "malformed_reply"),
        (b"999 what\r\n", "malformed_reply"),
        (b"421 4.3.2 going down\r\n", "closing"),
        (HANG_UP, "closed"),
    ],
)
async def test_i4_nonsense_at_any_step_is_temporary(step: str, said: bytes, why: str) -> None:
    async with Hop(script={step: [said]}) as hop, at_any(Address("127.0.0.1", hop.port)) as (upstream, metrics):
        (reply,) = await answers(upstream, Letter())
        if (step, why) == ("DOT", "closing"):
            assert reply.code == 421, "its own answer; the client is told 451"
            assert counted(metrics) == {}
        else:
            assert reply == pool.LOST
            assert counted(metrics) == {why: 1}
        assert (await answers(upstream, Letter()))[0].code == 250, "a fresh connection, at once"


@pytest.mark.parametrize("step", ["MAIL", "RCPT", "DATA"])
@pytest.mark.parametrize("pipelining", [True, False])
async def test_i2_a_grant_out_of_place_is_no_success(step: str, pipelining: bool) -> None:
    said = b"250 queued\r\n" if step == "DATA" else b"354 go on\r\n"
    keywords = [b"PIPELINING"] if pipelining else [b"DSN"]
    async with Hop(keywords=keywords, script={step: [said]}) as hop, pooled(hop.port) as upstream:
        assert await answers(upstream, Letter()) == [pool.LOST]
        assert hop.received == []


async def test_i2_an_answer_before_the_content_is_no_success() -> None:
    """354 and 250 in one breath: the 250 cannot be about a message that it has not seen."""
    script = {"DATA": [b"354 go on\r\n250 2.0.0 queued\r\n"]}
    async with Hop(script=script) as hop, at_any(Address("127.0.0.1", hop.port)) as (upstream, metrics):
        assert await answers(upstream, Letter()) == [pool.LOST]
        assert hop.received == []
        assert counted(metrics) == {"unsolicited": 1}


async def test_354_then_the_end() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for said in (b"220 hop\r\n", b"250 hop\r\n", b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n"):
            writer.write(said)
            await reader.readline()

    async with talking(talk) as port, at_any(Address("127.0.0.1", port)) as (upstream, metrics):
        assert await answers(upstream, Letter(content=b"x" * 900 + b"\r\n")) == [pool.LOST]
        assert counted(metrics) == {"closed": 1}


@pytest.mark.parametrize("said", [b"220 hop\r\n250 hop\r\n", b"220 hop\r\n220 hop\r\n"])
async def test_a_reply_before_its_command(said: bytes) -> None:
    async with Hop(always={"CONNECT": said}) as hop, at_any(Address("127.0.0.1", hop.port)) as (upstream, metrics):
        assert await answers(upstream, Letter()) == [pool.UNREACHABLE]
        assert counted(metrics) == {"unsolicited": 1}
        assert hop.commands in ([], [b"EHLO localhost"])


async def test_a_next_hop_that_does_not_read_costs_its_own_message_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """It grants DATA and then reads nothing: the content stays in our buffers until the deadline, and no longer."""
    monkeypatch.setattr(limits, "SMTP_SWEEP_S", 0.02)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for said in (b"220 hop\r\n", b"250-hop\r\n250 PIPELINING\r\n", b"250 ok\r\n250 ok\r\n354 go\r\n"):
            writer.write(said)
            await reader.readline()
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.Event().wait()

    async with talking(talk) as port, at_any(Address("127.0.0.1", port)) as (upstream, metrics):
        deadline = asyncio.get_running_loop().time() + 1
        letter = Letter(content=(b"x" * 900 + b"\r\n") * 20_000, deadline=deadline)
        assert await answers(upstream, letter) == [pool.LOST]
        assert counted(metrics) == {"timeout": 1}


async def test_a_hostile_host_does_not_disturb_those_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """While one next hop floods and hangs, messages to another go on."""

    async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await flood(writer, b"220-" + b"x" * 60_000, 1000)

    async with Hop() as good, Hop(always={"MAIL": HANG}) as silent, talking(talk) as loud:
        async with pooled(good.port) as calm, pooled(silent.port) as hung, pooled(loud) as shouted:
            waiting = [Letter(deadline=asyncio.get_running_loop().time() + 100) for _ in range(10)]
            for letter in waiting:
                hung.send(letter)
                shouted.send(Letter(deadline=letter.deadline))
            replies = await answers(calm, *(Letter() for _ in range(200)))
            assert {reply.code for reply in replies} == {250}
            assert [letter.replies for letter in waiting] == [[]] * 10
        await eventually_async(lambda: all(letter.replies for letter in waiting), what="answers at closing")
        assert [letter.replies for letter in waiting] == [[pool.LOST]] * 10
