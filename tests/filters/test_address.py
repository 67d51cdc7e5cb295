"""Canonical forms: what has one, what has none, and that no two people share one."""

from __future__ import annotations

import pytest

from filters import address
from filters.address import EMAIL_LENGTH_MAX, EMAIL_LENGTH_MIN, canonical_email, canonical_msisdn, is_mobile

LABEL_63 = b"b" * 63
DOMAIN_200 = b".".join([LABEL_63] * 3 + [b"c" * 8])


class TestEmail:
    @pytest.mark.parametrize(
        ("raw", "canonical"),
        [
            (b"ayse@example.test", b"ayse@example.test"),
            (b"ILKER@EXAMPLE.TEST", b"ilker@example.test"),
            (b"Ayse.Yilmaz+Kampanya@Example.com.TR", b"ayse.yilmaz+kampanya@example.com.tr"),
            (b"ayse@example.test.", b"ayse@example.test"),  # an absolute domain is the same domain
            (b'"ayse"@example.test', b"ayse@example.test"),  # quoted without need
            (b'"AYSE.y"@Example.Test.', b"ayse.y@example.test"),
            (b"-ayse@example.test", b"-ayse@example.test"),  # first characters the national system allows
            (b"_ayse@example.test", b"_ayse@example.test"),
            (b".ayse@example.test", b".ayse@example.test"),
            (b"a..b--c__@example.test", b"a..b--c__@example.test"),
            (b"1@2.tr", b"1@2.tr"),  # the shortest
            (b"ayse@xn--rnek-4qa.test", b"ayse@xn--rnek-4qa.test"),
            (b"ayse@XN--RNEK-4QA.TEST", b"ayse@xn--rnek-4qa.test"),
            ("ayse@örnek.test".encode(), b"ayse@xn--rnek-4qa.test"),
            ("Ayse@ÖRNEK.test".encode(), b"ayse@xn--rnek-4qa.test"),
            ("ayse@o\u0308rnek.test".encode(), b"ayse@xn--rnek-4qa.test"),  # decomposed
            ('"ayse"@örnek.test.'.encode(), b"ayse@xn--rnek-4qa.test"),
            ("ayse@example。test".encode(), b"ayse@example.test"),  # the ideographic full stop, UTS 46
            ("ayse@ıspanak.test".encode(), b"ayse@xn--spanak-o9a.test"),  # a dotless i is no i
        ],
    )
    def test_one_form(self, raw: bytes, canonical: bytes) -> None:
        assert canonical_email(raw) == canonical

    @pytest.mark.parametrize(
        "raw",
        [
            b"",
            b"@",
            b"ayse",
            b"ayse@",
            b"@example.test",
            b"ayse@example",  # no top-level domain
            b"ayse@example..test",
            "ayse@faß.test".encode(),  # another domain in IDNA 2003 than in IDNA 2008, and both are in use
            "ayse@ς.test".encode(),
            b"ayse@.example.test",
            b"ayse@example.test..",
            b"ayse@-example.test",
            b"ayse@example-.test",
            b"ayse@exa_mple.test",
            b"ayse@example.t",
            b"ayse@example.1t",
            b"ayse@127.0.0.1",
            b"ayse@[127.0.0.1]",
            b"ayse@[IPv6:::1]",
            b"a@b@example.test",
            b"@relay.test:ayse@example.test",  # a source route
            b"ayse%example.test@relay.test",
            b"relay.test!ayse@example.test",
            b"ayse (comment)@example.test",
            b"ayse@example.test ",
            b" ayse@example.test",
            b"ayse @example.test",
            b"<ayse@example.test>",
            b"ayse@example.test\n",
            b"ayse@example.test\r\n",
            b"ayse@example.test\0",
            b"ay\0se@example.test",
            b"ay\tse@example.test",
            b'""@example.test',
            b'"ayse@home"@example.test',  # quotes that are needed
            b'"ay\\se"@example.test',
            b'"ay se"@example.test',
            b'ay"s"e@example.test',
            b'"ayse"x@example.test',
            b'"ayse"@b@example.test',
            b"\"'ayse'\"@example.test",
            b"ay'se@example.test",
            b"ay/se@example.test",
            b"ay=se@example.test",
            b"a" * 65 + b"@example.test",
            b"ayse@" + b"b" * 64 + b".test",
            b"ayse@example.t" + b"e" * 63,
            "ayşe@example.test".encode(),
            "İlker@example.test".encode(),
            "\u212aemal@example.test".encode(),  # the Kelvin sign: str.lower makes it a k
            "ａｙｓｅ@example.test".encode(),  # full width
            "ayse@örnek".encode(),
            "ayse@ör nek.test".encode(),
            "ayse@ör\u202enek.test".encode(),
            "ayse@😀.test".encode(),
            "ayse@。".encode(),
            b"ayse@\xf6rnek.test",  # Latin-1
            b"ayse@\xc3.test",
            b"\xff",
            b"@" * 300,
            b"ayse@" + "ö.".encode() * 200 + b"test",
        ],
    )
    def test_i3_what_is_odd_has_none(self, raw: bytes) -> None:
        assert canonical_email(raw) is None

    def test_i3_neither_labels_nor_dots_nor_look_alikes_are_folded(self) -> None:
        """The national system keeps a consent for each of these separately; none speaks for another."""
        spellings = [
            b"aysey@example.test",
            b"ayse.y@example.test",
            b"ayse..y@example.test",
            b"ayse+y@example.test",
            b"ayse-y@example.test",
            b"ayse_y@example.test",
            b"aysey@example.com.tr",
            b"aysey@mail.example.test",
            "aysey@exaṁple.test".encode(),
            "aysey@exampıe.test".encode(),
        ]
        canonical = {canonical_email(raw) for raw in spellings}
        assert None not in canonical
        assert len(canonical) == len(spellings)

    def test_the_lengths_of_the_national_system(self) -> None:
        longest = b"a" * 64 + b"@" + DOMAIN_200
        assert len(longest) == EMAIL_LENGTH_MAX
        assert canonical_email(longest) == longest
        assert canonical_email(longest + b".") == longest
        assert canonical_email(b'"%b"@%b' % (b"a" * 64, DOMAIN_200)) == longest
        assert canonical_email(longest + b"c") is None
        assert len(b"a@b.cd") == EMAIL_LENGTH_MIN
        assert canonical_email(b"a@b.cd") == b"a@b.cd"
        assert canonical_email(b"a@b.c") is None

    def test_an_internationalised_domain_may_be_long_on_the_wire(self) -> None:
        domain = ".".join(["例" * 15] * 4 + ["test"])
        raw = b"ayse@" + domain.encode()
        canonical = canonical_email(raw)
        assert canonical is not None
        assert canonical.count(b"xn--") == 4
        assert canonical_email(canonical) == canonical

    @pytest.mark.parametrize(
        "raw", [b"a@" + b"a." * 10**6, (LABEL_63 + b"@.") * 10**4, b'"' * 10**6, b"\xc3\xb6." * 10**6]
    )
    def test_i7_what_is_longer_than_any_spelling_is_not_read_at_all(
        self, raw: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A regular expression over 2 MB of labels takes two seconds, in which a worker answers nobody."""
        monkeypatch.setattr(address, "_EMAIL", None)
        monkeypatch.setattr(address, "_QUOTED", None)
        assert canonical_email(raw) is None


class TestMsisdn:
    @pytest.mark.parametrize(
        "raw",
        [
            b"+905321112233",
            b"05321112233",
            b"5321112233",
            b"905321112233",
            b"00905321112233",
            b"0 (532) 111 22 33",
            b"+90 532 111 22 33",
            b"+90-532-111-2233",
            b"(0532) 111-22-33",
        ],
    )
    def test_a_turkish_mobile_has_one_form(self, raw: bytes) -> None:
        assert canonical_msisdn(raw) == b"+905321112233"

    @pytest.mark.parametrize(
        ("raw", "canonical"),
        [
            (b"+905610111234", b"+905610111234"),
            (b"+905822123456", b"+905822123456"),
            (b"+905992000000", b"+905992000000"),  # a sample of the national system, in no numbering plan
            (b"+905813334455", b"+905813334455"),
            (b"02121230000", b"+902121230000"),
            (b"+902121230000", b"+902121230000"),
            (b"00902121230000", b"+902121230000"),
            (b"+908501234567", b"+908501234567"),
            (b"0850 123 45 67", b"+908501234567"),
            (b"+4915112345678", b"+4915112345678"),
            (b"004915112345678", b"+4915112345678"),
            (b"+49 (151) 1234-5678", b"+4915112345678"),
            (b"+5550000001", b"+5550000001"),  # Brazil
            (b"005550000001", b"+5550000001"),
            (b"+12025550123", b"+12025550123"),
            (b"+10000000", b"+10000000"),
            (b"+999999999999999", b"+999999999999999"),
        ],
    )
    def test_one_form(self, raw: bytes, canonical: bytes) -> None:
        assert canonical_msisdn(raw) == canonical
        assert canonical_msisdn(canonical) == canonical

    @pytest.mark.parametrize(
        "raw",
        [
            b"",
            b"+",
            b" ",
            b"()",
            b"0",
            b"+0",
            b"112",
            b"4441234",
            b"+904441234",  # reachable in Turkey alone, and no consent can be kept for it
            b"+90532111223",
            b"+9053211122334",
            b"+9005321112233",  # the zero behind the country code: others repair it, the national system does not
            b"009005321112233",
            b"9005321112233",
            b"+90(0)5321112233",
            b"+05321112233",
            b"++905321112233",
            b"+9+05321112233",
            b"000905321112233",
            b"5321112233a",
            b"+905321112233;ext=1",
            b"+905321112233,1",
            b"+905321112233#",
            b"tel:+905321112233",
            b"+90.532.111.22.33",
            b"+90/5321112233",
            b"+90_5321112233",
            b"+90\t5321112233",
            b"+905321112233\n",
            b"\n+905321112233",
            b"+905321112233\0",
            b"5_321112233",
            "５３２１１１２２３３".encode(),
            "٥٣٢١١١٢٢٣٣".encode(),
            b"+901234567890",  # no Turkish number begins with 1, 6, 7 or 9
            b"+906123456789",
            b"06123456789",
            b"+1234567",
            b"+1234567890123456",
            b"0" * 41,
            b" " * 10**6,
            b"5" * 10**6,
            b"5321112233" + b" " * 40,
            b"MARKA",
            b"\xff\xfe",
        ],
    )
    @pytest.mark.parametrize("international", [False, True])
    def test_i3_what_is_odd_has_none(self, raw: bytes, international: bool) -> None:
        assert canonical_msisdn(raw, international=international) is None

    @pytest.mark.parametrize(
        ("raw", "canonical"),
        [
            (b"905321112233", b"+905321112233"),
            (b"+905321112233", b"+905321112233"),
            (b"00905321112233", b"+905321112233"),
            (b"05321112233", b"+905321112233"),  # E.164 never begins with a zero, so this is the trunk prefix
            (b"902121230000", b"+902121230000"),
            (b"4915112345678", b"+4915112345678"),
            (b"49 151 1234 5678", b"+4915112345678"),
            (b"005550000001", b"+5550000001"),
        ],
    )
    def test_international_digits_need_no_plus(self, raw: bytes, canonical: bytes) -> None:
        assert canonical_msisdn(raw, international=True) == canonical

    @pytest.mark.parametrize("raw", [b"4915112345678", b"532111223", b"53211122334", b"2121230000"])
    def test_other_digits_need_a_plus(self, raw: bytes) -> None:
        assert canonical_msisdn(raw) is None
        assert canonical_msisdn(raw, international=True) == canonical_msisdn(b"+" + raw) == b"+" + raw

    def test_i3_ten_international_digits_are_not_a_turkish_number(self) -> None:
        assert canonical_msisdn(b"5550000001", international=True) == b"+5550000001"
        assert canonical_msisdn(b"5550000001") == b"+905550000001"
        assert canonical_msisdn(b"2121230000", international=True) == b"+2121230000"  # Morocco
        assert canonical_msisdn(b"2121230000") is None


@pytest.mark.parametrize(
    ("canonical", "mobile"),
    [
        (b"+905550000001", True),
        (b"+902120000001", False),
        (b"+908500000001", False),
        (b"+9055500000012", False),
        (b"+491555000000", False),
        (b"+5550000001", False),
    ],
)
def test_is_mobile(canonical: bytes, mobile: bool) -> None:
    assert is_mobile(canonical) is mobile
