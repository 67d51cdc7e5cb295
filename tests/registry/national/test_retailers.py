"""Retailers, what they took and what they may use."""

from __future__ import annotations

import asyncio
from typing import Any

from sqlalchemy import delete, func, insert, select

from registry.ledger import Ledger
from registry.limits import API_RETAILERS_MAX, API_THREADS_WAITING_MAX
from registry.national.stored import api_retailer, api_retailer_access
from registry.national.tables import api_audit
from registry.numbers import is_mersis, is_tckn, is_vkn
from tests.registry.national.support import BRAND, CLIENT, IYS, READER, STRANGER, B, Served, codes

PATH = f"{B}/retailers"
ACCESS = f"{B}/consents/retailers/access"
TCKNS = ("12345678950", "10000000146", "98765432150", "24681357994", "55566677760", "10909090996", "17291716060")
RECIPIENT = "+905321112233"
KEY = {"type": "MESAJ", "recipientType": "BIREYSEL"}


def details(index: int = 0, **fields: Any) -> dict[str, Any]:
    one = {
        "title": f"Deneme Bayi {index}",
        "name": "Ada Deneme",
        "tckn": TCKNS[index],
        "tin": "1234567890",
        "city": {"code": "34", "name": "İstanbul"},
        "town": {"code": "01", "name": "Kadıköy"},
    }
    return {name: value for name, value in {**one, **fields}.items() if value is not None}


async def added(api: Served, index: int = 0, base: str = B, **fields: Any) -> int:
    answer = await api.ask("POST", f"{base}/retailers", details(index, **fields))
    assert answer.status_code == 201, answer.text
    code: int = answer.json()["retailerCode"]
    return code


async def using(api: Served, **fields: Any) -> list[int]:
    answer = await api.ask("POST", f"{ACCESS}/list", {"recipient": RECIPIENT, **KEY, **fields})
    assert answer.status_code == 200, answer.text
    assert answer.json()["pagination"]["totalCount"] == len(answer.json()["list"])
    return [one["retailerCode"] for one in answer.json()["list"]]


async def test_a_retailer_is_told_as_it_came(api: Served) -> None:
    code = await added(api, mersis="0123456789000015", mobile="+905325001111")
    assert 10_000_000 <= code <= 99_999_999
    found = (await api.ask("GET", f"{PATH}/{code}")).json()
    counted = {"status": "active", "retailerCode": code, "retailerAccessCount": 0}
    assert found == details(mersis="0123456789000015", mobile="+905325001111") | counted
    brands = (await api.ask("GET", f"/sps/{IYS}/brands")).json()
    assert {one["brandCode"]: one["stats"]["retailers"]["total"] for one in brands} == {IYS: 0, BRAND: 1}
    assert (await api.ask("DELETE", f"{PATH}/{code}")).status_code == 200
    for method in ("GET", "DELETE"):
        answer = await api.ask(method, f"{PATH}/{code}")
        assert (answer.status_code, codes(answer)) == (404, ["H058"])


async def test_pages(api: Served) -> None:
    made = sorted([await added(api, index) for index in range(5)])
    answer = (await api.ask("GET", f"{PATH}?offset=2&limit=2")).json()
    assert answer["pagination"] == {"offset": 2, "pageSize": 2, "totalCount": 5, "currentPage": 2}
    assert [one["retailerCode"] for one in answer["list"]] == made[2:4]
    short = (await api.ask("GET", f"{PATH}?all=true&short=true")).json()
    assert [one["retailerCode"] for one in short["list"]] == made
    assert short["list"][0].keys() == {"title", "city", "status", "retailerCode", "retailerAccessCount"}
    for query, code in (("all=x", "H184"), ("short=x", "H185"), ("limit=101", "H186"), ("offset=x", "H182")):
        assert codes(await api.ask("GET", f"{PATH}?{query}")) == [code]


