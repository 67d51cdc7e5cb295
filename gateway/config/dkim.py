"""The DKIM keys of a brand: `dkim = { domain = …, selector = …, key_file = … }`, or a list of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from filters.dkim import Signer
from gateway import limits
from gateway.toml import Table


@dataclass(frozen=True, slots=True)
class DkimKey:
    """A key as it was when the configuration was read."""

    path: Path
    signer: Signer


def read_dkim(brand: Table, home: Path) -> tuple[DkimKey, ...]:
    """The keys each commercial mail of a brand is signed with; none: it is not signed here."""
    tables = brand.one_or_more("dkim")
    if len(tables) > limits.DKIM_KEYS_MAX:
        brand.note("dkim", f"more than {limits.DKIM_KEYS_MAX} keys, each of which would sign every message")
    found: list[DkimKey] = []
    for table in tables:
        key = _read_key(table, home)
        if key is None:
            continue
        if key.signer.record_name in [other.signer.record_name for other in found]:
            fix = "give each key a selector of its own"
            table.note("selector", f"two keys would be looked for at {key.signer.record_name}", fix)
        found.append(key)
    return tuple(found)


def read_signer(path: Path, domain: str, selector: str) -> Signer:
    """The key in a file. Raises KeyUnusable, a ValueError, and OSError."""
    with path.open("rb") as file:
        return Signer(file.read(limits.DKIM_KEY_OCTETS_MAX), domain, selector)


def _read_key(table: Table, home: Path) -> DkimKey | None:
    domain = table.text("domain", required=True)
    selector = table.text("selector", required=True)
    name = table.text("key_file", required=True)
    table.finish()
    if not (domain and selector and name):
        return None
    path = home / name
    try:
        return DkimKey(path, read_signer(path, domain, selector))
    except OSError as error:
        fix = f"make one with: izinli dkim-key --domain {domain} --selector {selector} --out {path}"
        table.note("key_file", f"{name}: {error.strerror}", fix)
    except ValueError as error:
        table.note("key_file", f"{name}: {error}")
    return None
