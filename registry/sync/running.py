"""What `izinli serve` runs: the thread that keeps step, and the receiver of pushes beside the citizen's page."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from fastapi import FastAPI

from registry.ledger import Ledger
from registry.limits import SYNC_STOP_SECONDS
from registry.publish import Publisher
from registry.sync.brands import Brands
from registry.sync.loop import Sync, SyncLoop
from registry.sync.receiver import Receiver
from registry.sync.settings import National


@contextmanager
def running(national: National, ledger: Ledger, publisher: Publisher, secret: bytes, app: FastAPI) -> Iterator[Brands]:
    """Until the end of the context, which knows the brands; a call that is under way then is waited for, or given up
    and done again."""
    sync = Sync(national, ledger, publisher, secret)
    receiver = Receiver(sync.brands.known, sync.take)
    receiver.add_to(app)
    thread = threading.Thread(target=SyncLoop(sync).run, name="national", daemon=True)
    thread.start()
    try:
        yield sync.brands
    finally:
        sync.stopping.set()
        thread.join(SYNC_STOP_SECONDS)
        receiver.close()
        sync.close()
