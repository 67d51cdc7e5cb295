"""`[[listener]]`: a door to clients."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway import limits
from gateway.config.values import Bind, Network, UnixAddress, is_wide, listening
from gateway.config.values import network as network_of
from gateway.toml import Table

CARRIES: Final = {"smtp": "smtp", "smpp": "smpp", "policy": "smtp"}
"""Protocols of listeners, each with that of the next hops its streams lead to (from policy they may lead nowhere)."""

_HARMS: Final = {
    "smtp": "make this listener an open relay",
    "policy": "let strangers ask who has consented",
}


@dataclass(frozen=True, slots=True)
class Listener:
    """A door to clients."""

    protocol: str
    bind: Bind
    allow: tuple[Network, ...]  # an empty list refuses everyone
    hostname: str = "localhost"
    trace_header: bool = True  # smtp: put one Received field on top
    size_max: int = 25 * limits.MIB  # smtp: octets of a message
    sessions_per_client: int = 0  # connections of one address, for each worker; 0: no limit of its own


def read_listener(table: Table, home: Path) -> Listener:
    """`home`: the directory that paths in the file are relative to."""
    protocol = table.choice("protocol", CARRIES)
    bind = listening(table, "bind", home)
    is_unix = isinstance(bind, UnixAddress)
    allow = tuple(network for text in table.texts("allow") if (network := network_of(table, "allow", text)))
    if is_unix and allow:
        table.note("allow", "a Unix socket has no networks", "its directory and mode 0660 say who may")
    if not allow and "allow" not in table.values and not is_unix:
        table.note("allow", "is missing, so every client would be refused", 'for example allow = ["10.1.2.0/24"]')
    for network in allow:
        if protocol in _HARMS and is_wide(network):
            table.note("allow", f"{network} would {_HARMS[protocol]}", "list only the networks of your servers")
    hostname = table.text("hostname", "localhost")
    if not hostname or not hostname.isascii() or not hostname.isprintable() or " " in hostname:
        table.note("hostname", f"not a host name: {hostname!r}")
    size_max = table.number("size_max", 25 * limits.MIB, 10_000, limits.SMTP_SIZE_MAX)
    trace_header = table.flag("trace_header", default=True)
    sessions_per_client = table.number("sessions_per_client", 0, 0, 100_000)
    table.finish()
    return Listener(protocol, bind, allow, hostname, trace_header, size_max, sessions_per_client)
