"""What one worker knows of the BIREYSEL members without asking: the machine's snapshot, and what was added since.

The snapshot is mapped (`gateway.index.snapshot`); the additions are fed by polling the stream of changes. In one write
go out the state of the index and the entries after the last one known, answered in this order: once every entry up to
the state's `changes` was heard, whoever is in neither snapshot nor additions was no member when the poll was sent.

That is *level*, and it holds for FILTER_LEVEL_S. It is not so, and the filter is not to be asked, while the snapshot is
of another epoch or history, entries are still to come, entries are missing (the stream was trimmed), they are too many,
or the server is away or not vouched for. Nothing has to be taken away again: a member that was withdrawn is one that
the filter cannot exclude.
"""

from __future__ import annotations

import asyncio
import time
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from filters.bloom import Bloom, BloomFault, Origin
from filters.index_url import IndexUrl
from filters.layout import CHANGES_FIELD, CHANGES_KEY, FOLLOWER_FIELDS, INDEX_KEY, MEMBER_OCTETS
from gateway import limits
from gateway.index.nodes import nodes_of
from gateway.index.server import UNREACHABLE, Server, pack
from gateway.index.snapshot import open_snapshot
from gateway.log import logger

_STATE: Final = pack(("HMGET", INDEX_KEY, *FOLLOWER_FIELDS))
_FIELD: Final = CHANGES_FIELD.encode()
_NO_FILE: Final = (-1, -1, -1)


class Standing(StrEnum):
    """How the filter stands to the index."""

    LEVEL = "level"
    NO_SNAPSHOT = "no_snapshot"  # there is no file, or it cannot be used
    OTHER_INDEX = "other_index"  # the file is of another epoch, history or key
    CUT = "cut"  # entries are missing between the file and now
    FULL = "full"  # more was added than a worker keeps
    BEHIND = "behind"  # entries are still to come
    UNVOUCHED = "unvouched"  # the server may lack something
    DOWN = "down"  # the server is away


class Additions:
    """Members that were added since a snapshot, up to the entry `number`; with each the last one that told of it."""

    __slots__ = ("members", "number", "origin", "spoilt")

    def __init__(self, origin: Origin) -> None:
        self.origin = origin
        self.number = origin.changes
        self.members: dict[int, int] = {}
        self.spoilt: Standing | None = None  # CUT or FULL: only a new snapshot helps

    def carried_to(self, origin: Origin) -> Additions | None:
        """What these know beyond a newer snapshot; None: not all of it."""
        if self.spoilt is not None or not self.origin.changes <= origin.changes <= self.number:
            return None
        if (origin.epoch, origin.history) != (self.origin.epoch, self.origin.history):
            return None
        found = Additions(origin)
        found.number = self.number
        found.members = {member: number for member, number in self.members.items() if number > origin.changes}
        return found

    def hear(self, fields: list[Any], entries: list[Any], run: bytes) -> Standing:
        """How things stand after a poll, whose answer `fields` (FOLLOWER_FIELDS) is older than its `entries`.

        `entries` are those from `number` + 1 on, at most FILTER_ENTRIES_AT_ONCE. Raises ValueError, TypeError.
        """
        if None in fields:
            return Standing.OTHER_INDEX
        epoch, history, changes, runs = fields
        if int(epoch) != self.origin.epoch or history != self.origin.history:
            return Standing.OTHER_INDEX
        if not run or run not in runs:
            return Standing.UNVOUCHED
        if self.spoilt is None:
            self.spoilt = self._take(int(changes), entries)
        if self.spoilt is not None:
            return self.spoilt
        return Standing.LEVEL if self.number >= int(changes) else Standing.BEHIND

    def _take(self, changes: int, entries: list[Any]) -> Standing | None:
        if changes < self.number:
            return Standing.CUT  # numbers are given again
        for name, pairs in entries:
            if name != b"%d-0" % (self.number + 1) or len(pairs) != 2 or pairs[0] != _FIELD:
                return Standing.CUT
            octets = pairs[1]
            if len(octets) % MEMBER_OCTETS:
                return Standing.CUT
            self.number += 1
            for at in range(0, len(octets), MEMBER_OCTETS):
                self.members[int.from_bytes(octets[at : at + MEMBER_OCTETS])] = self.number
        if len(self.members) > limits.FILTER_DELTA_MAX:
            self.members = {}
            return Standing.FULL
        if self.number < changes and len(entries) < limits.FILTER_ENTRIES_AT_ONCE:
            return Standing.CUT
        return None


