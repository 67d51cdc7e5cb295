"""The door signs what it changed: each copy, with the keys of the brand, and with those that are on disk now."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from filters.dkim import Signer
from filters.model import Reason
from gateway import limits
from gateway.config import DkimKey
from gateway.smtp.signing import Keyring
from tests.filters.signatures import ed25519_pem, rsa_pem, signers, verified
from tests.gateway.smtp.hop import Hop
from tests.gateway.smtp.support import BRAND, house

HEAD = b"From: Marka <a@campaign.example.test>\r\nSubject: x\r\nContent-Type: text/plain; charset=utf-8\r\n"
TEXT = HEAD + b"\r\ntext  with blanks \r\n..dot\r\n\r\n"
OLD = b"DKIM-Signature: v=1; a=rsa-sha256; d=example.test;\r\n\tb=BBBB\r\nX-Google-DKIM-Signature: v=1;\r\n b=CCCC\r\n"


@pytest.fixture
def keyring(tmp_path: Path) -> Keyring:
    keys = []
    for signer, pem in zip(signers(), (rsa_pem(), ed25519_pem()), strict=True):
        path = tmp_path / f"{signer.selector}.pem"
        path.write_bytes(pem)
        keys.append(DkimKey(path, signer))
    return Keyring({BRAND.code: tuple(keys)})


def content(wire: bytes) -> bytes:
    """What the dots on the wire stand for."""
    return wire.replace(b"\r\n..", b"\r\n.")


async def test_each_copy_is_signed_with_each_key_after_the_change(tmp_path: Path, keyring: Keyring) -> None:
    async with Hop() as hop, house(tmp_path, hop.port, keyring=keyring) as gate, gate.client() as client:
        recipients = [b"r%d@example.test" % number for number in range(25)]
        assert (await client.send(TEXT, *recipients))[0] == 250
        assert len({received.wire for received in hop.received}) == 25
        for received in hop.received:
            copy = content(received.wire)
            assert copy.startswith(b"DKIM-Signature: v=1; a=rsa-sha256;")
            assert verified(copy) == [True, True]
            assert copy.count(b"/r/" + received.rcpt[0][9:].partition(b"@")[0]) == 2
            with pytest.raises(Exception, match="body hash mismatch"):
                verified(copy.replace(b"/r/", b"/R/"))


async def test_a_signature_the_change_would_break_is_taken_away(tmp_path: Path, keyring: Keyring) -> None:
    async with Hop() as hop, house(tmp_path, hop.port, keyring=keyring) as gate, gate.client() as client:
        assert (await client.send(OLD + TEXT, b"b@example.test"))[0] == 250
        copy = content(hop.received[0].wire)
        assert b"BBBB" not in copy
        assert b"CCCC" not in copy
        assert verified(copy) == [True, True]


async def test_a_stream_may_keep_them(tmp_path: Path, keyring: Keyring) -> None:
    async with Hop() as hop, house(tmp_path, hop.port, keyring=keyring) as gate, gate.client() as client:
        assert (await client.send(OLD + TEXT, b"b@example.test", sender=b"a@keeping.example.test"))[0] == 250
        copy = content(hop.received[0].wire)
        assert OLD in copy
        assert copy.index(b"d=kampanya.example.com.tr") < copy.index(OLD), "ours come first"


async def test_a_stream_may_refuse_them(tmp_path: Path, keyring: Keyring) -> None:
    async with Hop() as hop, house(tmp_path, hop.port, keyring=keyring) as gate, gate.client() as client:
        sender = b"a@refusing.example.test"
        code, text = await client.send(OLD + TEXT, b"b@example.test", b"c@example.test", sender=sender)
        assert (code, text[:13]) == (550, b"5.7.1 signed:")
        assert gate.judge.refused == [Reason.SIGNED, Reason.SIGNED]
        assert hop.received == []
        assert (await client.send(TEXT, b"b@example.test", sender=sender))[0] == 250
        assert verified(content(hop.received[0].wire)) == [True, True]


async def test_i6_informational_mail_is_neither_signed_nor_stripped(tmp_path: Path, keyring: Keyring) -> None:
    signed = OLD + TEXT
    async with (
        Hop() as hop,
        house(tmp_path, hop.port, keyring=keyring, trace_header=False) as gate,
        gate.client() as client,
    ):
        assert (await client.send(signed, b"b@example.test", sender=b"a@receipts.example.test"))[0] == 250
        assert hop.received[0].wire == signed


async def test_without_a_key_nothing_is_signed_and_what_would_break_goes_all_the_same(tmp_path: Path) -> None:
    async with Hop() as hop, house(tmp_path, hop.port) as gate, gate.client() as client:
        assert (await client.send(OLD + TEXT, b"b@example.test"))[0] == 250
        assert b"DKIM" not in hop.received[0].wire


class TestKeyFiles:
    """Replaced while a worker runs."""

    def renew(self, path: Path, content: bytes) -> None:
        """As a careful administrator does it: the name never stands for half a file."""
        fresh = path.with_suffix(".new")
        fresh.write_bytes(content)
        os.replace(fresh, path)

    def other_pem(self) -> bytes:
        return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def test_a_new_key_signs_within_seconds(self, tmp_path: Path, keyring: Keyring) -> None:
        before = keyring.signers(BRAND)
        keyring.look(0.0)
        assert [signer.record for signer in keyring.signers(BRAND)] == [signer.record for signer in before]
        pem = self.other_pem()
        self.renew(tmp_path / "ed-2026.pem", pem)
        keyring.look(limits.DKIM_LOOK_S - 0.1)
        assert keyring.signers(BRAND)[1].record == before[1].record, "not looked at yet"
        keyring.look(limits.DKIM_LOOK_S)
        rsa, ed25519 = keyring.signers(BRAND)
        assert (rsa.record, ed25519.record) == (before[0].record, Signer(pem, "example.test", "s").record)
        assert (ed25519.domain, ed25519.selector) == (before[1].domain, before[1].selector)

    @pytest.mark.parametrize(
        "content", [None, b"", b"no key", ed25519_pem()[:60]], ids=["gone", "empty", "text", "half"]
    )
    def test_a_broken_file_changes_nothing_is_told_once_and_mends(
        self, tmp_path: Path, keyring: Keyring, capsys: pytest.CaptureFixture[str], content: bytes | None
    ) -> None:
        path = tmp_path / "ed-2026.pem"
        before = [signer.record for signer in keyring.signers(BRAND)]
        if content is None:
            path.unlink()
        else:
            self.renew(path, content)
        for look in range(3):
            keyring.look(look * limits.DKIM_LOOK_S)
            assert [signer.record for signer in keyring.signers(BRAND)] == before
        told = capsys.readouterr()
        assert (told.out + told.err).count("goes on signing") == 1
        pem = self.other_pem()
        self.renew(path, pem)
        keyring.look(3 * limits.DKIM_LOOK_S)
        assert keyring.signers(BRAND)[1].record == Signer(pem, "example.test", "s").record

    def test_a_brand_without_keys_has_no_signers(self, keyring: Keyring) -> None:
        empty = Keyring({BRAND.code: ()})
        empty.look(0.0)
        assert empty.signers(BRAND) == ()
