"""Reject links: for e-mail addresses in ONAY alone, and they are those of the citizens' page."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from filters.link import LinkMinter, Reject
from filters.model import Channel, RecipientType
from registry.index.embedded import SqliteIndexWriter
from registry.ledger import Ledger
from registry.publish import Publisher
from registry.service import Registry, open_api
from tests.registry.national.support import BRAND, BRANDS, FREE, B, Served, codes, served
from tests.registry.support import LINK_KEY, settings

PATH = f"{B}/via-hash-links"
BASE = "https://ret.example.com.tr/r/"
ADA, BORA = "ada@example.test", "bora@example.test"
MINTER = LinkMinter({0: LINK_KEY}, 0)


def link(brand: int, channel: Channel, kind: RecipientType, recipient: bytes) -> str:
    return BASE + MINTER.mint(brand, channel, kind, recipient).decode()


@pytest.fixture
async def linking(sqlite_ledger: Ledger, embedded: SqliteIndexWriter) -> AsyncIterator[Served]:
    async with served(sqlite_ledger, Publisher(sqlite_ledger, embedded), links=link) as one:
        for recipient, kind in ((ADA, "BIREYSEL"), (BORA, "BIREYSEL"), (ADA, "TACIR")):
            assert (await one.add(recipient=recipient, type="EPOSTA", recipientType=kind)).status_code == 200
        rejection = {"type": "EPOSTA", "status": "RET", "consentDate": "2026-03-04 09:00:00"}
        assert (await one.add(recipient=BORA, **rejection)).status_code == 200
        yield one


def asked(*recipients: str, **fields: str) -> dict[str, list[dict[str, str]]]:
    return {"recipients": [{"recipient": one, **fields} for one in recipients]}


async def test_each_has_its_own_answer(linking: Served) -> None:
    answer = await linking.ask("POST", PATH, asked("Ada@example.test", BORA, "cem@example.test"))
    assert answer.status_code == 200
    ada, bora, cem = answer.json()
    assert ada.keys() == {"recipient", "url"}
    token = ada["url"].removeprefix(BASE).encode()
    assert MINTER.read(token) == Reject(BRAND, Channel.EPOSTA, RecipientType.BIREYSEL, ADA.encode())
    for other, recipient in ((bora, BORA), (cem, "cem@example.test")):
        assert (other["recipient"], other["code"]) == (recipient, "H568")
        assert other["message"]


async def test_merchants_have_theirs(linking: Served) -> None:
    (merchant,) = (await linking.ask("POST", PATH, asked(ADA, recipientType="TACIR"))).json()
    reject = MINTER.read(merchant["url"].removeprefix(BASE).encode())
    assert reject is not None
    assert reject.recipient_type is RecipientType.TACIR


WRONG = [
    ([], "H097"),
    ({}, "H168"),
    ({"recipients": []}, "H164"),
    ({"recipients": "x"}, "H478"),
    ({"recipients": ["x"]}, "H478"),
    ({"recipients": [{}]}, "H114"),
    (asked("+905321112233"), "H120"),
    (asked(ADA, recipientType="KURUMSAL"), "H116"),
    (asked(ADA, type="EPOSTA"), "H118"),
    (asked(ADA, "ADA@example.test"), "H193"),
    (asked(*(f"a{index}@example.test" for index in range(101))), "H127"),
    ({"recipients": [], "x": 1}, "H118"),
]


async def test_what_is_asked_wrongly(linking: Served) -> None:
    for body, code in WRONG:
        assert codes(await linking.ask("POST", PATH, body)) == [code], (body, code)


async def test_without_a_page_there_are_none(api: Served) -> None:
    assert (await api.ask("POST", PATH, asked(ADA))).status_code == 404


def test_the_service_makes_those_of_its_page(
    sqlite_ledger: Ledger, embedded: SqliteIndexWriter, tmp_path: Path
) -> None:
    with_api = replace(settings(tmp_path), api_rates=FREE)
    registry = Registry(sqlite_ledger, embedded, Publisher(sqlite_ledger, embedded))
    api = open_api(with_api, registry, BRANDS)
    assert api is not None
    try:
        assert api.links is not None
        args = (BRAND, Channel.EPOSTA, RecipientType.BIREYSEL, ADA.encode())
        assert api.links(*args) == link(*args)
    finally:
        api.close()
