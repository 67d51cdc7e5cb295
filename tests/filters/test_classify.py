"""Commercial or informational: the stream first, a declaration second, and in doubt commercial."""

from __future__ import annotations

import pytest

from filters.classify import classify
from filters.model import Brand, Kind, RecipientType, Stream

BRAND = Brand(100001, "Örnek Market", "Örnek Market Ticaret A.Ş.", "0123456789000015", 100001)


def stream(kind: Kind, *, may_declare: bool) -> Stream:
    return Stream("kampanya", BRAND, kind, RecipientType.BIREYSEL, "relay", may_declare=may_declare)


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("declared", [None, b"", b"informational", b"commercial", b"x"])
def test_a_stream_that_may_not_declare_decides_alone(kind: Kind, declared: bytes | None) -> None:
    assert classify(stream(kind, may_declare=False), declared) == (kind, "stream")


@pytest.mark.parametrize("kind", Kind)
def test_i1_what_is_undeclared_is_commercial(kind: Kind) -> None:
    """Also on a stream that is informational by configuration: whoever may say so has to say so."""
    assert classify(stream(kind, may_declare=True), None) == (Kind.COMMERCIAL, "undeclared")


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("declared", [b"informational", b"INFORMATIONAL", b" Informational\r\n", b"\tinformational "])
def test_a_declaration_counts_in_any_case_and_with_blanks_around(kind: Kind, declared: bytes) -> None:
    assert classify(stream(kind, may_declare=True), declared) == (Kind.INFORMATIONAL, "declared")


@pytest.mark.parametrize(
    "declared",
    [
        b"",
        b"commercial",
        b"info",
        b"informational;",
        b"informational, commercial",
        b"informational\0",
        b"in formational",
        b"\xffinformational",
        "ınformatıonal".encode(),
        "İNFORMATİONAL".encode(),
        "informational\u00a0".encode(),
        b"informational" * 2,
    ],
)
@pytest.mark.parametrize("kind", Kind)
def test_i1_a_typing_error_stays_commercial(kind: Kind, declared: bytes) -> None:
    assert classify(stream(kind, may_declare=True), declared) == (Kind.COMMERCIAL, "declared")
