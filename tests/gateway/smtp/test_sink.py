"""The capture next hop of the demonstration, with the standard library's client."""

from __future__ import annotations

import asyncio
import smtplib

import pytest

from gateway.demo.sink import VANISH, Captured, Sink, Stage

CONTENT = b"Subject: x\r\n\r\n.dot\r\n\xc3\xa7\r\n"


def send(port: int, *recipients: str) -> dict[str, tuple[int, bytes]]:
    with smtplib.SMTP("127.0.0.1", port, timeout=60) as client:
        return client.sendmail("a@example.test", list(recipients), CONTENT, ["BODY=8BITMIME"])


async def test_it_keeps_what_it_is_given() -> None:
    async with Sink() as sink:
        assert await asyncio.to_thread(send, sink.port, "b@example.test", "c@example.test") == {}
        (captured,) = sink.messages
        assert captured == Captured(
            "a@example.test", ("b@example.test", "c@example.test"), captured.mail_options, CONTENT
        )
        assert "BODY=8BITMIME" in captured.mail_options
        assert captured.header(b"subject") == b"x"
        assert captured.header(b"absent") is None


@pytest.mark.parametrize("stage", Stage)
async def test_it_refuses_and_vanishes_where_it_is_told_to(stage: Stage) -> None:
    async with Sink() as sink:
        sink.answers[stage] = "451 4.7.0 not now"
        with pytest.raises(smtplib.SMTPException):
            await asyncio.to_thread(send, sink.port, "b@example.test")
        sink.answers[stage] = VANISH
        with pytest.raises((smtplib.SMTPServerDisconnected, OSError)):
            await asyncio.to_thread(send, sink.port, "b@example.test")
        assert sink.messages == []
        sink.answers.clear()
        await asyncio.to_thread(send, sink.port, "b@example.test")
        assert len(sink.messages) == 1


async def test_one_recipient_can_be_refused() -> None:
    async with Sink() as sink:
        sink.recipients["c@example.test"] = "550 5.1.1 unknown"
        refused = await asyncio.to_thread(send, sink.port, "b@example.test", "c@example.test")
        assert refused == {"c@example.test": (550, b"5.1.1 unknown")}


async def test_it_can_be_stopped_and_started_on_the_same_port() -> None:
    sink = Sink()
    await sink.start()
    port = sink.port
    await sink.stop()
    with pytest.raises(OSError):
        await asyncio.to_thread(send, port, "b@example.test")
    async with sink:
        assert sink.port == port
        await asyncio.to_thread(send, port, "b@example.test")
