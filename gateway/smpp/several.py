"""Several segments that are answered as one message.

Its client gets its answer when all of theirs are there: ESME_ROK only if all were accepted (promise I2). Otherwise the
message is refused, with a temporary status if any was; then those segments that were accepted never make a message on
the handset.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from gateway.smpp.pdu import SUBMIT_SM
from gateway.smpp.statuses import ESME_ROK, TEMPORARY
from gateway.smpp.upstream import Smsc

Done = Callable[[int, bytes], None]
"""Gets a status, and the body of the answer if it is ESME_ROK."""


def send_all(smsc: Smsc, bodies: Sequence[bytes], done: Done) -> Several:
    """Send the segments of one message, the first of them last; `done` gets one answer for all, with the first's id."""
    several = Several(len(bodies), lambda status, answers: done(status, answers.get(0, b"")))
    for index in reversed(range(len(bodies))):
        smsc.send(SUBMIT_SM, bodies[index], _Segment(several.member(index)))
    return several


class Several:
    """Waits for `count` answers; `done` gets the status of all, and their bodies by number if it is ESME_ROK."""

    __slots__ = ("_done", "_left", "_status", "accepted", "answers")

    def __init__(self, count: int, done: Callable[[int, dict[int, bytes]], None]) -> None:
        self._left = count
        self._done = done
        self._status = ESME_ROK
        self.answers: dict[int, bytes] = {}  # those that are there …
        self.accepted: dict[int, bytes] = {}  # … and of them those that are ESME_ROK

    def member(self, number: int) -> Done:
        """Takes the answer to one of them."""
        return partial(self._answered, number)

    def _answered(self, number: int, status: int, body: bytes) -> None:
        self.answers[number] = body
        if status == ESME_ROK:
            self.accepted[number] = body
        if status != ESME_ROK and (self._status == ESME_ROK or status in TEMPORARY):
            self._status = status
        self._left -= 1
        if not self._left:
            self._done(self._status, self.answers if self._status == ESME_ROK else {})


class _Segment:
    """One of several segments, at the SMSC."""

    __slots__ = ("answered", "sent_at")

    command = SUBMIT_SM

    def __init__(self, answered: Done) -> None:
        self.answered = answered
        self.sent_at = 0.0
