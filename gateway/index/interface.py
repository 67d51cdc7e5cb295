"""Asking the consent index: one interface for its two forms.

The questions of a loop tick are asked together and answered together or in parts (an index on several servers): with
whether each fingerprint is listed in its family, or with the one reason why nothing can be said. An index is only
believed while it is whole (format, key, buckets), its servers are known to lack nothing, it is not older than it was
before (epoch) and was heard of lately (heartbeat).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Final, NamedTuple, Protocol

from filters.layout import FORMAT
from filters.model import Reason, Stream


class Asked(Protocol):
    """What an index needs of a question; `stream` is not None."""

    fingerprint: bytes
    stream: Stream | None


Answers = list[bool] | Reason
Done = Callable[[Sequence[Asked], Answers], None]


class Fault(StrEnum):
    """What is wrong with the index, for who has to mend it. Closed set: it is a metric label."""

    __hash__ = str.__hash__

    DOWN = "down"  # a server cannot be reached, or does not answer in time
    LOADING = "loading"  # a server reads its data from disk
    NO_PERMISSION = "no_permission"  # our login is refused, or may not do what is needed
    NOT_MASTER = "not_master"  # a server is a replica, whose answers may be old
    CLUSTER_DOWN = "cluster_down"  # the cluster does not serve all slots, or moves them about
    MALFORMED = "malformed"  # an answer that was not understood
    ABSENT = "absent"  # there is none: never built, or emptied
    OTHER_FORMAT = "other_format"  # written by another version
    OTHER_KEY = "other_key"  # its fingerprints are not ours: every answer would be "not listed"
    OLDER_EPOCH = "older_epoch"  # it has gone back behind what it was
    NO_HEARTBEAT = "no_heartbeat"  # its publisher has not been heard of lately
    UNVOUCHED = "unvouched"  # a server was started or promoted, and may lack what was written last
    BUCKET_LOST = "bucket_lost"  # a part of it is gone


_REASON: Final = dict.fromkeys(Fault, Reason.INDEX_STALE) | dict.fromkeys(
    (Fault.DOWN, Fault.LOADING, Fault.NO_PERMISSION, Fault.CLUSTER_DOWN, Fault.MALFORMED), Reason.INDEX_DOWN
)


def reason_of(fault: Fault) -> Reason:
    """What a question is told that cannot be answered because of `fault`."""
    return _REASON[fault]


class Status(NamedTuple):
    """What is known of the index: whether it can be believed, and how long it is unheard of (NaN: never heard)."""

    reason: Reason | None  # why no question can be answered; None: some or all can
    epoch: int
    age_s: float
    faults: frozenset[Fault] = frozenset()  # also those of a part of it

    @classmethod
    def failed(cls, fault: Fault, epoch: int = 0, age_s: float = float("nan")) -> Status:
        return cls(_REASON[fault], epoch, age_s, frozenset((fault,)))


UNKNOWN: Final = Status.failed(Fault.DOWN)


class ConsentIndex(Protocol):
    """The index as one worker sees it."""

    @property
    def status(self) -> Status:
        """As of the last answer."""

    @property
    def suspended(self) -> frozenset[int]:
        """The brands that may not send, as of the last state that was believed: so new as the answers, or newer."""

    async def start(self) -> None:
        """Reach for it; its absence is no error."""

    def ask(self, questions: Sequence[Asked], done: Done) -> None:
        """Each question is in exactly one call of `done(questions, answers)`: one call for all, or several for parts.

        In the loop, within INDEX_DEADLINE_S, possibly at once. Answers stand in the order of the questions beside them.
        """

    def poll(self) -> None:
        """Renew `status` when there is no traffic."""

    async def close(self) -> None: ...


class Believed:
    """The conditions under which an answer counts. `age_max_s`: unheard of its publisher for longer is stale."""

    def __init__(self, key_check: bytes, age_max_s: float) -> None:
        self._key_check = key_check
        self._age_max_s = age_max_s
        self.epoch_seen = 0
        self._runs_field = b""
        self._runs: frozenset[bytes] = frozenset()

    def status(self, found: tuple[int, int, int, bytes] | None, now_ms: int, *, vouched: bool = True) -> Status:
        """`found`: format, epoch, heartbeat in ms, key check value; None: there is no index. `vouched`: whether the
        server that said so is known to lack nothing."""
        if found is None:
            return Status.failed(Fault.ABSENT)
        version, epoch, heartbeat_ms, key_check = found
        age_s = max(0.0, (now_ms - heartbeat_ms) / 1000)
        if version != FORMAT:
            return Status.failed(Fault.OTHER_FORMAT, epoch, age_s)
        if key_check != self._key_check:
            return Status.failed(Fault.OTHER_KEY, epoch, age_s)
        if epoch < self.epoch_seen:
            return Status.failed(Fault.OLDER_EPOCH, epoch, age_s)
        if not vouched:
            return Status.failed(Fault.UNVOUCHED, epoch, age_s)
        if age_s > self._age_max_s:
            return Status.failed(Fault.NO_HEARTBEAT, epoch, age_s)
        self.epoch_seen = epoch
        return Status(None, epoch, age_s)

    def runs(self, field: bytes) -> frozenset[bytes]:
        """The replication ids that the state's field `runs` names; read only when it changes."""
        if field != self._runs_field:
            self._runs_field = field
            self._runs = frozenset(_RUN.findall(field))
        return self._runs


_RUN: Final = re.compile(rb"[0-9a-f]{40}")
