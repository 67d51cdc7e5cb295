"""The index with a negative pre-filter before it: who has certainly not consented is answered without Redis.

    ask ─┬─ BIREYSEL, in neither snapshot nor additions ── "not listed", at once
         └─ all others ── the index

The filter only ever says "not listed" (promise I1: every pass is an answer of the index). It is silent while it is not
level (`gateway.index.changes`), and while the index is known to be one that nobody may believe: then every question is
deferred by the index itself.

It also rests while nearly everybody has consented, as in a campaign to a list that was cleaned: then it would cost more
than it saves. Each second it is tried again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from filters.key import split
from filters.model import Reason, RecipientType
from gateway import limits
from gateway.index.changes import Follower
from gateway.index.interface import Asked, ConsentIndex, Done, Status
from gateway.metrics import Metrics

_BIREYSEL: Final = RecipientType.BIREYSEL


class FilteredIndex:
    """`ConsentIndex` around another one; it owns both."""

    def __init__(self, index: ConsentIndex, follower: Follower, metrics: Metrics) -> None:
        self._index = index
        self._follower = follower
        self._metrics = metrics
        self._looked = 0  # members looked for in this second …
        self._absent = 0  # … and of them certainly absent
        self._rests = False

    @property
    def status(self) -> Status:
        return self._index.status

    @property
    def suspended(self) -> frozenset[int]:
        return self._index.suspended

    async def start(self) -> None:
        self._follower.start()
        await self._index.start()

    def ask(self, questions: Sequence[Asked], done: Done) -> None:
        bloom, additions = self._follower.bloom, self._follower.additions
        counted = self._metrics.index_filter
        if self._rests or bloom is None or additions is None or not self._may_answer():
            counted["bypassed"] += len(questions)
            self._index.ask(questions, done)
            return
        added = additions.members
        absent: list[Asked] = []
        others: list[Asked] = []
        maybe = 0
        for question in questions:
            assert question.stream is not None
            if question.stream.recipient_type is _BIREYSEL:
                _, member = split(question.fingerprint)
                if member not in added and member not in bloom:
                    absent.append(question)
                    continue
                maybe += 1
            others.append(question)
        counted["absent"] += len(absent)
        counted["maybe"] += maybe
        counted["bypassed"] += len(others) - maybe  # TACIR: nothing proves that they have not refused
        self._looked += len(absent) + maybe
        self._absent += len(absent)
        self._rests = (
            self._looked >= limits.FILTER_LOOKED_MIN and self._absent * limits.FILTER_ABSENT_ONE_IN < self._looked
        )
        if others:
            self._index.ask(others, done)
        if absent:
            done(absent, [False] * len(absent))

    def poll(self) -> None:
        self._index.poll()
        self._looked = self._absent = 0
        self._rests = False
        follower, metrics = self._follower, self._metrics
        bloom = follower.bloom
        metrics.index_filter_level = int(self._may_answer())
        metrics.index_filter_age_s = follower.age_s
        metrics.index_filter_members = 0 if bloom is None else bloom.count
        metrics.index_filter_capacity = 0 if bloom is None else bloom.capacity

    async def close(self) -> None:
        await self._follower.close()
        await self._index.close()

    def _may_answer(self) -> bool:
        """Also while the index is down: the follower has its own proof, which lasts for a moment."""
        follower, status = self._follower, self._index.status
        return follower.level and status.epoch == follower.epoch and status.reason is not Reason.INDEX_STALE
