"""docs/postfix.md, the four ways that put the notice in: what passes, who hears of a refusal, what waits."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from tests.conftest import eventually_async
from tests.interop.letters import letter
from tests.interop.ways import APPLICATION, CAMPAIGN, CONSENTED, PAGE, UNKNOWN, Way, way

pytestmark = pytest.mark.interop

BY_BOUNCE = ["1 relayhost", "2 LMTP transport", "4 content_filter"]
AT_ONCE = ["3 smtpd_proxy_filter"]
LINK = re.compile(rb"List-Unsubscribe: <(https://ret\.example\.com\.tr/r/[^>]+)>")
CONTENT = letter("alternative", "8bit", "utf-8")


def carries_notice_and_link(here: Way, heading: str) -> None:
    """Each who consented has one copy, with a link of its own and the way it came."""
    protocol = "LMTP" if "LMTP" in heading else "ESMTP"
    origin = APPLICATION if heading[0] in "34" else "mta.example.test"  # XFORWARD
    links = {}
    for captured in here.sink.messages:
        if captured.mail_from:
            found = LINK.search(captured.content)
            assert found is not None
            assert captured.content.count(found[1]) >= 3, "header, text and HTML"
            assert "Örnek Market Ticaret A.Ş.".encode() in captured.content
            assert b"0123456789000015" in captured.content
            links[captured.rcpt_to[0]] = found[1]
            trace = re.search(rb"Received: from (\S+) .*\r\n\tby \S+ \(izinli\) with (\w+) id", captured.content)
            assert trace is not None
            assert trace.groups() == (origin.encode(), protocol.encode())
    assert sorted(links) == CONSENTED
    assert len(set(links.values())) == len(CONSENTED)


def test_every_section_of_the_page_is_tested() -> None:
    headings = re.findall(r"^## (\d \w+)", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    tested = [*BY_BOUNCE, *AT_ONCE, "5 check_policy_service"]
    assert sorted(" ".join(one.split()[:2]) for one in tested) == headings


@pytest.mark.parametrize("heading", BY_BOUNCE)
async def test_pass_with_notice_and_link_and_refusal_by_bounce(tmp_path: Path, heading: str) -> None:
    async with way(tmp_path, heading) as here:
        assert await here.send([*CONSENTED, UNKNOWN], CONTENT) == {}
        assert await here.arrived(4) == sorted([*CONSENTED, CAMPAIGN])
        carries_notice_and_link(here, heading)
        (bounce,) = [one for one in here.sink.messages if not one.mail_from]
        assert UNKNOWN.encode() in bounce.content
        assert re.search(rb"550 5\.7\.1\s+no_consent:", bounce.content)
        assert not any(name.encode() in bounce.content for name in CONSENTED)


@pytest.mark.parametrize("heading", AT_ONCE)
async def test_pass_with_notice_and_link_and_refusal_at_once(tmp_path: Path, heading: str) -> None:
    async with way(tmp_path, heading) as here:
        refused = await here.send([*CONSENTED, UNKNOWN], CONTENT)
        assert list(refused) == [UNKNOWN]
        code, text = refused[UNKNOWN]
        assert code == 550
        assert re.fullmatch(r"5\.7\.1 no_consent: .* id=[0-9a-f]+", text)
        assert await here.arrived(3) == CONSENTED, "no bounce"
        carries_notice_and_link(here, heading)


@pytest.mark.parametrize("heading", BY_BOUNCE)
async def test_i4_without_the_index_the_queue_waits(tmp_path: Path, heading: str) -> None:
    async with way(tmp_path, heading) as here:
        with here.house.without_index():
            assert await here.send(CONSENTED, CONTENT) == {}
            await here.logged(r"status=deferred .*451 4\.4\.3 index_down")
            assert here.sink.messages == []
        assert await here.arrived(3) == CONSENTED
        carries_notice_and_link(here, heading)


@pytest.mark.parametrize("heading", AT_ONCE)
async def test_i4_without_the_index_or_without_izinli_the_application_waits(tmp_path: Path, heading: str) -> None:
    async with way(tmp_path, heading) as here:
        with here.house.without_index():
            refused = await here.send(CONSENTED, CONTENT)
            assert sorted(refused) == CONSENTED
            assert all(code == 451 and text.startswith("4.4.3 index_down: ") for code, text in refused.values())
        await asyncio.to_thread(here.house.stop, "gateway")
        refused = await here.send(CONSENTED, CONTENT)
        assert {(code, text[:6]) for code, text in refused.values()} == {(451, "4.3.0 ")}
        assert sorted(refused) == CONSENTED
        here.house.start("gateway")
        await here.house.ready("gateway")

        async def taken() -> bool:
            return await here.send(CONSENTED[:1], CONTENT) == {}

        await eventually_async(taken, within=60, what="the index being believed again")
        assert (await here.arrived(1)).count(CONSENTED[0]) == 1, "Postfix tells its postmaster of the outage, too"


async def test_i2_over_lmtp_mixed_endings_need_no_report(tmp_path: Path) -> None:
    """The next hop takes one, refuses one and defers one: Postfix hears it of each."""
    gone, later, there = CONSENTED
    async with way(tmp_path, "2 LMTP transport") as here:
        here.sink.recipients = {gone: "550 5.1.1 no such user", later: "450 4.2.1 greylisted"}
        assert await here.send(CONSENTED, CONTENT) == {}
        await here.logged(rf"to=<{re.escape(gone)}>.* status=bounced .*550 5\.1\.1 no such user")
        await here.logged(rf"to=<{re.escape(later)}>.* status=deferred .*450 4\.2\.1 greylisted")
        await here.logged(rf"to=<{re.escape(there)}>.* status=sent ")
        here.sink.recipients.clear()
        assert await here.arrived(3) == sorted([CAMPAIGN, later, there])
