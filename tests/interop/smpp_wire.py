"""SMPP as it was on the wire: a relay that records both directions, and tshark's reading of what it recorded.

    async with recorded(port) as wire:  …speak with wire.port instead…
    for one, read in zip(pdus, dissect(directory, pdus)): …

No right to capture is needed, and no packet is missed: the octets are written as packets by text2pcap, one PDU each.
"""

from __future__ import annotations

import asyncio
import re
import subprocess
import xml.etree.ElementTree as ElementTree
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.conftest import require

PORT = 2775
_FRAME_HEADERS = 14 + 20 + 20  # Ethernet, IPv4 and TCP, as text2pcap writes them
_NO_XML = re.compile(r"[^\t\n\r\x20-\uD7FF\uE000-\uFFFD\U00010000-\U0010FFFF]")  # tshark shows octets as they are
_MALFORMED = re.compile(r"\[Malformed Packet: (.*)\]")


class Wire:
    """One connection after the other. `asked` and `answered`: the octets of whoever connected, and of the other end."""

    def __init__(self, target: int) -> None:
        self.port = 0
        self.asked = bytearray()
        self.answered = bytearray()
        self._target = target
        self._writers: list[asyncio.StreamWriter] = []

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._target)
        self._writers += [writer, there_writer]
        await asyncio.gather(
            self._pump(reader, there_writer, self.asked), self._pump(there_reader, writer, self.answered)
        )

    def close(self) -> None:
        for writer in self._writers:
            writer.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, record: bytearray) -> None:
        with suppress(ConnectionError):
            while octets := await reader.read(65536):
                record += octets
                writer.write(octets)
                await writer.drain()
        writer.close()


@asynccontextmanager
async def recorded(target: int) -> AsyncIterator[Wire]:
    """A relay to `target`, on a port of its own."""
    wire = Wire(target)
    server = await asyncio.start_server(wire.connected, "127.0.0.1", 0)
    wire.port = server.sockets[0].getsockname()[1]
    try:
        yield wire
    finally:
        server.close()
        wire.close()


def pdus_of(stream: bytes) -> list[bytes]:
    """The PDUs of one direction; what is left at its end is one too."""
    found, at = [], 0
    while at < len(stream):
        length = max(int.from_bytes(stream[at : at + 4], "big"), 16)
        found.append(bytes(stream[at : at + length]))
        at += length
    return found


@dataclass(frozen=True, slots=True)
class Dissection:
    """A PDU as tshark reads it. `fields`: name, start and stop as offsets into the PDU, in tshark's order.

    `malformed`: the protocols that tshark found malformed (`SMPP`, or what it looked for in the text).
    """

    fields: list[tuple[str, int, int]] = field(default_factory=list)
    malformed: frozenset[str] = frozenset()

    def places(self, name: str) -> list[tuple[int, int]]:
        return [(start, stop) for found, start, stop in self.fields if found == name]


def dissect(directory: Path, pdus: Sequence[bytes]) -> list[Dissection]:
    """One each, by tshark's SMPP dissector."""
    text, capture = directory / "smpp.txt", directory / "smpp.pcapng"
    text.write_text("".join(map(_hexdump, pdus)))
    subprocess.run(
        [require("text2pcap"), "-q", "-T", f"{PORT + 1},{PORT}", str(text), str(capture)],
        check=True,
        capture_output=True,
        timeout=120,
    )
    command = [require("tshark"), "-r", str(capture), "-d", f"tcp.port=={PORT},smpp", "-T", "pdml"]
    command += ["-J", "smpp _ws.malformed"]
    told = subprocess.run(command, check=True, capture_output=True, timeout=120).stdout
    packets = ElementTree.fromstring(_NO_XML.sub("?", told.decode("utf-8", "replace"))).findall("packet")
    assert len(packets) == len(pdus), "text2pcap wrote other packets"
    return [_dissection(packet) for packet in packets]


def _hexdump(octets: bytes) -> str:
    lines = (f"{at:06x} {octets[at : at + 32].hex(' ')}\n" for at in range(0, len(octets), 32))
    return "".join(lines) + "\n"


def _dissection(packet: ElementTree.Element) -> Dissection:
    fields = []
    for one in packet.findall("proto[@name='smpp']"):
        for found in one.iter("field"):
            start = int(found.get("pos", "0")) - _FRAME_HEADERS
            fields.append((found.get("name", ""), start, start + int(found.get("size", "0"))))
    said = (one.get("showname", "") for one in packet.iter())
    malformed = frozenset(match[1] for one in said if (match := _MALFORMED.search(one)) is not None)
    return Dissection(fields, malformed)
