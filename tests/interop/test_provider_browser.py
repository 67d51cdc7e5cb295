"""Somebody who signs for a company, with a real browser: the form, its faults, and the page that follows."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.demo.house import House
from tests.conftest import eventually
from tests.interop.test_citizen_browser import Browser, browser
from tests.registry.providers.support import APPLICATION, PNG, TCKN

pytestmark = pytest.mark.interop

TYPED = {**APPLICATION["signatory"], "title": APPLICATION["title"], "tin": APPLICATION["tin"], "brands": "Deneme Kahve"}


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """The registry alone; what proves an address is left to an operator."""
    made = House(tmp_path / "house", [("\n[registry] ", "\n[registry]\nonboarding = true\n#")])
    try:
        made.start("registry")
        asyncio.run(made.ready("registry"))
        yield made
    finally:
        made.close()


def type_in(page: Browser, name: str, text: str) -> None:
    page._call("POST", f"/element/{page._find(f'#{name}')}/clear", {})
    page._call("POST", f"/element/{page._find(f'#{name}')}/value", {"text": text})


def attach(page: Browser, path: Path) -> None:
    page._call("POST", f"/element/{page._find('#document')}/value", {"text": str(path)})


def test_a_signatory_applies_without_a_script(house: House, tmp_path: Path) -> None:
    document = tmp_path / "tescil.png"
    document.write_bytes(PNG)
    with browser(tmp_path) as page:
        page.open(f"{house.url('registry')}/providers")
        for name, text in TYPED.items():
            type_in(page, name, text)
        type_in(page, "mersis", "0123456789100015")
        attach(page, document)
        page.click("button")
        eventually(lambda: page.count(".fault") == 1, within=60, what="the fault")
        assert "MERSİS numarası geçersiz" in page.text(".fault")

        type_in(page, "mersis", APPLICATION["mersis"])
        type_in(page, "tckn", TCKN)
        attach(page, document)
        page.click("button")
        eventually(lambda: page.count("#mersis") == 0, within=60, what="the page that follows")
        text = page.text()
        assert "Başvurunuz alındı" in text
        assert "+90 5•• ••• •• 07" in text
        assert page.count("button") == 0, "an operator confirms"
    kept = list((house.config.data_dir / "documents").iterdir())
    assert [path.read_bytes() for path in kept] == [PNG]
