"""The keys of `[registry]` that are about the admins' pages: where they listen, and how browsers find them.

They give passwords away on a network without TLS: so without a certificate of their own they listen on loopback alone,
and a TLS proxy on the same machine may stand before them.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from gateway.config.values import Address, parse_address
from gateway.tls import server_context
from gateway.toml import Table

_TLS = ("admin_cert_file", "admin_key_file")


@dataclass(frozen=True, slots=True)
class AdminPages:
    """A listener. `url`: as browsers see it; `certificate`: its files; None: no TLS of its own."""

    bind: Address
    url: str
    certificate: tuple[Path, Path] | None = None


def read_admin_pages(table: Table, home: Path) -> AdminPages | None:
    """From `[registry]`; None: there are none."""
    where, said_url = table.text("admin"), table.text("admin_url").rstrip("/")
    files = {key: table.text(key) for key in _TLS}
    if not where:
        for key in ("admin_url", *_TLS):
            if table.values.get(key):
                table.note(key, "there is no page that it belongs to", 'add admin = "127.0.0.1:8081"')
        return None
    bind = table.parsed("admin", parse_address, where)
    certificate = _certificate(table, files, home)
    if bind is None:
        return None
    if not is_loopback(bind.host) and not all(files.values()):
        fix = "listen on 127.0.0.1 behind a TLS proxy, or give admin_cert_file and admin_key_file"
        table.note("admin", f"{bind} can be reached by others, and passwords would cross the network in clear", fix)
    url = said_url or f"{'https' if certificate else 'http'}://{bind}"
    if said_url:
        table.attempt("admin_url", lambda: _check_url(url, certificate is not None))
    elif certificate and _is_all(bind.host):
        fix = 'write the address that they open, as admin_url = "https://yonetim.example.com.tr:8081"'
        table.note("admin_url", f"is missing: no browser is at {bind}, so no form would be taken", fix)
    return AdminPages(bind, url, certificate)


def is_loopback(host: str) -> bool:
    """Whether only this machine gets there."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_all(host: str) -> bool:
    """Whether it is every address of this machine, and so none that a browser can open."""
    try:
        return ip_address(host).is_unspecified
    except ValueError:
        return False


def _certificate(table: Table, files: dict[str, str], home: Path) -> tuple[Path, Path] | None:
    if not any(files.values()):
        return None
    for key, name in files.items():
        if not name:
            table.note(key, "is missing", f"{' and '.join(_TLS)} belong together")
            return None
    cert_file, key_file = (home / name for name in files.values())
    try:
        server_context(cert_file, key_file)
    except OSError as error:
        table.note(_TLS[0], f"certificate and key cannot be used: {error}", "paths are relative to this file")
        return None
    return cert_file, key_file


def _check_url(url: str, tls: bool) -> None:
    """Raises ValueError."""
    parts = urlsplit(url)
    whole = parts.scheme in ("http", "https") and parts.hostname and not (parts.path or parts.query or parts.fragment)
    if not whole or "@" in parts.netloc or not url.isascii() or parts.port is False:  # a bad port raises
        raise ValueError(f"not the address of a host: {url!r}; for example https://yonetim.example.com.tr")
    if parts.scheme == "http" and tls:
        raise ValueError(f"{url} is not https, which is what a listener with a certificate speaks")
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        raise ValueError(f"{url} is not https; browsers of others than this machine need it")
