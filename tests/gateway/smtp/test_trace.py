"""The Received field we add and the count of those that are there."""

from __future__ import annotations

from email import message_from_bytes, policy

import pytest

from gateway.smtp import trace

DATE = trace.date_time(1_795_000_000)


def test_date_time() -> None:
    assert DATE == b"Wed, 18 Nov 2026 11:06:40 +0000"


@pytest.mark.parametrize(("client", "literal"), [(b"192.0.2.7", "[192.0.2.7]"), (b"2001:db8::7", "[IPv6:2001:db8::7]")])
def test_received_is_one_folded_field(client: bytes, literal: str) -> None:
    field = trace.Trace().received(b"mail.example.test", client, b"gate.example.test", b"ESMTP", b"abc-1", DATE)
    message = message_from_bytes(field + b"Subject: x\r\n\r\n", policy=policy.SMTP)
    assert message.keys() == ["Received", "Subject"]
    value = str(message["Received"])
    assert f"from mail.example.test ({literal})" in value
    assert "with ESMTP id abc-1;" in value
    assert value.endswith("Wed, 18 Nov 2026 11:06:40 +0000")


def test_a_client_cannot_write_into_the_field_by_its_name() -> None:
    field = trace.Trace().received(b"x) id evil; (<y>\x7f", b"192.0.2.7", b"gate", b"SMTP", b"abc", DATE)
    assert field.startswith(b"Received: from x??id?evil????y?? ([192.0.2.7])\r\n")


def test_a_client_that_is_another_one_is_named_anew() -> None:
    fields = trace.Trace()
    for helo, client in [(b"a", b""), (b"a", b""), (b"b", b""), (b"b", b"192.0.2.7"), (b"a", b"")]:
        said = (helo, client, b"gate", b"SMTP", b"abc", DATE)
        assert fields.received(*said) == trace.Trace().received(*said)
    assert fields.received(b"a", b"", b"gate", b"LMTP", b"abc", DATE).startswith(b"Received: from a\r\n\tby gate ")


@pytest.mark.parametrize(
    ("content", "count"),
    [
        (b"", 0),
        (b"Received: a\r\n\r\n", 1),
        (b"received: a\r\nSubject: x\r\nRECEIVED: b\r\n\r\nReceived: in the body\r\n", 2),
        (b"X-Received: a\r\nSubject: Received: b\r\n\r\n", 0),
        (b"Received: no body at all\r\n", 1),
    ],
)
def test_hops(content: bytes, count: int) -> None:
    assert trace.hops(content) == count
