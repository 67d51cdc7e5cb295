"""The record of decisions: one JSON line each, written before the client is answered (promise I8).

    data_dir/journal/decisions-<UTC time>-<worker>.ndjson

    data_dir/journal/decisions-<UTC time>-<worker>.seals      by which a change shows: `seals.py`

A line names the decision's id (the one in the client's answer), when, for whom (stream, brand), about whom (a keyed
fingerprint, never an address: promise I9), what and why. All lines of a loop tick go out in one write, so they survive
the process; a power cut may take the last ones unless `sync` is set. A file is closed at a size or at midnight UTC and
never opened again, so that it can be compressed, signed or carried away.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from gateway import limits
from gateway.log import logger
from gateway.seals import Chain

DAY_S = 86_400


class Journal:
    """One worker's journal. `clock` gives seconds since 1970."""

    def __init__(
        self, directory: Path, worker: int, *, clock: Callable[[], float] = time.time, sync: bool = False
    ) -> None:
        self._directory = directory
        self._worker = worker
        self._clock = clock
        self._sync = sync
        self._file = -1
        self._size = 0
        self._day = -1
        self._retry_at = 0.0
        self._torn = False  # the last line of the open file is cut off
        self._chain = Chain(directory, worker)
        self._name = ""
        self._second = -1
        self._written_second = b""

    def now(self) -> bytes:
        """The time of a line: UTC with milliseconds, `2026-11-25T09:00:00.123Z`."""
        moment = self._clock()
        second = int(moment)
        if second != self._second:
            self._second = second
            self._written_second = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S").encode()
        return b"%b.%03dZ" % (self._written_second, int((moment - second) * 1000))

    def write(self, lines: Sequence[bytes]) -> bool:
        """Write whole lines (each ends in LF). False: none of them counts as written; try again later."""
        now = self._clock()
        if now < self._retry_at:
            return False
        data = b"".join(lines)
        try:
            if self._file < 0 or self._size >= limits.JOURNAL_FILE_OCTETS_MAX or int(now) // DAY_S != self._day:
                self._open(int(now))
            if self._torn:
                # What a full disk cut off is no record: a reader skips lines that are not JSON.
                data = b"\n" + data
            written = os.write(self._file, data)
            if written < len(data) or self._torn:
                self._chain.add(data[:written], data.count(b"\n", 0, written))
            else:
                self._chain.add(data, len(lines))
            if written < len(data):
                self._torn = True
                raise OSError("short write: the disk is full")
            if self._sync:
                os.fdatasync(self._file)
        except OSError:
            self._retry_at = now + limits.JOURNAL_RETRY_S
            return False
        self._torn = False
        self._size += len(data)
        return True

    def seal(self) -> None:
        """Seal what was written since the last seal; to be called about once a second."""
        self._chain.seal(self.now().decode())

    def close(self) -> None:
        """Finish the file. Its digest goes to the log: kept elsewhere, it makes the seals evidence."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
            logger.info("journal file finished", file=self._name, digest=self._chain.end(self.now().decode()))

    def _open(self, now: int) -> None:
        """A new file; its name sorts by time and is never one that exists."""
        self.close()
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        stamp = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%S")
        for attempt in range(100):
            name = f"decisions-{stamp}-{self._worker}" + (f"-{attempt}" if attempt else "")
            try:
                flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL
                self._file = os.open(self._directory / f"{name}.ndjson", flags, 0o600)
            except FileExistsError:
                continue
            self._size, self._day, self._torn = 0, now // DAY_S, False
            self._name = f"{name}.ndjson"
            self._begin_chain(self._directory / self._name)
            return
        raise FileExistsError(f"no free name for a journal at {stamp}")

    def _begin_chain(self, path: Path) -> None:
        """No decision is written down where it could not be sealed. Raises OSError; then the file is gone again."""
        try:
            self._chain.begin(path, self.now().decode())
        except OSError:
            os.close(self._file)
            self._file = -1
            path.unlink()
            raise
