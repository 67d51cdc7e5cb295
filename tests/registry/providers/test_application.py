"""What an application may say; every fault names its field, and none repeats what was said."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest

from registry.limits import PROVIDER_DOCUMENT_OCTETS_MAX
from registry.national.errors import MESSAGES
from registry.providers.application import Unfit, parse
from registry.providers.documents import kind_of
from tests.registry.providers.support import EMAIL, PDF, PNG, TCKN, said


def faults(what: object) -> list[tuple[str, tuple[str, ...]]]:
    with pytest.raises(Unfit) as caught:
        parse(what)
    assert all(fault.value is None and fault.code in MESSAGES for fault in caught.value.faults)
    return [(fault.code, fault.location) for fault in caught.value.faults]


def test_an_application_that_fits() -> None:
    found = parse(said())
    assert (found.brands, found.email, found.document, found.document_type) == (
        ("Deneme Kahve", "Deneme Çay"),
        EMAIL,
        PDF,
        "pdf",
    )
    assert TCKN not in repr(found)
    assert EMAIL not in repr(found)


@pytest.mark.parametrize(
    ("changes", "code", "location"),
    [
        ({"title": " "}, "H214", ("title",)),
        ({"title": None}, "H214", ("title",)),
        ({"title": "Deneme\nA.Ş."}, "H214", ("title",)),
        ({"title": "Deneme {link} A.Ş."}, "H214", ("title",)),
        ({"mersis": "012345678900001"}, "H228", ("mersis",)),
        ({"mersis": "0123456789100015"}, "H227", ("mersis",)),
        ({"mersis": 123456789000015}, "H460", ("mersis",)),
        ({"tin": "123"}, "H244", ("tin",)),
        ({"tin": "1234567891"}, "H243", ("tin",)),
        ({"tin": "12345678951"}, "H243", ("tin",)),
        ({"brands": []}, "X613", ("brands",)),
        ({"brands": ["Deneme", "Deneme"]}, "H215", ("brands",)),
        ({"brands": ["Deneme Simit Işık", "DENEME  SİMİT IŞIK"]}, "H215", ("brands",)),
        ({"brands": ["Deneme Simit", "DENEME SIMIT"]}, "H215", ("brands",)),
        ({"brands": ["Deneme ☕"]}, "H215", ("brands",)),
        ({"brands": ["x" * 90]}, "H215", ("brands",)),
        ({"name": ""}, "X611", ("signatory", "name")),
        ({"tckn": None}, "H225", ("signatory", "tckn")),
        ({"tckn": "12345678951"}, "H226", ("signatory", "tckn")),
        ({"mobile": "05550000007"}, "X612", ("signatory", "mobile")),
        ({"mobile": "+9005550000007"}, "X612", ("signatory", "mobile")),
        ({"mobile": "+90555000000７"}, "X612", ("signatory", "mobile")),
        ({"mobile": "+905550000007\n"}, "X612", ("signatory", "mobile")),
        ({"mobile": "+902125550000"}, "X612", ("signatory", "mobile")),
        ({"email": "imza"}, "H120", ("signatory", "email")),
        ({"email": "biri@GMAIL.com"}, "X614", ("signatory", "email")),
        ({"email": "biri@mail.hotmail.com.tr"}, "X614", ("signatory", "email")),
        ({"document": None}, "X615", ("document",)),
        ({"document": "?"}, "X615", ("document",)),
        ({"document": b64encode(b"MZ" + PDF).decode()}, "X615", ("document",)),
        ({"fax": "1"}, "H118", ("fax",)),
    ],
)
def test_each_fault_names_its_field(changes: dict[str, Any], code: str, location: tuple[str, ...]) -> None:
    assert faults(said(**changes)) == [(code, location)]


def test_all_faults_are_told_at_once() -> None:
    found = faults(said(title="", mersis="1", tin="1", tckn="1", mobile="1", email="x"))
    assert [code for code, _ in found] == ["H214", "H228", "H244", "H226", "X612", "H120"]
    assert faults([]) == [("X610", ())]
    assert faults({"signatory": 1})[0] == ("H460", ("signatory",))


def test_a_document_is_what_its_octets_are() -> None:
    assert (kind_of(PDF), kind_of(PNG), kind_of(PDF[:-7]), kind_of(b"")) == ("pdf", "png", None, None)
    longest = PDF[:9] + b" " * (PROVIDER_DOCUMENT_OCTETS_MAX - len(PDF)) + PDF[9:]
    assert parse(said(document=b64encode(longest).decode())).document == longest
    assert faults(said(document=b64encode(longest + b"\n").decode())) == [("X616", ("document",))]
