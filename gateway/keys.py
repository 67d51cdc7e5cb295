"""The secrets of an installation, as files: the fingerprint key, the link keys, and the one between the planes.

    keys/fingerprint.key    32 octets in hex; gives the consent index its meaning. It never changes.
    keys/link-<id>.key      32 octets in hex, id 0 to 7; the highest id mints new links, all of them read old ones
    keys/internal.key       32 octets in hex; with it a gateway hands rejections to its registry. It may be replaced.
    keys/push.key           32 octets in hex; seals passwords of those who are told of moves. Registries alone need it.
    keys/provider.key       64 octets in hex; seals what applicants say of themselves, and what admins
                            log in with. Registries alone need it.

Both planes need the same ones. They are made once, where the registry runs, and copied to gateways elsewhere.
"""

from __future__ import annotations

import os
import re
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from filters.key import KEY_BYTES
from filters.link import MASTER_KEY_BYTES

FINGERPRINT_FILE: Final = "fingerprint.key"
FIRST_LINK_FILE: Final = "link-0.key"
INTERNAL_FILE: Final = "internal.key"
INTERNAL_BYTES: Final = 32
PUSH_FILE: Final = "push.key"
PUSH_BYTES: Final = 32
PROVIDER_FILE: Final = "provider.key"
PROVIDER_BYTES: Final = 64
_LINK_FILE: Final = re.compile(r"link-([0-7])\.key")
_HEX: Final = re.compile(rb"[0-9a-fA-F]+")


class KeyFault(Exception):
    """A key file is missing or malformed; the text says which and what to do."""


@dataclass(frozen=True, slots=True)
class Keys:
    """`link` maps key ids to master keys; `link_current` is the one that mints."""

    fingerprint: bytes
    link: dict[int, bytes]
    link_current: int
    internal: bytes = b""
    push: bytes = b""  # empty, as the next
    provider: bytes = b""  # empty: this machine has none, and needs none unless it runs the registry


def directory(data_dir: Path) -> Path:
    """Where an installation keeps its keys."""
    return data_dir / "keys"


def create_missing(data_dir: Path) -> list[Path]:
    """Make the keys an installation lacks; returns those that were made. Nothing is ever overwritten."""
    home = directory(data_dir)
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = []
    wanted = {FINGERPRINT_FILE: KEY_BYTES, INTERNAL_FILE: INTERNAL_BYTES}
    wanted |= {PUSH_FILE: PUSH_BYTES, PROVIDER_FILE: PROVIDER_BYTES}
    if not any(_LINK_FILE.fullmatch(path.name) for path in home.iterdir()):
        wanted[FIRST_LINK_FILE] = MASTER_KEY_BYTES
    for name, octets in wanted.items():
        if _write_new(home / name, secrets.token_hex(octets)):
            made.append(home / name)
    return made


def load(data_dir: Path) -> Keys:
    """Read the keys. Raises KeyFault."""
    home = directory(data_dir)
    fingerprint = _read(home / FINGERPRINT_FILE, KEY_BYTES)
    links = {}
    for path in sorted(home.iterdir()):
        if match := _LINK_FILE.fullmatch(path.name):
            links[int(match[1])] = _read(path, MASTER_KEY_BYTES)
    if not links:
        raise KeyFault(f"{home}: there is no {FIRST_LINK_FILE}; copy the keys of the machine the registry runs on")
    internal = _read(home / INTERNAL_FILE, INTERNAL_BYTES)
    push, provider = _if_there(home / PUSH_FILE, PUSH_BYTES), _if_there(home / PROVIDER_FILE, PROVIDER_BYTES)
    return Keys(fingerprint, links, max(links), internal, push, provider)


def _if_there(path: Path, octets: int) -> bytes:
    """What registries alone need."""
    return _read(path, octets) if path.exists() else b""


def _read(path: Path, octets: int) -> bytes:
    try:
        text = path.read_bytes().strip()
    except FileNotFoundError:
        raise KeyFault(f"{path} is missing; copy the keys of the machine the registry runs on") from None
    except OSError as error:
        raise KeyFault(f"{path}: {error.strerror}") from error
    if len(text) != 2 * octets or not _HEX.fullmatch(text):
        raise KeyFault(f"{path} must hold {2 * octets} hexadecimal digits; restore it from the backup")
    return bytes.fromhex(text.decode())


def _write_new(path: Path, text: str) -> bool:
    """False: it exists already."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return False
    with os.fdopen(descriptor, "w") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    return True
