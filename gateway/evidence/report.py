"""The report as data: what `--json` prints, and what text and PDF are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.evidence.decisions import Decision
from gateway.journal_check import Found as Journal

Facts = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Channel:
    """One channel of the recipient. `standing` and `events`: as `registry.evidence.history` has them."""

    channel: str
    fingerprint: str  # what journal and index know of it
    standing: Sequence[Facts]
    events: Sequence[Facts]
    decisions: Sequence[Decision]


@dataclass(frozen=True, slots=True)
class Report:
    """All there is about one recipient of one brand. `ledger`: as `registry.evidence.check.Checked`."""

    made_at: str  # UTC, ISO 8601
    made_by: str
    version: str
    brand: int
    brand_name: str
    brand_title: str
    mersis: str
    recipient: str  # canonical
    channels: Sequence[Channel]
    decisions_left_out: int  # older than those that are told
    unreadable: Sequence[str]  # journal files
    ledger: Facts
    journal: Sequence[Journal]

    @property
    def whole(self) -> bool:
        """Neither record was changed, as far as the chains tell, and nothing could not be read."""
        return not (self.ledger["faults"] or self.unreadable or any(one.faults for one in self.journal))
