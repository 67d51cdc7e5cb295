"""Messages for a pool, and the pool itself, before next hops on this machine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from gateway import limits
from gateway.config import Address, Bind, Upstream
from gateway.metrics import Metrics
from gateway.smtp.connection import Connection
from gateway.smtp.replies import Reply
from gateway.smtp.upstream import SmtpUpstream
from tests.conftest import eventually_async


@dataclass(eq=False)
class Letter:
    """A copy that keeps its answers."""

    path: bytes = b"b@example.test"
    sender: bytes = b"a@example.test"
    sender_parameters: dict[bytes, bytes] = field(default_factory=dict)
    parameters: dict[bytes, bytes] = field(default_factory=dict)
    content: bytes = b"Subject: x\r\n\r\nbody\r\n"
    dotted: bool = False
    deadline: float = 0.0
    retried: bool = False
    held: bool = False
    replies: list[Reply] = field(default_factory=list)
    late_replies: list[Reply] = field(default_factory=list)
    connection: Connection | None = None  # that holds its dot

    def done(self, reply: Reply) -> None:
        self.replies.append(reply)

    def late(self, reply: Reply) -> None:
        self.late_replies.append(reply)

    def ready(self, connection: Connection) -> None:
        self.connection = connection


@asynccontextmanager
async def at_any(
    *hosts: Bind, connections_max: int = 10, **settings: Any
) -> AsyncIterator[tuple[SmtpUpstream, Metrics]]:
    """A pool and what it counts; `settings` are keys of `[upstream.NAME]`."""
    metrics = Metrics()
    upstream = SmtpUpstream(Upstream("relay", "smtp", hosts, connections_max, **settings), metrics)
    try:
        yield upstream, metrics
    finally:
        await upstream.close()


@asynccontextmanager
async def pooled(*ports: int, **settings: Any) -> AsyncIterator[SmtpUpstream]:
    """A pool to hosts on 127.0.0.1."""
    async with at_any(*(Address("127.0.0.1", port) for port in ports), **settings) as (upstream, _):
        yield upstream


async def answers(upstream: SmtpUpstream, *letters: Letter) -> list[Reply]:
    """Send, and wait until each has its one answer."""
    for letter in letters:
        letter.deadline = letter.deadline or asyncio.get_running_loop().time() + limits.SMTP_DELIVERY_S
        upstream.send(letter)
    await eventually_async(lambda: all(letter.replies for letter in letters), within=60, what="answers")
    assert [len(letter.replies) for letter in letters] == [1] * len(letters)
    return [letter.replies[0] for letter in letters]


def counted(metrics: Metrics) -> dict[str, int]:
    """The errors at next hops, by kind; those that did not happen are left out."""
    return {kind.removeprefix("next_hop_"): n for (_, kind), n in metrics.protocol_errors.items() if n}
