"""nodemailer as the application: what it tells of a refused recipient among others, and of a deferral."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest

from gateway.demo.house import House
from gateway.demo.sink import Sink
from tests.conftest import require, unavailable
from tests.interop.ways import CAMPAIGN, CONSENTED, UNKNOWN

pytestmark = pytest.mark.interop

SCRIPT = Path(__file__).with_name("nodemailer.js")
LIBRARY = SCRIPT.parents[2] / "build/nodemailer/node_modules/nodemailer"


@asynccontextmanager
async def gate(directory: Path) -> AsyncIterator[tuple[House, Sink]]:
    async with Sink() as sink:
        house = House(directory, [("127.0.0.1:2526", f"127.0.0.1:{sink.port}")])
        try:
            await asyncio.to_thread(house.import_consents)
            for plane in ("registry", "gateway"):
                house.start(plane)
            await asyncio.gather(house.ready("registry"), house.ready("gateway"))
            yield house, sink
        finally:
            await asyncio.to_thread(house.close)


async def send(house: House, *recipients: str) -> dict[str, Any]:
    """What nodemailer tells an application about one message."""
    node = require("node")
    if not LIBRARY.exists():
        unavailable("nodemailer is not installed (sh scripts/foreign.sh)")
    command = [node, str(SCRIPT), str(house.config.listeners[0].bind.port), CAMPAIGN, *recipients]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert isinstance(told, dict)
    return told


async def test_one_refused_among_others(tmp_path: Path) -> None:
    async with gate(tmp_path) as (house, sink):
        told = await send(house, *CONSENTED, UNKNOWN)
        assert told["accepted"] == CONSENTED
        assert told["rejected"] == [UNKNOWN]
        (error,) = told["errors"]
        assert (error["recipient"], error["code"]) == (UNKNOWN, 550)
        assert re.fullmatch(r"550 5\.7\.1 no_consent: .* id=[0-9a-f]+", error["response"])
        assert re.fullmatch(r"250 2\.0\.0 captured as \d id=[0-9a-f]+", told["response"])
        assert sorted(one.rcpt_to[0] for one in sink.messages) == CONSENTED
        links = set()
        for captured in sink.messages:
            message = message_from_bytes(captured.content, policy=policy.SMTP)
            link = str(message["List-Unsubscribe"]).strip("<>")
            for part in message.walk():
                if part.get_content_maintype() == "text":
                    assert link in part.get_content()
                    assert "%20 indirim" in part.get_content()
            links.add(link)
        assert len(links) == len(CONSENTED)


async def test_all_refused(tmp_path: Path) -> None:
    async with gate(tmp_path) as (house, sink):
        told = await send(house, UNKNOWN)
        assert (told["failed"], told["code"], told["rejected"]) == ("EENVELOPE", 550, [UNKNOWN])
        assert sink.messages == []


async def test_i4_a_deferral_is_an_error_the_application_may_retry(tmp_path: Path) -> None:
    async with gate(tmp_path) as (house, sink):
        with house.without_index():
            told = await send(house, *CONSENTED)
            assert (told["failed"], told["code"]) == ("EENVELOPE", 451)
            assert told["rejected"] == CONSENTED
            assert {error["response"][:24] for error in told["errors"]} == {"451 4.4.3 index_down: co"}
        assert sink.messages == []
