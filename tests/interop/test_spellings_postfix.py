"""Promises I3 and I5 for every spelling of an address, with nothing invented: door, index, registry, page, mailboxes.

application ──▶ `izinli serve` ──▶ Postfix ──▶ a mailbox of its own for each person who consented

Postfix decides by its own reading whose mailbox a spelling means. Domains that it does not take for one of its own
leave it again as they came, and are read at the sink by Python's IDNA 2003.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import smtplib
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import idna
import pytest

from gateway.config import Address
from gateway.demo import house as demo
from gateway.demo.house import House
from gateway.demo.sink import Sink
from tests.conftest import eventually_async
from tests.gateway.smtp.spellings import PASSING, REFUSED, reached
from tests.interop.letters import letter
from tests.interop.postfix import Postfix
from tests.interop.ways import CAMPAIGN

pytestmark = pytest.mark.interop

WITHIN_S = 120.0
PEOPLE = list(dict.fromkeys(PASSING.values()))
CONSENTS = "recipient,type,status,source,recipientType,consentDate\n" + "".join(
    f"{person.decode()},EPOSTA,ONAY,HS_WEB,BIREYSEL,2026-01-05 10:00:00\n" for person in PEOPLE
)
LINK = re.compile(rb"List-Unsubscribe: <(http://[^>]+)>")
NUMBER = re.compile(rb"Message-ID: <([0-9]+)@")
NOBODY = 65534

Reply = tuple[int, bytes]


class Mailboxes(Postfix):
    """A Postfix with a mailbox for each of PEOPLE; what it is no home for, it relays to `relay_to`."""

    def __init__(self, *, relay_to: int) -> None:
        names = {person: _names(person.rpartition(b"@")[2].decode()) for person in PEOPLE}
        super().__init__(
            relay_to=relay_to,
            master="virtual unix - n n - - virtual\n",
            virtual_mailbox_domains=", ".join(sorted({name for both in names.values() for name in both})),
            virtual_mailbox_maps="texthash:$data_directory/../people",
            virtual_mailbox_base="$data_directory/../boxes",
            virtual_uid_maps=f"static:{NOBODY}",
            virtual_gid_maps=f"static:{NOBODY}",
        )
        self._boxes = self.directory / "boxes"
        self._boxes.mkdir()
        os.chown(self._boxes, NOBODY, NOBODY)
        lines = [
            f"{person.rpartition(b'@')[0].decode()}@{name} {PEOPLE.index(person)}/\n"
            for person, both in names.items()
            for name in both
        ]
        (self.directory / "people").write_text("".join(lines), encoding="utf-8")

    def delivered(self) -> list[tuple[bytes, bytes]]:
        """Whose mailbox, and what lies in it."""
        return [(PEOPLE[int(path.parts[-3])], path.read_bytes()) for path in self._boxes.glob("*/new/*")]


def _names(domain: str) -> list[str]:
    """A-label and, if there is one, U-label: Postfix asks its tables for the name as it came."""
    with contextlib.suppress(idna.IDNAError, UnicodeError):
        return list(dict.fromkeys([domain, idna.decode(domain)]))
    return [domain]


@dataclass
class Chain:
    """What stands behind the door, and the door's port."""

    house: House
    postfix: Mailboxes
    sink: Sink
    port: int

    def arrived(self) -> list[tuple[bytes, bytes]]:
        """Who has got something, and what."""
        relayed = [(reached(b"RCPT TO:<%b>" % one.rcpt_to[0].encode()), one.content) for one in self.sink.messages]
        return self.postfix.delivered() + relayed


@asynccontextmanager
async def chained(directory: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Chain]:
    monkeypatch.setattr(demo, "CONSENTS", CONSENTS)
    async with Sink() as sink:
        with Mailboxes(relay_to=sink.port) as postfix:
            house = House(directory, [("127.0.0.1:2526", f"127.0.0.1:{postfix.port}")])
            try:
                await asyncio.to_thread(house.import_consents)
                for plane in ("registry", "gateway"):
                    house.start(plane)
                await asyncio.gather(house.ready("registry"), house.ready("gateway"))
                bind = house.config.listeners[0].bind
                assert isinstance(bind, Address)
                yield Chain(house, postfix, sink, bind.port)
            finally:
                await asyncio.to_thread(house.close)


