"""Seals of the journal: a chain of digests by which a line that was changed or taken away shows.

    data_dir/journal/decisions-<UTC time>-<worker>.seals      beside the .ndjson of the same name

The first line says what the file follows, `{"digest":"…","follows":"decisions-….ndjson"}`, with the digest that the
chain had come to: zeros, and no `follows`, where one begins. Each further line seals what was written since the one
before it, `{"at":"…","octets":1234,"lines":5,"digest":"…"}`. Octets and lines are those of the whole file so far, and

    digest = BLAKE2b-256(digest before ‖ octets since then)        (RFC 7693)

So the newest digest stands for every decision of the worker since its first. Kept elsewhere (it is in the log whenever
a file is finished), it proves that nobody wrote the journal anew, seals and all. What a killed worker left unsealed,
its successor seals. A worker holds a lock on its seals: whoever begins while it still writes begins a chain.
"""

from __future__ import annotations

import fcntl
import gzip
import os
import re
import zlib
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Annotated, BinaryIO, Final, NamedTuple, cast

import msgspec

BEGINNING: Final = bytes(32)
_JOURNAL: Final = re.compile(r"decisions-([0-9]{8}T[0-9]{6})-([0-9]+)(?:-([0-9]+))?\.ndjson")
BLOCK_OCTETS: Final = 1 << 20

Digest = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]

_HEADER_OCTETS_MAX: Final = 1024  # a digest and a file's name
DAMAGED: Final = (gzip.BadGzipFile, EOFError, zlib.error)
"""What `contents` raises on reading when a compressed file is not whole."""


class Header(msgspec.Struct, forbid_unknown_fields=True):
    """What a journal file follows."""

    digest: Digest
    follows: str | None = None


class Seal(msgspec.Struct, forbid_unknown_fields=True):
    """One seal: of the file's first `octets`."""

    at: str
    octets: int
    lines: int
    digest: Digest


class Position(NamedTuple):
    """What a file's name says: whose it is, and its place among them."""

    worker: int
    time: str
    attempt: int


def position(path: Path) -> Position | None:
    """Of a journal file; None for any other."""
    match = _JOURNAL.fullmatch(path.name)
    return Position(int(match[2]), match[1], int(match[3] or 0)) if match else None


def journals(directory: Path) -> dict[int, list[Path]]:
    """The journal files of each worker, oldest first; those of which only the seals are left, or that were compressed
    (`.ndjson.gz`), among them under the name that they had."""
    found: dict[Position, Path] = {}
    for path in directory.glob("decisions-*"):
        stem, _, suffix = path.name.partition(".")
        journal = directory / f"{stem}.ndjson"
        if suffix in ("ndjson", "ndjson.gz", "seals") and (place := position(journal)) is not None:
            found[place] = journal
    workers: dict[int, list[Path]] = {}
    for place in sorted(found):
        workers.setdefault(place.worker, []).append(found[place])
    return workers


def read(journal: Path) -> tuple[Header, list[Seal]]:
    """The seals of a file. A line that a full disk or a kill cut off is none. Raises OSError, ValueError."""
    first, *rest = journal.with_suffix(".seals").read_bytes().split(b"\n")
    whole = [line for line in rest if line.endswith(b"}")]
    return msgspec.json.decode(first, type=Header), [msgspec.json.decode(line, type=Seal) for line in whole]


def chained(journals: list[Path]) -> list[Path]:
    """The files of one worker in the order in which they were written: each behind the one that it follows.

    Their names tell the order as far as the clock did, and it may have been set back. What follows none of them comes
    in the order of the names.
    """
    names = {path.name for path in journals}
    behind: dict[str | None, list[Path]] = {}
    for path in journals:
        follows = _followed(path)
        behind.setdefault(follows if follows in names else None, []).append(path)
    ordered: list[Path] = []
    waiting = behind.pop(None, [])[::-1]
    while waiting:
        ordered.append(waiting.pop())
        waiting += behind.pop(ordered[-1].name, [])[::-1]
    return ordered + [path for ring in behind.values() for path in ring]  # nobody wrote such ones


def _followed(journal: Path) -> str | None:
    """What a file says that it follows."""
    try:
        with journal.with_suffix(".seals").open("rb") as file:
            return msgspec.json.decode(file.readline(_HEADER_OCTETS_MAX), type=Header).follows
    except (FileNotFoundError, ValueError):
        return None


def began(journal: Path) -> bool:
    """Whether anything was written under this name: not where a kill or a full disk came before the seals' first line,
    of which no decision can be missing, because each is written after it. Raises OSError."""
    if _octets_of(journal):
        return True
    try:
        with journal.with_suffix(".seals").open("rb") as file:
            return file.readline(_HEADER_OCTETS_MAX).endswith(b"\n")
    except FileNotFoundError:
        return False


