"""Every vector of the single addition (A1–A33), on a Wednesday, 4 March 2026, 10:00 in Turkey."""

from __future__ import annotations

import re
from typing import Any

import pytest

from filters.model import Channel, RecipientType, Status
from registry.index.embedded import SqliteIndexWriter
from registry.ledger import Ledger
from registry.rules import Move
from tests.registry.national.support import BRAND, V2, Served, codes
from tests.registry.support import fold, may_be_sent

HEX = re.compile(r"[0-9a-f]{64}")
LATER = {"consentDate": "2026-03-04 09:00:00"}
RET = {"status": "RET", "consentDate": "2026-03-04 09:30:00"}


def stored(
    recipient: bytes = b"+905321112233",
    channel: Channel = Channel.MESAJ,
    kind: RecipientType = RecipientType.BIREYSEL,
) -> Move:
    return Move(BRAND, channel, recipient, kind, Status.ONAY, "HS_WEB", "")


async def test_a1_an_onay_is_taken_and_counts_at_once(
    api: Served, sqlite_ledger: Ledger, embedded: SqliteIndexWriter
) -> None:
    answer = await api.add()
    assert answer.status_code == 200
    assert HEX.fullmatch(answer.json()["transactionId"])
    assert answer.json()["creationDate"] == "2026-03-04 10:00:00"
    assert may_be_sent(embedded, sqlite_ledger, stored())


async def test_a2_the_same_again_is_not_newer(api: Served, sqlite_ledger: Ledger) -> None:
    await api.add()
    head = sqlite_ledger.head()
    answer = await api.add()
    assert (answer.status_code, codes(answer)) == (400, ["H178"])
    assert sqlite_ledger.head() == head


async def test_a3_the_same_again_in_v2_is_the_same(api: Served, sqlite_ledger: Ledger) -> None:
    first = await api.add(path=V2)
    api.clock.forward(hours=1)
    head = sqlite_ledger.head()
    assert (await api.add(path=V2)).json() == first.json()
    assert (await api.add(path=V2, **LATER)).status_code == 200
    assert (await api.add(path=V2, **RET)).status_code == 200
    again = await api.add(path=V2)  # after others have followed it
    assert (again.status_code, again.json()) == (200, first.json())
    assert sqlite_ledger.head() == head + 2


async def test_a4_to_a6_newer_onay_ret_and_ret_again(
    api: Served, sqlite_ledger: Ledger, embedded: SqliteIndexWriter
) -> None:
    await api.add()
    assert (await api.add(**LATER)).status_code == 200
    assert (await api.add(**RET)).status_code == 200
    assert not may_be_sent(embedded, sqlite_ledger, stored())
    again = await api.add(**RET | {"consentDate": "2026-03-04 09:40:00"})
    assert (again.status_code, codes(again)) == (400, ["H174"])


REFUSED: dict[str, tuple[dict[str, Any], int, str]] = {
    "A9": ({"source": "HS_KARAR"}, 422, "H408"),
    "A10": ({"source": "IYS_WEB"}, 422, "H119"),
    "A12": ({"source": "HS_2015", "consentDate": "2015-05-02 00:00:00"}, 422, "H155"),
    "A13": ({"consentDate": "2015-04-30 23:59:59"}, 422, "H156"),
    "A14": ({"consentDate": "2026-03-04 10:00:01"}, 422, "H162"),
    "A15": ({"consentDate": "2026-02-20 10:00:00"}, 422, "H467"),
    "A16": ({"consentDate": "04.03.2026 09:00"}, 422, "H158"),
    "no day": ({"consentDate": "2026-02-30 09:00:00"}, 422, "H157"),
    "A17": ({"recipient": "+9005321112233"}, 422, "H121"),
    "A18": ({"recipient": "05321112233"}, 422, "H121"),
    "blanks": ({"recipient": "+90 532 111 22 33"}, 422, "H121"),
    "long": ({"recipient": "+90532111223344556"}, 422, "H160"),
    "landline": ({"recipient": "+902121230000"}, 422, "H121"),
    "mail for SMS": ({"recipient": "ada@example.test"}, 422, "H464"),
    "A20": ({"type": "EPOSTA", "recipient": "a@b.c"}, 422, "H120"),
    "A21": ({"type": "EPOSTA", "recipient": "ada@örnek.test"}, 422, "H120"),
    "dot at the end": ({"type": "EPOSTA", "recipient": "ada@example.test."}, 422, "H120"),
    "Turkish I": ({"type": "EPOSTA", "recipient": "İlker@example.test"}, 422, "H120"),
    "A23": ({"type": "SMS"}, 422, "H117"),
    "A24": ({"status": "RED"}, 422, "H115"),
    "A25": ({"recipientType": "KURUMSAL"}, 422, "H116"),
    "A29": ({"name": "x"}, 422, "H118"),
    "A30": ({"retailerCode": 99999999}, 403, "H180"),
    "access of nobody": ({"retailerAccess": [1]}, 403, "H180"),
    "A31": ({"retailerCode": ""}, 422, "H460"),
    "retailers as text": ({"retailerAccess": "1,2"}, 422, "H460"),
    "no retailers": ({"retailerAccess": []}, 422, "H163"),
    "a huge retailer": ({"retailerCode": 1 << 70}, 422, "H460"),
    "no status": ({"status": None}, 422, "H110"),
    "no type": ({"type": None}, 422, "H111"),
    "no date": ({"consentDate": None}, 422, "H112"),
    "no source": ({"source": None}, 422, "H113"),
    "no recipient": ({"recipient": None}, 422, "H114"),
    "empty type of recipient": ({"recipientType": ""}, 422, "H116"),
    "a number": ({"recipient": 905321112233}, 422, "H122"),
    "a list": ({"status": ["ONAY"]}, 422, "H115"),
    "TACIR with an empty date": ({"recipientType": "TACIR", "source": None, "consentDate": ""}, 422, "H112"),
    "TACIR with an empty source": ({"recipientType": "TACIR", "consentDate": None, "source": ""}, 422, "H113"),
}


