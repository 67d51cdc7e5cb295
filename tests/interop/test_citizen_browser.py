"""A citizen with a real browser: the page behind the link, its button, and what has changed then.

Chromium is driven by chromedriver over its own protocol (W3C WebDriver), with JavaScript switched off: the page must do
without.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from filters.link import LinkMinter
from filters.model import Channel, RecipientType
from gateway import keys
from gateway.demo.house import House
from gateway.demo.messages import BRAND
from tests.conftest import accepts, eventually, free_port, require

pytestmark = pytest.mark.interop

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # W3C WebDriver §11: the key an element's id stands under
NUMBER = b"+905550000001"


class Browser:
    """One session of a chromedriver that listens on `port`."""

    def __init__(self, port: int, directory: Path) -> None:
        self._base = f"http://127.0.0.1:{port}/session"
        arguments = [
            *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
            *("--disable-component-update", "--disable-sync", f"--user-data-dir={directory / 'profile'}"),
        ]
        options = {
            "args": arguments,
            "binary": require("chromium"),
            "prefs": {"profile.managed_default_content_settings.javascript": 2},
        }
        wanted = {"capabilities": {"alwaysMatch": {"browserName": "chrome", "goog:chromeOptions": options}}}
        self._base += "/" + self._call("POST", "", wanted)["sessionId"]

    def open(self, url: str) -> None:
        self._call("POST", "/url", {"url": url})

    def text(self, selector: str = "body") -> str:
        return str(self._call("GET", f"/element/{self._find(selector)}/text"))

    def count(self, selector: str) -> int:
        return len(self._call("POST", "/elements", {"using": "css selector", "value": selector}))

    def click(self, selector: str) -> None:
        self._call("POST", f"/element/{self._find(selector)}/click", {})

    def type(self, selector: str, text: str) -> None:
        self._call("POST", f"/element/{self._find(selector)}/value", {"text": text})

    def close(self) -> None:
        self._call("DELETE", "")

    def _find(self, selector: str) -> str:
        return str(self._call("POST", "/element", {"using": "css selector", "value": selector})[ELEMENT])

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self._base + path, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())["value"]


@contextmanager
def browser(directory: Path) -> Iterator[Browser]:
    port = free_port()
    command = [require("chromedriver"), f"--port={port}"]
    driver = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        eventually(lambda: accepts(port), within=90, what="chromedriver listening")
        session = Browser(port, directory)
        try:
            yield session
        finally:
            session.close()
    finally:
        driver.terminate()
        driver.wait()


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """The registry alone, with the dozen invented consents."""
    made = House(tmp_path / "house")
    try:
        made.import_consents()
        made.start("registry")
        asyncio.run(made.ready("registry"))
        yield made
    finally:
        made.close()


def consents(house: House) -> str:
    """What the gateway would say about the number now."""
    found = subprocess.run(
        house.command("lookup", "--brand", str(BRAND), "--channel", "MESAJ", "--json", NUMBER.decode()),
        capture_output=True,
        check=True,
    )
    return str(json.loads(found.stdout)["reason"])


def test_a_citizen_refuses_with_the_button_of_the_page(house: House, tmp_path: Path) -> None:
    secrets = keys.load(house.config.data_dir)
    token = LinkMinter(secrets.link, secrets.link_current).mint(BRAND, Channel.MESAJ, RecipientType.BIREYSEL, NUMBER)
    with browser(tmp_path) as page:
        page.open(f"{house.url('registry')}/r/{token.decode()}")
        text = page.text()
        assert "Örnek Market Ticaret A.Ş." in text
        assert NUMBER.decode() not in text.replace(" ", ""), "whoever finds the link learns no number"
        assert consents(house) == "consent", "opening the page changes nothing"
        assert page.count("button") == 1

        page.click("button")
        eventually(lambda: page.count("button") == 0, what="the page that follows")
        assert consents(house) == "no_consent"
        assert "kaydedildi" in page.text().lower()

        page.open(f"{house.url('registry')}/r/{token.decode()[:-1]}")
        assert "Bağlantı geçersiz" in page.text()
        assert page.count("button") == 0
