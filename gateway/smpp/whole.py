"""Ids of messages that stayed one at the SMSC, as far as this worker knows: their receipts need no look at the memory.

Most messages are sent whole, and most receipts come within seconds, by the bind that sent them. What is not found here
proves nothing: another worker may have sent it, or it was long ago.
"""

from __future__ import annotations

from gateway import limits


class Whole:
    """Of one account. Keeps between one and two times SMPP_WHOLE_KNOWN ids, the newest."""

    __slots__ = ("_older", "_young")

    def __init__(self) -> None:
        self._young: set[bytes] = set()
        self._older: set[bytes] = set()

    def add(self, message_id: bytes) -> None:
        young = self._young
        young.add(message_id)
        if len(young) >= limits.SMPP_WHOLE_KNOWN:
            self._older, self._young = young, set()

    def discard(self, message_id: bytes) -> None:
        """An SMSC that uses an id again may mean a part by it now."""
        self._young.discard(message_id)
        self._older.discard(message_id)

    def __contains__(self, message_id: bytes) -> bool:
        return message_id in self._young or message_id in self._older
