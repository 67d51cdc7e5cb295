"""The process that keeps a machine's snapshot of the consent index fresh; it has no traffic, and nobody waits for it.

A new snapshot is due when there is none, when it is of another epoch or history, when entries of the stream are missing
behind it, and when so much was added since that every worker carries it about, or the stream will soon have forgotten
where a worker that starts would have to begin. It follows the index as a worker does,
so it knows that by itself. A kill at any moment leaves the old file or the new one (`gateway.index.snapshot`).
"""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Final

import uvloop

from filters.bloom import BloomFault
from filters.index_url import IndexUrl
from filters.key import Fingerprinter
from gateway import limits, log
from gateway.config import Config
from gateway.index.changes import Follower, Standing
from gateway.index.snapshot import FILE, Progress, SnapshotFault, SnapshotInfo, build, open_snapshot
from gateway.keys import Keys

NICENESS: Final = 10  # behind whatever carries messages
_DUE: Final = frozenset({Standing.NO_SNAPSHOT, Standing.OTHER_INDEX, Standing.CUT, Standing.FULL})


def run(config: Config, keys: Keys) -> None:
    """Keep it until a signal ends the process; there is nothing to be put in order first."""
    log.configure("filter")
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # as SIGTERM: no unwinding
    os.nice(NICENESS)
    assert config.index.server is not None
    config.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_keep(config.index.server, Fingerprinter(keys.fingerprint).check_value(), config.data_dir))


def take(config: Config, keys: Keys, progress: Progress | None = None) -> SnapshotInfo:
    """Make a snapshot now. Raises SnapshotFault."""
    if config.index.server is None:
        raise SnapshotFault("the embedded index needs no snapshot: it is read in-process")
    config.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    key_check = Fingerprinter(keys.fingerprint).check_value()
    return asyncio.run(build(config.index.server, key_check, config.data_dir, progress))


def is_due(follower: Follower) -> bool:
    """Whether the workers would be better off with a new snapshot."""
    if follower.standing in _DUE:
        return True
    bloom, additions = follower.bloom, follower.additions
    if bloom is None or additions is None:
        return False
    members = max(limits.FILTER_DELTA_DUE_MIN, int(limits.FILTER_DELTA_SHARE * bloom.count))
    return (
        len(additions.members) > min(members, limits.FILTER_DELTA_MAX // 2)
        or additions.number - additions.origin.changes > limits.FILTER_ENTRIES_DUE
    )


async def _keep(url: IndexUrl, key_check: bytes, data_dir: Path) -> None:
    path = data_dir / FILE
    _check(path)
    follower = Follower(url, path, key_check)
    follower.start()
    told = ""
    while True:
        await asyncio.sleep(limits.TICK_S)
        if not is_due(follower):
            continue
        try:
            info = await build(url, key_check, data_dir)
        except SnapshotFault as error:
            if str(error) != told:  # once, not with every attempt
                told = str(error)
                log.logger.warning("no new snapshot of the consent index", why=told)
            await asyncio.sleep(limits.FILTER_RETRY_S)
            continue
        told = ""
        log.logger.info(
            "snapshot of the consent index", members=info.members, epoch=info.epoch, seconds=round(info.seconds, 1)
        )
        await asyncio.sleep(max(limits.FILTER_BUILD_S_MIN, limits.FILTER_BUILD_REST * info.seconds))


def _check(path: Path) -> None:
    """Take a damaged file away, before a worker believes it for longer: they look at its first page only."""
    try:
        open_snapshot(path, whole=True)
    except BloomFault as error:
        log.logger.warning("snapshot damaged", why=str(error))
        path.unlink(missing_ok=True)
    except FileNotFoundError:
        return  # one is due
    except OSError as error:
        log.logger.warning("snapshot not readable", why=str(error))
