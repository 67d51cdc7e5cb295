"""An operator with a real browser: the login with a code, an approval, and what stands in the audit; no JavaScript."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry.admins.serving import AdminPages, served
from registry.ledger import Ledger
from registry.publish import Publisher, open_index
from tests.conftest import eventually, free_port
from tests.interop.test_citizen_browser import browser
from tests.registry.admins.support import OPERATOR, PASSWORD, Rooms
from tests.registry.support import KEY

pytestmark = pytest.mark.interop


def test_an_operator_logs_in_and_approves(tmp_path: Path) -> None:
    ledger = Ledger.open("sqlite", tmp_path / "data", KEY)
    writer = open_index("sqlite", tmp_path / "data", ledger.fingerprint.check_value())
    publisher = Publisher(ledger, writer)
    publisher.ensure()
    port = free_port()
    rooms = Rooms(ledger, publisher, writer, tmp_path / "data", f"http://127.0.0.1:{port}")
    rooms.office.verified()
    rooms.staff.hire()
    where = AdminPages("127.0.0.1", port, rooms.desk.url)
    try:
        with served(rooms.app, where), browser(tmp_path) as page:
            page.open(f"{rooms.desk.url}/providers/1")
            page.type("#name", OPERATOR)
            page.type("#password", PASSWORD)
            page.type("#code", rooms.staff.code())
            page.click("button")
            eventually(lambda: page.count("table") == 1, within=60, what="the list of applications")
            page.click("td a")
            eventually(lambda: page.count("button[value=approve]") == 1, within=60, what="the application")
            page.click("button[value=approve]")
            eventually(lambda: page.count("#api-password") == 1, within=60, what="the credentials")
            assert page.text("#api-user") == "provider-900000"
            page.click("a[href='/audit']")
            eventually(lambda: "approve → approved" in page.text(), within=60, what="the audit")
            assert "admin:ayse" in page.text()
            page.click("header button")
            eventually(lambda: page.count("#code") == 1, within=60, what="the login page")
            page.open(f"{rooms.desk.url}/providers/1")
            assert page.count("#code") == 1
    finally:
        writer.close()
        ledger.close()
    assert rooms.desk.onboarding.brands[900_000].name == "Deneme Kahve"
