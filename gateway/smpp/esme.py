"""What all binds of an account share in a worker: its rate, its long messages, and how it hears of refusals."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import Final

from filters.model import Reason
from gateway.config import Account
from gateway.smpp.fold import Folding
from gateway.smpp.parts import Groups
from gateway.smpp.pdu import SubmitSm
from gateway.smpp.rate import Bucket
from gateway.smpp.receipts import Receipt, Receipts, Receiver, is_asked_for, rejected
from gateway.smpp.statuses import ESME_ROK, RECEIPT_ERROR

ID_MIN: Final = 10**15
"""An id of our own has sixteen digits and no zero in front: read as decimal or as hexadecimal it fits 64 bits, and
clients that strip zeros find nothing to strip. Drawn, so that workers and restarts need not agree."""


class Esme:
    """`now` is loop time; `lost` hears how many receipts nobody took."""

    def __init__(
        self, account: Account, now: float, lost: Callable[[int], None], folding: Folding | None = None
    ) -> None:
        self.account = account
        self.folding = folding  # None: no message of its is split
        self.groups = Groups()
        self.bucket = Bucket(account.rate, account.burst, now) if account.rate else None
        self.binds: set[Receiver] = set()
        self._receipts = Receipts()
        self._lost = lost

    def refusal(self, pdu: bytes, at: SubmitSm, reason: Reason, now: float) -> tuple[int, bytes]:
        """The answer to a submit_sm that was refused for `reason`: a status, and the body behind it.

        With `block_mode = "receipt"` it is accepted where the client asked for a receipt and a bind can take one; all
        others must hear of the refusal at once, or they never would.
        """
        account = self.account
        wanted = account.block_mode == "receipt" and is_asked_for(pdu, at) and self._receipts.is_room
        if not wanted or not self.receives:
            return account.block_status, b""
        message_id = b"%d" % (ID_MIN + secrets.randbelow(9 * ID_MIN))
        minute = time.strftime("%y%m%d%H%M").encode()
        self._receipts.add(rejected(pdu, at, message_id, RECEIPT_ERROR[reason], minute, now))
        return ESME_ROK, message_id + b"\0"

    def receipted(self, token: int, status: int) -> None:
        """A client's answer to a receipt."""
        self._receipts.answered(token, status)

    @property
    def receives(self) -> bool:
        """One of its binds takes deliver_sm."""
        return any(bind.receives for bind in self.binds)

    def add_receipt(self, receipt: Receipt) -> bool:
        """To whichever bind takes it. False: no room."""
        if not self._receipts.is_room:
            return False
        self._receipts.add(receipt)
        return True

    def left(self, bind: Receiver) -> None:
        self.binds.discard(bind)
        self._receipts.left(bind)

    def send_receipts(self, now: float) -> None:
        """To whoever takes them now."""
        if len(self._receipts):
            self._receipts.send(self.binds, now)
            lost, self._receipts.lost = self._receipts.lost, 0
            if lost:
                self._lost(lost)

    def sweep(self, now: float) -> None:
        self.groups.expire(now)
        if self.folding is not None:
            self.folding.look(self, now)
        self.send_receipts(now)
