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


def test_lines_stay_within_their_bound_whatever_the_next_hop_says() -> None:
    failed = [dsn.Failed(b"b" * 308 + b"@example.test", {}, Reply(550, b"5.1.1 " + b"x" * 994))]
    assert dots.line_fault(report({}, failed=failed)) is None


@pytest.mark.parametrize(
    ("orcpt", "field"),
    [
        (b"rfc822;a+2Bb+3Dc@example.test", b"rfc822;a+b=c@example.test"),
        (b"rfc822;a+0D+0ASubject:+20x@example.test", b"rfc822;a+0D+0ASubject: x@example.test"),
        (b"utf-8;ay\\x{15F}e\\x{2B}x@example.test", b"utf-8;ay\\x{15F}e\\x{2B}x@example.test"),
        ("utf-8;ayşe@örnek.test".encode(), b"utf-8;ay\\x{15F}e@\\x{F6}rnek.test"),
    ],
)
def test_the_original_recipient_as_the_sender_wrote_it(orcpt: bytes, field: bytes) -> None:
    failed = [dsn.Failed(b"b@example.test", {b"ORCPT": b"ORCPT=" + orcpt}, Reply(550, b"5.1.1 no"))]
    assert b"\r\nOriginal-Recipient: %b\r\n" % field in report({}, failed=failed)


@pytest.mark.parametrize(
    ("parameters", "header", "media_type"),
    [
        ({}, "Subject: x", "text/rfc822-headers"),
        ({b"RET": b"RET=HDRS"}, "Subject: x", "text/rfc822-headers"),
        ({b"RET": b"RET=FULL"}, "Subject: x", "message/rfc822"),
        ({b"SMTPUTF8": b"SMTPUTF8"}, "Subject: x", "text/rfc822-headers"),
        ({b"SMTPUTF8": b"SMTPUTF8"}, "Subject: ş", "message/global-headers"),
        ({b"SMTPUTF8": b"SMTPUTF8", b"RET": b"RET=FULL"}, "Subject: ş", "message/global"),
    ],
)
def test_what_comes_back(parameters: dict[bytes, bytes], header: str, media_type: str) -> None:
    raw = report(parameters, header.encode() + b"\r\n\r\nbody\r\n")
    returned = list(message_from_bytes(raw, EmailMessage, policy=policy.default).iter_parts())[2]
    assert returned.get_content_type() == media_type
    assert returned["Content-Transfer-Encoding"] == ("7bit" if header.isascii() else "8bit")
    assert header.encode() in raw
    assert (b"\r\n\r\nbody\r\n" in raw) is (parameters.get(b"RET") == b"RET=FULL")
