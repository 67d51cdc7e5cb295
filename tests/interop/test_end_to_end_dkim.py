"""Signed by `izinli serve`, carried on by Postfix, verified at the end; and the key renewed while all of it runs."""

from __future__ import annotations

import asyncio
import os
import smtplib
from pathlib import Path

import dkim as dkimpy
import pytest

from filters.dkim import Signer
from gateway.demo.house import House
from gateway.demo.sink import Sink
from gateway.dkim_key import create
from tests.conftest import eventually_async
from tests.filters.signatures import verified
from tests.interop.letters import letter
from tests.interop.postfix import Postfix

pytestmark = pytest.mark.interop

SENDER = "a@kampanya.example.com.tr"
CONSENTED = "ayse.yilmaz@example.com.tr"
OLD = b"DKIM-Signature: v=1; a=rsa-sha256; d=old.example.test;\r\n\tbh=AAAA; b=BBBB\r\n"
BRAND = "# contact ="


def send(house: House, content: bytes) -> None:
    with smtplib.SMTP("127.0.0.1", house.config.listeners[0].bind.port, timeout=60) as client:  # type: ignore[union-attr]
        assert client.sendmail(SENDER, [CONSENTED], content, mail_options=["BODY=8BITMIME"]) == {}


def holds(message: bytes, *signers: Signer) -> bool:
    """Every signature, with the records of `signers` in DNS."""
    try:
        return verified(message, *signers) == [True] * len(signers)
    except dkimpy.DKIMException:
        return False


async def test_a_campaign_arrives_signed_and_a_renewed_key_signs_the_next(tmp_path: Path) -> None:
    rsa = create(tmp_path / "rsa.pem", "example.com.tr", "s1", "rsa")
    ed25519 = create(tmp_path / "ed25519.pem", "example.com.tr", "s2", "ed25519")
    tables = ", ".join(
        f'{{ domain = "example.com.tr", selector = "{selector}", key_file = "{tmp_path / name}.pem" }}'
        for selector, name in (("s1", "rsa"), ("s2", "ed25519"))
    )
    async with Sink() as sink:
        with Postfix(relay_to=sink.port) as second:
            edits = [("127.0.0.1:2526", f"127.0.0.1:{second.port}"), (BRAND, f"dkim = [ {tables} ]\n{BRAND}")]
            house = House(tmp_path / "house", edits)
            try:
                await asyncio.to_thread(house.import_consents)
                for plane in ("registry", "gateway"):
                    house.start(plane)
                await asyncio.gather(house.ready("registry"), house.ready("gateway"))

                async def arrives(number: int) -> bytes:
                    content = OLD + letter("alternative", "8bit", "utf-8", number=number)
                    before = len(sink.messages)
                    await asyncio.to_thread(send, house, content)
                    await eventually_async(lambda: len(sink.messages) > before, within=60, what="the mail")
                    return sink.messages[-1].content

                first = await arrives(1)
                assert b"old.example.test" not in first
                assert holds(first, rsa, ed25519)

                fresh = create(tmp_path / "fresh.pem", "example.com.tr", "s2", "ed25519")
                os.replace(tmp_path / "fresh.pem", tmp_path / "ed25519.pem")
                numbers = iter(range(2, 1000))

                async def renewed() -> bool:
                    return holds(await arrives(next(numbers)), rsa, fresh)

                await eventually_async(renewed, within=60, what="a signature of the new key")
            finally:
                await asyncio.to_thread(house.close)
