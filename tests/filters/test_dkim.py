"""DKIM signatures, made by us and verified by dkimpy."""

from __future__ import annotations

import re

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from filters import dkim, dots, mail
from filters.dkim import Copies, KeyUnusable, Signer, is_signed, relaxed_body, relaxed_field, sign
from tests.filters.mailtree import LINK, NOTICE
from tests.filters.signatures import DOMAIN, T, ec_pem, ed25519_pem, rsa_pem, signers, verified
from tests.interop.letters import ALL, letter

HEAD = b"From: Marka <a@kampanya.example.com.tr>\r\nTo: b@example.test\r\nSubject: Bahar\r\n"
# Made with `openssl genrsa 768`; libraries no longer make such keys, but old files hold them.
RSA_768 = b"""\
-----BEGIN PRIVATE KEY-----
MIIB5QIBADANBgkqhkiG9w0BAQEFAASCAc8wggHLAgEAAmEA0Kmu0tplzJ23Qxfx
TCYsacif9t8a/5k+rB7dO0LzK0CT+LiYCTC4OmdCJd+iP/I1vinOMT3ne7vYY6Ro
tZ9XX/Jga0Fk4/909ZKmHf+UtbFY2O8sp8dW+s7Vxp82d/8lAgMBAAECYQC71+Vw
H/gAygKOveEVwk+9M0T+Qz7U1qoa3PYgQVcTmuEayWLk8x0GRqq/2aEAnBOxWTtS
gTysSBSgfl2gGG3EuPtOs7c8nWJPuqsroWYuXQkbwlQw+LrARGnHD9u9NgkCMQDr
Q46j/y3Br8yOKDNRWMP2y63mshsfHXdVK2IC0FTZK2ZMWtTy+9FRCecgTLGiHJ8C
MQDjDeetQ++e7tKUuUSuSJ2lZqxf/melmoeofL2nESU4XmB7XT6aYhCqzjwxNfbE
ibsCMQDXhSL1332GUsr8a51fZwbWXo5nqT+pSHAaaMy3sSwZamWjiw5Lrh55s620
7C1KShcCMDu7V7yMR8ie+YUorDnRXq+5sBVc3zWAzrlzf40pBIqswWMS57pDnDDj
KpCjqrSPqwIwL7yLvPcPrP4qEsGisRjAEM3RhyRrw7YtoxrizBI2Kk4UbISunuz1
8ipOCRxIBnNC
-----END PRIVATE KEY-----
"""
LINKS = [LINK, LINK + b"x" * 30, LINK[:-6], LINK + b"=", b"https://ret.example/r/-"]


def signed(message: bytes, *by: Signer) -> bytes:
    return sign(message, by or signers(), T) + message


def tags(field: bytes) -> dict[bytes, bytes]:
    """The tags of one signature field, white space taken out."""
    flat = field.partition(b":")[2].translate(None, b" \t\r\n")
    return dict(tag.split(b"=", 1) for tag in flat.split(b";"))


