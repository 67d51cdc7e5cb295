"""What is known of a message that became several at the SMSC, as it stands in the memory of ids. Pure.

    Fold       one message: how many parts, the id that its client was told, what each receipt has said
    merge()    what a receipt changes in it, and what becomes of that receipt: `Fate`
    worst()    what all of them say together

What a part's first final receipt says, stands. The whole is as bad as the worst of its parts: REJECTD, then UNDELIV,
EXPIRED, DELETED, UNKNOWN, and DELIVRD only if all are. `err` and `network_error_code` are those of the worst, `submit
date` is the first and `done date` the last that came.

The receipt that makes the message complete carries the folded one: the SMSC has its answer only when the client gave
one, and brings it again otherwise. What came before it was written down here and is answered. If it is brought again
it is sent again, the others are not.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

import msgspec

from gateway import limits
from gateway.smpp.receipt_pdu import DELETED, DELIVERED, EXPIRED, REJECTED, UNDELIVERABLE, UNKNOWN, Said

_WORSE: Final = {
    state: rank for rank, state in enumerate((DELIVERED, UNKNOWN, DELETED, EXPIRED, UNDELIVERABLE, REJECTED))
}

ASKED: Final = 0x03  # registered_delivery, bits 1–0 (§5.2.17; 3 since 5.0)
ON_EITHER: Final = 1  # whatever comes of it
ON_FAILURE: Final = 2
NOBODY: Final = -1
OURSELVES: Final = -2
"""A `carrier`: a receipt of our own, because the parts' did not come."""

_DATE_OCTETS_MAX: Final = 12  # YYMMDDhhmmss
_ERROR_OCTETS_MAX: Final = 8


class Fate(Enum):
    """What becomes of a receipt."""

    KEPT = auto()  # the SMSC is told ESME_ROK, the client nothing
    SENT = auto()  # as the folded one


class Fold(msgspec.Struct, array_like=True, frozen=True):
    """One message. `states`: of each part in turn, 0 while it is not known; the first is the one whose id was told."""

    told: bytes  # as the SMSC's answer spells it; empty: not yet
    asked: int  # registered_delivery, bits 1–0
    states: bytes
    reference: bytes = b""  # the value of the client's user_message_reference
    spelled: bytes = b""  # the told id as its own receipt spells it, where that differs
    error: bytes = b""
    network_error: bytes = b""
    submitted: bytes = b""
    done: bytes = b""
    sealed: bytes = b""  # the addresses of a receipt, for one of our own
    carrier: int = NOBODY
    over: bool = False  # the client has its receipt

    @property
    def is_complete(self) -> bool:
        """Nothing that may come would change what the client is told.

        Who wants to hear of failures alone hears of the first one: nothing tells that the other parts arrived.
        """
        if self.asked == ON_FAILURE and any(_WORSE.get(state, 0) for state in self.states):
            return True
        return 0 not in self.states

    @property
    def id_for_client(self) -> bytes:
        """A client that compares ids knows how its SMSC spells them in receipts."""
        return self.spelled or self.told


def encode(fold: Fold) -> bytes:
    """As a value; without what does not fit, of which only ids of full length have any."""
    value = msgspec.msgpack.encode(fold)
    if len(value) > limits.SMPP_IDS_VALUE_OCTETS_MAX:
        value = msgspec.msgpack.encode(msgspec.structs.replace(fold, spelled=b""))
    return value


def decode(value: bytes | None) -> Fold | None:
    """None also for what is no fold."""
    try:
        return None if value is None else msgspec.msgpack.decode(value, type=Fold)
    except msgspec.DecodeError:
        return None


def merge(fold: Fold, part: int, said: Said, spelled: bytes, sealed: bytes) -> tuple[Fold, Fate]:
    """After a final receipt of `part` (its place in `states`); `spelled` and `sealed` are of this receipt."""
    if fold.over or part >= len(fold.states):
        return fold, Fate.KEPT
    if not fold.states[part]:
        fold = _with(fold, part, said, spelled, sealed)
    if not fold.told or not fold.is_complete:
        return fold, Fate.KEPT
    if fold.carrier == NOBODY:
        fold = msgspec.structs.replace(fold, carrier=part)
    return fold, Fate.SENT if fold.carrier == part else Fate.KEPT


def over(fold: Fold) -> Fold:
    """After its client took the receipt: all that is needed to keep further ones from it."""
    return Fold(fold.told, fold.asked, fold.states, carrier=fold.carrier, over=True)


def worst(fold: Fold) -> Said:
    """What its client is told; of parts that nothing is known of, nothing."""
    state = max((state for state in fold.states if state), key=_rank, default=UNKNOWN)
    return Said(state, fold.error, fold.network_error, fold.submitted, fold.done)


def _rank(state: int) -> int:
    return _WORSE.get(state, _WORSE[UNKNOWN])


def _with(fold: Fold, part: int, said: Said, spelled: bytes, sealed: bytes) -> Fold:
    known = worst(fold)
    is_worst = not any(fold.states) or _rank(said.state) > _rank(known.state)
    dates = [one for one in (fold.submitted, said.submitted[:_DATE_OCTETS_MAX]) if one]
    return msgspec.structs.replace(
        fold,
        states=fold.states[:part] + bytes((said.state,)) + fold.states[part + 1 :],
        spelled=spelled if part == 0 and spelled != fold.told else fold.spelled,
        error=said.error[:_ERROR_OCTETS_MAX] if is_worst else fold.error,
        network_error=said.network_error if is_worst else fold.network_error,
        submitted=min(dates, default=b""),
        done=max(fold.done, said.done[:_DATE_OCTETS_MAX]),
        sealed=fold.sealed or sealed,
    )
