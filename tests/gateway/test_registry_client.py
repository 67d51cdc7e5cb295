"""Handing a rejection in: what counts as recorded, and that nothing else does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from filters.model import Channel
from gateway import limits, registry_client
from gateway.registry_client import RegistryClient, Unrecorded
from tests.conftest import free_port

NUMBER = b"+905550000001"
OK = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{}"


@asynccontextmanager
async def answering(answer: bytes, heard: list[bytes]) -> AsyncIterator[str]:
    """The URL of somebody who says this to each request, and hangs up."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
        heard.append(head + await reader.readexactly(length))
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def hand_in(url: str, brands: list[int] | None = None) -> None:
    await RegistryClient(url, b"\x0f" * 32).reject(brands or [100001], Channel.MESAJ, NUMBER, "HS_MESAJ")


async def test_a_request_says_all_of_it() -> None:
    heard: list[bytes] = []
    async with answering(OK, heard) as url:
        await hand_in(url + "/prefix/")
    head, body = heard[0].split(b"\r\n\r\n", 1)
    assert head.startswith(b"POST /prefix/internal/rejections HTTP/1.1\r\nHost: 127.0.0.1:")
    assert b"\r\nAuthorization: Bearer " + b"0f" * 32 + b"\r\n" in head
    assert json.loads(body) == {
        "brands": [100001], "channel": "MESAJ", "recipient": "+905550000001", "source": "HS_MESAJ"
    }  # fmt: skip


async def test_many_brands_go_in_several_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry_client, "BRANDS_MAX", 2)
    heard: list[bytes] = []
    async with answering(OK, heard) as url:
        await hand_in(url, [1, 2, 3])
    assert [json.loads(one.split(b"\r\n\r\n", 1)[1])["brands"] for one in heard] == [[1, 2], [3]]


@pytest.mark.parametrize(
    "answer",
    [
        *(b"HTTP/1.1 %d X\r\n\r\n" % status for status in (100, 201, 204, 302, 400, 401, 404, 500, 503)),
        *(b"", b"HTTP/1.1 200 OK", b"\r\n", b"200 OK\r\n", b"HTTP/1.1\r\n", b"HTTP/1.1 OK\r\n", b"SSH-2.0-x\r\n"),
        b"HTTP/1.1 200" + b"x" * limits.MO_STATUS_LINE_OCTETS_MAX * 2,
    ],
)
async def test_i5_nothing_but_200_is_a_record(answer: bytes) -> None:
    async with answering(answer, []) as url:
        with pytest.raises(Unrecorded) as raised:
            await hand_in(url)
    assert "555" not in str(raised.value)


async def test_i5_nobody_there_is_no_record() -> None:
    with pytest.raises(Unrecorded):
        await hand_in(f"http://127.0.0.1:{free_port()}")


async def test_a_registry_behind_tls_is_verified() -> None:
    async with answering(OK, []) as url:
        with pytest.raises(Unrecorded):
            await hand_in(url.replace("http://", "https://"))
