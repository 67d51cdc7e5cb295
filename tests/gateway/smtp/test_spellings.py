"""Promise I3 through the whole door: whom the index was asked about is whom the next hop was told to send to.

Each spelling either passes, and then the octets of its RCPT at the next hop, read in another way than ours, name the
person the index was asked about; or it is refused for good.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conftest import free_port
from tests.gateway.smtp.hop import Hop
from tests.gateway.smtp.spellings import AYSE, PASSING, REFUSED, reached
from tests.gateway.smtp.support import BLOCKED, PASSED, house

TEXT = b"Subject: x\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nbody\r\n"
UTF8 = b" SMTPUTF8"


@pytest.mark.parametrize("path", list(PASSING))
async def test_i3_whom_the_index_was_asked_about_is_whom_the_next_hop_is_told(tmp_path: Path, path: bytes) -> None:
    mail = b"" if path.isascii() else UTF8
    async with Hop() as hop, house(tmp_path, hop.port) as gate, gate.client() as client:
        assert (await client.send(TEXT, path, mail=mail))[0] == 250
        (message,) = hop.received
        assert message.rcpt == (b"RCPT TO:<%b>" % path,), "the octets that came"
        assert gate.judge.asked == gate.judge.asked_again == [PASSING[path]]
        assert reached(message.rcpt[0]) == PASSING[path]


@pytest.mark.parametrize("path", list(PASSING))
async def test_i5_a_withdrawal_of_the_canonical_form_stops_every_spelling(tmp_path: Path, path: bytes) -> None:
    mail = b"" if path.isascii() else UTF8
    async with Hop() as hop, house(tmp_path, hop.port) as gate, gate.client() as client:
        gate.judge.verdicts[PASSING[path]] = BLOCKED
        assert await client.converse(
            b"MAIL FROM:<a@campaign.example.test>" + mail, b"RCPT TO:<%b>" % path, b"DATA"
        ) == [250, 550, 554]
        assert b"DATA" not in hop.commands


@pytest.mark.parametrize("utf8", [b"", UTF8])
@pytest.mark.parametrize("path", REFUSED)
async def test_i3_what_cannot_be_asked_about_is_refused_for_good(tmp_path: Path, path: bytes, utf8: bytes) -> None:
    async with Hop() as hop, house(tmp_path, hop.port) as gate, gate.client() as client:
        assert (await client.say(b"MAIL FROM:<a@campaign.example.test>" + utf8))[0] == 250
        code, text = await client.say(b"RCPT TO:<%b>" % path)
        assert 500 <= code < 560, path
        assert re.match(rb"5\.\d\.\d+ ", text)
        assert set(gate.judge.asked) <= {None}, "about nobody"
        # An ordinary recipient beside it is neither hurt nor mixed up with it.
        assert await client.converse(b"RCPT TO:<%b>" % AYSE, b"DATA") == [250, 354]
        assert (await client.say(TEXT + b"."))[0] == 250
        (message,) = hop.received
        assert message.rcpt == (b"RCPT TO:<%b>" % AYSE,)


@pytest.mark.parametrize("path", [path for path in PASSING if not path.isascii()])
async def test_i3_eight_bits_need_smtputf8(tmp_path: Path, path: bytes) -> None:
    async with house(tmp_path, free_port()) as gate, gate.client() as client:
        assert await client.converse(b"MAIL FROM:<a@campaign.example.test>", b"RCPT TO:<%b>" % path) == [250, 553]
        assert gate.judge.asked == []


async def test_i3_the_original_recipient_of_a_dsn_is_nobody_who_is_sent_to(tmp_path: Path) -> None:
    """ORCPT may name anybody (RFC 3461 §4.2): it is passed on as it came; asked about is whom RCPT names."""
    other = b" NOTIFY=FAILURE ORCPT=rfc822;mehmet+2Bx+40example.test"
    async with Hop() as hop, house(tmp_path, hop.port) as gate, gate.client() as client:
        gate.judge.verdicts |= {b"mehmet@example.test": BLOCKED, AYSE: PASSED}
        assert await client.converse(
            b"MAIL FROM:<a@campaign.example.test>", b"RCPT TO:<%b>%b" % (AYSE, other), b"DATA"
        ) == [250, 250, 354]
        assert (await client.say(TEXT + b"."))[0] == 250
        (message,) = hop.received
        assert message.rcpt == (b"RCPT TO:<%b>%b" % (AYSE, other),)
        assert gate.judge.asked == [AYSE]
        assert await client.converse(
            b"MAIL FROM:<a@campaign.example.test>",
            b"RCPT TO:<mehmet@example.test> ORCPT=rfc822;" + AYSE.replace(b"@", b"+40"),
        ) == [250, 550]


@pytest.mark.parametrize(
    ("mail", "orcpt", "code"),
    [
        (b"", "utf-8;ayşe@example.test".encode(), 553),
        (UTF8, "utf-8;ayşe@example.test".encode(), 250),
        (UTF8, b"utf-8;ay\xfee@example.test", 501),
        (b"", b"rfc822;x\ty", 501),
        (b"", b"rfc822;x\0y", 501),
    ],
)
async def test_eight_bits_in_a_parameter_need_smtputf8_too(
    tmp_path: Path, mail: bytes, orcpt: bytes, code: int
) -> None:
    async with house(tmp_path, free_port()) as gate, gate.client() as client:
        said = [b"MAIL FROM:<a@campaign.example.test>" + mail, b"RCPT TO:<%b> ORCPT=%b" % (AYSE, orcpt)]
        assert await client.converse(*said) == [250, code]


async def test_i3_two_spellings_of_one_person_are_two_copies_and_one_verdict(tmp_path: Path) -> None:
    async with Hop() as hop, house(tmp_path, hop.port) as gate, gate.client() as client:
        both = (AYSE, b'"AYSE.yilmaz"@Example.Test')
        assert (await client.send(TEXT, *both))[0] == 250
        assert sorted(one.rcpt[0] for one in hop.received) == sorted(b"RCPT TO:<%b>" % path for path in both)
        assert gate.judge.asked == [AYSE] * 2
