"""`[national]`: the national system, the brands that are kept in step with it, and who we are there."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from gateway.config.values import secret_file
from gateway.toml import Table, meant

LIVE: Final = "https://api.iys.org.tr"
NAMED: Final = "named"
ALL: Final = "all"
_SECONDS_MAX: Final = 24 * 3600


@dataclass(frozen=True, slots=True)
class Known:
    """A user name and its password."""

    username: str
    password: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class NationalBrand:
    """A brand that is kept in step."""

    code: int
    login: Known
    push: Known | None = None  # of the national system at our receiver


@dataclass(frozen=True, slots=True)
class National:
    """The national system, and how often it is asked."""

    url: str
    brands: tuple[NationalBrand, ...]
    ca_file: str = ""
    pull_s: int = 600
    upload_s: int = 30
    result_s: int = 300
    calls_per_second: int = 5
    login: Known | None = None  # of an intermediary, for brands that name none
    push: Known | None = None  # for brands that name none
    approved: bool = False  # whether all approved brands are kept in step, with `login`


def read_national(table: Table, codes: Collection[int], home: Path) -> National | None:
    """From the top of the file; None while it is not enabled. `codes` are those of the brands."""
    enabled = table.flag("enabled")
    url = table.text("url", LIVE).rstrip("/")
    table.attempt("url", lambda: _check(url))
    ca_file = table.text("ca_file")
    if ca_file and not (home / ca_file).is_file():
        table.note("ca_file", f"{ca_file}: no such file", "the path is relative to the configuration file")
    usual = National(url, ())
    pull_s = table.number("pull_seconds", usual.pull_s, 1, _SECONDS_MAX)
    upload_s = table.number("upload_seconds", usual.upload_s, 1, _SECONDS_MAX)
    result_s = table.number("result_seconds", usual.result_s, 0, _SECONDS_MAX)
    per_second = table.number("calls_per_second", usual.calls_per_second, 1, 10)
    login = _known(table, "username", "password_file", home, required=False)
    push = _known(table, "push_username", "push_password_file", home, required=False)
    approved = table.choice("brands", (NAMED, ALL), NAMED) == ALL
    if approved and login is None:
        table.note("brands", '"all" needs a login that may act for all', "add username and password_file to [national]")
    brands = tuple(_brand(one, codes, home, login, push) for one in table.tables("brand"))
    seen: set[int] = set()
    for one, brand in zip(table.tables("brand"), brands, strict=True):
        if brand.code in seen:
            one.note("code", f"brand {brand.code} is here twice")
        seen.add(brand.code)
    table.finish()
    trusted = str(home / ca_file) if ca_file else ""
    times = pull_s, upload_s, result_s, per_second
    return National(url, brands, trusted, *times, login, push, approved) if enabled else None


def _brand(
    table: Table, codes: Collection[int], home: Path, usual: Known | None, usual_push: Known | None
) -> NationalBrand:
    code = table.number("code", 0, 0, 2**31 - 1)
    if code not in codes:
        table.note("code", f"there is no [[brand]] with code {code}", meant(str(code), map(str, codes)))
    login = _known(table, "username", "password_file", home, required=usual is None)
    push = _known(table, "push_username", "push_password_file", home, required=False)
    table.finish()
    return NationalBrand(code, login or usual or Known("", b""), push or usual_push)


def _known(table: Table, user_key: str, file_key: str, home: Path, *, required: bool) -> Known | None:
    username, name = table.text(user_key, required=required), table.text(file_key, required=required)
    if not required and bool(username) != bool(name):
        table.note(user_key if name else file_key, "is missing", f"{user_key} and {file_key} belong together")
    if ":" in username and user_key.startswith("push"):
        table.note(user_key, "may have no colon", "HTTP Basic ends the user name there")
    password = secret_file(table, file_key, home, name) if name else b""
    try:
        password.decode()
    except UnicodeDecodeError:
        table.note(file_key, f"{name}: its first line is not UTF-8")
    return Known(username, password) if username and name else None


def _check(url: str) -> None:
    """Passwords and addresses travel there: only TLS, or this machine."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    is_web = parts.scheme in ("http", "https") and host and parts.port is not False  # a bad port raises
    if not is_web or parts.query or parts.fragment or "@" in parts.netloc or not url.isascii():
        raise ValueError(f"not a web address: {url!r}; for example {LIVE}")
    if parts.scheme == "http" and not _is_here(host):
        raise ValueError(f"{url!r} would send passwords in clear; it must begin with https://")


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