def _octets_of(journal: Path) -> int:
    """How large a journal file is, as it was written or compressed; 0 when it is not there. Raises OSError."""
    for path in (journal, journal.with_name(f"{journal.name}.gz")):
        if path.exists():
            return path.stat().st_size
    return 0


def contents(journal: Path) -> BinaryIO:
    """What was written to a journal file, which may have been compressed since. Raises OSError."""
    try:
        return journal.open("rb")
    except FileNotFoundError:
        return cast("BinaryIO", gzip.open(journal.with_name(f"{journal.name}.gz"), "rb"))


def blocks(file: BinaryIO, octets: int | None = None) -> Iterator[bytes]:
    """The next so many octets of a file, or all that follow, in pieces. Raises OSError."""
    left = octets
    while block := file.read(BLOCK_OCTETS if left is None else min(BLOCK_OCTETS, max(0, left))):
        yield block
        left = None if left is None else left - len(block)


class Chain:
    """The chain of one worker, as long as it writes."""

    def __init__(self, directory: Path, worker: int) -> None:
        self._directory = directory
        self._worker = worker
        self._digest: bytes | None = None  # as of the newest seal; None: not looked up yet
        self._follows: str | None = None
        self._running = blake2b(digest_size=32)
        self._file = -1
        self._octets = self._lines = 0  # of the journal file so far
        self._open = False  # something is not sealed

    def begin(self, journal: Path, at: str) -> None:
        """A new journal file was made. Raises OSError."""
        if self._digest is None:
            self._digest, self._follows = self._inherit(journal, at)
        header = Header(self._digest.hex(), self._follows)
        self._file = os.open(journal.with_suffix(".seals"), os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o600)
        fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.write(self._file, msgspec.json.encode(header) + b"\n")
        self._running = blake2b(self._digest, digest_size=32)
        self._octets = self._lines = 0
        self._follows = journal.name

    def add(self, data: bytes, lines: int) -> None:
        """`data` was written to the journal."""
        self._running.update(data)
        self._octets += len(data)
        self._lines += lines
        self._open = True

    def seal(self, at: str) -> None:
        """Seal what was added. A disk that takes no seal now is asked again with the next one."""
        if not self._open or self._file < 0:
            return
        digest = self._running.digest()
        seal = msgspec.json.encode(Seal(at, self._octets, self._lines, digest.hex())) + b"\n"
        try:
            if os.write(self._file, seal) < len(seal):
                os.write(self._file, b"\n")  # what was cut off is no seal, and spoils no other
                return
        except OSError:
            return
        self._digest, self._open = digest, False
        self._running = blake2b(digest, digest_size=32)

    def end(self, at: str) -> str:
        """Seal the file, and begin no other by itself; the digest that stands for all so far."""
        self.seal(at)
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        digest = self._digest or BEGINNING
        if self._open:
            self._digest, self._open = None, False  # as after a kill: the next file's beginning seals the rest
        return digest.hex()

    def _inherit(self, new: Path, at: str) -> tuple[bytes, str | None]:
        """What an earlier process of this worker came to, in which file; what it left unsealed is sealed."""
        earlier = [path for path in chained(journals(self._directory).get(self._worker, [])) if path != new]
        for journal in reversed(earlier):
            try:
                digest = _finished(journal, at)
            except (FileNotFoundError, ValueError):
                continue  # from before there were seals, or lost: `izinli journal verify` says so
            except BlockingIOError:
                break
            return digest, journal.name
        return BEGINNING, None


def _finished(journal: Path, at: str) -> bytes:
    """The digest at the end of a file whose writer is gone; what was not sealed is. Raises OSError, ValueError."""
    header, seals = read(journal)
    digest = bytes.fromhex(seals[-1].digest if seals else header.digest)
    octets, lines = (seals[-1].octets, seals[-1].lines) if seals else (0, 0)
    file = os.open(journal.with_suffix(".seals"), os.O_WRONLY | os.O_APPEND)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not journal.exists() or journal.stat().st_size <= octets:
            return digest
        running = blake2b(digest, digest_size=32)
        with journal.open("rb") as rest:
            rest.seek(octets)
            for block in blocks(rest):
                running.update(block)
                octets += len(block)
                lines += block.count(b"\n")
        late = msgspec.json.encode(Seal(at, octets, lines, running.hexdigest()))
        os.write(file, b"\n" + late + b"\n")  # behind a line that may be cut off
        return running.digest()
    finally:
        os.close(file)