class TestBodies:
    @pytest.mark.parametrize(
        ("body", "canonical"),
        [
            (b"", b""),
            (b"\r\n", b""),
            (b"\r\n\r\n\r\n", b""),
            (b" \t\r\n \r\n", b""),
            (b" ", b""),
            (b"a", b"a\r\n"),
            (b"a \t", b"a\r\n"),
            (b"a\r\n", b"a\r\n"),
            (b"a\r\n\r\n \r\n\t\r\n", b"a\r\n"),
            (b" C \r\nD \t E\r\n\r\n\r\n", b" C\r\nD E\r\n"),  # RFC 6376 §3.4.5
            (b"a\r\n\r\n\r\nb \r\n", b"a\r\n\r\n\r\nb\r\n"),
            (b"a" + b" " * 1000 + b"b" + b"\t" * 999 + b"\r\n", b"a b\r\n"),
            ("çay  ve\tşeker \r\n".encode(), "çay ve şeker\r\n".encode()),
            (b"a\x0b \x0cb\xa0\r\n", b"a\x0b \x0cb\xa0\r\n"),
        ],
    )
    def test_are_made_canonical_as_rfc_6376_says(self, body: bytes, canonical: bytes) -> None:
        assert relaxed_body(body) == canonical

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"\r\n\r\n",
            b"text\r\n",
            b"no end",
            b"text\r\n\r\n\r\n\r\n",
            b"text \t \r\n with  blanks\t\t\r\n \r\n",
            "sekiz bitlik çay, ışıl ışıl\r\n".encode(),
            b"quoted=20printable =C3=A7ay=\r\n goes on=20\r\n",
            b".dots\r\n..\r\n.\r\n",
        ],
    )
    def test_of_every_shape_verify(self, body: bytes) -> None:
        assert verified(signed(HEAD + b"\r\n" + body)) == [True, True]

    def test_a_message_that_is_only_a_header_section_verifies(self) -> None:
        assert verified(signed(HEAD)) == [True, True]

    def test_a_changed_body_does_not_verify(self) -> None:
        copy = signed(HEAD + b"\r\ntext\r\n")
        with pytest.raises(Exception, match="body hash mismatch"):
            verified(copy.replace(b"text", b"next"))


class TestFields:
    def test_are_made_canonical_as_rfc_6376_says(self) -> None:
        assert relaxed_field(b"a", b" X") == b"a:X\r\n"
        assert relaxed_field(b"b", b" Y\t\r\n\tZ  ") == b"b:Y Z\r\n"
        assert relaxed_field(b"c", b"") == b"c:\r\n"

    @pytest.mark.parametrize(
        "extra",
        [
            b"References: <1@example.test>\r\n\t<2@example.test>  \r\n <3@example.test>\r\n",
            b"Subject:\r\n a folded one\r\n \t \r\n that goes on\r\n",
            b"To:" + b" " * 70 + b"\r\n " + b"x" * 900 + b"\r\n",
            b"Cc: c@example.test\r\nCC: d@example.test\r\ncC: e@example.test\r\n",
            "Subject: sekiz bitlik çay\r\n".encode(),
            b"X-Subject: no\r\nSubjects: nor this\r\nMIME-Version: 1.0\r\nList-Id: <a.example.test>\r\n",
        ],
    )
    def test_of_every_shape_verify(self, extra: bytes) -> None:
        for message in (extra + HEAD, HEAD + extra):
            assert verified(signed(message + b"\r\ntext\r\n")) == [True, True]

    @pytest.mark.parametrize(
        "added", [b"From", b"Subject", b"Reply-To", b"To", b"List-Unsubscribe", b"List-Unsubscribe-Post"]
    )
    def test_one_that_is_added_on_the_way_breaks_the_signature(self, added: bytes) -> None:
        copy = added + b": x@evil.example.test\r\n" + signed(HEAD + b"\r\ntext\r\n", signers()[0])
        assert verified(copy) == [False]

    def test_what_a_relay_may_add_or_is_not_signed_breaks_nothing(self) -> None:
        copy = signed(HEAD + b"\r\ntext\r\n")
        added = (
            b"Received: by x\r\nDate: Wed, 18 Nov 2026 11:06:40 +0300\r\nMessage-ID: <1@example.test>\r\nX-Spam: no\r\n"
        )
        assert verified(added + copy) == [True, True]

    def test_more_of_one_kind_than_anybody_writes_are_not_all_named(self) -> None:
        message = b"".join(b"To: b%d@example.test\r\n" % number for number in range(500)) + HEAD + b"\r\ntext\r\n"
        copy = signed(message)
        assert len(copy) - len(message) < 2500
        assert verified(copy) == [True, True]

    def test_a_message_without_from_cannot_be_signed(self) -> None:
        for message in (b"Subject: x\r\n\r\nFrom: in the body\r\n", b"\r\nFrom: x\r\n\r\n", b"", b"From x\r\n\r\n"):
            assert sign(message, signers(), T) == b""

    def test_the_envelope_line_of_a_mailbox_is_no_field(self) -> None:
        message = HEAD + b"\r\ntext\r\n"
        assert sign(b"From a@example.test Wed Nov 18 11:06:40 2026\r\n" + message, signers()[1:], T) == sign(
            message, signers()[1:], T
        )


