"""Certificates that change under way, and the layer between cipher text and plain text."""

from __future__ import annotations

import shutil
import ssl
from pathlib import Path

import pytest

from gateway import limits
from gateway.tls import Certificates, Layer, server_context
from tests.certificates import Authority, make_authority


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return make_authority(tmp_path / "authority")


def test_nothing_older_than_tls_1_2(authority: Authority) -> None:
    context = server_context(*authority.issue("gate.example.test"))
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.options & ssl.OP_NO_RENEGOTIATION


def test_files_that_do_not_go_together(authority: Authority, tmp_path: Path) -> None:
    certificate, key = authority.issue("gate.example.test")
    other, _ = authority.issue("gate.example.test")
    with pytest.raises(OSError, match=r"KEY_VALUES_MISMATCH|key values mismatch"):
        server_context(other, key)
    with pytest.raises(OSError):
        server_context(certificate, tmp_path / "missing")


def test_a_pair_is_replaced_file_by_file(authority: Authority) -> None:
    files = authority.issue("gate.example.test")
    certificates = Certificates(*files)
    first = certificates.context
    later = iter(range(1, 100))

    def refresh() -> bool:
        return certificates.refresh(next(later) * 10 * limits.TLS_RELOAD_S)

    assert refresh()
    assert certificates.context is first, "nothing changed"
    new = authority.issue("gate.example.test")
    shutil.copy(new[0], files[0])
    assert not refresh(), "half a pair"
    assert certificates.context is first
    assert refresh(), "said once, not every few seconds"
    shutil.copy(new[1], files[1])
    assert refresh()
    second = certificates.context
    assert second is not first
    files[1].unlink()
    assert not refresh()
    assert certificates.context is second


def test_files_are_not_looked_at_all_the_time(authority: Authority) -> None:
    files = authority.issue("gate.example.test")
    certificates = Certificates(*files)
    assert certificates.refresh(100.0)
    first = certificates.context
    for new, old in zip(authority.issue("gate.example.test"), files, strict=True):
        shutil.copy(new, old)
    assert certificates.refresh(100.0 + limits.TLS_RELOAD_S / 2)
    assert certificates.context is first
    assert certificates.refresh(100.0 + limits.TLS_RELOAD_S)
    assert certificates.context is not first


class Peer:
    """The client's side, on memory too."""

    def __init__(self, authority: Authority) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = ssl.create_default_context(cafile=str(authority.ca_file))
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname="gate.example.test")

    def handshake(self, layer: Layer, octets: int) -> bytes:
        """Until both have it, `octets` at a time; the plain text that came along."""
        plain, done = b"", False
        while not done or not layer.established:
            try:
                self.tls.do_handshake()
                done = True
            except ssl.SSLWantReadError:
                pass
            data = self.outgoing.read()
            for at in range(0, len(data), octets):
                plain += layer.receive(data[at : at + octets])
            self.incoming.write(layer.output())
        return plain


@pytest.mark.parametrize("octets", [1, 7, 100_000])
def test_both_ways_however_it_is_cut(authority: Authority, octets: int) -> None:
    layer, peer = Layer(server_context(*authority.issue("gate.example.test"))), Peer(authority)
    assert peer.handshake(layer, octets) == b""
    text = b"EHLO client.example.test\r\n" * 3000
    peer.tls.write(text)
    data = peer.outgoing.read()
    assert b"".join(layer.receive(data[at : at + octets]) for at in range(0, len(data), octets)) == text
    layer.send(text)
    peer.incoming.write(layer.output())
    assert peer.tls.read(len(text) + 1)
    assert not layer.ended


def test_the_end_is_said_and_heard(authority: Authority) -> None:
    layer, peer = Layer(server_context(*authority.issue("gate.example.test"))), Peer(authority)
    peer.handshake(layer, 100_000)
    peer.tls.write(b"QUIT\r\n")
    with pytest.raises(ssl.SSLWantReadError):
        peer.tls.unwrap()
    assert layer.receive(peer.outgoing.read()) == b"QUIT\r\n"
    assert layer.ended
    layer.send(b"221 bye\r\n")
    layer.close()
    peer.incoming.write(layer.output())
    assert peer.tls.read(100) == b"221 bye\r\n", "half-closed, not closed"
    with pytest.raises(ssl.SSLZeroReturnError):  # an end that was said, not a cut
        peer.tls.read(100)


def test_what_is_no_handshake(authority: Authority) -> None:
    layer = Layer(server_context(*authority.issue("gate.example.test")))
    with pytest.raises(ssl.SSLError):
        layer.receive(b"EHLO client.example.test\r\n")
    layer.close()
