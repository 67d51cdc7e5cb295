"""docs/national.md says what is true: its routes are those that are served, its codes have the statuses it gives."""

from __future__ import annotations

import re
from pathlib import Path

from fastapi import FastAPI

from registry.index.embedded import SqliteIndexWriter
from registry.ledger import Ledger
from registry.national.app import create_api
from registry.national.errors import MESSAGES, status_of
from registry.national.state import Api, Options
from registry.publish import Publisher
from registry.rules import REASONS
from tests.registry.support import BRANDS, KEY

PAGE = (Path(__file__).resolve().parents[2] / "docs/national.md").read_text(encoding="utf-8")
BASE = "/sps/{iysCode}/brands/{brandCode}"
OVERRIDDEN = {"H401": 404}
"""Of a single status query: nothing is recorded."""


def _app(directory: Path) -> FastAPI:
    ledger = Ledger.open("sqlite", directory, KEY)
    writer = SqliteIndexWriter(directory / "index.sqlite", ledger.fingerprint.check_value())
    api = Api(ledger, Publisher(ledger, writer), BRANDS, KEY, Options(links=lambda *_: "https://ret.example.com.tr/r/"))
    app = create_api(api)
    api.close()
    ledger.close()
    return app


def test_each_route_has_its_row_and_no_row_is_of_another(tmp_path: Path) -> None:
    paths = _app(tmp_path).openapi()["paths"]
    served = {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}
    served = {route.replace("/consent/retailers", "/consents/retailers") for route in served}  # both are official
    rows = re.findall(r"^\| `((?:GET|POST|PUT|DELETE) [^`]+)` \|", PAGE, re.MULTILINE)
    told = [row.replace("/v2B/", f"/v2{BASE}/").replace(" B/", f" {BASE}/") for row in rows]
    assert len(told) == len(set(told))
    assert set(told) == served


def test_the_codes_of_the_table_have_its_statuses() -> None:
    table = PAGE[PAGE.index("| status | codes |") :].split("\n\n", 1)[0]
    found = 0
    for statuses, codes in re.findall(r"^\| ([0-9 ]+) \| (.*) \|$", table, re.MULTILINE):
        for code in re.findall(r"\b[HX][0-9]{3,4}\b", codes):
            assert str(OVERRIDDEN.get(code, status_of(code))) in statuses.split(), code
            assert MESSAGES[code]
            found += 1
    assert found > 20


def test_every_code_of_the_rules_can_be_said() -> None:
    assert {code for code in REASONS if code} <= MESSAGES.keys()
    assert all(text and text == text.strip() for code, text in MESSAGES.items() if code)
