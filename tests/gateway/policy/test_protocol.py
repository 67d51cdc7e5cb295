"""The policy protocol's octets: requests as Postfix sends them, faults, and verdicts as actions."""

from __future__ import annotations

import pytest

from filters.model import Outcome, Reason
from gateway import limits
from gateway.policy.protocol import DUNNO, MISPLACED, Fault, Reader, Request, action
from gateway.smtp import replies
from tests.gateway.policy.support import request


def read(octets: bytes) -> list[Request | Fault]:
    reader = Reader()
    reader.receive(octets)
    found = []
    while (one := reader.next_request()) is not None:
        found.append(one)
    return found


def test_a_request_as_postfix_sends_it() -> None:
    octets = request(b"Ayse@Example.test", sasl_username=b"marka", client_address=b"2001:db8::1")
    assert read(octets) == [
        Request(b"RCPT", b"a@campaign.example.test", b"Ayse@Example.test", b"marka", b"2001:db8::1")
    ]


def test_what_is_not_sent_is_empty_and_what_nobody_knows_is_ignored() -> None:
    octets = b"recipient=b@example.test\nnew_in_postfix_4=a=b\nrequest=smtpd_access_policy\n\n"
    assert read(octets) == [Request(b"", b"", b"b@example.test", b"", b"")]


def test_requests_come_one_after_the_other() -> None:
    assert [one.recipient for one in read(request(b"b@x.test") + request(b"c@x.test")) if isinstance(one, Request)] == [
        b"b@x.test",
        b"c@x.test",
    ]


def test_an_incomplete_request_waits() -> None:
    reader = Reader()
    reader.receive(request()[:-1])
    assert reader.next_request() is None
    assert reader.held == len(request()) - 1
    reader.receive(b"\n")
    assert isinstance(reader.next_request(), Request)
    assert reader.held == 0


@pytest.mark.parametrize(
    "octets",
    [
        b"\n",
        b"\n\n",
        b"request=smtpd_access_policy\nrecipient\n\n",
        b"request=smtpd_access_policy\n=x\n\n",
        b"request=smtpd_access_policy\nrecipient=a\0b@x.test\n\n",
        b"request=junk\nrecipient=b@x.test\n\n",
        b"recipient=b@x.test\n\n",
        b"EHLO x\n\n",
    ],
)
def test_what_is_no_request_ends_the_reading(octets: bytes) -> None:
    assert read(octets + request()) == [Fault("malformed")]


def test_i7_a_request_has_a_greatest_length() -> None:
    head, bound = b"request=smtpd_access_policy\nx=", limits.POLICY_REQUEST_OCTETS_MAX
    fits = head + b"y" * (bound - len(head) - 2) + b"\n\n"
    assert len(fits) == bound
    assert [type(one) for one in read(fits)] == [Request]
    assert read(head + b"y" * (bound - len(head) - 1) + b"\n\n") == [Fault("long_request")]
    assert read(b"y" * bound) == [Fault("long_request")]
    assert read(b"y" * (bound - 1)) == []


@pytest.mark.parametrize("reason", Reason)
@pytest.mark.parametrize("outcome", Outcome)
def test_an_action_is_the_reply_of_the_one_table(outcome: Outcome, reason: Reason) -> None:
    reply = replies.verdict(outcome, reason, b"4711")
    found = action(reply)
    assert found.startswith(b"action=")
    assert found.endswith(b"\n\n")
    assert found.count(b"\n") == 2
    assert b"\r" not in found
    if outcome is Outcome.PASS:
        assert found == DUNNO
    else:
        assert found[7:-2] + b"\r\n" == reply
        assert found[7:8] == (b"5" if outcome is Outcome.BLOCK and reason in replies.BLOCKS else b"4")


def test_mail_that_cannot_be_asked_about_is_deferred() -> None:
    assert MISPLACED.startswith(b"action=DEFER_IF_PERMIT 4.3.5 ")
    assert MISPLACED.endswith(b"\n\n")