NO_RETAILERS = [
    ({"title": None}, 400, "H214"),
    ({"name": ""}, 400, "H215"),
    ({"tckn": None}, 400, "H216"),
    ({"tckn": "12345678951"}, 400, "H225"),
    ({"tckn": "1234567895"}, 400, "H226"),
    ({"mobile": "05321112233"}, 400, "H224"),
    ({"mobile": "+9005321112233"}, 400, "H224"),
    ({"tin": None}, 400, "H288"),
    ({"tin": "123456789"}, 400, "H244"),
    ({"tin": "1234567891"}, 400, "H243"),
    ({"city": None}, 400, "H217"),
    ({"city": {"name": "x"}}, 400, "H218"),
    ({"city": {"code": "1"}}, 400, "H219"),
    ({"town": None}, 400, "H220"),
    ({"town": {"name": "x"}}, 400, "H221"),
    ({"town": {"code": "1"}}, 400, "H222"),
    ({"town": "x"}, 400, "H090"),
    ({"mersis": "0123456789100015"}, 400, "H227"),
    ({"mersis": "012345678900001"}, 400, "H228"),
    ({"title": "a\nb"}, 400, "H229"),
    ({"title": "x" * 256}, 400, "H229"),
    ({"status": "gone"}, 400, "H201"),
    ({"alias": 1.5}, 400, "H090"),
    ({"more": "x"}, 422, "H118"),
]


async def test_what_is_no_retailer(api: Served) -> None:
    for fields, status, code in NO_RETAILERS:
        answer = await api.ask("POST", PATH, details(**fields))
        assert (answer.status_code, codes(answer)) == (status, [code]), (fields, status, code)


async def test_nobody_twice_and_not_too_many(api: Served, sqlite_ledger: Ledger) -> None:
    await added(api, mersis="0123456789000015")
    assert codes(await api.ask("POST", PATH, details())) == ["H231"]
    assert codes(await api.ask("POST", PATH, details(1, mersis="0123456789000015"))) == ["H230"]
    await added(api, base=f"/sps/{IYS}/brands/{IYS}")  # another brand's may be the same
    blank = {"brand": BRAND, "details": "{}", "title": "x", "mersis": None, "status": "active", "created_at": 0}
    rows = [{"code": code, "tckn": str(code), **blank} for code in range(1, API_RETAILERS_MAX)]
    with sqlite_ledger.engine.begin() as connection:
        connection.execute(insert(api_retailer), rows)
    full = await api.ask("POST", PATH, details(2))
    assert (full.status_code, codes(full)) == (422, ["X432"])
    with sqlite_ledger.engine.begin() as connection:
        connection.execute(delete(api_retailer).where(api_retailer.c.code == 1))
    await added(api, 2)


async def test_who_took_a_consent_and_who_may_use_it(api: Served) -> None:
    taker, user = await added(api), await added(api, 1)
    assert (await api.add(retailerCode=taker, retailerAccess=[taker, user])).status_code == 200
    status = (await api.status()).json()
    assert (status["retailerCode"], status["retailerTitle"]) == (taker, "Deneme Bayi 0")
    assert status["retailerAccessCount"] == 2
    assert sorted(await using(api)) == sorted([taker, user])
    assert (await api.ask("GET", f"{PATH}/{user}")).json()["retailerAccessCount"] == 1
    rejection = {"status": "RET", "consentDate": "2026-03-04 09:00:00"}
    assert (await api.add(**rejection)).status_code == 200
    status = (await api.status()).json()
    assert "retailerCode" not in status  # nobody's: it was said without one
    assert status["retailerAccessCount"] == 2  # access hangs on the consent, whatever its status
    assert (await api.ask("DELETE", f"{PATH}/{taker}")).status_code == 200
    assert await using(api) == [user]


