"""The law as one table.

Law 6563 art. 6/1: a consumer may be addressed only with prior consent. Art. 6/2: tradesmen and merchants need none,
until they refuse (regulation art. 6/4). Regulation art. 6/1–3: messages about a running contract, delivery or debt are
not commercial. An index answers one yes-or-no question per family: is an ONAY listed (BIREYSEL), is a RET listed
(TACIR)?
"""

from __future__ import annotations

from filters.model import Kind, Outcome, Reason, RecipientType, Verdict

LISTED, ABSENT = True, False

LAW: dict[tuple[Kind, RecipientType, bool], Verdict] = {
    # kind, recipient type, what the index said: verdict
    (Kind.COMMERCIAL, RecipientType.BIREYSEL, LISTED): Verdict(Outcome.PASS, Reason.CONSENT),  # law art. 6/1
    (Kind.COMMERCIAL, RecipientType.BIREYSEL, ABSENT): Verdict(Outcome.BLOCK, Reason.NO_CONSENT),  # law art. 6/1
    (Kind.COMMERCIAL, RecipientType.TACIR, LISTED): Verdict(Outcome.BLOCK, Reason.REJECTED),  # law art. 8
    (Kind.COMMERCIAL, RecipientType.TACIR, ABSENT): Verdict(Outcome.PASS, Reason.TACIR_EXEMPT),  # law art. 6/2
    (Kind.INFORMATIONAL, RecipientType.BIREYSEL, LISTED): Verdict(
        Outcome.PASS, Reason.INFORMATIONAL
    ),  # regulation art. 6
    (Kind.INFORMATIONAL, RecipientType.BIREYSEL, ABSENT): Verdict(Outcome.PASS, Reason.INFORMATIONAL),
    (Kind.INFORMATIONAL, RecipientType.TACIR, LISTED): Verdict(Outcome.PASS, Reason.INFORMATIONAL),
    (Kind.INFORMATIONAL, RecipientType.TACIR, ABSENT): Verdict(Outcome.PASS, Reason.INFORMATIONAL),
}

DEFERRABLE = frozenset({Reason.INDEX_DOWN, Reason.INDEX_STALE, Reason.OVERLOAD, Reason.JOURNAL_DOWN, Reason.INTERNAL})


SUSPENSION: dict[Kind, Verdict | None] = {
    # of a brand whose provider is suspended; None: as if it were not
    Kind.COMMERCIAL: Verdict(Outcome.BLOCK, Reason.SUSPENDED),  # regulation art. 11: none for who is not registered
    Kind.INFORMATIONAL: None,  # deliveries and debts reach people who had no part in it
}


def judge(kind: Kind, recipient_type: RecipientType, listed: bool, *, suspended: bool = False) -> Verdict:
    """What the law says about one recipient. `listed` is the index's answer about the family of `recipient_type`,
    `suspended` its answer about the brand.
    """
    return (SUSPENSION[kind] if suspended else None) or LAW[kind, recipient_type, listed]


def outcome_of(reason: Reason) -> Outcome:
    """The outcome a reason belongs to: each reason has exactly one."""
    if reason in DEFERRABLE:
        return Outcome.DEFER
    if reason in (Reason.CONSENT, Reason.TACIR_EXEMPT, Reason.INFORMATIONAL):
        return Outcome.PASS
    return Outcome.BLOCK
