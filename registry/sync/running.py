"""What `izinli serve` runs: the thread that keeps step, and the receiver of pushes beside the citizen's page."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from fastapi import FastAPI

from registry.background import Watch, Worker
from registry.ledger import Ledger
from registry.limits import SYNC_STOP_SECONDS, SYNC_TICK_SECONDS
from registry.publish import Publisher
from registry.sync.loop import Sync, SyncLoop
from registry.sync.receiver import Receiver
from registry.sync.settings import National


@contextmanager
def running(
    national: National, ledger: Ledger, publisher: Publisher, secret: bytes, app: FastAPI, watch: Watch
) -> Iterator[Sync]:
    """Until the end of the context, which is what is done; a call that is under way then is waited for, or given up
    and done again."""
    pulse = watch.pulse("national")
    sync = Sync(national, ledger, publisher, secret, moved=pulse.moved)
    receiver = Receiver(sync.brands.known, sync.take)
    receiver.add_to(app)
    loop = SyncLoop(sync, pulse)
    worker = Worker(pulse, loop.step, min(SYNC_TICK_SECONDS, national.upload_s, national.pull_s))
    worker.start()
    try:
        yield sync
    finally:
        sync.stopping.set()
        worker.stop(SYNC_STOP_SECONDS)
        receiver.close()
        sync.close()