def send(port: int, paths: Iterable[bytes]) -> dict[bytes, Reply]:
    """A message to each path, numbered as PASSING is; the reply it ended with. A session each: errors add up in one."""
    return {path: _send(port, number, path) for number, path in enumerate(paths)}


def _send(port: int, number: int, path: bytes) -> Reply:
    with smtplib.SMTP("127.0.0.1", port, local_hostname="web.example.test", timeout=WITHIN_S) as client:
        client.command_encoding = "latin-1"  # octets as they are
        client.ehlo()
        assert client.docmd("MAIL", f"FROM:<{CAMPAIGN}> BODY=8BITMIME SMTPUTF8")[0] == 250
        reply = client.docmd("RCPT", f"TO:<{path.decode('latin-1')}>")
        return client.data(letter("plain", "8bit", "utf-8", number=number)) if reply[0] == 250 else reply


def told(port: int, paths: Iterable[bytes]) -> dict[bytes, Reply]:
    """What each path is told at RCPT."""
    found = {}
    with smtplib.SMTP("127.0.0.1", port, local_hostname="web.example.test", timeout=WITHIN_S) as client:
        client.command_encoding = "latin-1"
        client.ehlo()
        for path in paths:
            assert client.docmd("MAIL", f"FROM:<{CAMPAIGN}> BODY=8BITMIME SMTPUTF8")[0] == 250
            found[path] = client.docmd("RCPT", f"TO:<{path.decode('latin-1')}>")
            assert client.docmd("RSET")[0] == 250
    return found


def refuse(link: bytes) -> None:
    """What a citizen's mail program does with the link (RFC 8058 §3.2)."""
    with urllib.request.urlopen(link.decode(), data=b"List-Unsubscribe=One-Click", timeout=WITHIN_S) as answer:
        assert answer.status == 200


async def test_i3_i5_every_spelling_reaches_whose_consent_was_asked_until_he_withdraws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spellings = list(PASSING)
    async with chained(tmp_path, monkeypatch) as chain:
        replies = await asyncio.to_thread(send, chain.port, spellings)
        assert {path: reply for path, reply in replies.items() if reply[0] != 250} == {}
        await eventually_async(lambda: len(chain.arrived()) >= len(spellings), within=WITHIN_S, what="all copies")
        found: dict[bytes, tuple[bytes, bytes]] = {}  # whose mailbox a spelling led to, and the link in it
        for person, content in chain.arrived():
            number, link = NUMBER.search(content), LINK.search(content)
            assert number is not None
            assert link is not None
            found[spellings[int(number[1])]] = (person, link[1])
        assert {path: person for path, (person, _) in found.items()} == PASSING
        links = dict(found.values())
        assert set(found.values()) == set(links.items()), "however it is spelled, one person has one link"
        assert len(set(links.values())) == len(PEOPLE), "and nobody has another's"

        gone: set[bytes] = set()
        for person in PEOPLE:
            await asyncio.to_thread(refuse, links[person])
            gone.add(person)
            answers = await asyncio.to_thread(told, chain.port, spellings)
            passing = {path for path, (code, _) in answers.items() if code == 250}
            assert passing == {path for path in spellings if PASSING[path] not in gone}, person
        assert all(text.startswith(b"5.7.1 no_consent: ") for _, text in answers.values())
        replies = await asyncio.to_thread(send, chain.port, spellings)
        assert {code for code, _ in replies.values()} == {550}
        assert not chain.postfix.queued()
        assert len(chain.arrived()) == len(spellings), "nothing since"


async def test_i3_a_spelling_that_is_refused_reaches_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with chained(tmp_path, monkeypatch) as chain:
        replies = await asyncio.to_thread(send, chain.port, REFUSED)
        assert {path: reply for path, reply in replies.items() if not 500 <= reply[0] < 560} == {}
        await asyncio.to_thread(send, chain.port, [PEOPLE[0]])
        await eventually_async(lambda: not chain.postfix.queued() and bool(chain.arrived()), within=WITHIN_S)
        assert [person for person, _ in chain.arrived()] == [PEOPLE[0]]
        decided = Counter((line["outcome"], line["reason"]) for line in chain.house.decisions())
        assert decided.keys() == {("block", "bad_address"), ("pass", "consent")}
