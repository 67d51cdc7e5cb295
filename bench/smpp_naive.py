"""The SMPP proxy one writes by hand:  python -m bench.smpp_naive --port P --next-hop P

asyncio streams, and smpplib takes each PDU apart and puts it together again, in both directions, as whoever wants to
look at a message or change it does with the library at hand. It looks at nothing, changes nothing and checks nothing:
what a row "izinli" costs beyond this one is not in it, what it costs less is the way it handles octets.
"""

from __future__ import annotations

import argparse
import asyncio
from typing import Any

from smpplib import smpp


class _Numbers:
    """smpplib wants to be asked for a sequence number even when it is about to read one."""

    sequence = 0

    def next_sequence(self) -> int:
        return 0


NUMBERS = _Numbers()


def rebuilt(octets: bytes) -> bytes:
    """The PDU through smpplib: it reads strings as bytes and writes them as str, so they are turned."""
    pdu: Any = smpp.parse_pdu(octets, client=NUMBERS, allow_unknown_opt_params=True)
    for name, parameter in pdu.params.items():
        value = getattr(pdu, name)
        if parameter.type is str and isinstance(value, bytes):
            setattr(pdu, name, value.decode("latin-1"))
    written: bytes = pdu.generate()
    return written


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """PDU by PDU, until one side is closed."""
    try:
        while True:
            length = await reader.readexactly(4)
            octets = length + await reader.readexactly(int.from_bytes(length, "big") - 4)
            writer.write(rebuilt(octets))
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def serve(port: int, next_hop: int) -> None:
    async def session(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back_reader, back_writer = await asyncio.open_connection("127.0.0.1", next_hop)
        await asyncio.gather(pump(reader, back_writer), pump(back_reader, writer))

    server = await asyncio.start_server(session, "127.0.0.1", port)
    async with server:
        await server.serve_forever()


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.smpp_naive", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--next-hop", type=int, required=True)
    options = parser.parse_args(arguments)
    asyncio.run(serve(options.port, options.next_hop))


if __name__ == "__main__":
    main()
