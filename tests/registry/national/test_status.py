"""Status of one and of many, and the brands with their counts (S1–S5)."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from filters.model import Channel, RecipientType, Status
from registry.ledger import Ledger, transaction_id
from registry.limits import API_RECIPIENTS_MAX
from registry.national import brands
from registry.rules import Move
from tests.registry.national.support import A1, BRAND, IYS, READER, B, Served, codes
from tests.registry.support import NOW, fingerprint

RET = {"status": "RET", "consentDate": "2026-03-04 09:30:00"}
THREE = ["+905321112233", "+905331112233", "+905341112233"]


async def many(api: Served, recipients: Any, path: str = "BIREYSEL/status/MESAJ") -> Any:
    return await api.ask("POST", f"{B}/consents/{path}", {"recipients": recipients})


async def test_s1_what_is_recorded_is_told(api: Served) -> None:
    added = (await api.add()).json()
    assert (await api.status()).json() == {
        "consentDate": "2026-03-03 18:05:00",
        "source": "HS_WEB",
        "recipient": "+905321112233",
        "recipientType": "BIREYSEL",
        "status": "ONAY",
        "type": "MESAJ",
        "creationDate": "2026-03-04 10:00:00",
        "retailerAccessCount": 0,
        "transactionId": added["transactionId"],
    }


async def test_what_is_not_known_is_left_out(api: Served) -> None:
    await api.add(recipientType="TACIR", source=None, consentDate=None)
    told = (await api.status(recipientType="TACIR")).json()
    assert told["status"] == "ONAY"
    assert not {"source", "consentDate"} & told.keys()


async def test_s2_an_unknown_recipient_is_404(api: Served) -> None:
    answer = await api.status("+905329990000")
    assert (answer.status_code, codes(answer)) == (404, ["H401"])


WRONG: dict[str, tuple[Any, int, str]] = {
    "no object": ([], 400, "H097"),
    "another field": ({"x": 1}, 422, "H118"),
    "no type": ({"recipient": "+905321112233", "recipientType": "TACIR"}, 422, "H111"),
    "no recipientType": ({"recipient": "+905321112233", "type": "MESAJ"}, 422, "H170"),
    "no recipient": ({"type": "MESAJ", "recipientType": "TACIR"}, 422, "H114"),
    "an unknown type": ({"recipient": "+905321112233", "type": "SMS", "recipientType": "TACIR"}, 422, "H117"),
    "a type that is none": ({"recipient": "+905321112233", "type": {}, "recipientType": "TACIR"}, 422, "H117"),
    "an unknown kind": ({"recipient": "+905321112233", "type": "MESAJ", "recipientType": 1}, 422, "H116"),
    "no number": ({"recipient": "5321112233", "type": "MESAJ", "recipientType": "TACIR"}, 422, "H121"),
    "a long number": ({"recipient": "+9" + "0" * 20, "type": "MESAJ", "recipientType": "TACIR"}, 422, "H166"),
    "no mail": ({"recipient": "a@b.c", "type": "EPOSTA", "recipientType": "TACIR"}, 422, "H120"),
    "a recipient that is none": ({"recipient": 5, "type": "EPOSTA", "recipientType": "TACIR"}, 422, "H122"),
}


@pytest.mark.parametrize(("body", "status", "code"), WRONG.values(), ids=WRONG.keys())
async def test_a_bad_query_is_refused(api: Served, body: Any, status: int, code: str) -> None:
    answer = await api.ask("POST", f"{B}/consents/status", body)
    assert (answer.status_code, codes(answer)) == (status, [code])


async def test_s3_of_many_those_in_onay_are_told(api: Served) -> None:
    await api.add()
    await api.add(recipient=THREE[1])
    await api.add(recipient=THREE[1], **RET)
    answer = await many(api, THREE)
    assert answer.json()["list"] == THREE[:1]
    assert UUID(answer.json()["requestId"])


async def test_of_mail_the_canonical_spelling_is_told(api: Served) -> None:
    await api.add(type="EPOSTA", recipient="Ada@example.test")
    answer = await many(api, ["x@example.test", "ADA@EXAMPLE.TEST", "no mail"], "BIREYSEL/status/EPOSTA")
    assert answer.json()["list"] == ["ada@example.test"]


LISTS: dict[str, tuple[Any, str]] = {
    "S4 empty": ({"recipients": []}, "H164"),
    "S4 missing": ({}, "H168"),
    "S4 text": ({"recipients": "x"}, "H478"),
    "numbers": ({"recipients": [905321112233]}, "H478"),
    "S5": ({"recipients": [*THREE, "ada@example.test"]}, "H464"),
    "twice": ({"recipients": [*THREE, THREE[0]]}, "H193"),
    "too many": ({"recipients": [f"+9055500{index:05}" for index in range(API_RECIPIENTS_MAX + 1)]}, "H091"),
    "another field": ({"recipients": THREE, "x": 1}, "H118"),
}


@pytest.mark.parametrize(("body", "code"), LISTS.values(), ids=LISTS.keys())
async def test_a_bad_list_is_refused(api: Served, body: Any, code: str) -> None:
    answer = await api.ask("POST", f"{B}/consents/BIREYSEL/status/MESAJ", body)
    assert (answer.status_code, codes(answer)) == (422, [code])


async def test_a_repetition_is_named_with_its_place(api: Served) -> None:
    (fault,) = (await many(api, [*THREE, THREE[0]])).json()["errors"]
    assert (fault["location"], fault["value"]) == (["recipients", 3], THREE[0])


async def test_type_and_kind_of_the_path_are_checked(api: Served) -> None:
    assert codes(await many(api, THREE, "KURUMSAL/status/MESAJ")) == ["H116"]
    assert codes(await many(api, THREE, "TACIR/status/SMS")) == ["H117"]
    assert codes(await api.ask("POST", f"{B}/consents/TACIR/status/MESAJ", [])) == ["H097"]


async def test_a_thousand_are_asked_at_once(api: Served) -> None:
    asked = [f"+9055500{index:05}" for index in range(API_RECIPIENTS_MAX)]
    await api.add(recipient=asked[-1])
    assert (await many(api, asked)).json()["list"] == asked[-1:]


async def test_brands_are_told_with_their_counts(api: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(brands, "API_COUNT_SECONDS", 0.0)
    for recipient in THREE:
        await api.add(recipient=recipient)
    await api.add(**RET)
    master, sub = (await api.ask("GET", f"/sps/{IYS}/brands")).json()
    assert (master["brandCode"], master["master"], master["stats"]["consents"]["total"]) == (IYS, True, 0)
    assert sub == {
        "brandCode": BRAND,
        "name": "Örnek Kahve",
        "master": False,
        "stats": {"consents": {"approval": 2, "rejection": 1, "total": 3}, "retailers": {"total": 0}},
    }
    mine = (await api.ask("GET", f"/sps/{IYS}/brands", as_=READER)).json()
    assert [brand["brandCode"] for brand in mine] == [BRAND]


async def test_a_consent_that_does_not_count_yet_is_told_as_such(api: Served, sqlite_ledger: Ledger) -> None:
    """Of before the national system, and under the citizens' review (`registry.transition`)."""
    old = Move(BRAND, Channel.MESAJ, b"+905321112233", RecipientType.BIREYSEL, Status.ONAY, "HS_WEB", A1["consentDate"])
    with sqlite_ledger.append() as log:
        log.write([(fingerprint(sqlite_ledger, old), old, True)], origin="existing:2026-05-01", now=NOW)
    told = (await api.status()).json()
    assert (told["status"], told["transactionId"]) == ("BEKLIYOR", transaction_id(old).hex())
    assert (await many(api, THREE)).json()["list"] == []
    _, sub = (await api.ask("GET", f"/sps/{IYS}/brands")).json()
    assert sub["stats"]["consents"] == {"approval": 0, "rejection": 0, "total": 1}
    assert codes(await api.add()) == ["H178"]
    assert (await api.add(**RET)).status_code == 200
    assert (await api.status()).json()["status"] == "RET"
