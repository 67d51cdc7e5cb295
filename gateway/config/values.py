"""Values that several tables of the configuration have: addresses, networks, words, secrets in files."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Final, NamedTuple

from filters.letters import encode
from filters.passwords import PASSWORD_OCTETS_MAX
from gateway.toml import Table

SECRET_LINE_OCTETS_MAX: Final = PASSWORD_OCTETS_MAX + 3  # with CR LF, and one more that shows it is too long

Network = IPv4Network | IPv6Network


UNIX_SCHEME: Final = "unix:"
UNIX_PATH_OCTETS_MAX: Final = 107  # sockaddr_un of Linux, unix(7)


class UnixAddress(NamedTuple):
    """A Unix domain socket."""

    path: Path

    def __str__(self) -> str:
        return f"{UNIX_SCHEME}{self.path}"


class Address(NamedTuple):
    """A TCP endpoint."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


Bind = Address | UnixAddress
"""Where a door listens."""


def address(table: Table, key: str, default: str | None) -> Address:
    text = table.text(key, default or "", required=default is None)
    found = table.parsed(key, parse_address, text) if text else None
    return found or Address("127.0.0.1", 0)


def listening(table: Table, key: str, home: Path) -> Bind:
    """Where a door listens: host:port, or unix:PATH relative to `home`."""
    text = table.text(key, required=True)
    found = table.parsed(key, lambda text: parse_endpoint(text, home), text) if text else None
    return found or Address("127.0.0.1", 0)


def network(table: Table, key: str, text: str) -> Network | None:
    try:
        return ip_network(text)
    except ValueError as error:
        table.note(key, str(error), 'for example "10.1.2.0/24"')
        return None


def word(table: Table, key: str) -> bytes:
    text = table.text(key, required=True)
    if not text.isascii() or not text.isprintable() or len(text) > 32:
        table.note(key, "must be at most 32 printable ASCII characters")
    return encode(text, "ascii")


def secret(table: Table, key: str, home: Path) -> bytes:
    """The first line of a file that only this service should be able to read."""
    name = table.text(key, required=True)
    return secret_file(table, key, home, name) if name else b""


def secret_file(table: Table, key: str, home: Path, name: str) -> bytes:
    """The first line of the file `name`, which the value of `key` names."""
    try:
        return read_secret(home / name)
    except OSError as error:
        table.note(key, f"{name}: {error.strerror}", "the path is relative to the configuration file")
    except ValueError as error:
        table.note(key, f"{name}: {error}")
    return b""


def read_secret(path: Path) -> bytes:
    """The first line of `path`. Raises OSError, and ValueError for one that cannot be a password."""
    with path.open("rb") as file:
        secret = file.readline(SECRET_LINE_OCTETS_MAX).rstrip(b"\r\n")
    if not 0 < len(secret) <= PASSWORD_OCTETS_MAX or b"\0" in secret:
        raise ValueError(f"its first line must hold 1 to {PASSWORD_OCTETS_MAX} octets")
    return secret


def is_wide(network: Network) -> bool:
    """Whether strangers are in this network: more of the public Internet than any one operator has."""
    if network.is_loopback or network.is_private or network.is_link_local:
        return network.prefixlen < (8 if network.version == 4 else 7)
    return network.prefixlen < (16 if network.version == 4 else 32)


def parse_endpoint(text: str, home: Path) -> Bind:
    """host:port, or unix:PATH relative to `home`."""
    if not text.startswith(UNIX_SCHEME):
        return parse_address(text)
    path = home / text.removeprefix(UNIX_SCHEME)
    if path == home or not 0 < len(bytes(path)) <= UNIX_PATH_OCTETS_MAX or "\0" in text:
        raise ValueError(
            f"not the path of a socket: {text!r}; at most {UNIX_PATH_OCTETS_MAX} octets, directory included"
        )
    return UnixAddress(path)


def parse_address(text: str) -> Address:
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"not an address: {text!r}; write host:port, as in 127.0.0.1:2525")
    return Address(host, int(port))
