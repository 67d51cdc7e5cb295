"""The examples of docs/postfix.md, started as they are written there: only ports are changed.

application ──▶ Postfix of the example ⇄ `izinli serve` of the example ──▶ … ──▶ sink
"""

from __future__ import annotations

import asyncio
import re
import smtplib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from gateway.demo.house import House
from gateway.demo.sink import Sink
from tests.conftest import eventually_async, free_port
from tests.interop.postfix import Postfix

PAGE = Path(__file__).resolve().parents[2] / "docs/postfix.md"
FENCE = re.compile(r"^```(?:cf|toml) (main\.cf|master\.cf|izinli\.toml)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PORT = re.compile(r"(?<=127\.0\.0\.1)(\]?:)(\d+)")
WORLD = "2526"  # the next hop that an example does not describe

APPLICATION = "application.example.test"
CAMPAIGN = "a@kampanya.example.com.tr"
CONSENTED = ["ayse.yilmaz@example.com.tr", "mehmet.kaya@example.com.tr", "zeynep.demir@example.com.tr"]
UNKNOWN = "fatma.arslan@example.com.tr"


@dataclass(frozen=True)
class Example:
    """The blocks of one section, by the name of their file, those that all sections share put in front."""

    main: str
    master: str
    toml: str


def example(heading: str) -> Example:
    """The section that begins with `## heading`."""
    shared, *sections = re.split(r"^## ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    (section,) = [one for one in sections if one.startswith(heading)]
    blocks = {"main.cf": "", "master.cf": "", "izinli.toml": ""}
    for name, text in FENCE.findall(shared) + FENCE.findall(section):
        blocks[name] += text + "\n"
    assert "[[listener]]" in blocks["izinli.toml"]
    assert blocks["main.cf"] + blocks["master.cf"], "nothing would be tested"
    return Example(blocks["main.cf"], blocks["master.cf"], blocks["izinli.toml"])


@dataclass
class Way:
    """One example at work. `port` is where the application sends to."""

    port: int
    postfix: Postfix
    house: House
    sink: Sink

    async def send(self, recipients: list[str], content: bytes) -> dict[str, tuple[int, str]]:
        """What the application hears of each recipient that was refused or deferred."""
        return await asyncio.to_thread(_send, self.port, recipients, content)

    async def arrived(self, count: int) -> list[str]:
        """The recipients of everything that reached the end, once `count` copies have and no queue holds any."""
        await eventually_async(
            lambda: len(self._recipients()) >= count and not self.postfix.queued(), within=90, what=f"{count} copies"
        )
        return self._recipients()

    async def logged(self, pattern: str) -> None:
        await eventually_async(lambda: re.search(pattern, self.postfix.log()) is not None, within=60, what=pattern)

    def _recipients(self) -> list[str]:
        return sorted(recipient for one in self.sink.messages for recipient in one.rcpt_to)


@asynccontextmanager
async def way(directory: Path, heading: str, *edits: tuple[str, str]) -> AsyncIterator[Way]:
    """The example under `heading` with the invented consents, ready to be used; `edits` are in its master.cf."""
    found = example(heading)
    async with Sink() as sink:
        ports = {WORLD: str(sink.port)}

        def put(text: str) -> str:
            return PORT.sub(lambda one: one[1] + ports.setdefault(one[2], str(free_port())), text)

        toml, main, master = put(found.toml), put(found.main), put(found.master)
        for old, new in edits:
            assert old in master
            master = master.replace(old, new)
        submission = free_port()
        master, services = re.subn(r"^submission ", f"127.0.0.1:{submission} ", master, flags=re.MULTILINE)
        house = House(directory, text=toml)
        relay_to = None if WORLD in PORT.sub(lambda one: one[2], found.toml) else sink.port
        try:
            await asyncio.to_thread(house.import_consents)
            for plane in ("registry", "gateway"):
                house.start(plane)
            settings = dict(re.findall(r"^(\w+) = (.*)$", main, flags=re.MULTILINE))
            assert len(settings) == len(main.split("\n\n")[0].splitlines()), "a line of main.cf was not understood"
            with Postfix(relay_to=relay_to, master=master, **settings) as postfix:
                await asyncio.gather(house.ready("registry"), house.ready("gateway"))
                yield Way(submission if services else postfix.port, postfix, house, sink)
        finally:
            await asyncio.to_thread(house.close)


def _send(port: int, recipients: list[str], content: bytes) -> dict[str, tuple[int, str]]:
    """MAIL, RCPT for each, DATA if anybody was accepted; a refusal of all is one of each."""
    refused: dict[str, tuple[int, bytes]] = {}
    with smtplib.SMTP("127.0.0.1", port, timeout=120) as client:
        client.ehlo(APPLICATION)
        answer = client.mail(CAMPAIGN, ["BODY=8BITMIME"])
        if answer[0] != 250:
            refused = dict.fromkeys(recipients, answer)
        else:
            for recipient in recipients:
                answer = client.rcpt(recipient)
                if answer[0] not in (250, 251):
                    refused[recipient] = answer
        if len(refused) < len(recipients):
            try:
                answer = client.data(content)
            except smtplib.SMTPDataError as error:  # DATA itself was refused
                answer = (error.smtp_code, error.smtp_error if isinstance(error.smtp_error, bytes) else b"")
            if answer[0] != 250:
                refused |= {one: answer for one in recipients if one not in refused}
    return {one: (code, text.decode()) for one, (code, text) in refused.items()}
