"""A process that works off batches until it is killed: `python -m … DATA_DIR [recorded]`.

It prints a line after each step; with `recorded` it prints one and stands still between the two halves of a batch.
"""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from registry.index.embedded import SqliteIndexWriter
from registry.ledger import Ledger
from registry.national.batch_store import Batches
from registry.national.recorder import NoRetailers, Recorder
from registry.publish import Publisher
from tests.registry.support import KEY


def opened(data_dir: Path) -> tuple[Ledger, SqliteIndexWriter, Batches]:
    """The parts, as a registry opens them."""
    ledger = Ledger.open("sqlite", data_dir, KEY)
    writer = SqliteIndexWriter(data_dir / "index.sqlite", ledger.fingerprint.check_value())
    publisher = Publisher(ledger, writer)
    publisher.ensure()

    def clock() -> datetime:
        return datetime.now(UTC)

    return ledger, writer, Batches(ledger, Recorder(ledger, publisher, NoRetailers(), clock), clock)


def main(data_dir: Path, mode: str) -> None:
    _, _, batches = opened(data_dir)
    if mode == "recorded":

        def stand_still() -> bool:
            print("recorded", flush=True)
            time.sleep(3600)
            return False

        batches._publish_next = stand_still  # type: ignore[method-assign]
    print("ready", flush=True)
    while batches.work_off():
        print("step", flush=True)
    print("done", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "")
