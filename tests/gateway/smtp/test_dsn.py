"""The notification, read back with the standard library."""

from __future__ import annotations

from email import message_from_bytes, policy
from email.message import EmailMessage

import pytest

from filters import dots
from gateway.smtp import dsn, trace
from gateway.smtp.replies import Reply

CONTENT = b"From: a@example.test\r\nSubject: campaign\r\n\r\nbody\r\n"
FAILED = [
    dsn.Failed(
        b"gone@example.test", {b"ORCPT": b"ORCPT=rfc822;Gone+2Bx@example.test"}, Reply(550, b"5.1.1 unknown user")
    ),
    dsn.Failed(b"full@example.test", {}, Reply(552, b"mailbox full")),
]


def report(parameters: dict[bytes, bytes], content: bytes = CONTENT, failed: list[dsn.Failed] = FAILED) -> bytes:
    return dsn.report(
        dsn.Original(b"a@example.test", parameters, content),
        failed,
        hostname=b"gate.example.test",
        report_id=b"abc-1",
        date=trace.date_time(1_795_000_000),
    )


def test_the_parts_of_a_report() -> None:
    raw = report({b"ENVID": b"ENVID=camp+2B7"})
    message = message_from_bytes(raw, EmailMessage, policy=policy.default)
    assert message.get_content_type() == "multipart/report"
    assert message.get_param("report-type") == "delivery-status"
    assert message["Auto-Submitted"] == "auto-replied"
    assert message["To"] == "a@example.test"
    text, status, returned = message.iter_parts()
    assert "<gone@example.test>: 550 5.1.1 unknown user" in text.get_content()
    per_message, first, second = status.get_payload()
    assert per_message["Original-Envelope-Id"] == "camp+7"
    assert per_message["Reporting-MTA"] == "dns; gate.example.test"
    assert first["Original-Recipient"] == "rfc822;Gone+x@example.test"
    assert first["Final-Recipient"] == "rfc822; gone@example.test"
    assert (first["Action"], first["Status"]) == ("failed", "5.1.1")
    assert first["Diagnostic-Code"] == "smtp; 550 5.1.1 unknown user"
    assert second["Status"] == "5.0.0"
    assert returned.get_content_type() == "text/rfc822-headers"
    assert b"body" not in raw
    assert dots.line_fault(raw) is None


def test_the_whole_message_comes_back_when_asked_for() -> None:
    raw = report({b"RET": b"RET=full"})
    returned = list(message_from_bytes(raw, EmailMessage, policy=policy.default).iter_parts())[2]
    assert returned.get_content_type() == "message/rfc822"
    assert CONTENT in raw


def test_addresses_beyond_ascii() -> None:
    failed = [dsn.Failed("ayşe@örnek.test".encode(), {}, Reply(550, b"5.1.1 no"))]
    assert b"Final-Recipient: utf-8; ay\\x{15F}e@\\x{F6}rnek.test\r\n" in report({}, failed=failed)


@pytest.mark.parametrize(
    ("notify", "wanted"),
    [(None, True), (b"NOTIFY=NEVER", False), (b"NOTIFY=success,failure", True), (b"NOTIFY=DELAY", False)],
)
def test_who_asked_for_silence_gets_it(notify: bytes | None, wanted: bool) -> None:
    assert dsn.is_wanted({b"NOTIFY": notify} if notify else {}) is wanted
