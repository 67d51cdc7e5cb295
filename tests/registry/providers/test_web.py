"""Onboarding over HTTP: JSON for programs, pages for people, and little of either for who comes too often."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from registry import limits
from registry.ledger import Ledger
from registry.providers import web
from registry.providers.states import Action, Way
from tests.registry.providers.support import APPLICATION, EMAIL, MOBILE, PDF, TCKN, Office, said

FORM = {
    "title": APPLICATION["title"],
    "mersis": APPLICATION["mersis"],
    "tin": APPLICATION["tin"],
    "brands": "Deneme Kahve\r\n\r\n Deneme Çay \r\n",
    **APPLICATION["signatory"],
}
FILES = {"document": ("tescil.pdf", PDF, "application/pdf")}


class Counter:
    """A client of an application of its own, and what stands behind it."""

    def __init__(self, ledger: Ledger, directory: Path) -> None:
        self.office = Office(ledger.engine)
        self.directory = directory
        app = FastAPI()
        ways = frozenset(Way)
        desk = web.Desk(self.office.providers, self.office.proofs, directory, ways, self.office.clock)
        web.add_to(app, desk)
        transport = httpx.ASGITransport(app, client=("192.0.2.1", 1234))
        self.http = httpx.AsyncClient(transport=transport, base_url="https://ret.example.com.tr")

    async def apply(self, **changes: Any) -> str:
        """By JSON; the address of the application."""
        answer = await self.http.post("/providers", json=said(**changes))
        assert answer.status_code == 201, answer.text
        return f"/providers/{answer.json()['id']}"

    async def told(self, path: str) -> dict[str, Any]:
        answer = await self.http.get(path, headers={"accept": "application/json"})
        return dict(answer.json())


@pytest.fixture
async def counter(sqlite_ledger: Ledger, tmp_path: Path) -> AsyncIterator[Counter]:
    made = Counter(sqlite_ledger, tmp_path)
    async with made.http:
        yield made


def codes(answer: httpx.Response) -> list[str]:
    return [fault["code"] for fault in answer.json()["errors"]]


async def test_a_program_applies_and_proves_both_addresses(counter: Counter) -> None:
    answer = await counter.http.post("/providers", json=APPLICATION)
    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"
    mine = answer.json()
    assert mine == {
        "id": mine["id"],
        "status": "applied",
        "confirmed": {"mobile": False, "email": False},
        "sent": {"mobile": "done", "email": "done"},
    }
    path = f"/providers/{mine['id']}"
    proven = await counter.http.post(f"{path}/code", json={"code": counter.office.code()})
    assert (proven.status_code, proven.json()["confirmed"]) == (200, {"mobile": True, "email": False})
    link = f"/providers/confirm/{counter.office.token()}"
    for _ in range(3):
        assert "<button" in (await counter.http.get(link)).text, "scanners open links"
    assert (await counter.told(path))["status"] == "applied"
    assert (await counter.http.post(link)).status_code == 200
    assert (await counter.told(path))["status"] == "verified"
    counter.office.providers.approve(1, counter.office.clock(), "user ayse", "", start=900_000, taken={})
    told = await counter.told(path)
    assert (told["status"], told["iysCode"], told["brands"][1]) == (
        "approved",
        900_000,
        {"brandCode": 900_001, "name": "Deneme Çay"},
    )


async def test_the_document_is_kept_under_its_digest_for_its_owner_alone(counter: Counter) -> None:
    await counter.apply()
    await counter.apply(mobile="+905550000008")
    (kept,) = (counter.directory / "documents").iterdir()
    assert kept.read_bytes() == b64decode(APPLICATION["document"])
    assert (kept.stat().st_mode & 0o777, kept.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert counter.office.providers.get(1).document.digest.hex() == kept.stem


async def test_faults_have_the_national_shape(counter: Counter) -> None:
    answer = await counter.http.post("/providers", json=said(mersis="0123456789100015", tckn="12345678951"))
    assert answer.status_code == 400
    assert answer.json() == {
        "errors": [
            {"code": "H227", "message": "mersis is invalid", "location": ["mersis"]},
            {"code": "H226", "message": "tckn is invalid", "location": ["signatory", "tckn"]},
        ]
    }
    assert codes(await counter.http.post("/providers", json=[])) == ["X610"]
    headers = {"content-type": "application/json"}
    assert codes(await counter.http.post("/providers", content=b"{", headers=headers)) == ["H014"]
    deep = b"[" * 100_000
    assert codes(await counter.http.post("/providers", content=deep, headers=headers)) == ["H014"]
    long = await counter.http.post("/providers", content=bytes(limits.PROVIDER_BODY_OCTETS_MAX + 1), headers=headers)
    assert (long.status_code, codes(long)) == (413, ["X413"])
    assert counter.office.providers.all() == []


@pytest.mark.parametrize("path", ["/providers/x", "/providers/x/code", "/providers/x/again", "/providers/confirm/x"])
async def test_who_knows_no_application_learns_of_none(counter: Counter, path: str) -> None:
    body = {"code": "1", "way": "email"}
    asked = (
        await counter.http.post(path, json=body)
        if path != "/providers/x"
        else await counter.http.get(path, headers={"accept": "application/json"})
    )
    assert (asked.status_code, codes(asked)) == (404, ["X404"])


async def test_answers_of_a_code_that_does_not_fit(counter: Counter) -> None:
    path = await counter.apply()
    right = counter.office.code()
    wrong = "000000" if right != "000000" else "000001"

    async def tried(code: str) -> list[str]:
        return codes(await counter.http.post(f"{path}/code", json={"code": code}))

    assert [await tried(wrong) for _ in range(3)] == [["H1052"], ["H1052"], ["H1050"]]
    assert await tried(right) == ["H1050"]
    again = await counter.http.post(f"{path}/again", json={"way": "mobile"})
    assert (again.status_code, codes(again)) == (422, ["H465"])
    assert codes(await counter.http.post(f"{path}/again", json={"way": "fax"})) == ["H460"]
    counter.office.clock.forward(limits.PROOF_CODE_SECONDS)
    assert await tried(right) == ["H1051"]
    counter.office.providers.change(1, Action.REJECT, counter.office.clock(), "user ayse", "")
    closed = await counter.http.post(f"{path}/again", json={"way": "email"})
    assert (closed.status_code, codes(closed)) == (409, ["X609"])


async def test_i7_one_address_applies_so_often_and_guesses_so_often(counter: Counter) -> None:
    for index in range(limits.PROVIDER_APPLICATIONS_BURST):
        path = await counter.apply(mobile=f"+90555000010{index}")
    refused = await counter.http.post("/providers", json=said())
    assert (refused.status_code, codes(refused)) == (429, ["X429"])
    assert int(refused.headers["retry-after"]) > 60
    for _ in range(limits.BAD_TOKENS_BURST):
        await counter.http.get("/providers/guess", headers={"accept": "application/json"})
    assert (await counter.http.get(path)).status_code == 429


async def test_a_person_applies_with_the_form(counter: Counter) -> None:
    page = await counter.http.get("/providers")
    assert page.status_code == 200
    assert page.text.index("Ticaret unvanı") < page.text.index("Trade title")
    assert "<script" not in page.text
    assert set(re.findall(r' name="(\w+)"', page.text)) - {"viewport", "robots", "referrer"} == {*FORM, "document"}
    answer = await counter.http.post("/providers", data=FORM, files=FILES)
    assert answer.status_code == 303
    mine = answer.headers["location"]
    page = await counter.http.get(mine)
    assert "+90 5•• ••• •• 07" in page.text
    for private in (MOBILE, EMAIL, TCKN):
        assert private not in page.text
    assert counter.office.providers.get(1).brands == (("Deneme Kahve", None), ("Deneme Çay", None))
    wrong = await counter.http.post(f"{mine}/code", data={"code": "x"})
    assert wrong.status_code == 303
    assert "Kod yanlış" in (await counter.http.get(wrong.headers["location"])).text
    right = await counter.http.post(f"{mine}/code", data={"code": counter.office.code()})
    assert 'name="code"' not in (await counter.http.get(right.headers["location"])).text
    again = await counter.http.post(f"{mine}/again", data={"way": "email"})
    assert "Üç dakika" in (await counter.http.get(again.headers["location"])).text
    assert "onaylandı" in (await counter.http.post(f"/providers/confirm/{counter.office.token()}")).text
    assert "inceleniyor" in (await counter.http.get(mine)).text


async def test_a_faulty_form_comes_back_with_what_was_typed_but_the_national_number(counter: Counter) -> None:
    typed = {**FORM, "title": "<b>A.Ş.", "mersis": "1", "email": "biri@gmail.com"}
    answer = await counter.http.post("/providers", data=typed, files={"document": ("x.exe", b"MZ", "application/pdf")})
    assert answer.status_code == 422
    page = answer.text
    assert "MERSİS numarası 16 hane olmalı" in page
    assert "ücretsiz e-posta" in page
    assert "PDF ya da PNG biçiminde" in page
    assert "&lt;b&gt;A.Ş." in page
    assert "Deneme Çay" in page
    assert TCKN not in page
    strange = await counter.http.post("/providers", data={"title": "x"}, files={"brands": ("x", b"y")})
    assert strange.status_code == 422
    broken = await counter.http.post("/providers", content=b"x", headers={"content-type": "multipart/form-data"})
    assert broken.status_code == 400


async def test_what_cannot_be_taken_in_leaves_no_document(counter: Counter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("registry.providers.store.PROVIDERS_OPEN_MAX", 0)
    answer = await counter.http.post("/providers", json=APPLICATION)
    assert (answer.status_code, codes(answer)) == (503, ["X503"])
    assert list(counter.directory.rglob("*.pdf")) == []