@pytest.mark.parametrize(("fields", "status", "code"), REFUSED.values(), ids=REFUSED.keys())
async def test_what_breaks_a_rule_is_refused_with_its_code(
    api: Served, sqlite_ledger: Ledger, fields: dict[str, Any], status: int, code: str
) -> None:
    answer = await api.add(**fields)
    assert (answer.status_code, codes(answer)) == (status, [code])
    assert sqlite_ledger.head() == 0


async def test_a23_the_answer_names_field_and_value(api: Served) -> None:
    (fault,) = (await api.add(type="SMS")).json()["errors"]
    assert (fault["location"], fault["value"]) == (["type"], "SMS")
    assert fault["message"]


PLACES: dict[str, tuple[dict[str, Any], list[str | int], Any]] = {
    "A30": ({"retailerCode": 99999999}, ["retailerCode"], 99999999),
    "access of nobody": ({"retailerAccess": [7, 99999999]}, ["retailerAccess", 0], 7),
    "A29": ({"name": "x"}, ["name"], "x"),
    "A14": ({"consentDate": "2026-03-04 10:00:01"}, ["consentDate"], "2026-03-04 10:00:01"),
    "A7": ({"status": "RET"}, ["status"], "RET"),
}


@pytest.mark.parametrize(("fields", "location", "value"), PLACES.values(), ids=PLACES.keys())
async def test_the_answer_names_the_place_and_what_stands_there(
    api: Served, fields: dict[str, Any], location: list[str | int], value: Any
) -> None:
    (fault,) = (await api.add(**fields)).json()["errors"]
    assert (fault["location"], fault["value"]) == (location, value)


TAKEN: dict[str, dict[str, Any]] = {
    "A11": {"source": "HS_2015", "consentDate": "2015-05-01 00:00:00"},
    "A22": {"type": "EPOSTA", "recipient": "x+tag@example.test"},
    "A26": {"recipientType": "TACIR", "source": None, "consentDate": None},
    "no recipientType": {"recipientType": None},
    "now": {"consentDate": "2026-03-04 10:00:00"},
    "the third business day": {"consentDate": "2026-02-27 00:00:00"},
    "a landline to call": {"type": "ARAMA", "recipient": "+902121230000"},
}


@pytest.mark.parametrize("fields", TAKEN.values(), ids=TAKEN.keys())
async def test_what_obeys_is_taken(api: Served, sqlite_ledger: Ledger, fields: dict[str, Any]) -> None:
    assert (await api.add(**fields)).status_code == 200
    assert sqlite_ledger.head() == 1


async def test_a19_mail_is_kept_in_lower_case(api: Served) -> None:
    assert (await api.add(type="EPOSTA", recipient="Ada@Example.TEST")).status_code == 200
    answer = await api.status("ADA@example.test", type="EPOSTA")
    assert answer.json()["recipient"] == "ada@example.test"


async def test_a27_a28_a_merchant_is_changed_with_date_and_source_alone(api: Served) -> None:
    merchant = {"recipientType": "TACIR", "source": None, "consentDate": None}
    assert (await api.add(**merchant)).status_code == 200
    undated = await api.add(recipientType="TACIR", status="RET", consentDate=None)
    assert (undated.status_code, codes(undated)) == (400, ["H462"])
    nobody = await api.add(recipientType="TACIR", status="RET", source=None)
    assert (nobody.status_code, codes(nobody)) == (400, ["H463"])
    assert (await api.add(recipientType="TACIR", status="RET")).status_code == 200


async def test_a32_consumer_and_merchant_are_two(api: Served, sqlite_ledger: Ledger) -> None:
    assert (await api.add()).status_code == 200
    assert (await api.add(recipientType="TACIR")).status_code == 200
    assert (await api.add(recipientType="TACIR", **RET)).status_code == 200
    assert fold(sqlite_ledger, stored()) is Status.ONAY
    assert fold(sqlite_ledger, stored(kind=RecipientType.TACIR)) is Status.RET


async def test_a33_a_ret_is_for_its_channel(api: Served) -> None:
    await api.add()
    await api.add(type="ARAMA")
    assert (await api.add(type="ARAMA", **RET)).status_code == 200
    assert (await api.status()).json()["status"] == "ONAY"
    assert (await api.status(type="ARAMA")).json()["status"] == "RET"