class TestTheField:
    def test_says_who_signed_what_and_when(self) -> None:
        found = tags(sign(HEAD + b"\r\ntext\r\n", signers()[:1], T))
        assert (found[b"v"], found[b"a"], found[b"c"]) == (b"1", b"rsa-sha256", b"relaxed/relaxed")
        assert (found[b"d"], found[b"s"], found[b"t"]) == (DOMAIN.encode(), b"rsa-2026", b"%d" % T)
        assert b"i" not in found
        names = found[b"h"].split(b":")
        assert names.count(b"from") == 2
        assert names.count(b"list-unsubscribe") == names.count(b"list-unsubscribe-post") == 1, "closed, though absent"
        assert tags(sign(HEAD, signers()[1:], T))[b"a"] == b"ed25519-sha256"

    def test_its_lines_are_short_and_end_in_crlf(self) -> None:
        long = Signer(rsa_pem(), "a." * 80 + "example.com.tr", "b." * 20 + "c")
        field = sign(HEAD, [long, *signers()], T)
        assert dots.line_fault(field, 250) is None
        assert field.endswith(b"\r\n")
        assert len(re.findall(rb"(?m)^[^\t]", field)) == 3
        short = sign(HEAD, signers(), T)
        assert max(map(len, short.split(b"\r\n"))) <= 78

    def test_signatures_of_several_keys_do_not_disturb_one_another(self) -> None:
        message = HEAD + b"\r\ntext\r\n"
        both = sign(message, signers(), T)
        assert both == sign(message, signers()[:1], T) + sign(message, signers()[1:], T)


class TestCopies:
    @pytest.mark.parametrize("kind", ALL, ids="-".join)
    def test_each_copy_verifies(self, kind: tuple[str, str, str]) -> None:
        plan = mail.plan(letter(*kind), NOTICE, without=dkim.SIGNATURES)
        copies: Copies | None = None
        for number, link in enumerate(LINKS):
            pieces = plan.render(link, b"Received: by gate id %d\r\n" % number)
            copies = copies or Copies(pieces, plan.kept)
            field = copies.sign(pieces, signers(), T)
            assert field == sign(b"".join(pieces), signers(), T), "as if it were the only one"
            plan.put_on_top(pieces, field)
            copy = b"".join(pieces)
            assert copy.startswith(b"DKIM-Signature: ")
            assert verified(copy) == [True, True]
            assert tags(field)[b"h"].split(b":").count(b"list-unsubscribe") == 2

    @pytest.mark.parametrize(
        "message",
        [
            b"From: a@example.test\r\n",
            b"From: a@example.test\r\n\r\n",
            b"From: a@example.test\r\n\r\n{{izinli_link}}\r\n\r\n\r\n",
            b"From: a@example.test\r\n\r\n" + b"\r\n" * 20,
            b"From: a@example.test\r\n\r\n\r\n \r\nx {{izinli_link}} y\r\n \r\n" + b"line  \r\n" * 9 + b" \r\n\t\r\n",
            b"From: a@example.test\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\nAAAA\r\n\r\n",
            b"From a@example.test Wed Nov 18\r\nFrom: a@example.test\r\n\r\ntext\r\n",
            b"From: a@example.test\r\nList-Unsubscribe: <mailto:u@example.test>,\r\n <https://x.test/>\r\n\r\ntext",
        ],
    )
    def test_of_messages_at_the_edge_are_signed_as_if_alone(self, message: bytes) -> None:
        plan = mail.plan(message, NOTICE)
        copies = Copies(plan.render(LINK), plan.kept)
        for link in LINKS:
            pieces = plan.render(link)
            assert copies.sign(pieces, signers(), T) == sign(b"".join(pieces), signers(), T) != b""


