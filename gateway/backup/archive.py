"""A backup as a whole: a directory, or a tar file (also `.tar.gz`), whose last member is the manifest.

The manifest names every member with its size and digest (BLAKE2b-256). A backup that was cut short has none, and is
none. Everything is its owner's alone: it holds addresses and keys. A stream is a tar file that goes through a pipe, to
and from a program that encrypts.
"""

from __future__ import annotations

import gzip
import io
import json
import lzma
import os
import shutil
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path, PurePosixPath
from typing import IO, Any, BinaryIO, Final, Protocol, cast

MANIFEST: Final = "izinli-backup.json"
FORMAT: Final = 1
_TAR: Final = (".tar", ".tar.gz", ".tgz")
_CHUNK: Final = 1 << 20


class BadArchive(Exception):
    """Not a backup, or not whole; the text says what is wrong."""


class _Readable(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...


class _Target(Protocol):
    def put(self, name: str, data: _Readable, octets: int) -> None: ...


class Writer:
    """Collects members; `close` makes it a backup."""

    def __init__(self, target: _Target) -> None:
        self._target = target
        self._members: dict[str, dict[str, Any]] = {}

    def add(self, name: str, path: Path) -> None:
        """A file, as long as it is now: what is appended to it meanwhile is left out. Raises OSError."""
        with path.open("rb") as file:
            octets = os.fstat(file.fileno()).st_size
            reader = _Digesting(file, octets)
            self._target.put(name, reader, octets)
        if reader.left:
            raise OSError(f"{path} became shorter while it was read")
        self._members[name] = {"octets": octets, "digest": reader.digest.hexdigest()}

    def close(self, facts: dict[str, Any]) -> None:
        """Write the manifest, with `facts` in it."""
        said = {"format": FORMAT, **facts, "members": self._members}
        octets = json.dumps(said, ensure_ascii=False, indent=1).encode()
        self._target.put(MANIFEST, io.BytesIO(octets), len(octets))


@contextmanager
def create(path: Path) -> Iterator[Writer]:
    """A new backup; nothing is overwritten, and nothing stays of one that fails. Raises OSError."""
    if path.name.endswith(_TAR):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                with tarfile.open(fileobj=file, mode="w" if path.suffix == ".tar" else "w:gz") as tar:
                    yield Writer(_Tar(tar))
                file.flush()
                os.fsync(file.fileno())
        except BaseException:
            path.unlink()
            raise
        return
    made = not path.exists()
    path.mkdir(mode=0o700, exist_ok=True)
    if any(path.iterdir()):
        raise FileExistsError(f"{path} is not empty")
    try:
        yield Writer(_Directory(path))
    except BaseException:
        empty(path)
        if made:
            path.rmdir()
        raise


@contextmanager
def stream(out: BinaryIO) -> Iterator[Writer]:
    """A new backup into a pipe; one that fails has no manifest. Raises OSError."""
    with tarfile.open(fileobj=out, mode="w|") as tar:
        yield Writer(_Tar(tar))
    out.flush()


def unpack(source: Path | BinaryIO, directory: Path) -> dict[str, Any]:
    """All members, of a file or of a pipe, into an empty directory; returns the manifest.

    Raises BadArchive or OSError.
    """
    target = _Directory(directory)
    found: dict[str, dict[str, Any]] = {}
    said: Any = None
    try:
        for name, data, octets in _members(source):
            if name == MANIFEST:
                said = json.loads(data.read(octets))
                continue
            reader = _Digesting(data, octets)
            target.put(name, reader, octets)
            found[name] = {"octets": octets - reader.left, "digest": reader.digest.hexdigest()}
    except (tarfile.TarError, EOFError, ValueError, gzip.BadGzipFile, zlib.error, lzma.LZMAError) as error:
        raise BadArchive(f"cannot be read: {error}") from error
    if not isinstance(said, dict) or not isinstance(members := said.get("members"), dict):
        raise BadArchive(f"has no {MANIFEST}: it is no backup, or it was cut short")
    if said.get("format") != FORMAT:
        raise BadArchive(f"has format {said.get('format')}; this version reads format {FORMAT}")
    wrong = sorted(name for name in found.keys() | members.keys() if found.get(name) != members.get(name))
    if wrong:
        raise BadArchive(f"{wrong[0]} is missing or not as it was written ({len(wrong)} such members)")
    return said


def empty(directory: Path) -> None:
    """Take away all that is in a directory."""
    for path in directory.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _members(source: Path | BinaryIO) -> Iterator[tuple[str, IO[bytes], int]]:
    """Name, contents and size of each. Only regular files count, by names that lead nowhere else."""
    if isinstance(source, Path) and source.is_dir():
        for path in sorted(path for path in source.rglob("*") if path.is_file() and not path.is_symlink()):
            with path.open("rb") as file:
                yield str(path.relative_to(source)), file, os.fstat(file.fileno()).st_size
        return
    with tarfile.open(source, "r:*") if isinstance(source, Path) else tarfile.open(fileobj=source, mode="r|*") as tar:
        for member in tar:
            parts = PurePosixPath(member.name).parts
            if not member.isreg() or member.name.startswith("/") or ".." in parts or not parts:
                raise BadArchive(f"holds something that is no plain file: {member.name!r}")
            data = tar.extractfile(member)
            assert data is not None  # it is a regular file
            with data:
                yield member.name, data, member.size


class _Digesting:
    """The first octets of a file, and their digest as they are read."""

    def __init__(self, file: IO[bytes], octets: int) -> None:
        self._file = file
        self.left = octets
        self.digest = blake2b(digest_size=32)

    def read(self, size: int = -1, /) -> bytes:
        block = self._file.read(self.left if size < 0 else min(size, self.left))
        self.left -= len(block)
        self.digest.update(block)
        return block


class _Directory:
    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def put(self, name: str, data: _Readable, octets: int) -> None:
        path = self._directory / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            while block := data.read(_CHUNK):
                file.write(block)
            file.flush()
            os.fsync(file.fileno())


class _Tar:
    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar

    def put(self, name: str, data: _Readable, octets: int) -> None:
        member = tarfile.TarInfo(name)
        member.size, member.mode = octets, 0o600
        self._tar.addfile(member, cast("IO[bytes]", data))
