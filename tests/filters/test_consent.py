"""The law as a table: every row, and that no row is missing."""

from __future__ import annotations

from itertools import product

import pytest

from filters.consent import ABSENT, DEFERRABLE, LAW, LISTED, judge, outcome_of
from filters.model import Kind, Outcome, Reason, RecipientType, Verdict

BIREYSEL, TACIR = RecipientType


def test_the_table_is_total() -> None:
    """`judge` is a look-up that cannot fail."""
    assert set(LAW) == set(product(Kind, RecipientType, (LISTED, ABSENT)))


@pytest.mark.parametrize(
    ("recipient_type", "listed", "outcome", "reason"),
    [
        (BIREYSEL, True, Outcome.PASS, Reason.CONSENT),  # law 6563 art. 6/1: a standing ONAY
        (BIREYSEL, False, Outcome.BLOCK, Reason.NO_CONSENT),  # a RET, or never asked
        (TACIR, False, Outcome.PASS, Reason.TACIR_EXEMPT),  # art. 6/2: no prior consent needed
        (TACIR, True, Outcome.BLOCK, Reason.REJECTED),  # until they refuse
    ],
)
def test_i1_commercial_messages(recipient_type: RecipientType, listed: bool, outcome: Outcome, reason: Reason) -> None:
    assert judge(Kind.COMMERCIAL, recipient_type, listed) == Verdict(outcome, reason)


@pytest.mark.parametrize("recipient_type", RecipientType)
@pytest.mark.parametrize("listed", [True, False])
def test_of_a_suspended_brand_only_what_is_not_commercial_passes(recipient_type: RecipientType, listed: bool) -> None:
    refused = Verdict(Outcome.BLOCK, Reason.SUSPENDED)
    assert judge(Kind.COMMERCIAL, recipient_type, listed, suspended=True) == refused
    informational = judge(Kind.INFORMATIONAL, recipient_type, listed, suspended=True)
    assert informational == Verdict(Outcome.PASS, Reason.INFORMATIONAL)


@pytest.mark.parametrize("recipient_type", RecipientType)
@pytest.mark.parametrize("listed", [True, False])
def test_informational_messages_need_no_consent_and_mind_no_rejection(
    recipient_type: RecipientType, listed: bool
) -> None:
    """Regulation art. 6: a delivery, a debt, a change of contract must reach also those who refuse advertising."""
    assert judge(Kind.INFORMATIONAL, recipient_type, listed) == Verdict(Outcome.PASS, Reason.INFORMATIONAL)


def test_i1_a_commercial_message_to_a_consumer_passes_for_one_reason_only() -> None:
    passing = {LAW[Kind.COMMERCIAL, BIREYSEL, listed].reason for listed in (True, False)}
    assert {reason for reason in passing if outcome_of(reason) is Outcome.PASS} == {Reason.CONSENT}


@pytest.mark.parametrize("reason", Reason)
def test_each_reason_belongs_to_one_outcome(reason: Reason) -> None:
    expected = {
        Reason.CONSENT: Outcome.PASS,
        Reason.TACIR_EXEMPT: Outcome.PASS,
        Reason.INFORMATIONAL: Outcome.PASS,
        Reason.NO_CONSENT: Outcome.BLOCK,
        Reason.REJECTED: Outcome.BLOCK,
        Reason.SUSPENDED: Outcome.BLOCK,
        Reason.BAD_ADDRESS: Outcome.BLOCK,
        Reason.NO_STREAM: Outcome.BLOCK,
        Reason.UNFIT: Outcome.BLOCK,
        Reason.SIGNED: Outcome.BLOCK,
        Reason.INDEX_DOWN: Outcome.DEFER,
        Reason.INDEX_STALE: Outcome.DEFER,
        Reason.OVERLOAD: Outcome.DEFER,
        Reason.JOURNAL_DOWN: Outcome.DEFER,
        Reason.INTERNAL: Outcome.DEFER,
    }
    assert outcome_of(reason) is expected[reason]


def test_i4_what_cannot_be_decided_is_temporary_and_comes_from_no_row_of_the_law() -> None:
    assert all(outcome_of(reason) is Outcome.DEFER for reason in DEFERRABLE)
    assert DEFERRABLE.isdisjoint(verdict.reason for verdict in LAW.values())


@pytest.mark.parametrize("verdict", dict.fromkeys(LAW.values()), ids=lambda verdict: verdict.reason)
def test_the_law_and_the_reasons_agree(verdict: Verdict) -> None:
    assert outcome_of(verdict.reason) is verdict.outcome
