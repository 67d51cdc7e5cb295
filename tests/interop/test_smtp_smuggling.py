"""SMTP smuggling, in and out, with real Postfix as the lenient other end (3.7 takes LF . LF for an end of data)."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.demo.sink import Sink
from tests.gateway.smtp.support import house
from tests.interop.postfix import Postfix

pytestmark = pytest.mark.interop

# The forms of the public smtpsmug tests.
FORMS = {
    "lflf": b"\n.\n",
    "crcr": b"\r.\r",
    "crlf": b"\r.\n",
    "lfcr": b"\n.\r",
    "lfcrlf": b"\n.\r\n",
    "crlflf": b"\r\n.\n",
    "crcrlf": b"\r.\r\n",
    "crlfcr": b"\r\n.\r",
    "nullbefore": b"\r\n\0.\r\n",
    "nullafter": b"\r\n.\0\r\n",
    "pipelining": b"\r\n.\r\n",
}
SECOND = (
    b"MAIL FROM:<evil@receipts.example.test>\r\nRCPT TO:<victim@example.test>\r\nDATA\r\n"
    b"Subject: two\r\n\r\nsmuggled\r\n"
)


async def test_i2_no_form_carries_a_second_message_past_the_door(tmp_path: Path) -> None:
    async with Sink() as sink:
        with Postfix(relay_to=sink.port) as behind:
            async with house(tmp_path, behind.port) as gate, gate.client() as client:
                for form, octets in FORMS.items():
                    await client.converse(
                        b"MAIL FROM:<a@receipts.example.test>", b"RCPT TO:<ayse@example.test>", b"DATA"
                    )
                    client.writer.write(b"Subject: one\r\n\r\nfirst" + octets + SECOND + b".\r\n")
                    code, text = await client.hear()
                    if form == "pipelining":
                        # The true end: the commands behind it are the client's own, each answered in its turn.
                        assert [code, *[(await client.hear())[0] for _ in range(4)]] == [250, 250, 250, 354, 250]
                        break
                    assert (code, text[:7]) == (550, b"5.6.11 "), form
                    assert (await client.say(b"NOOP"))[0] == 250, form
                    assert "cleanup" not in behind.log(), f"{form}: nothing reached the next hop at all"
            assert form == "pipelining", "all forms were tried"


@pytest.mark.parametrize("form", [name for name in FORMS if name != "pipelining"])
async def test_i2_what_a_lenient_mta_in_front_lets_through_is_refused_not_split(tmp_path: Path, form: str) -> None:
    """Without a wait in between, as a server does that takes the form for content and relays it."""
    async with Sink() as sink, house(tmp_path, sink.port) as gate, gate.client() as client:
        client.writer.write(
            b"MAIL FROM:<a@receipts.example.test>\r\nRCPT TO:<ayse@example.test>\r\nDATA\r\n"
            b"Subject: one\r\n\r\nfirst" + FORMS[form] + SECOND + b".\r\nQUIT\r\n"
        )
        codes = []
        while not codes or codes[-1] != 221:
            codes.append((await client.hear())[0])
        assert codes == [250, 250, 354, 550, 221]
        assert sink.messages == []