class TestExistingSignatures:
    OLD = (
        b"DKIM-Signature: v=1; a=rsa-sha256; d=example.test;\r\n\th=from; bh=AAAA;\r\n b=BBBB\r\n"
        b"X-Google-DKIM-Signature: v=1; b=CCCC\r\nDomainKey-Signature : a=rsa-sha1; b=DDDD\r\n"
    )
    MESSAGE = (
        OLD + HEAD + b"dkim-signature:\r\n b=EEEE\r\nX-DKIM: stays\r\nARC-Seal: b=FFFF\r\n\r\nDKIM-Signature: text\r\n"
    )

    def test_are_taken_away_with_all_their_lines(self) -> None:
        copy = b"".join(mail.plan(self.MESSAGE, NOTICE, without=dkim.SIGNATURES).render(LINK))
        bare = HEAD + b"X-DKIM: stays\r\nARC-Seal: b=FFFF\r\n\r\nDKIM-Signature: text\r\n"
        assert copy == b"".join(mail.plan(bare, NOTICE).render(LINK))

    def test_stay_when_nobody_names_them(self) -> None:
        copy = b"".join(mail.plan(self.MESSAGE, NOTICE).render(LINK))
        assert self.OLD in copy
        assert b"dkim-signature:\r\n b=EEEE\r\n" in copy

    def test_are_recognised(self) -> None:
        assert is_signed(self.MESSAGE)
        assert is_signed(HEAD + b"DOMAINKEY-SIGNATURE: x\r\n\r\n")
        assert is_signed(b"X-Google-DKIM-Signature: x\r\n")
        for message in (
            b"",
            HEAD,
            HEAD + b"X-DKIM-Signature: x\r\nSubject:\r\n DKIM-Signature: x\r\n\r\nDKIM-Signature: y",
        ):
            assert not is_signed(message)


class TestKeys:
    def test_that_are_too_short_or_too_long_cannot_sign(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(KeyUnusable, match="an RSA key of 768 bits; it must have 1024 to 4096"):
            Signer(RSA_768, DOMAIN, "s")
        with monkeypatch.context() as patched:
            patched.setattr(dkim, "RSA_BITS_MAX", 1024)
            with pytest.raises(KeyUnusable, match="2048 bits"):
                Signer(rsa_pem(), DOMAIN, "s")
        assert Signer(rsa_pem(1024), DOMAIN, "s").weak
        assert not any(signer.weak for signer in signers())

    @pytest.mark.parametrize("pem", [b"", b"no key", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
    def test_that_are_none_are_told(self, pem: bytes) -> None:
        with pytest.raises(KeyUnusable, match="no private key"):
            Signer(pem, DOMAIN, "s")

    def test_of_other_kinds_cannot_sign(self) -> None:
        with pytest.raises(KeyUnusable, match="neither RSA nor Ed25519"):
            Signer(ec_pem(), DOMAIN, "s")
        locked = load_pem_private_key(ed25519_pem(), None).private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
        )
        with pytest.raises(KeyUnusable, match="encrypted"):
            Signer(locked, DOMAIN, "s")

    @pytest.mark.parametrize(
        ("domain", "selector"),
        [
            ("", "s"),
            ("com", "s"),
            ("örnek.com.tr", "s"),
            ("a..b", "s"),
            ("a.b\r\nX: y", "s"),
            ("a.b;", "s"),
            ("-a.b", "s"),
            ("a.b", ""),
            ("a.b", "s s"),
            ("a.b", "s\n"),
            (".".join(["a" * 63] * 4), "s"),
            ("a" * 64 + ".b", "s"),
        ],
    )
    def test_names_that_are_none_in_dns_are_refused(self, domain: str, selector: str) -> None:
        with pytest.raises(KeyUnusable):
            Signer(ed25519_pem(), domain, selector)

    def test_names_are_written_in_lower_case(self) -> None:
        assert Signer(ed25519_pem(), "Example.COM.tr", "Mart-2026").record_name == "mart-2026._domainkey.example.com.tr"

    def test_nothing_of_the_key_shows(self) -> None:
        assert "PRIVATE" not in repr(signers()[0])
