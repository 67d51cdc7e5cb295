"""The address of a shared consent index: one Redis server, one that Sentinel watches, or a cluster.

    redis://[user[:password]@]host[:port][/db]
    unix:///path/of/the/socket[?db=0]
    redis+sentinel://[user[:password]@]host[:port],host[:port]…/service[/db]
    redis+cluster://[user[:password]@]host[:port],host[:port]…

`rediss` in place of `redis` is TLS, always verified. User and password are percent-encoded (RFC 3986 §2.1), IPv6 stands
in brackets. Options after the `?`: `password_file`, `ssl_ca_certs`, `ssl_certfile`, `ssl_keyfile`, and with Sentinel,
which has users of its own, `sentinel_username` and `sentinel_password_file`. Files are named, not read: that is for
whoever reads the configuration, who then gives the passwords by `dataclasses.replace`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

Kind = Literal["single", "sentinel", "cluster"]
Host = tuple[str, int]

PORT: Final = 6379
SENTINEL_PORT: Final = 26379
DB_MAX: Final = 10_000  # far more than any server is set up with (`databases`, 16)
SCHEMES: Final[dict[str, tuple[Kind, bool]]] = {
    "redis": ("single", False),
    "rediss": ("single", True),
    "unix": ("single", False),
    "redis+sentinel": ("sentinel", False),
    "rediss+sentinel": ("sentinel", True),
    "redis+cluster": ("cluster", False),
    "rediss+cluster": ("cluster", True),
}
"""Each known scheme: what it leads to, and whether by TLS."""

_TLS_OPTIONS: Final = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_SENTINEL_OPTIONS: Final = ("sentinel_username", "sentinel_password_file")


@dataclass(frozen=True, slots=True)
class IndexUrl:
    """Where the index is and how to log in. What does not apply is empty; file names are as they were written."""

    kind: Kind
    hosts: tuple[Host, ...] = ()  # of the server, of the sentinels, of some of the cluster; none for a socket's path
    path: str = ""  # Unix socket
    service: str = ""  # Sentinel's name of the master
    username: str = ""
    password: str = field(default="", repr=False)
    db: int = 0
    tls: bool = False
    ca_file: str = ""  # PEM; empty: the authorities of the machine
    certificate_file: str = ""  # ours, for servers that ask for one (Redis does unless `tls-auth-clients no`)
    key_file: str = ""  # of our certificate; empty: it stands in the same file
    sentinel_username: str = ""
    sentinel_password: str = field(default="", repr=False)
    password_file: str = ""
    sentinel_password_file: str = ""


def parse(url: str) -> IndexUrl:
    """The parts of `url`. ValueError says what is wrong and what to write; it never repeats a password."""
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in SCHEMES:
        known = ", ".join(f"{name}://…" for name in SCHEMES)
        named = scheme if separator and scheme.replace("+", "").isalpha() else "without a scheme"
        raise ValueError(f"unknown kind of index {named!r}; use {known}")
    if not url.isprintable() or " " in url or "#" in url:
        raise ValueError("the address has a space, a # or a control character; write it percent-encoded, as in %23")
    kind, tls = SCHEMES[scheme]
    rest, _, query = rest.partition("?")
    options = _options(query, kind, tls=tls, socket=scheme == "unix")
    if scheme == "unix":
        return _socket(rest, options)
    login, at, place = rest.rpartition("@")
    if "@" in login:
        raise ValueError("the password has an @; write it as %40")
    username, password = _login(login) if at else ("", "")
    hosts, _, below = place.partition("/")
    service, db = _below(kind, below)
    if password and "password_file" in options:
        raise ValueError("there is a password and a password_file; keep the file")
    return IndexUrl(
        kind,
        _hosts(hosts, kind),
        service=service,
        username=username,
        password=password,
        db=db,
        tls=tls,
        ca_file=options.get("ssl_ca_certs", ""),
        certificate_file=options.get("ssl_certfile", ""),
        key_file=options.get("ssl_keyfile", ""),
        sentinel_username=options.get("sentinel_username", ""),
        password_file=options.get("password_file", ""),
        sentinel_password_file=options.get("sentinel_password_file", ""),
    )


def _socket(rest: str, options: dict[str, str]) -> IndexUrl:
    login, at, path = rest.rpartition("@")
    if not path.startswith("/") or len(path) < 2:
        raise ValueError("a Unix socket needs its whole path, as in unix:///run/redis/redis.sock")
    username, password = _login(login) if at else ("", "")
    return IndexUrl(
        "single",
        path=_decoded(path),
        username=username,
        password=password,
        db=_db(options.get("db", "")),
        password_file=options.get("password_file", ""),
    )


def _options(query: str, kind: Kind, *, tls: bool, socket: bool) -> dict[str, str]:
    known = [
        "password_file",
        *(_TLS_OPTIONS if tls else ()),
        *(_SENTINEL_OPTIONS if kind == "sentinel" else ()),
        *(("db",) if socket else ()),
    ]
    found: dict[str, str] = {}
    for part in filter(None, query.split("&")):
        name, _, value = part.partition("=")
        if name not in known:
            hint = " (for TLS write rediss)" if name in _TLS_OPTIONS else ""
            raise ValueError(f"unknown option {name!r}{hint}; this kind of address knows {', '.join(known)}")
        if name in found or not value:
            raise ValueError(f"option {name!r} stands twice" if name in found else f"option {name!r} is empty")
        found[name] = _decoded(value)
    if "ssl_keyfile" in found and "ssl_certfile" not in found:
        raise ValueError("there is an ssl_keyfile without an ssl_certfile; name both")
    return found


def _login(text: str) -> tuple[str, str]:
    username, colon, password = text.partition(":")
    if ":" in password:
        raise ValueError("the password has a colon; write it as %3A")
    if colon and not password and not username:
        raise ValueError("nothing stands before the @; write user:password@, or :password@ for the default user")
    return _decoded(username), _decoded(password)


def _hosts(text: str, kind: Kind) -> tuple[Host, ...]:
    hosts = tuple(_host(one, SENTINEL_PORT if kind == "sentinel" else PORT) for one in text.split(","))
    if kind == "single" and len(hosts) > 1:
        raise ValueError("one server has one host; for several write redis+sentinel://…/service or redis+cluster://…")
    return hosts


def _host(text: str, default: int) -> Host:
    if text.startswith("["):
        host, bracket, after = text[1:].partition("]")
        if not bracket or (after and not after.startswith(":")):
            raise ValueError(f"not an address: {text!r}; IPv6 stands in brackets, as in [2001:db8::1]:6379")
        colon, port = after[:1], after[1:]
    else:
        host, colon, port = text.partition(":")
        if ":" in port:
            raise ValueError(f"not an address: {text!r}; IPv6 stands in brackets, as in [2001:db8::1]:6379")
    if not host:
        raise ValueError("a host is missing; write host:port, as in 127.0.0.1:6379")
    if not colon:
        return host, default
    if not (port.isascii() and port.isdigit() and 0 < int(port[:6]) < 65536):
        raise ValueError(f"not a port: {port!r}; write a number from 1 to 65535")
    return host, int(port)


def _below(kind: Kind, text: str) -> tuple[str, int]:
    """(service, db): what stands after the hosts."""
    first, _, second = text.rstrip("/").partition("/")
    if kind == "cluster":
        if first not in ("", "0"):
            raise ValueError(f"a cluster has no databases; leave out /{text}")
        return "", 0
    if kind == "sentinel":
        if not first:
            raise ValueError("Sentinel needs the name of the master it watches, as in …:26379/mymaster")
        return _decoded(first), _db(second)
    if second:
        raise ValueError(f"/{text} is more than a database; write /0")
    return "", _db(first)


def _db(text: str) -> int:
    if not text:
        return 0
    if not (text.isascii() and text.isdigit() and int(text[:6]) <= DB_MAX):
        raise ValueError(f"not a database: {text!r}; write a number, as in /0")
    return int(text)


def _decoded(text: str) -> str:
    """Percent-decoding (RFC 3986 §2.1) of UTF-8."""
    first, *others = text.split("%")
    found = first.encode()
    for other in others:
        digits = other[:2]
        if len(digits) != 2 or not set(digits) <= set("0123456789abcdefABCDEF"):
            raise ValueError("a % stands alone; write it as %25")
        found += bytes.fromhex(digits) + other[2:].encode()
    try:
        return _printable(found.decode("utf-8"))
    except UnicodeDecodeError:
        raise ValueError("what the percent signs stand for is not UTF-8") from None


def _printable(text: str) -> str:
    if "\0" in text or "\n" in text or "\r" in text:
        raise ValueError("the address holds a control character")
    return text
