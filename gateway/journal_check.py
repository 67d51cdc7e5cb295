"""Is the journal whole, and as it was written? Every seal is computed again (`seals.py`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO

from gateway import seals
from gateway.seals import BEGINNING, Header, Seal

Progress = Callable[[int], None]
"""Called with the octets that were read since the last call."""


@dataclass(slots=True)
class Found:
    """What there is of one worker."""

    worker: int
    files: int = 0
    lines: int = 0
    unsealed: int = 0  # lines of the newest file: they wait for the next second's seal
    follows: str | None = None  # the file before the first one, which was carried away
    digest: str = BEGINNING.hex()  # the newest: it stands for all
    faults: list[str] = field(default_factory=list)


def verify(directory: Path, kept: str = "", progress: Progress = lambda octets: None) -> list[Found]:
    """Each worker's journal. `kept` is a digest that was noted elsewhere: some seal must have it. Raises OSError."""
    files = seals.journals(directory)
    numbers = sorted(files) or ([0] if kept else [])  # of a journal that is not there, the digest is missing too
    workers = [_Worker(number, progress) for number in numbers]
    for worker in workers:
        worker.read([path for path in seals.chained(files.get(worker.found.worker, [])) if seals.began(path)])
    if kept and not any(kept in worker.digests for worker in workers):
        for worker in workers:
            worker.found.faults.append(
                f"no seal has the digest {kept}: what it stood for was written anew or is missing"
            )
    return [worker.found for worker in workers]


class _Worker:
    def __init__(self, number: int, progress: Progress) -> None:
        self.found = Found(number)
        self.digests: set[str] = set()
        self._progress = progress
        self._before: Path | None = None  # the file before, when its end is known

    def read(self, files: list[Path]) -> None:
        """All files of the worker, in the order in which they were written."""
        for journal in files:
            self.found.files += 1
            try:
                header, sealed = seals.read(journal)
            except FileNotFoundError:
                self._fault(journal, "has no seals")
                self._before = None
                continue
            except ValueError:
                self._fault(journal, "its seals cannot be read")
                self._before = None
                continue
            self._link(journal, header, first=journal is files[0])
            self._contents(journal, header, sealed, newest=journal is files[-1])
            self.found.digest = sealed[-1].digest if sealed else header.digest
            self._before = journal

    def _link(self, journal: Path, header: Header, *, first: bool) -> None:
        self.digests.add(header.digest)
        if first:
            self.found.follows = header.follows
            before = None if header.follows is None else seals.position(journal.with_name(header.follows))
            if header.follows is not None and (before is None or before.worker != self.found.worker):
                self._fault(journal, f"follows {header.follows}, which is no file of this worker")
        elif header.follows is None:
            self._fault(journal, "begins a chain of its own, as when two processes write at the same time")
        elif self._before is not None and (header.follows, header.digest) != (self._before.name, self.found.digest):
            self._fault(journal, f"does not follow {self._before.name}: something between them is missing or changed")

    def _contents(self, journal: Path, header: Header, sealed: list[Seal], *, newest: bool) -> None:
        """Compare what is sealed with what is there."""
        self.digests.update(seal.digest for seal in sealed)
        try:
            with seals.contents(journal) as file:
                self._sealed(file, journal, header, sealed, newest=newest)
        except FileNotFoundError:
            self._fault(journal, f"is missing, with {sealed[-1].lines if sealed else 0} lines")
        except seals.DAMAGED:
            self._fault(journal, "was compressed, and cannot be read")

    def _sealed(self, file: BinaryIO, journal: Path, header: Header, sealed: list[Seal], *, newest: bool) -> None:
        """Once from the beginning to the end: what is compressed cannot be read otherwise."""
        digest, octets, lines = header.digest, 0, 0
        for seal in sealed:
            there, read, found = self._digest(file, digest, seal.octets - octets)
            missing = read < seal.octets - octets
            if missing or there != seal.digest or found != seal.lines - lines:
                what = "are missing or changed" if missing else "were changed"
                self._fault(journal, f"lines {lines + 1} to {seal.lines}, sealed at {seal.at}, {what}")
            digest, octets, lines = seal.digest, seal.octets, seal.lines
        self.found.lines += lines
        _, read, rest = self._digest(file, digest, None)
        if read:
            self.found.lines += rest
            if newest:
                self.found.unsealed = rest
            else:
                self._fault(journal, f"{rest} lines behind its last seal")

    def _digest(self, file: BinaryIO, before: str, octets: int | None) -> tuple[str, int, int]:
        """The digest of the next part, how many octets it has, and how many lines."""
        running, read, lines = blake2b(bytes.fromhex(before), digest_size=32), 0, 0
        for block in seals.blocks(file, octets):
            running.update(block)
            read += len(block)
            lines += block.count(b"\n")
            self._progress(len(block))
        return running.hexdigest(), read, lines

    def _fault(self, journal: Path, what: str) -> None:
        self.found.faults.append(f"{journal.name}: {what}")
