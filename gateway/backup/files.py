"""What of an installation stands where: the members of a backup, and where each goes when it is restored.

    config/…     the configuration file and the files it names, below its directory
    outside/…    files that it names elsewhere, by their absolute path
    data/…       the data directory: keys, journal with seals, and whatever stands beside them
    ledger/…     the ledger, as `registry.backup` writes it

Left out is what is made again (the index and its pre-filter) or would be wrong by then: the memories of handsets,
message ids and mixed endings are about messages of the last days.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from gateway.config import Config

CONFIG, OUTSIDE, DATA, LEDGER = "config", "outside", "data", "ledger"
STAGING: Final = ".izinli-backup-"
"""How a directory's name begins in which a backup that is being made has a copy of the ledger for a while."""

_MADE_AGAIN: Final = ("*.sqlite", "*.sqlite-*", "*.retain", "index.*")
_URL_FILES: Final = ("ca_file", "certificate_file", "key_file", "password_file", "sentinel_password_file")


def members(config: Config) -> Iterator[tuple[str, Path]]:
    """Name and path of each file but the ledger's. Seals come before what they seal, which may grow meanwhile."""
    home, data = config.path.resolve().parent, config.data_dir.resolve()
    yield f"{CONFIG}/{config.path.name}", config.path
    for path in sorted(named(config)):
        if path.is_relative_to(data):
            continue  # it goes with the data
        if path.is_relative_to(home):
            yield f"{CONFIG}/{path.relative_to(home)}", path
        else:
            yield f"{OUTSIDE}/{path.relative_to('/')}", path
    below = (path for path in data.rglob("*") if path.is_file() and not path.is_symlink())
    for path in sorted(below, key=lambda path: (path.suffix != ".seals", path)):
        if path.relative_to(data).parts[0].startswith(STAGING):
            continue
        if not (path.parent == data and any(map(path.match, _MADE_AGAIN))):
            yield f"{DATA}/{path.relative_to(data)}", path


def named(config: Config) -> set[Path]:
    """The files that a configuration names, as absolute paths."""
    home = config.path.resolve().parent
    found = set(_named(tomllib.loads(config.path.read_text(encoding="utf-8"))))
    for server in (config.index.server, config.delivered):
        if server is not None:
            found |= {getattr(server, name) for name in _URL_FILES}
    return {path for name in found if name and (path := (home / name).resolve()).is_file()}


def _named(value: Any, key: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _named(inner, name)
    elif isinstance(value, list):
        for inner in value:
            yield from _named(inner, key)
    elif isinstance(value, str) and key.endswith("_file"):
        yield value
