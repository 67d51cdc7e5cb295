"""Consents that do not count yet because the national system has not taken them.

Where a brand is kept in step with the national system, an ONAY that came here first is recorded with an origin that
says so. Its fold is BEKLIYOR, which the index does not have, so no message passes. That it was taken is an event too:
the fold can so be made again from the events alone, and the end of the wait reaches the index by the way of all events.
"""

from __future__ import annotations

from typing import Final

from filters.model import RecipientType, Status
from registry.rules import Move

EXISTING: Final = "existing:"
"""How the origin of an event begins that is under the citizens' review; then the last day of that (ISO 8601)."""

UNREGISTERED: Final = "unregistered:"
"""How the origin of an ONAY begins that the national system has not taken; then the origin proper. It sorts behind
every origin of a review, so that the end of one does not end the other (`registry.transition`)."""

MISSING: Final = f"{UNREGISTERED}missing"
"""Origin of an ONAY that stood here, and of which the national system says that it does not have it."""

REGISTERED: Final = "registered"
"""Origin of the event that an ONAY was taken by the national system."""

NATIONAL: Final = "national"
"""Origin of what the national system told us."""

REVIEWED: Final = "reviewed"
"""Origin of the event that ends a review."""

_HELD: Final = frozenset({"import", NATIONAL, REGISTERED, REVIEWED})


def is_ours(origin: str) -> bool:
    """Whether the national system has to be told of an event, as far as its origin says."""
    return origin not in _HELD and not origin.startswith(EXISTING)


def waits(move: Move, origin: str) -> bool:
    """Whether an event makes a consent that has to be taken by the national system first.

    TACIR recipients need no prior consent: nothing waits for their ONAY.
    """
    return move.status is Status.ONAY and move.recipient_type is RecipientType.BIREYSEL and is_ours(origin)


def folded(move: Move, origin: str, stands: Status | None) -> Status:
    """What a move makes of its key's status, which was `stands`.

    Somebody whose ONAY the national system has and who says it again keeps it meanwhile.
    """
    if move.status is not Status.ONAY or move.recipient_type is not RecipientType.BIREYSEL:
        return move.status
    unregistered = origin == MISSING or (origin.startswith(UNREGISTERED) and stands is not Status.ONAY)
    return Status.BEKLIYOR if unregistered or origin.startswith(EXISTING) else Status.ONAY