async def test_retailers_in_a_batch(api: Served) -> None:
    code = await added(api)
    one = {**KEY, "recipient": RECIPIENT, "source": "HS_WEB", "status": "ONAY", "consentDate": "2026-03-03 18:05:00"}
    items = [one | {"retailerCode": code, "retailerAccess": [code]}, one | {"type": "ARAMA", "retailerCode": 99999999}]
    request = (await api.ask("POST", f"{B}/consents/request", items)).json()["requestId"]
    while api.api.rest.batches.work_off():
        pass
    first, second = (await api.ask("GET", f"{B}/consents/request/{request}")).json()
    assert (first["status"], second["error"]["code"]) == ("success", "H180")
    assert (await api.status()).json()["retailerCode"] == code
    assert await using(api) == [code]


async def test_access_is_added_replaced_and_removed(api: Served) -> None:
    first, second, third = [await added(api, index) for index in range(3)]
    await api.add()
    one = {**KEY, "recipient": RECIPIENT}
    many = {**KEY, "recipients": [RECIPIENT]}
    for base in (ACCESS, f"{B}/consent/retailers/access"):  # both spellings
        answer = await api.ask("POST", base, one | {"retailerAccess": [first]})
        assert (answer.status_code, answer.json().keys()) == (200, {"transactionId", "creationDate"})
        await api.ask("POST", base, many | {"retailerAccess": [second, first]})
        assert sorted(await using(api)) == sorted([first, second])
        answer = await api.ask("PUT", base, many | {"retailerAccess": [third, second]})
        assert answer.status_code == 202
        assert sorted(await using(api)) == sorted([third, second])
        answer = await api.ask("POST", f"{base}/remove", many | {"retailerAccess": [third, 5]})
        assert answer.status_code == 202
        assert await using(api) == [second]
        assert (await api.ask("POST", f"{base}/remove/all", many)).status_code == 202
        assert await using(api) == []


async def test_codes_may_be_texts_as_the_national_description_has_them(api: Served) -> None:
    code = await added(api)
    await api.add()
    many = {**KEY, "recipients": [RECIPIENT]}
    assert (await api.ask("POST", ACCESS, many | {"retailerAccess": [str(code)]})).status_code == 200
    assert await using(api) == [code]
    assert (await api.ask("POST", f"{ACCESS}/remove", many | {"retailerAccess": [str(code)]})).status_code == 202
    assert await using(api) == []


async def test_every_change_of_access_is_audited_without_addresses(api: Served, sqlite_ledger: Ledger) -> None:
    code = await added(api)
    await api.add()
    many = {**KEY, "recipients": [RECIPIENT]}
    for method, path in (("POST", ACCESS), ("PUT", ACCESS), ("POST", f"{ACCESS}/remove")):
        await api.ask(method, path, many | {"retailerAccess": [code]})
    await api.ask("POST", f"{ACCESS}/remove/all", many)
    assert codes(await api.ask("PUT", ACCESS, many | {"retailerAccess": [1]})) == ["H180"]
    query = select(api_audit).where(api_audit.c.action.startswith("access")).order_by(api_audit.c.id)
    with sqlite_ledger.engine.connect() as connection:
        rows = connection.execute(query).all()
    assert [(row.action, row.detail) for row in rows] == [
        ("access-add", f"1: {code}"),
        ("access-replace", f"1: {code}"),
        ("access-remove", f"1: {code}"),
        ("access-remove", "1: all"),
    ]
    assert {(row.client, row.brand) for row in rows} == {(CLIENT, BRAND)}


async def test_one_unknown_consent_and_nothing_is_changed(api: Served, sqlite_ledger: Ledger) -> None:
    code = await added(api)
    await api.add()
    body = {**KEY, "recipients": [RECIPIENT, "+905331112233"], "retailerAccess": [code]}
    for method in ("POST", "PUT"):
        answer = await api.ask(method, ACCESS, body)
        (fault,) = answer.json()["errors"]
        assert (answer.status_code, fault["code"], fault["value"]) == (400, "H401", "+905331112233")
    with sqlite_ledger.engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(api_retailer_access)).scalar_one() == 0


