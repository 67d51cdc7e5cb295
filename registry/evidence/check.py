"""Is the ledger as it was recorded? The whole chain is computed again (`registry.evidence.chain`).

Of a change the recording is told, which is at most SEAL_EVENTS_MAX events; what is missing is told by its number. What
stands (`consent`) is not sealed, and is compared with its events.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from operator import itemgetter
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, Table, select

from registry.evidence import chain, folds
from registry.evidence.chain import BEGINNING, Removal
from registry.evidence.tables import recording, removal, removed_event
from registry.limits import VERIFY_FAULTS_MAX, VERIFY_ROWS
from registry.schema import consent_event, snapshot

Progress = Callable[[int], None]
"""Called with the number of the entry that was reached."""


@dataclass(slots=True)
class Checked:
    """What there is, and what is wrong with it."""

    events: int = 0
    removed: int = 0  # events that retention took away
    removals: int = 0
    head: int = 0  # number of the last sealed entry
    digest: str = BEGINNING.hex()  # the newest: it stands for all
    faults: list[str] = field(default_factory=list)


class _Entry(NamedTuple):
    seq: int
    leaf: bytes
    kind: str  # name of its table


def verify(engine: Engine, kept: str = "", progress: Progress = lambda seq: None) -> Checked:
    """Compute every digest again. `kept` is one noted elsewhere, in hex: some recording must have it.

    Raises SQLAlchemyError.
    """
    with snapshot(engine) as connection:
        return _Check(connection, progress).run(kept)


class _Check:
    def __init__(self, connection: Connection, progress: Progress) -> None:
        self._connection = connection
        self._progress = progress
        self._found = Checked()
        self._more = 0  # faults beyond those that are told
        self._removed: dict[int, Any] = {}  # by removal: the digest over its events, and how many they are

    def run(self, kept: str) -> Checked:
        entries = heapq.merge(self._events(), self._removed_events(), self._removals(), key=itemgetter(0))
        entry = next(entries, None)
        before, last, known = BEGINNING, 0, not kept
        for seq, actor, digest in self._rows(recording):
            leaves: list[bytes] = []
            while entry is not None and entry.seq <= seq:
                if entry.seq <= last:
                    self._fault(f"entry {entry.seq} stands twice: as an event, and as one that was removed")
                elif entry.seq > last + 1:
                    self._fault(f"{_range(last + 1, entry.seq - 1)}: missing")
                leaves.append(entry.leaf)
                last = entry.seq
                entry = next(entries, None)
            if last != seq:
                self._fault(f"{_range(last + 1, seq)}: missing")
            if chain.link(before, actor, leaves) != bytes(digest):
                first = self._found.head + 1
                self._fault(f"{_range(first, seq)}, recorded by {actor or 'nobody knows whom'}: not as it was sealed")
            before, last = bytes(digest), seq
            self._found.head, self._found.digest = seq, before.hex()
            known = known or before.hex() == kept
            self._progress(seq)
        while entry is not None:
            self._fault(f"entry {entry.seq} ({entry.kind}) stands behind the last seal")
            entry = next(entries, None)
        self._whole_removals()
        for what in folds.wrong(self._connection, VERIFY_ROWS):
            self._fault(what)
        if not known:
            self._fault(f"no recording has the digest {kept}: what it stood for was written anew or is missing")
        if self._more:
            self._found.faults.append(f"and {self._more} more")
        return self._found

    def _events(self) -> Iterator[_Entry]:
        for row in self._rows(consent_event):
            self._found.events += 1
            yield _Entry(row[0], chain.leaf(row), "event")

    def _removed_events(self) -> Iterator[_Entry]:
        for seq, leaf, removal_seq in self._rows(removed_event):
            self._found.removed += 1
            running = self._removed.setdefault(removal_seq, [blake2b(digest_size=32), 0])
            running[0].update(chain.removed_octets(seq, bytes(leaf)))
            running[1] += 1
            yield _Entry(seq, bytes(leaf), "removed event")

    def _removals(self) -> Iterator[_Entry]:
        for row in self._rows(removal):
            self._found.removals += 1
            one = Removal.of(row)
            yield _Entry(one.seq, one.leaf, "removal")

    def _whole_removals(self) -> None:
        """Each removal took away what it says, and nothing was taken away without one."""
        for row in self._rows(removal):
            one = Removal.of(row)
            running, count = self._removed.pop(one.seq, (blake2b(digest_size=32), 0))
            if (count, running.digest()) != (one.events, one.digest):
                self._fault(f"removal {one.seq} says that it took {one.events} events away; it is not these {count}")
        for seq, (_, count) in sorted(self._removed.items()):
            self._fault(f"{count} events were taken away, and the removal {seq} that they name is missing")

    def _rows(self, table: Table) -> Iterator[Any]:
        statement = select(table).order_by(table.c.seq).execution_options(yield_per=VERIFY_ROWS)
        return iter(self._connection.execute(statement))

    def _fault(self, what: str) -> None:
        if len(self._found.faults) < VERIFY_FAULTS_MAX:
            self._found.faults.append(what)
        else:
            self._more += 1


def _range(first: int, last: int) -> str:
    return f"entry {first}" if first == last else f"entries {first} to {last}"
