"""`[upstream.NAME]`: where messages go on to."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

from filters.sms import RESERVE_MAX
from gateway import limits
from gateway.config.pool import Pool, read_pool
from gateway.config.values import Address, Bind, UnixAddress, parse_address, parse_endpoint, secret
from gateway.toml import Table

PROTOCOLS: Final = ("smtp", "smpp")
TLS: Final = ("none", "encrypt", "verify")
WEIGHT_MAX: Final = 1000
USER_OCTETS_MAX: Final = 128
HOST_FIX: Final = 'for example hosts = ["127.0.0.1:2526"]'


@dataclass(frozen=True, slots=True)
class Upstream:
    """Where messages go on to."""

    name: str
    protocol: str
    hosts: tuple[Bind, ...]  # smpp: TCP only
    connections_max: int = 20  # smtp
    reserve: int = 5  # smpp: characters an operator appends to each text (BTK decision 2016/DK-YED/211)
    packed: bool = False  # smpp: septets travel packed in octets, so a text in them takes no notice
    weights: tuple[int, ...] = ()  # smtp: of the hosts, in their order; empty: each 1
    tls: str = "none"  # one of TLS; smpp: from the first octet
    tls_implicit: bool = False  # smtp: TLS from the first octet (RFC 8314), not by STARTTLS
    tls_name: str = ""  # whom the certificate must name; empty: the host
    ca_file: Path | None = None  # None: whom the system trusts
    user: str = ""  # smtp: for AUTH; empty: no login
    password_file: Path | None = None
    messages_per_connection: int = 1000  # smtp
    idle_s: int = 30  # smtp
    pool: Pool | None = None  # smpp: izinli's own binds there; None: each bind of a client has one (mirror)

    @property
    def tcp_hosts(self) -> tuple[Address, ...]:
        return tuple(host for host in self.hosts if isinstance(host, Address))


def read_upstream(table: Table, name: str, home: Path) -> Upstream:
    """`home`: the directory that paths in the file are relative to."""
    protocol = table.choice("protocol", PROTOCOLS)
    if protocol == "smpp":
        hosts = tuple(host for text in table.texts("hosts") if (host := table.parsed("hosts", parse_address, text)))
        if not table.values.get("hosts"):
            table.note("hosts", "names no host", HOST_FIX)
        upstream = Upstream(
            name,
            protocol,
            hosts,
            reserve=table.number("reserve", 5, 0, RESERVE_MAX),
            packed=table.flag("packed"),
            tls=table.choice("tls", TLS, "none"),
            tls_name=_name(table),
            ca_file=_ca_file(table, home),
            pool=read_pool(table, home),
        )
        _fits(table, upstream)
        table.finish()
        return upstream
    weighted = _hosts(table, home)
    tls = table.choice("tls", TLS, "none")
    upstream = Upstream(
        name,
        protocol,
        tuple(host for host, _ in weighted),
        table.number("connections_max", 20, 1, limits.SMTP_CONNECTIONS_MAX),
        weights=tuple(weight for _, weight in weighted),
        tls=tls,
        tls_implicit=table.flag("tls_implicit"),
        tls_name=_name(table),
        ca_file=_ca_file(table, home),
        user=_user(table),
        password_file=_password_file(table, home),
        messages_per_connection=table.number(
            "messages_per_connection", 1000, 1, limits.SMTP_MESSAGES_PER_CONNECTION_MAX
        ),
        idle_s=table.number("idle_s", 30, 1, limits.SMTP_NEXT_HOP_IDLE_S_MAX),
    )
    _fits(table, upstream)
    table.finish()
    return upstream


def _hosts(table: Table, home: Path) -> list[tuple[Bind, int]]:
    """Each entry a string, or { address = …, weight = … }."""
    entries: list[Any] = table.get("hosts", list, []) or []
    if not entries:
        table.note("hosts", "names no host", HOST_FIX)
    if len(entries) > limits.SMTP_HOSTS_MAX:
        table.note("hosts", f"names more than {limits.SMTP_HOSTS_MAX} hosts", "put a load balancer in between")
    found: list[tuple[Bind, int]] = []
    for entry in entries:
        text, weight = entry, 1
        if isinstance(entry, dict):
            inner = Table(entry, table.lines, table.problems, (*table.path, "hosts"))
            text, weight = inner.text("address", required=True), inner.number("weight", 1, 1, WEIGHT_MAX)
            inner.finish()
        elif not isinstance(entry, str):
            table.note("hosts", "must be a list of strings, or of tables { address = …, weight = … }")
            continue
        host = table.parsed("hosts", lambda text: parse_endpoint(text, home), text) if text else None
        if host in [known for known, _ in found]:
            table.note("hosts", f"{host} is named twice", "give it a weight instead")
        elif host is not None:
            found.append((host, weight))
    return found


def _name(table: Table) -> str:
    name = table.text("tls_name")
    if not name.isascii() or not name.isprintable() or " " in name or len(name) > 253:
        table.note("tls_name", f"not a host name: {name!r}", "write an international name in its ASCII form (xn--…)")
    return name


def _ca_file(table: Table, home: Path) -> Path | None:
    name = table.text("ca_file")
    if not name:
        return None
    try:
        ssl.create_default_context(cafile=str(home / name))
    except ssl.SSLError:
        table.note("ca_file", f"{name}: holds no certificate", "a PEM file: -----BEGIN CERTIFICATE-----")
    except OSError as error:
        table.note("ca_file", f"{name}: {error.strerror}", "the path is relative to the configuration file")
    return home / name


def _user(table: Table) -> str:
    user = table.text("user")
    if not user.isprintable() or len(user.encode()) > USER_OCTETS_MAX:
        table.note("user", f"must be at most {USER_OCTETS_MAX} printable octets")
    return user


def _password_file(table: Table, home: Path) -> Path | None:
    name = table.text("password_file")
    if name:
        secret(table, "password_file", home)
    return home / name if name else None


def _fits(table: Table, upstream: Upstream) -> None:
    """Keys that only make sense together."""
    if upstream.tls == "none":
        for key in ("tls_implicit", "tls_name", "ca_file"):
            if table.values.get(key):
                table.note(key, "says nothing without TLS", 'write tls = "verify", or "encrypt"')
    elif upstream.tls == "encrypt" and upstream.ca_file is not None:
        table.note("ca_file", 'is not looked at with tls = "encrypt"', 'write tls = "verify"')
    elif upstream.tls == "verify" and not upstream.tls_name and len(upstream.tcp_hosts) < len(upstream.hosts):
        table.note("tls_name", "is missing: a Unix socket has no name that a certificate could show")
    if bool(upstream.user) != (upstream.password_file is not None):
        missing = "password_file" if upstream.user else "user"
        table.note(missing, "is missing: a login has a user and a password_file")
    elif upstream.user and upstream.tls == "none":
        for host in upstream.hosts:
            if not _is_local(host):
                fix = 'write tls = "verify", or "encrypt"'
                table.note("user", f"the password would go to {host} in plain text", fix)


def _is_local(host: Bind) -> bool:
    """What is said to it does not leave this machine."""
    if isinstance(host, UnixAddress) or host.host == "localhost":
        return True
    try:
        return ip_address(host.host.partition("%")[0]).is_loopback
    except ValueError:
        return False