NO_CHANGES = [
    ({"retailerAccess": None}, 422, "H169"),
    ({"retailerAccess": []}, 422, "H163"),
    ({"retailerAccess": ["x"]}, 422, "H460"),
    ({"retailerAccess": [99999999]}, 403, "H180"),
    ({"retailerAccess": list(range(1, 102))}, 422, "H126"),
    ({"recipients": None}, 422, "H168"),
    ({"recipients": []}, 422, "H164"),
    ({"recipients": "x"}, 422, "H478"),
    ({"recipients": ["05321112233"]}, 422, "H121"),
    ({"recipients": [RECIPIENT] * 101}, 422, "H127"),
    ({"recipient": RECIPIENT}, 422, "H168"),
    ({"type": None}, 422, "H111"),
    ({"type": "SMS"}, 422, "H117"),
    ({"recipientType": None}, 422, "H170"),
    ({"recipientType": "x"}, 422, "H116"),
    ({"more": 1}, 422, "H118"),
]


async def test_what_is_no_change_of_access(api: Served) -> None:
    for fields, status, code in NO_CHANGES:
        body = {**KEY, "recipients": [RECIPIENT], "retailerAccess": [1], **fields}
        said = {name: value for name, value in body.items() if value is not None}
        answer = await api.ask("PUT", ACCESS, said)
        assert (answer.status_code, codes(answer)) == (status, [code]), (fields, status, code)


async def test_bodies_that_are_no_objects(api: Served) -> None:
    found = [
        codes(await api.ask(method, path, []))
        for method, path in (
            ("POST", PATH),
            ("POST", ACCESS),
            ("POST", f"{ACCESS}/remove"),
            ("POST", f"{ACCESS}/list"),
        )
    ]
    assert found == [["H090"], ["H171"], ["H172"], ["H173"]]


async def test_who_may(api: Served) -> None:
    code = await added(api)
    for method, path in (("POST", PATH), ("DELETE", f"{PATH}/{code}"), ("PUT", ACCESS), ("POST", f"{ACCESS}/remove")):
        assert codes(await api.ask(method, path, {}, as_=READER)) == ["H355"]
    assert (await api.ask("GET", f"{PATH}/{code}", as_=READER)).status_code == 200
    assert codes(await api.ask("GET", f"{PATH}/{code}", as_=STRANGER)) == ["H353"]
    other = f"/sps/{IYS}/brands/{IYS}"
    assert codes(await api.ask("GET", f"{other}/retailers/{code}")) == ["H058"]
    assert codes(await api.add(path=f"{other}/consents", retailerCode=code)) == ["H180"]


VKNS = (
    *("1234567890", "0000000019", "1111111114", "9876543217", "5550001112"),
    *("9000000091", "1000000000", "3141592650", "4540536920"),
)
MERSISES = ("0123456789000015", "0555000111200001", "0314159265000028", "8867713444958600")


def test_numbers_of_authorities() -> None:
    assert all(map(is_vkn, VKNS))
    assert not any(map(is_vkn, ("1234567891", "3141592651", "123456789", "12345678x0", "١٢٣٤٥٦٧٨٩٠")))
    assert all(map(is_tckn, TCKNS))
    wrong = ("12345678951", "10000000147", "02345678950", "1234567895", "12346578950")
    assert not any(map(is_tckn, wrong))
    assert all(map(is_mersis, MERSISES))
    assert not any(map(is_mersis, ("0123456789100015", "012345678900001", "01234567890000155", "01234567890000a5")))


async def test_many_may_ask_for_what_retailers_took_at_once(api: Served) -> None:
    code = await added(api)
    await api.add(retailerCode=code)
    answers = await asyncio.gather(*(api.status(RECIPIENT) for _ in range(3 * API_THREADS_WAITING_MAX)))
    assert {answer.status_code for answer in answers} == {200}
    assert {answer.json()["retailerCode"] for answer in answers} == {code}
