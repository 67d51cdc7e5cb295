"""The standing consents of a brand as a CSV file with the national columns: what `izinli import` reads again.

An ONAY that still waits (BEKLIYOR) is left out: who reads the file elsewhere would take it for one that counts.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from typing import TextIO

from sqlalchemy import select

from filters.model import Status
from registry.ledger import Ledger
from registry.limits import EXPORT_ROWS
from registry.lines import COLUMNS
from registry.schema import consent, consent_event

Progress = Callable[[int], None]


def export(ledger: Ledger, brand: int, out: TextIO, progress: Progress = lambda rows: None) -> int:
    """Write header and rows, oldest first; how many rows. One moment's state, however long it takes.

    Raises SQLAlchemyError, OSError.
    """
    write = csv.writer(out, lineterminator="\n").writerow
    write(COLUMNS)
    event = consent_event.c
    columns = (event.recipient, event.channel, event.status, event.source, event.recipient_type, event.consent_date)
    standing = consent_event.join(consent, consent.c.seq == event.seq)
    counts = (event.brand == brand, consent.c.status != Status.BEKLIYOR.value)
    statement = select(*columns).select_from(standing).where(*counts).order_by(event.seq)
    done = 0
    with ledger.engine.connect() as connection:
        rows = connection.execution_options(stream_results=True, yield_per=EXPORT_ROWS).execute(statement)
        for part in rows.partitions():
            for row in part:
                write(row)
            done += len(part)
            progress(done)
    return done
