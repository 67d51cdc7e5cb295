"""node-smpp in a process of its own, as an ESME or as an SMSC.

    async with node("client", port) as esme:
        heard = await esme.ask("bind_transceiver", system_id="marka", password="…")
        await esme.seen("deliver_sm")

A PDU is a dict of node-smpp's own field names; octets are {"hex": "…"}.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.conftest import eventually_async, require, unavailable

SCRIPT = Path(__file__).with_name("smpp_node.js")
LIBRARY = SCRIPT.parents[2] / "build/smpp/node_modules/smpp"
Fields = dict[str, Any]


class Node:
    """One process. `port`: where a server listens."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.port = 0
        self.events: list[Fields] = []
        self._process = process
        self._answers: dict[int, asyncio.Future[Fields]] = {}
        self._reading = asyncio.get_running_loop().create_task(self._read())

    async def ask(self, command: str, **fields: object) -> Fields:
        """Send a request; its response."""
        return await self._say({"do": command, "with": fields})

    async def set(self, **changed: object) -> None:
        """Change how requests of the peer are answered."""
        await self._say({"set": changed})

    async def seen(self, event: str, count: int = 1) -> list[Fields]:
        """The PDUs of the events of this name, once there are `count`."""
        await eventually_async(lambda: len(self.of(event)) >= count, within=60, what=f"{count} {event}")
        return self.of(event)

    def of(self, event: str) -> list[Fields]:
        return [one.get("pdu", {}) for one in self.events if one["event"] == event]

    async def stop(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        async with asyncio.timeout(30):
            await self._process.wait()
            await self._reading

    async def _say(self, line: Fields) -> Fields:
        assert self._process.stdin is not None
        number = len(self._answers) + 1
        self._answers[number] = asyncio.get_running_loop().create_future()
        self._process.stdin.write(json.dumps({"id": number} | line).encode() + b"\n")
        async with asyncio.timeout(60):
            return await self._answers[number]

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            told = json.loads(line)
            if "id" in told:
                self._answers[told["id"]].set_result(told["pdu"])
            else:
                self.events.append(told)
                self.port = told.get("port", self.port)


@asynccontextmanager
async def node(role: str, *arguments: object) -> AsyncIterator[Node]:
    """`"client", port[, ca_file]` or `"server"[, certificate, key]`, connected or listening."""
    program = require("node")
    if not LIBRARY.exists():
        unavailable("node-smpp is not installed (sh scripts/foreign.sh)")
    process = await asyncio.create_subprocess_exec(
        program,
        str(SCRIPT),
        role,
        *map(str, arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    one = Node(process)
    try:
        await one.seen("ready")
        yield one
    finally:
        await one.stop()
