"""`[upstream.NAME]`: what may be written, and what is said of what may not."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config import Address, UnixAddress, Upstream
from gateway.config.upstream import read_upstream
from gateway.toml import Lines, Problem, Table
from tests.certificates import make_authority

LOCAL = ["127.0.0.1:25"]
FAR = ["mx.example.test:25"]


def read(home: Path, **values: object) -> tuple[Upstream, list[str]]:
    problems: list[Problem] = []
    table = Table({"protocol": "smtp", **values}, Lines(""), problems, ("upstream", "relay"))
    return read_upstream(table, "relay", home), [str(problem) for problem in problems]


def test_hosts_in_all_their_forms(tmp_path: Path) -> None:
    hosts = [
        "mx.example.test:25",
        "[2001:db8::1]:2525",
        "unix:run/mx.sock",
        {"address": "192.0.2.7:25", "weight": 3},
        {"address": "unix:/run/other.sock"},
    ]
    upstream, problems = read(tmp_path, hosts=hosts)
    assert problems == []
    assert upstream.hosts == (
        Address("mx.example.test", 25),
        Address("2001:db8::1", 2525),
        UnixAddress(tmp_path / "run/mx.sock"),
        Address("192.0.2.7", 25),
        UnixAddress(Path("/run/other.sock")),
    )
    assert upstream.weights == (1, 1, 1, 3, 1)
    assert [str(host) for host in upstream.tcp_hosts] == ["mx.example.test:25", "[2001:db8::1]:2525", "192.0.2.7:25"]


def test_everything_at_once(tmp_path: Path) -> None:
    (tmp_path / "mx.pass").write_text("not a secret\n")
    ca_file = make_authority(tmp_path / "authority").ca_file
    upstream, problems = read(
        tmp_path,
        hosts=FAR,
        connections_max=7,
        messages_per_connection=100,
        idle_s=5,
        tls="verify",
        tls_implicit=True,
        tls_name="mx.example.test",
        ca_file="authority/ca.pem",
        user="izinli",
        password_file="mx.pass",
    )
    assert problems == []
    assert (upstream.connections_max, upstream.messages_per_connection, upstream.idle_s) == (7, 100, 5)
    assert (upstream.tls, upstream.tls_implicit, upstream.tls_name) == ("verify", True, "mx.example.test")
    assert (upstream.ca_file, upstream.user) == (ca_file, "izinli")
    assert upstream.password_file == tmp_path / "mx.pass"


@pytest.mark.parametrize("hosts", [LOCAL, ["[::1]:25"], ["localhost:25"], ["unix:mx.sock"]])
def test_a_login_may_go_in_plain_text_where_it_does_not_leave_the_machine(tmp_path: Path, hosts: list[str]) -> None:
    (tmp_path / "mx.pass").write_text("not a secret\n")
    assert read(tmp_path, hosts=hosts, user="izinli", password_file="mx.pass")[1] == []


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"hosts": []}, "names no host"),
        ({}, "names no host"),
        ({"hosts": "127.0.0.1:25"}, "must be a list"),
        ({"hosts": [25]}, "must be a list of strings, or of tables"),
        ({"hosts": ["mx.example.test"]}, "write host:port"),
        ({"hosts": ["unix:"]}, "not the path of a socket"),
        ({"hosts": ["unix:" + "x" * 200]}, "not the path of a socket"),
        ({"hosts": [{"weight": 3}]}, "upstream.relay.hosts.address: is missing"),
        ({"hosts": [{"address": "a:25", "weight": 0}]}, "upstream.relay.hosts.weight: must be between 1 and"),
        ({"hosts": [{"address": "a:25", "wieght": 3}]}, "did you mean 'weight'?"),
        ({"hosts": ["a:25", {"address": "a:25"}]}, "a:25 is named twice — give it a weight instead"),
        ({"hosts": [f"a{number}:25" for number in range(33)]}, "names more than 32 hosts"),
        ({"hosts": LOCAL, "connections_max": 0}, "must be between 1 and 1000, not 0"),
        ({"hosts": LOCAL, "idle_s": 300}, "must be between 1 and 290, not 300"),
        ({"hosts": LOCAL, "messages_per_connection": 0}, "must be between 1 and"),
        ({"hosts": LOCAL, "reserve": 5}, "reserve: unknown key"),
        ({"hosts": LOCAL, "tls": "starttls"}, "unknown value 'starttls' — known: encrypt, none, verify"),
        ({"hosts": LOCAL, "tls_implicit": True}, "says nothing without TLS"),
        ({"hosts": LOCAL, "tls_name": "mx.example.test"}, "says nothing without TLS"),
        ({"hosts": LOCAL, "tls": "verify", "tls_name": "çağrı.test"}, "not a host name"),
        ({"hosts": LOCAL, "tls": "verify", "ca_file": "gone.pem"}, "gone.pem: No such file"),
        ({"hosts": LOCAL, "tls": "verify", "ca_file": "mx.pass"}, "mx.pass: holds no certificate"),
        ({"hosts": LOCAL, "tls": "encrypt", "ca_file": "ca.pem"}, "is not looked at"),
        ({"hosts": ["unix:mx.sock"], "tls": "verify"}, "tls_name: is missing: a Unix socket has no name"),
        ({"hosts": LOCAL, "user": "izinli"}, "password_file: is missing"),
        ({"hosts": LOCAL, "password_file": "mx.pass"}, "user: is missing"),
        ({"hosts": LOCAL, "user": "x" * 129, "password_file": "mx.pass"}, "at most 128 printable octets"),
        ({"hosts": LOCAL, "user": "izinli", "password_file": "empty.pass"}, "must hold 1 to 128 octets"),
        ({"hosts": LOCAL, "user": "izinli", "password_file": "gone.pass"}, "gone.pass: No such file"),
        ({"hosts": FAR, "user": "izinli", "password_file": "mx.pass"}, "would go to mx.example.test:25 in plain text"),
        ({"hosts": ["192.0.2.7:25"], "user": "izinli", "password_file": "mx.pass"}, 'write tls = "verify", or'),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, values: dict[str, object], told: str) -> None:
    (tmp_path / "mx.pass").write_text("not a secret\n")
    (tmp_path / "empty.pass").write_text("\n")
    (tmp_path / "ca.pem").write_bytes(make_authority(tmp_path / "authority").ca_file.read_bytes())
    _, problems = read(tmp_path, **values)
    assert any(told in problem for problem in problems), problems


def test_an_smsc_in_tls(tmp_path: Path) -> None:
    ca_file = make_authority(tmp_path / "authority").ca_file
    secured = {"tls": "verify", "tls_name": "smsc.example.test", "ca_file": "authority/ca.pem"}
    upstream, problems = read(tmp_path, protocol="smpp", hosts=["192.0.2.7:3550"], reserve=0, **secured)
    assert problems == []
    assert (upstream.tls, upstream.tls_name, upstream.ca_file) == ("verify", "smsc.example.test", ca_file)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"tls": "starttls"}, "unknown value 'starttls' — known: encrypt, none, verify"),
        ({"tls_name": "smsc.example.test"}, "says nothing without TLS"),
        ({"tls": "verify", "ca_file": "gone.pem"}, "gone.pem: No such file"),
        ({"tls": "verify", "tls_implicit": True}, "tls_implicit: unknown key"),
        ({"hosts": []}, "names no host"),
    ],
)
def test_a_mistake_about_an_smsc_is_named(tmp_path: Path, values: dict[str, object], told: str) -> None:
    _, problems = read(tmp_path, **{"protocol": "smpp", "hosts": ["127.0.0.1:3550"], **values})
    assert any(told in problem for problem in problems), problems
