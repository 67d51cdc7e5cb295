"""The way from the gateway to its registry: one HTTP request for each rejection that is handed in.

A request is a connection, as the registry wants it (`registry/web.py`). Refusals are rare beside messages, so nothing
is kept open and nothing is pooled.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

from filters.handover import BRANDS_MAX, PATH, bearer
from filters.model import Channel
from gateway import limits

_OK: Final = 200


class Unrecorded(Exception):
    """It is not certain that the rejection stands; the text says why, and names nobody."""


class RegistryClient:
    """`url` is the registry's, `secret` that of keys/internal.key."""

    def __init__(self, url: str, secret: bytes) -> None:
        parts = urlsplit(url)
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._head = (
            f"POST {parts.path.rstrip('/')}{PATH} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
            f"Authorization: {bearer(secret)}\r\nContent-Type: application/json\r\nConnection: close\r\n"
        )

    async def reject(self, brands: Sequence[int], channel: Channel, recipient: bytes, source: str) -> None:
        """Returns when the rejection is recorded and in effect everywhere. Raises Unrecorded."""
        for at in range(0, len(brands), BRANDS_MAX):
            some = list(brands[at : at + BRANDS_MAX])
            said = {"brands": some, "channel": channel, "recipient": recipient.decode(), "source": source}
            try:
                status = await self._post(json.dumps(said).encode())
            except (OSError, EOFError, ValueError) as error:  # ssl.SSLError is an OSError
                raise Unrecorded(type(error).__name__) from error
            if status != _OK:
                raise Unrecorded(f"HTTP {status}")

    async def _post(self, body: bytes) -> int:
        """The status of the answer. Raises OSError, EOFError and ValueError."""
        reader, writer = await asyncio.open_connection(
            self._host, self._port, ssl=self._tls, limit=limits.MO_STATUS_LINE_OCTETS_MAX
        )
        try:
            writer.write(f"{self._head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            words = (await reader.readuntil(b"\r\n")).split(b" ", 2)  # IncompleteReadError is an EOFError
        except asyncio.LimitOverrunError as error:
            raise ValueError("a status line that is none") from error
        finally:
            writer.close()
        if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
            raise ValueError("not HTTP")
        return int(words[1])
