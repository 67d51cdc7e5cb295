"""Requests to addresses that somebody else has chosen: which addresses, whose certificates, for how long."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from typing import Any

import pytest

from registry.national.outward import BadUrl, Outward, TooSlow, Unreachable, is_public, read_url
from registry.national.seal import Seal, SealBroken
from tests.registry.national.receiver import Receiver, receiving


@pytest.fixture(scope="module")
def receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    with receiving(tmp_path_factory.mktemp("receiver")) as one:
        yield one


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2001:4860:4860::8888", True),
        ("127.0.0.1", False),
        ("127.9.9.9", False),
        ("0.0.0.0", False),
        ("10.0.0.1", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),  # where clouds keep their secrets
        ("100.64.0.1", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::1", False),
        ("::", False),
        ("fe80::1", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("ff02::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:8.8.8.8", True),
        ("64:ff9b::7f00:1", False),
        ("2002:7f00:1::", False),
        ("2002:a00:1::", False),
    ],
)
def test_which_addresses_are_anybodys(address: str, public: bool) -> None:
    assert is_public(address) is public


def test_urls() -> None:
    target = read_url("https://push.example.com.tr/a/b?c=d")
    assert (target.host, target.port, target.path) == ("push.example.com.tr", 443, "/a/b?c=d")
    assert read_url("https://push.example.com.tr:8443").path == "/"
    with pytest.raises(BadUrl):
        read_url("https://push.example.com.tr/" + "x" * 2000)


def resolving(*addresses: str) -> Any:
    def resolve(_host: str, port: int, **_: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in addresses]

    return resolve


def test_a_name_that_leads_inside_is_not_followed(receiver: Receiver) -> None:
    for addresses in (("127.0.0.1",), ("8.8.8.8", "10.0.0.1")):
        outward = Outward(context=receiver.trust, resolve=resolving(*addresses))
        with pytest.raises(Unreachable, match="own network"):
            outward.post(f"https://localhost:{receiver.port}/", b"{}", "a", "b")
    assert receiver.heard == []


def test_the_name_is_resolved_once(receiver: Receiver) -> None:
    """The connection goes where the look-up led; the certificate is that of the name."""
    asked: list[str] = []

    def resolve(host: str, port: int, **_: Any) -> list[Any]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    outward = Outward(private=True, context=receiver.trust, resolve=resolve)
    assert outward.post(f"https://localhost:{receiver.port}/x", b'{"list":[]}', "a", "b") == 200
    assert asked == ["localhost"]
    with pytest.raises(Unreachable, match="SSLCertVerificationError"):
        outward.post(f"https://push.example.com.tr:{receiver.port}/", b'{"list":[]}', "a", "b")


def test_strangers_certificates_are_not_trusted(receiver: Receiver) -> None:
    with pytest.raises(Unreachable, match="SSLCertVerificationError"):
        Outward(private=True).post(receiver.url, b'{"list":[]}', "a", "b")


def test_whoever_drips_is_too_slow(receiver: Receiver) -> None:
    receiver.slow = True
    with pytest.raises(TooSlow):
        Outward(private=True, context=receiver.trust, seconds=0.5).post(receiver.url, b'{"list":[]}', "a", "b")
    receiver.slow = False


def test_whoever_never_shakes_hands_is_too_slow() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        outward = Outward(private=True, context=ssl.create_default_context(), seconds=0.5)
        with pytest.raises(TooSlow):
            outward.post(f"https://localhost:{port}/", b"{}", "a", "b")


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    with pytest.raises(Unreachable, match="ConnectionRefusedError"):
        Outward(private=True, resolve=resolving("127.0.0.1")).post(f"https://localhost:{port}/", b"{}", "a", "b")


def test_what_is_sealed_opens_for_the_same_thing_with_the_same_key_alone() -> None:
    seal = Seal(bytes(32))
    sealed = seal.close("pass word ş", "a")
    assert seal.open(sealed, "a") == "pass word ş"
    assert seal.close("pass word ş", "a") != sealed
    for other, about, octets in ((Seal(b"x" * 32), "a", sealed), (seal, "b", sealed), (seal, "a", sealed[:-1])):
        with pytest.raises(SealBroken):
            other.open(octets, about)
    with pytest.raises(SealBroken):
        seal.open(b"", "a")
    with pytest.raises(ValueError, match="32 octets"):
        Seal(b"short")
