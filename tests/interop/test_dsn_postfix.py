"""The report about refused recipients, handed over by a Postfix that is strict about MIME.

client → the door → Postfix, which knows no gone@ and no lost@ → sink
"""

from __future__ import annotations

from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

import pytest

from gateway.demo.sink import Sink
from tests.conftest import eventually_async
from tests.gateway.smtp.support import house
from tests.interop.postfix import Postfix

pytestmark = pytest.mark.interop

STRICT = {
    "strict_mime_encoding_domain": "yes",
    "strict_7bit_headers": "yes",
    "smtpd_recipient_restrictions": "check_recipient_access inline:{{gone@example.test = 550 5.1.1 no such user}, "
    "{lost@example.test = 550 5.1.1 moved}}, permit_mynetworks, reject",
}
CONTENT = b"Message-ID: <1@campaign.example.test>\r\nSubject: x\r\n\r\nbody\r\n"
SENDER = b"MAIL FROM:<a@campaign.example.test> "


def postfix(sink: Sink) -> Postfix:
    return Postfix(relay_to=sink.port, **STRICT)


async def transaction(directory: Path, server: Postfix, mail: bytes, *rcpt: bytes) -> None:
    async with house(directory, server.port) as gate, gate.client() as client:
        commands = [mail, *(b"RCPT TO:" + one for one in rcpt), b"DATA"]
        assert set(await client.converse(*commands)) == {250, 354}
        code, _ = await client.say(CONTENT + b".")
        assert code == 250


@pytest.mark.parametrize("ret", [b"HDRS", b"FULL"])
async def test_a_report_with_everything_that_was_asked_for(tmp_path: Path, ret: bytes) -> None:
    async with Sink() as sink:
        with postfix(sink) as server:
            await transaction(
                tmp_path,
                server,
                SENDER + b"RET=%b ENVID=camp+2B7" % ret,
                b"<there@example.test> NOTIFY=FAILURE,DELAY",
                b"<gone@example.test> NOTIFY=FAILURE ORCPT=rfc822;Gone+2Bx@Example.test",
                b"<lost@example.test> NOTIFY=NEVER",
            )
            await eventually_async(lambda: len(sink.messages) == 2, within=60, what="the copy and the report")
            await eventually_async(lambda: not server.queued(), within=60, what="an empty queue")
            assert "reject: body" not in server.log()
            assert "MIME" not in server.log(), "a strict reader finds no fault"
    (report,) = [one for one in sink.messages if not one.mail_from]
    assert report.rcpt_to == ("a@campaign.example.test",)
    message = message_from_bytes(report.content, EmailMessage, policy=policy.default)
    assert (message.get_content_type(), message.get_param("report-type")) == ("multipart/report", "delivery-status")
    text, status, returned = message.iter_parts()
    assert "gone@example.test" in text.get_content()
    assert b"lost@" not in report.content, "NOTIFY=NEVER"
    of_message, of_recipient = status.get_payload()
    assert of_message["Original-Envelope-Id"] == "camp+7"
    assert of_recipient["Original-Recipient"] == "rfc822;Gone+x@Example.test"
    assert of_recipient["Final-Recipient"] == "rfc822; gone@example.test"
    assert (of_recipient["Action"], of_recipient["Status"]) == ("failed", "5.1.1")
    assert of_recipient["Diagnostic-Code"].startswith("smtp; 550 5.1.1 <gone@example.test>: Recipient address rejected")
    assert returned.get_content_type() == ("message/rfc822" if ret == b"FULL" else "text/rfc822-headers")
    assert (b"\r\nbody\r\n" in report.content) is (ret == b"FULL")
    assert not message.defects
    assert not [part.defects for part in message.walk() if part.defects]


@pytest.mark.parametrize(
    ("mail", "notify"), [(b"MAIL FROM:<>", b""), (SENDER, b" NOTIFY=NEVER"), (SENDER, b" NOTIFY=SUCCESS,DELAY")]
)
async def test_who_wants_none_gets_none(tmp_path: Path, mail: bytes, notify: bytes) -> None:
    async with Sink() as sink:
        with postfix(sink) as server:
            recipients = [b"<there@example.test>", b"<gone@example.test>" + notify]
            await transaction(tmp_path, server, mail, *recipients)
            await eventually_async(
                lambda: bool(sink.messages) and not server.queued(), within=60, what="an empty queue"
            )
    assert [one.rcpt_to for one in sink.messages if b"multipart/report" not in one.content] == [("there@example.test",)]
    assert len(sink.messages) == 1
