"""docs/postfix.md, the policy service: Postfix asks, and the mail goes its own way untouched."""

from __future__ import annotations

import asyncio
import re
import smtplib
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.conftest import eventually_async
from tests.interop.letters import letter
from tests.interop.ways import CONSENTED, UNKNOWN, Way, example, way

pytestmark = pytest.mark.interop

HEADING = "5 check_policy_service"
CONTENT = letter("alternative", "8bit", "utf-8")


async def test_pass_untouched_and_refusal_at_once(tmp_path: Path) -> None:
    async with way(tmp_path, HEADING) as here:
        refused = await here.send([*CONSENTED, UNKNOWN], CONTENT)
        assert list(refused) == [UNKNOWN]
        code, text = refused[UNKNOWN]
        assert code == 550
        assert re.fullmatch(r"5\.7\.1 <fatma\S+>: Recipient address rejected: no_consent: .* id=[0-9a-f]+", text)
        assert await here.arrived(3) == CONSENTED
        (captured,) = here.sink.messages
        assert captured.content.endswith(CONTENT), "promise I6: Postfix's Received field in front, and nothing else"
        decisions = [(line["protocol"], line["outcome"], line["reason"]) for line in here.house.decisions()]
        assert decisions == [("policy", "pass", "consent")] * 3 + [("policy", "block", "no_consent")]
        assert "example.com.tr" not in str(here.house.decisions()), "promise I9"
        assert 'izinli_messages_total{outcome="pass",protocol="policy",reason="consent"} 3.0' in await metrics(here)


async def test_a_sender_of_no_stream_is_refused_and_the_null_sender_is_not(tmp_path: Path) -> None:
    async with way(tmp_path, HEADING) as here:
        found = await asyncio.to_thread(_rcpt, here.port, "a@other.example.test", UNKNOWN)
        assert found[0] == 550
        assert b"no_stream: " in found[1]
        assert (await asyncio.to_thread(_rcpt, here.port, "", UNKNOWN))[0] == 250


async def test_i4_without_the_index_or_without_izinli_the_application_waits(tmp_path: Path) -> None:
    async with way(tmp_path, HEADING) as here:
        with here.house.without_index():
            refused = await here.send(CONSENTED, CONTENT)
            assert sorted(refused) == CONSENTED
            assert all(code == 451 and re.match(r"4\.4\.3 .* index_down: ", text) for code, text in refused.values())
        await asyncio.to_thread(here.house.stop, "gateway")
        refused = await here.send(CONSENTED[:1], CONTENT)
        assert [(code, text[:6]) for code, text in refused.values()] == [(451, "4.3.5 ")]
        here.house.start("gateway")
        await here.house.ready("gateway")

        async def taken() -> bool:
            return await here.send(CONSENTED[:1], CONTENT) == {}

        await eventually_async(taken, within=60, what="the index being believed again")
        assert await here.arrived(1) == CONSENTED[:1]


async def test_i1_a_service_that_is_asked_too_late_lets_nothing_pass(tmp_path: Path) -> None:
    """In the list of DATA: with several recipients Postfix names none of them."""
    assert "smtpd_recipient_restrictions" in example(HEADING).master
    async with way(tmp_path, HEADING, ("smtpd_recipient_restrictions", "smtpd_data_restrictions")) as here:
        refused = await here.send(CONSENTED, CONTENT)
        assert sorted(refused) == CONSENTED
        assert all(code // 100 == 4 and "4.3.5 " in text for code, text in refused.values())
        assert (await here.send([UNKNOWN], CONTENT))[UNKNOWN][0] == 550, "one alone is named, and judged"
        assert await here.send(CONSENTED[:1], CONTENT) == {}
        assert 'izinli_protocol_errors_total{kind="no_recipient",protocol="policy"} 1.0' in await metrics(here)


async def metrics(here: Way) -> str:
    text = await asyncio.to_thread(lambda: urlopen(f"{here.house.url('gateway')}/metrics", timeout=30).read())
    return str(text, "utf-8")


def _rcpt(port: int, sender: str, recipient: str) -> tuple[int, bytes]:
    with smtplib.SMTP("127.0.0.1", port, timeout=120) as client:
        client.ehlo()
        assert client.mail(sender)[0] == 250
        return client.rcpt(recipient)
