"""`[[listener]]`: a door to clients."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway import limits
from gateway.config.values import Address, Bind, Network, UnixAddress, is_wide, listening
from gateway.config.values import network as network_of
from gateway.tls import server_context
from gateway.toml import Table, meant

CARRIES: Final = {"smtp": "smtp", "lmtp": "smtp", "smpp": "smpp", "policy": "smtp"}
"""Protocols of listeners, each with that of the next hops its streams lead to (from policy they may lead nowhere)."""

_HARMS: Final = {
    "smtp": "make this listener an open relay",
    "lmtp": "make this listener an open relay",
    "policy": "let strangers ask who has consented",
}
MAIL_PROTOCOLS: Final = ("smtp", "lmtp")
TLS: Final = ("none", "starttls", "required", "implicit")
"""`starttls` leaves it to the client, `required` takes no mail before it, `implicit` speaks it from the first octet."""
_BY_STARTTLS: Final = ("starttls", "required")
AUTH: Final = ("none", "optional", "required")


@dataclass(frozen=True, slots=True)
class Listener:
    """A door to clients."""

    protocol: str
    bind: Bind
    allow: tuple[Network, ...]  # an empty list refuses everyone
    hostname: str = "localhost"
    trace_header: bool = True  # smtp, lmtp: put one Received field on top
    size_max: int = 25 * limits.MIB  # smtp, lmtp: octets of a message
    sessions_per_client: int = 0  # connections of one address, for each worker; 0: no limit of its own
    tls: str = "none"  # one of TLS
    certificate: tuple[Path, Path] | None = None  # PEM files: the chain, its key; None: no TLS
    proxy_from: tuple[Network, ...] = ()  # load balancers: they begin with a PROXY header
    auth: str = "none"  # smtp
    xclient_from: tuple[Network, ...] = ()  # smtp: hosts that may speak for others
    recipients_max: int = limits.SMTP_RECIPIENTS_MAX  # smtp: of one transaction

    @property
    def starttls(self) -> bool:
        """TLS begins by STARTTLS, if at all."""
        return self.tls in _BY_STARTTLS


def read_listener(table: Table, home: Path) -> Listener:
    """`home`: the directory that paths in the file are relative to."""
    protocol = table.choice("protocol", CARRIES)
    bind = listening(table, "bind", home)
    auth = table.choice("auth", AUTH, "none")
    allow = _allow(table, protocol, auth, is_unix=isinstance(bind, UnixAddress))
    hostname = table.text("hostname", "localhost")
    if not hostname or not hostname.isascii() or not hostname.isprintable() or " " in hostname:
        table.note("hostname", f"not a host name: {hostname!r}")
    listener = Listener(
        protocol=protocol,
        bind=bind,
        allow=allow,
        hostname=hostname,
        trace_header=table.flag("trace_header", default=True),
        size_max=table.number("size_max", 25 * limits.MIB, 10_000, limits.SMTP_SIZE_MAX),
        sessions_per_client=table.number("sessions_per_client", 0, 0, 100_000),
        tls=table.choice("tls", TLS, "none"),
        certificate=_certificate(table, home),
        proxy_from=_trusted(table, "proxy_from"),
        auth=auth,
        xclient_from=_trusted(table, "xclient_from"),
        recipients_max=table.number("recipients_max", limits.SMTP_RECIPIENTS_MAX, 1, limits.SMTP_RECIPIENTS_MAX),
    )
    _check(table, listener)
    table.finish()
    return listener


def _allow(table: Table, protocol: str, auth: str, *, is_unix: bool) -> tuple[Network, ...]:
    """Who may connect at all."""
    allow = _networks(table, "allow")
    if is_unix and allow:
        table.note("allow", "a Unix socket has no networks", "its directory and mode 0660 say who may")
    if not allow and "allow" not in table.values and not is_unix:
        table.note("allow", "is missing, so every client would be refused", 'for example allow = ["10.1.2.0/24"]')
    for network in allow:
        if protocol in _HARMS and is_wide(network) and auth != "required":
            table.note("allow", f"{network} would {_HARMS[protocol]}", "list only the networks of your servers")
    return allow


def _certificate(table: Table, home: Path) -> tuple[Path, Path] | None:
    """The pair of files, tried out."""
    cert, key = table.text("cert_file"), table.text("key_file")
    if table.text("tls", "none") == "none":
        for name in ("cert_file", "key_file"):
            if name in table.values:
                table.note(name, "is of no use without TLS", 'write tls = "starttls" or tls = "implicit"')
        return None
    for name, value in (("cert_file", cert), ("key_file", key)):
        if not value:
            table.note(name, "is missing", "a PEM file; the path is relative to the configuration file")
    if not cert or not key:
        return None
    files = (home / cert, home / key)
    for name, path in zip(("cert_file", "key_file"), files, strict=True):
        if not path.is_file():
            table.note(name, f"{path.name}: there is no such file", "the path is relative to the configuration file")
            return None
    try:
        server_context(*files)
    except OSError as error:
        fix = "both in PEM, the key without a passphrase and of this certificate"
        table.note("cert_file", f"{cert} and {key} cannot be used together: {error.strerror or error}", fix)
    return files


def _trusted(table: Table, key: str) -> tuple[Network, ...]:
    """Hosts whose word about a client's address is believed."""
    networks = _networks(table, key)
    for network in networks:
        if is_wide(network):
            table.note(key, f"{network} would let strangers choose their address", "list only your own hosts")
    return networks


def _networks(table: Table, key: str) -> tuple[Network, ...]:
    return tuple(network for text in table.texts(key) if (network := network_of(table, key, text)))


def _check(table: Table, listener: Listener) -> None:
    """Keys that do not go together."""
    if listener.protocol not in MAIL_PROTOCOLS:
        for key in ("auth", "xclient_from", "recipients_max"):
            if key in table.values:
                table.note(key, f"is nothing that {listener.protocol} has", meant("", MAIL_PROTOCOLS))
        if listener.starttls:
            table.note("tls", f"{listener.protocol} has no STARTTLS", 'write tls = "implicit"')
    elif listener.auth != "none" and listener.tls == "none":
        table.note("auth", "passwords are taken in TLS only", 'write tls = "starttls" or tls = "implicit"')
    if listener.protocol == "lmtp" and isinstance(listener.bind, Address) and listener.bind.port == 25:
        table.note("bind", "LMTP is never spoken on port 25 (RFC 2033 §5)", "choose another port, such as 2524")
    if isinstance(listener.bind, UnixAddress):
        for key, networks in (("proxy_from", listener.proxy_from), ("xclient_from", listener.xclient_from)):
            if networks:
                table.note(key, "clients of a Unix socket are in no network", "leave it out")
