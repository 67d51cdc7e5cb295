"""Every decision that the journal holds about a fingerprint, from all its files, compressed ones too."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from gateway import seals
from gateway.limits import EVIDENCE_DECISIONS_MAX

Progress = Callable[[int], None]
"""Called with the octets that were read since the last call."""

_FIELDS: Final = (
    "id",
    "at",
    "protocol",
    "stream",
    "recipient_type",
    "kind",
    "mode",
    "outcome",
    "reason",
    "fingerprint",
)


@dataclass(frozen=True, slots=True)
class Decision:
    """One line of the journal, and where it stands: `file`, `line` (the first is 1)."""

    id: str
    at: str
    protocol: str
    stream: str
    recipient_type: str
    kind: str
    mode: str
    outcome: str
    reason: str
    fingerprint: str
    file: str
    line: int


class Found(NamedTuple):
    """The decisions, oldest first; how many more there are than are told; files that could not be read to the end."""

    decisions: list[Decision]
    left_out: int
    unreadable: list[str]


def find(directory: Path, fingerprints: Collection[str], progress: Progress = lambda octets: None) -> Found:
    """What was decided about these fingerprints (hex). Of too many the newest are told. Raises OSError."""
    found: list[Decision] = []
    unreadable: list[str] = []
    left_out = 0
    for journal in sorted(path for worker in seals.journals(directory).values() for path in worker):
        try:
            found.extend(_of(journal, [one.encode() for one in fingerprints], progress))
        except FileNotFoundError:
            unreadable.append(journal.name)  # its seals are there: `journal_check` says so too
        except seals.DAMAGED:
            unreadable.append(journal.name)
        if len(found) > 2 * EVIDENCE_DECISIONS_MAX:
            left_out += _shorten(found)
    left_out += _shorten(found)
    return Found(found, left_out, unreadable)


def _shorten(found: list[Decision]) -> int:
    """Put them in order and forget the oldest that are too many; how many those were."""
    found.sort(key=lambda one: (one.at, one.file, one.line))
    many = max(0, len(found) - EVIDENCE_DECISIONS_MAX)
    del found[:many]
    return many


def _of(journal: Path, fingerprints: Collection[bytes], progress: Progress) -> Iterator[Decision]:
    """Of one file. Most blocks have none: only those with one are taken apart."""
    number, rest = 1, b""
    with seals.contents(journal) as file:
        for block in seals.blocks(file):
            progress(len(block))
            lines, end, rest = (rest + block).rpartition(b"\n")
            if any(one in lines for one in fingerprints):
                for place, line in enumerate(lines.split(b"\n")):
                    decision = _read(line, fingerprints, journal.name, number + place)
                    if decision is not None:
                        yield decision
            number += lines.count(b"\n") + len(end)
        if (decision := _read(rest, fingerprints, journal.name, number)) is not None:
            yield decision


def _read(line: bytes, fingerprints: Collection[bytes], file: str, number: int) -> Decision | None:
    """A line, if it is about one of them. What a full disk cut off is no record."""
    if not any(one in line for one in fingerprints):
        return None
    try:
        said: Any = json.loads(line)
    except ValueError:
        return None
    if not isinstance(said, dict) or str(said.get("fingerprint", "")).encode() not in fingerprints:
        return None
    values = {name: str(said.get(name) or "") for name in _FIELDS}
    return Decision(**values, file=file, line=number)
