"""The test authority against OpenSSL: what it issues is accepted, and refused, for the reasons a test wants to see."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from tests.certificates import Authority, make_authority

STRICT = ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return make_authority(tmp_path / "authority")


def shake_hands(authority: Authority, server: tuple[Path, Path], name: str, client: tuple[Path, Path] | None) -> None:
    """A whole TLS handshake in memory; the server asks for a client certificate when `client` is given."""
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority.ca_file)
    serving.load_cert_chain(*server)
    calling = ssl.create_default_context(cafile=authority.ca_file)
    calling.verify_flags |= STRICT
    if client is not None:
        serving.verify_flags |= STRICT
        serving.verify_mode = ssl.CERT_REQUIRED
        calling.load_cert_chain(*client)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        calling.wrap_bio(to_client, to_server, server_hostname=name),
        serving.wrap_bio(to_server, to_client, server_side=True),
    ]
    # TLS 1.3 needs three turns; more than that, and the handshake is stuck.
    for _ in range(6):
        for end in list(ends):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            ends.remove(end)
    assert ends == []


@pytest.mark.parametrize("name", ["mx.example.test", "localhost", "127.0.0.1"])
def test_its_names_are_accepted(authority: Authority, name: str) -> None:
    shake_hands(authority, authority.issue("mx.example.test"), name, authority.issue("client.example.test"))


@pytest.mark.parametrize(
    ("arguments", "name", "reason"),
    [
        ({"name": "mx.example.test", "expired": True}, "mx.example.test", "certificate has expired"),
        ({"name": "mx.example.test"}, "other.example.test", "Hostname mismatch"),
    ],
    ids=["expired", "another name"],
)
def test_a_bad_one_is_refused_for_its_own_reason(
    authority: Authority, arguments: dict[str, object], name: str, reason: str
) -> None:
    certificate = authority.issue(**arguments)  # type: ignore[arg-type]
    with pytest.raises(ssl.SSLCertVerificationError, match=reason):
        shake_hands(authority, certificate, name, None)


def test_a_certificate_of_another_authority_is_refused(authority: Authority, tmp_path: Path) -> None:
    stranger = make_authority(tmp_path / "stranger", "somebody else")
    with pytest.raises(ssl.SSLCertVerificationError, match="unable to get local issuer certificate"):
        shake_hands(authority, stranger.issue("mx.example.test"), "mx.example.test", None)


def test_files_are_new_each_time_and_for_their_owner_alone(authority: Authority) -> None:
    files = {authority.ca_file, *authority.issue("mx.example.test"), *authority.issue("mx.example.test")}
    assert len(files) == 5
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
