"""Receipts of our own: a client may ask to have its refused messages accepted, and taken back by a receipt.

    rejected(…)   the receipt that says REJECTD (SMPP 3.4 §4.6, App. B)
    Receipts      those of one account that no bind has taken yet

A receipt goes to any bind of the account, in the same worker, that takes deliver_sm: not at once but with the next
sweep, so that it does not overtake the answer to the message. One that is turned back for now, or whose bind ended
before it answered, goes again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple, Protocol

from gateway import limits
from gateway.smpp.fold_state import ASKED, ON_EITHER, ON_FAILURE
from gateway.smpp.pdu import (
    ESM_RECEIPT,
    MESSAGE_STATE,
    RECEIPTED_MESSAGE_ID,
    USER_MESSAGE_REFERENCE,
    SubmitSm,
    tlv,
    walk_tlvs,
)
from gateway.smpp.statuses import TEMPORARY

REJECTED_STATE: Final = 8
"""message_state (§5.2.28)."""

_OF_FAILURE: Final = (ON_EITHER, ON_FAILURE)


class Receipt(NamedTuple):
    """A deliver_sm. `body` follows the header; `tlvs` go behind it where the client knows such."""

    body: bytes
    tlvs: bytes
    since: float  # loop time
    taken: Callable[[], None] | None = None  # called when a client has it, or does not want it


class Receiver(Protocol):
    """A bind of the account."""

    @property
    def receives(self) -> bool:
        """It takes deliver_sm."""

    def receipt(self, token: int, receipt: Receipt) -> bool:
        """Send it; its answer comes back under `token`. False: not now."""


def is_asked_for(pdu: bytes, at: SubmitSm) -> bool:
    """Does the client of a submit_sm want to hear that it failed?"""
    return pdu[at.text - 5] & ASKED in _OF_FAILURE


def rejected(pdu: bytes, at: SubmitSm, message_id: bytes, error: int, minute: bytes, now: float) -> Receipt:
    """For a submit_sm that was walked; `minute` is the time as YYMMDDhhmm, `now` loop time."""
    text = b"id:%b sub:001 dlvrd:000 submit date:%b done date:%b stat:REJECTD err:%03d text:" % (
        *(message_id, minute, minute),
        error,
    )
    addresses = pdu[at.dest - 2 : at.esm_class] + pdu[at.source - 2 : at.dest - 2]
    body = b"\0%b%c\0\0\0\0\0\0\0\0%c%b" % (addresses, ESM_RECEIPT, len(text), text)
    tlvs = tlv(RECEIPTED_MESSAGE_ID, message_id + b"\0") + tlv(MESSAGE_STATE, bytes((REJECTED_STATE,)))
    for one in walk_tlvs(pdu, at.tlvs) or ():
        if one.tag == USER_MESSAGE_REFERENCE:
            tlvs += pdu[one.start - 4 : one.stop]
    return Receipt(body, tlvs, now)


class Receipts:
    """Those of one account."""

    def __init__(self) -> None:
        self.lost = 0  # that nobody took in time
        self._waiting: deque[Receipt] = deque()
        self._under_way: dict[int, tuple[Receiver, Receipt]] = {}
        self._token = 0

    def __len__(self) -> int:
        return len(self._waiting) + len(self._under_way)

    def add(self, receipt: Receipt) -> None:
        """Only while there `is_room`."""
        self._waiting.append(receipt)

    @property
    def is_room(self) -> bool:
        return len(self) < limits.SMPP_RECEIPTS_MAX

    def send(self, receivers: Iterable[Receiver], now: float) -> None:
        """Give out what waits, and forget what has waited for too long."""
        while self._waiting and now - self._waiting[0].since > limits.SMPP_RECEIPT_S:
            self._waiting.popleft()
            self.lost += 1
        for receiver in receivers:
            while self._waiting and receiver.receives and receiver.receipt(self._token - 1, self._waiting[0]):
                self._token -= 1
                self._under_way[self._token] = (receiver, self._waiting.popleft())

    def answered(self, token: int, status: int) -> None:
        """By the client. A refusal for good is its own business."""
        known = self._under_way.pop(token, None)
        if known is None:
            return
        receipt = known[1]
        if status in TEMPORARY:
            self._waiting.append(receipt)
        elif receipt.taken is not None:
            receipt.taken()

    def left(self, receiver: Receiver) -> None:
        """Its bind ended: whether it took what was under way is not known."""
        for token, (whose, receipt) in list(self._under_way.items()):
            if whose is receiver:
                del self._under_way[token]
                self._waiting.append(receipt)
