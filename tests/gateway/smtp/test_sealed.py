"""Signed and encrypted mail through the door: what the stream says happens, and why something is refused is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from filters.model import Kind, Reason, RecipientType, Sealed, Stream
from tests.gateway.smtp.hop import Hop
from tests.gateway.smtp.support import BRAND, STREAMS, house

SIGNED = b"Content-Type: multipart/signed; boundary=x\r\n\r\n--x\r\n\r\nmetin\r\n--x\r\n\r\nimza\r\n--x--\r\n"
ENCRYPTED = b"Content-Type: application/pkcs7-mime; name=smime.p7m\r\n\r\nMIAGCSqGSIb3\r\n"
SENDER = b"a@sealed.example.test"
TOP = b"List-Unsubscribe: <"


def stream(monkeypatch: pytest.MonkeyPatch, signed: Sealed = Sealed.WRAP, encrypted: Sealed = Sealed.REFUSE) -> None:
    found = Stream(
        "sealed",
        BRAND,
        Kind.COMMERCIAL,
        RecipientType.BIREYSEL,
        "relay",
        signed_mail=signed,
        encrypted_mail=encrypted,
    )
    monkeypatch.setitem(STREAMS, b"sealed.example.test", found)


@pytest.mark.parametrize("content", [SIGNED, ENCRYPTED])
@pytest.mark.parametrize("policy", Sealed)
async def test_the_stream_decides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, policy: Sealed, content: bytes
) -> None:
    stream(monkeypatch, policy, policy)
    body = content.partition(b"\r\n\r\n")[2]
    async with Hop() as hop, house(tmp_path, hop.port) as gate, gate.client() as client:
        code, text = await client.send(content, b"b@example.test", sender=SENDER)
        if policy is Sealed.REFUSE:
            word = b"signed" if content is SIGNED else b"encrypted"
            notice = b"the mandatory notice cannot be put into this message"
            assert code == 550
            assert text.startswith(b"5.6.0 unfit: %b: %b mail cannot carry the notice id=" % (notice, word))
            assert gate.judge.refused == [Reason.UNFIT]
            assert hop.received == []
            assert gate.metrics.header_only == {"signed": 0, "encrypted": 0}
            return
        assert code == 250
        seal = "signed" if content is SIGNED else "encrypted"
        assert gate.metrics.header_only == {"signed": 0, "encrypted": 0} | {seal: int(policy is Sealed.HEADERS)}
        (received,) = hop.received
        assert TOP in received.wire
        assert received.wire.endswith(content) is (policy is Sealed.HEADERS)
        assert body in received.wire
        assert (b"multipart/mixed" in received.wire) is (policy is Sealed.WRAP)


async def test_what_went_without_a_notice_is_counted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By copies that were taken: neither those that were refused or put off, nor a retry's that were taken before."""
    stream(monkeypatch, Sealed.HEADERS)
    paths = [b"b@example.test", b"c@example.test", b"d@example.test"]
    message = b"Message-ID: <1@sealed.example.test>\r\n" + SIGNED
    async with Hop() as hop, house(tmp_path, hop.port) as gate, gate.client() as client:
        hop.script["RCPT"] = [b"450 4.2.1 later\r\n", b"550 5.1.1 nobody\r\n"]
        assert (await client.send(message, *paths, sender=SENDER))[0] == 450
        assert gate.metrics.header_only == {"signed": 1, "encrypted": 0}
        hop.script["RCPT"] = [b"550 5.1.1 nobody\r\n"]
        assert (await client.send(message, *paths, sender=SENDER))[0] == 250
        assert gate.metrics.header_only == {"signed": 2, "encrypted": 0}
        text = b"Content-Type: multipart/mixed; boundary=y\r\n\r\n--y\r\n\r\nmetin\r\n--y\r\n"
        assert (await client.send(text + SIGNED + b"--y--\r\n", paths[2], sender=SENDER))[0] == 250
        assert gate.metrics.header_only == {"signed": 2, "encrypted": 0}, "a text beside it has the notice"


async def test_why_a_message_is_unfit_is_told(tmp_path: Path) -> None:
    async with Hop() as hop, house(tmp_path, hop.port) as gate, gate.client() as client:
        for content, why in (
            (b"Content-Type: text/plain; charset=utf-16\r\n\r\nx\r\n", b"charset that does not contain ASCII"),
            (b"Content-Type: text/html\r\nContent-Type: text/plain\r\n\r\nx\r\n", b"two different content-type fields"),
            (b"Subject: x\r\nno field\r\n\r\nx\r\n", b"broken off by a line that is no field"),
        ):
            code, text = await client.send(content, b"b@example.test")
            assert (code, text[:12]) == (550, b"5.6.0 unfit:")
            assert why in text
        assert hop.received == []
