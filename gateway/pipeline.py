"""The way of every question: ask the index in one batch per loop tick, judge, write the journal, answer.

    door ── ask(question) ──▶ batch ──▶ index ──▶ judge ──▶ journal ──▶ question.decided() ──▶ door

A door makes a `Question` for each recipient and gets its `decided()` called exactly once per `ask`, always in the loop
and possibly from inside `ask` itself. What cannot be answered is a DEFER with a reason, never an exception (promise I4).
"""

from __future__ import annotations

from filters.model import Channel, Outcome, Reason, Stream


class Question:
    """May this go to this recipient? Doors subclass it and implement `decided`.

    `recipient` is canonical (`filters.address`), None when the address has no canonical form. The answer stands in
    `outcome` and `reason`, and under `id` in the journal.
    """

    __slots__ = ("channel", "fingerprint", "id", "outcome", "reason", "recipient", "stream")

    def __init__(self, stream: Stream | None, channel: Channel, recipient: bytes | None) -> None:
        self.stream = stream
        self.channel = channel
        self.recipient = recipient
        self.fingerprint = b""
        self.outcome = Outcome.DEFER
        self.reason = Reason.INTERNAL
        self.id = b""

    def decided(self) -> None:
        """The answer is there and in the journal. Does not raise."""
        raise AssertionError("a door says what to do with an answer")
