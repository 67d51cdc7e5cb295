"""The documents that applicants send: known by what they are, kept under what they are (SHA-256), for nobody else."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from typing import Final, NamedTuple

DIRECTORY: Final = "documents"
_MAGIC: Final = {"pdf": b"%PDF-", "png": b"\x89PNG\r\n\x1a\n"}
_END: Final = {"pdf": b"%%EOF", "png": b"IEND\xaeB`\x82"}
_TAIL_OCTETS: Final = 1024  # within which the end stands: readers of PDF take as much behind it


class Document(NamedTuple):
    """A document that is kept."""

    digest: bytes
    kind: str  # pdf, png

    @property
    def name(self) -> str:
        return f"{self.digest.hex()}.{self.kind}"


def kind_of(content: bytes) -> str | None:
    """What a file is, by its first octets and its last ones; None: neither a whole PDF nor a whole PNG."""
    for kind, magic in _MAGIC.items():
        if content.startswith(magic) and _END[kind] in content[-_TAIL_OCTETS:]:
            return kind
    return None


def keep(data_dir: Path, content: bytes, kind: str) -> Document:
    """Write a document, whole or not at all, readable by its owner alone. Raises OSError."""
    document = Document(hashlib.sha256(content).digest(), kind)
    home = data_dir / DIRECTORY
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    if (home / document.name).exists():
        return document
    descriptor, name = tempfile.mkstemp(dir=home)  # mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.rename(name, home / document.name)
    except BaseException:
        os.unlink(name)
        raise
    _sync(home)
    return document


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