class Follower:
    """Keeps one snapshot and its additions level with the index, over connections of its own, until `close`."""

    def __init__(self, url: IndexUrl, path: Path, key_check: bytes) -> None:
        """`path`: the snapshot's, which may come, change and go at any time."""
        self.bloom: Bloom | None = None
        self.additions: Additions | None = None
        self.standing = Standing.NO_SNAPSHOT
        self._level_until = 0.0  # loop time
        self._taken_at = float("nan")
        self._nodes = nodes_of(url, self)
        self._path = path
        self._key_check = key_check
        self._file = _NO_FILE
        self._loop = asyncio.get_running_loop()
        self._polled_nodes_at = 0.0
        self._running: asyncio.Task[None] | None = None
        self._told = Standing.NO_SNAPSHOT

    def start(self) -> None:
        self._nodes.start()
        self._running = self._loop.create_task(self._run())
        self._running.add_done_callback(self._ended)

    async def close(self) -> None:
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
        self._level_until = 0.0
        await self._nodes.close()

    @property
    def level(self) -> bool:
        """Whether "not in `bloom` and not in `additions`" means "no consent" at this moment."""
        return self._loop.time() < self._level_until

    @property
    def epoch(self) -> int:
        """Of the snapshot; 0: there is none."""
        return 0 if self.additions is None else self.additions.origin.epoch

    @property
    def age_s(self) -> float:
        """Of the snapshot; NaN: there is none."""
        return time.time() - self._taken_at

    # Watcher

    def came(self, server: Server) -> None:
        """Nothing to do: the next poll finds it."""

    def went(self, server: Server) -> None:
        if server is self._nodes.state:
            self._stand(Standing.DOWN)

    # the loop

    async def _run(self) -> None:
        while True:
            try:
                again = await self._round()
            except UNREACHABLE:
                self._stand(Standing.DOWN)
                again = False
            await asyncio.sleep(0 if again else limits.FILTER_POLL_S)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """By a fault of our own: the filter stays silent from now on."""
        self._level_until = 0.0
        if not task.cancelled() and (fault := task.exception()) is not None:
            self._loop.call_exception_handler({"message": "following the consent index", "exception": fault})

    async def _round(self) -> bool:
        """Look at the file, ask for what has changed. True: there is more of it."""
        now = self._loop.time()
        if now - self._polled_nodes_at >= limits.TICK_S:
            self._polled_nodes_at = now
            self._nodes.poll()
        self._look()
        additions, server = self.additions, self._nodes.state
        if additions is None:
            self._stand(Standing.NO_SNAPSHOT)
            return False
        if server is None or server.wire is None:
            self._stand(Standing.DOWN)
            return False
        command, wanted = _STATE, 1
        if additions.spoilt is None:
            command, wanted = _STATE + _entries_after(additions.number), 2
        fields, *entries = await server.wire.call(command, wanted)
        try:
            self._stand(additions.hear(fields, entries[0] if entries else [], server.run), sent=now)
        except (TypeError, ValueError):
            self._stand(Standing.OTHER_INDEX)
        return self.standing is Standing.BEHIND

    def _stand(self, standing: Standing, sent: float = 0.0) -> None:
        """`sent`: when the poll was sent that says so."""
        self.standing = standing
        if standing is Standing.LEVEL:
            self._level_until = sent + limits.FILTER_LEVEL_S
        elif standing is not Standing.BEHIND:  # that it was level a moment ago is still true then
            self._level_until = 0.0
        if standing is not self._told and standing is not Standing.BEHIND:
            self._told = standing
            logger.info(
                "consent filter", standing=standing.value, members=0 if self.bloom is None else self.bloom.count
            )

    def _look(self) -> None:
        """Take the file that has the path now. What is known beyond it is kept, so that nothing is asked twice."""
        try:
            found = self._path.stat()
            file = (found.st_dev, found.st_ino, found.st_mtime_ns)
            if file == self._file:
                return
            self._file = file
            opened = open_snapshot(self._path, whole=False)
            if opened.origin.key_check != self._key_check:
                raise BloomFault("it is of another key")
        except FileNotFoundError:
            self._forget()
            return
        except (OSError, BloomFault) as error:
            logger.warning("snapshot not usable", why=str(error))
            self._forget(self._file)
            return
        carried = None if self.additions is None else self.additions.carried_to(opened.origin)
        if carried is None:
            self._level_until = 0.0
        self.bloom, self.additions = opened.bloom, carried or Additions(opened.origin)
        self._taken_at = opened.taken_at

    def _forget(self, file: tuple[int, int, int] = _NO_FILE) -> None:
        self._file = file
        self._level_until = 0.0
        self.bloom = self.additions = None
        self._taken_at = float("nan")


def _entries_after(number: int) -> bytes:
    """The command for what the stream tells after an entry."""
    return bytes(pack(("XRANGE", CHANGES_KEY, f"{number + 1}-0", "+", "COUNT", str(limits.FILTER_ENTRIES_AT_ONCE))))
