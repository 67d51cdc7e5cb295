"""Asking the consent index: one interface for its two forms.

All questions of a loop tick are asked together and answered together: with whether each fingerprint is listed in its
family, or with the one reason why nothing can be said. An index is only believed while it is whole (format, key), not
older than it was before (epoch) and heard of lately (heartbeat).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Protocol

from filters.layout import FORMAT
from filters.model import Reason, Stream


class Asked(Protocol):
    """What an index needs of a question; `stream` is not None."""

    fingerprint: bytes
    stream: Stream | None


Answers = list[bool] | Reason
Done = Callable[[Sequence[Asked], Answers], None]


class Status(NamedTuple):
    """What is known of the index: whether it can be believed, and how long it is unheard of (NaN: never heard)."""

    reason: Reason | None  # None: it answers
    epoch: int
    age_s: float


UNKNOWN: Final = Status(Reason.INDEX_DOWN, 0, float("nan"))


class ConsentIndex(Protocol):
    """The index as one worker sees it."""

    @property
    def status(self) -> Status:
        """As of the last answer."""

    async def start(self) -> None:
        """Reach for it; its absence is no error."""

    def ask(self, questions: Sequence[Asked], done: Done) -> None:
        """Call `done(questions, answers)` exactly once, in the loop, within INDEX_DEADLINE_S, possibly at once."""

    def poll(self) -> None:
        """Renew `status` when there is no traffic."""

    async def close(self) -> None: ...


class Believed:
    """The conditions under which an answer counts. `age_max_s`: unheard of its publisher for longer is stale."""

    def __init__(self, key_check: bytes, age_max_s: float) -> None:
        self._key_check = key_check
        self._age_max_s = age_max_s
        self.epoch_seen = 0

    def status(self, found: tuple[int, int, int, bytes] | None, now_ms: int) -> Status:
        """`found`: format, epoch, heartbeat in ms, key check value; None: there is no index."""
        if found is None:
            return Status(Reason.INDEX_STALE, 0, float("nan"))
        version, epoch, heartbeat_ms, key_check = found
        age_s = max(0.0, (now_ms - heartbeat_ms) / 1000)
        ours = version == FORMAT and key_check == self._key_check
        if not ours or epoch < self.epoch_seen or age_s > self._age_max_s:
            return Status(Reason.INDEX_STALE, epoch, age_s)
        self.epoch_seen = epoch
        return Status(None, epoch, age_s)
