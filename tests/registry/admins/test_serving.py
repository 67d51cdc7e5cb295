"""The pages on a listener of their own, with TLS, until they are told to stop."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import httpx
import pytest

from registry.admins.serving import AdminPages, served
from tests.certificates import make_authority
from tests.conftest import accepts
from tests.registry.admins.support import Rooms


async def test_pages_are_served_over_tls_until_the_end(rooms: Rooms, tmp_path: Path) -> None:
    authority = make_authority(tmp_path / "authority")
    certificate = authority.issue("yonetim.example.test")
    trust = ssl.create_default_context(cafile=str(authority.ca_file))

    def ask(port: int) -> httpx.Response:
        with httpx.Client(verify=trust, trust_env=False, timeout=60) as client:
            return client.get(f"https://127.0.0.1:{port}/providers")

    with served(rooms.app, AdminPages("127.0.0.1", 0, rooms.desk.url, certificate)) as port:
        answer = await asyncio.to_thread(ask, port)
        assert (answer.status_code, answer.headers["location"]) == (303, "/login")
        assert "server" not in answer.headers
    assert not accepts(port)


def test_an_address_that_is_taken_is_told_at_once(rooms: Rooms) -> None:
    with served(rooms.app, AdminPages("127.0.0.1", 0, rooms.desk.url)) as port, pytest.raises(OSError):
        served(rooms.app, AdminPages("127.0.0.1", port, rooms.desk.url)).__enter__()
