"""The answers: total, and permanent only where nothing is left to wait for."""

from __future__ import annotations

import smpplib.consts

from filters.consent import outcome_of
from filters.model import Outcome, Reason
from gateway.smpp import statuses

REPEATED_BY_CLIENTS = {0x08, 0x14, 0x58, 0x61, 0x64}  # Kannel or Jasmin send again by themselves


def test_each_reason_has_an_answer() -> None:
    assert set(statuses.OF_REASON) == set(Reason)


def test_i4_what_is_temporary_is_repeated_and_what_is_refused_is_not() -> None:
    for reason, status in statuses.OF_REASON.items():
        outcome = outcome_of(reason)
        assert (status == 0) == (outcome is Outcome.PASS)
        assert (status in REPEATED_BY_CLIENTS) == (outcome is Outcome.DEFER)


def test_the_names_are_the_specifications() -> None:
    for name, value in vars(statuses).items():
        known = getattr(smpplib.consts, f"SMPP_{name}", None)
        if name.startswith("ESME_") and known is not None:
            assert value == known, name


def test_our_credentials_are_not_the_clients() -> None:
    assert statuses.of_bind(0x0E) == statuses.of_bind(0x0F) == statuses.ESME_RBINDFAIL
    assert statuses.of_bind(0x05) == 0x05
