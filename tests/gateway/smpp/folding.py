"""What tests of folded receipts share: a memory, workers that have it in common, an SMSC's receipts field by field."""

from __future__ import annotations

import re
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from gateway.demo.smsc import Received, Smsc
from gateway.smpp.fold import Folds
from gateway.smpp.ids import MessageIds
from gateway.smpp.ids_sqlite import FILE, SqliteIds
from tests.conftest import eventually_async
from tests.gateway.smpp.support import DELIVER, LOGIN, RESP, SUBMIT, Client, House, Pdu, house, pdu, submit_body, tlv

LONG = b"x" * 150  # with its notice two segments
STATES = {
    "ENROUTE": 1,
    "DELIVRD": 2,
    "EXPIRED": 3,
    "DELETED": 4,
    "UNDELIV": 5,
    "ACCEPTD": 6,
    "UNKNOWN": 7,
    "REJECTD": 8,
}
KEY = b"k" * 32


@dataclass
class Clock:
    """Seconds since 1970, for the memory."""

    now: float = 1_795_597_200.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Memory:
    """`make` opens it once more, as another worker does."""

    make: Callable[[], MessageIds]
    clock: Clock = field(default_factory=Clock)

    @asynccontextmanager
    async def worker(self, centre: Smsc, **options: object) -> AsyncIterator[House]:
        """A door of its own, which knows of the others only what the memory says."""
        ids = self.make()
        await ids.start()
        folds = Folds(ids, KEY, {LOGIN[0].encode()}, self.clock)
        try:
            async with house(centre.port, folds=folds, **options) as gate:  # type: ignore[arg-type]
                yield gate
        finally:
            await folds.close()
            await ids.close()


@dataclass(frozen=True)
class Heard:
    """A receipt, as a client reads it."""

    esm_class: int
    source: bytes
    dest: bytes
    text: str
    tlvs: dict[int, bytes]
    sequence: int

    def __getitem__(self, name: str) -> str:
        """A field of its text."""
        found = re.search(rf"(?:^| ){name}:(\S*)", self.text)
        assert found, self.text
        return found[1]


def read(heard: Pdu) -> Heard:
    """A deliver_sm, field after field (SMPP 3.4 §4.6.1)."""
    assert heard.command == DELIVER, heard
    body = heard.body
    source_end = body.index(0, 3)
    dest_end = body.index(0, source_end + 3)
    at = dest_end + 1
    length = body[at + 9]
    tlvs, rest = {}, body[at + 10 + length :]
    while rest:
        tag, size = struct.unpack(">HH", rest[:4])
        tlvs[tag], rest = rest[4 : 4 + size], rest[4 + size :]
    text = body[at + 10 : at + 10 + length].decode("latin-1")
    return Heard(body[at], body[3:source_end], body[source_end + 3 : dest_end], text, tlvs, heard.sequence)


def receipt_body(
    message: Received,
    word: str = "DELIVRD",
    *,
    error: str = "000",
    done: str = "2611251430",
    esm: int = 4,
    tlvs: bytes | None = None,
    ident: str = "",
) -> bytes:
    """As an SMSC says what became of a message that it took; without `tlvs` those that it should have."""
    ident = ident or message.message_id
    text = f"id:{ident} sub:001 dlvrd:001 submit date:2611251400 done date:{done} stat:{word} err:{error} text:Merhaba"
    if tlvs is None:
        tlvs = tlv(0x1E, ident.encode() + b"\0") + tlv(0x427, bytes((STATES[word],)))
    addresses = b"\0\1\1%b\0\0\0%b\0" % (message.dest.encode(), message.source.encode())
    return addresses + bytes((esm, 0, 0, 0, 0, 0, 0, 0, 0, len(text))) + text.encode() + tlvs


async def tell(centre: Smsc, message: Received, word: str = "DELIVRD", *, bind: int = 0, **fields: object) -> int:
    """Send its receipt over that one of our binds; what the SMSC was answered."""
    body = receipt_body(message, word, **fields)  # type: ignore[arg-type]
    before = len(centre.answered)
    centre.sessions[bind].ask(DELIVER, body)
    await eventually_async(lambda: len(centre.answered) > before, within=90, what="an answer to a receipt")
    return centre.answered[before][1]


async def submitted(centre: Smsc, client: Client, text: bytes = LONG, **fields: object) -> tuple[str, list[Received]]:
    """The id that the client was told, and the segments at the SMSC, the one of that id first."""
    before = len(centre.messages)
    answer = await client.converse(SUBMIT, submit_body(text, **fields))  # type: ignore[arg-type]
    assert answer.status == 0
    told = answer.body.rstrip(b"\0").decode()
    segments = centre.messages[before:]
    assert len(segments) > 1
    return told, sorted(segments, key=lambda one: one.message_id != told)


async def take(client: Client, status: int = 0) -> Heard:
    """The next receipt that a client gets; it says so."""
    heard = read(await client.hear())
    client.writer.write(answer(heard.sequence, status))
    return heard


def answer(sequence: int, status: int = 0) -> bytes:
    """A deliver_sm_resp."""
    return pdu(DELIVER | RESP, sequence, b"\0", status)


async def nothing_more(client: Client) -> None:
    """All that was to come has come: the answer to a question of its own is next."""
    sequence = client.ask(0x15)
    heard = await client.hear()
    assert (heard.command, heard.sequence) == (0x15 | RESP, sequence), heard


def sqlite_in(directory: Path) -> Memory:
    memory = Memory(lambda: SqliteIds(directory / FILE, memory.clock))
    return memory
