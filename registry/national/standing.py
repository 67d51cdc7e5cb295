"""What stands recorded under a key, with all that the API says of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import Connection

from filters.model import Status
from registry.append import Key
from registry.bulk import among
from registry.rules import Consent, turkey_time

API: Final = "api"
REFUSED_FIRST: Final = "api-first"
"""Origin of a RET that the national system would not take because it knows nothing of the recipient (V1, V9)."""
REFUSED_LATE: Final = "api-late"
"""Origin of a RET that the national system would not take because it was told too late (V7)."""
DECLARED_FIRST: Final = "declare-first"
"""The same of a line of a file, see `registry.honoured`."""
DECLARED_LATE: Final = "declare-late"
"""Likewise."""
FIRST: Final = frozenset({REFUSED_FIRST, DECLARED_FIRST})
REFUSED: Final = FIRST | {REFUSED_LATE, DECLARED_LATE}


class Standing(NamedTuple):
    """The event that a key's fold comes from."""

    consent: Consent  # as it was said
    status: Status  # what came of it: BEKLIYOR of an ONAY that does not count yet
    origin: str
    recorded_at: str  # UTC, ISO 8601
    seq: int  # consent_event.seq; 0: of this transaction

    @property
    def created(self) -> str:
        """When it was recorded, as the national system writes it."""
        return turkey_time(datetime.fromisoformat(self.recorded_at))


def standings(connection: Connection, fingerprints: Sequence[bytes]) -> dict[Key, Standing]:
    """By fingerprint and recipient type; what is unknown is missing."""
    query = (
        "SELECT f.fingerprint, f.recipient_type, e.consent_date, e.status, e.source, f.status, e.origin, "
        "e.recorded_at, e.seq FROM consent f JOIN consent_event e ON e.seq = f.seq WHERE f.fingerprint"
    )
    found: dict[Key, Standing] = {}
    for fingerprint, kind, date, said, source, status, *event in among(connection, query, fingerprints):
        consent = Consent(date, Status(said), source)
        found[bytes(fingerprint), kind] = Standing(consent, Status(status), *event)
    return found
