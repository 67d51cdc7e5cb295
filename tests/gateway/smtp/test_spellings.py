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
from tests.gateway.smtp.support import BLOCKED, PASSED, house

TEXT = b"Subject: x\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nbody\r\n"
AYSE = b"ayse.yilmaz@example.test"
UTF8 = b" SMTPUTF8"
LONG_LABEL = b"x" * 63

# The path between the angle brackets, and the canonical form that may pass; the next hop gets the path as it is.
PASSING: dict[bytes, bytes] = {
    AYSE: AYSE,
    b"AYSE.YILMAZ@EXAMPLE.TEST": AYSE,
    b"Ayse.Yilmaz@Example.Test": AYSE,
    b'"ayse.yilmaz"@example.test': AYSE,
    b'"AYSE.yilmaz"@EXAMPLE.test': AYSE,
    b"ayse.yilmaz+liste@example.test": b"ayse.yilmaz+liste@example.test",
    b"ayse@XN--RNEK-4QA.test": b"ayse@xn--rnek-4qa.test",
    b"ayse@xn--a.test": b"ayse@xn--a.test",  # no A-label, but one name alone
    "ayse@örnek.test".encode(): b"ayse@xn--rnek-4qa.test",
    "ayse@ÖRNEK.test".encode(): b"ayse@xn--rnek-4qa.test",
    "ayse@o\u0308rnek.test".encode(): b"ayse@xn--rnek-4qa.test",  # decomposed
    "ayse@ｅｘａｍｐｌｅ.test".encode(): b"ayse@example.test",  # full width: every reader of IDNs folds it
    "ayse@ex\u200bample.test".encode(): b"ayse@example.test",  # zero width: every reader of IDNs drops it
    "ayse@ex\u00adample.test".encode(): b"ayse@example.test",
    "ayse@example。test".encode(): b"ayse@example.test",
    "ayse@ex\u0430mple.test".encode(): b"ayse@xn--exmple-4nf.test",  # Cyrillic a: another domain, asked about as such
    "ayse@ış.test".encode(): b"ayse@xn--cfa6g.test",
    "ayse@İş.test".encode(): b"ayse@xn--i-1ma58j.test",  # i with a dot above, which is neither i nor ı
    b"x" * 64 + b"@example.test": b"x" * 64 + b"@example.test",
    b"a@" + b".".join([LONG_LABEL] * 3) + b".test": b"a@" + b".".join([LONG_LABEL] * 3) + b".test",
}
# What is no address, what no consent can be kept for, and what two readers would understand differently.
REFUSED = [
    b"ayse.yilmaz(comment)@example.test",
    b"ayse.yilmaz@(comment)example.test",
    b"(comment)ayse.yilmaz@example.test",
    b"Ayse <ayse.yilmaz@example.test>",
    b'"ayse yilmaz"@example.test',
    b'"ayse.yilmaz@evil.test"@example.test',
    b'"ayse.yilmaz\\@evil.test"@example.test',
    b'"ayse\\.yilmaz"@example.test',
    b'"ayse.yilmaz>"@example.test',
    b'"ayse".yilmaz@example.test',
    b'ayse."yilmaz"@example.test',
    b'""@example.test',
    b"@relay.test:ayse.yilmaz@example.test",
    b"@a.test,@b.test:ayse.yilmaz@example.test",
    b"ayse.yilmaz%other.test@example.test",
    b"example.test!ayse.yilmaz@other.test",
    b"other.test!ayse.yilmaz",
    b"ayse.yilmaz@example.test@other.test",
    b"ayse.yilmaz@example.test,mehmet@example.test",
    b"ayse.yilmaz@example.test> <mehmet@example.test",
    b"ayse.yilmaz@example.test.",
    b".ayse.yilmaz@example.test",
    b"ayse..yilmaz@example.test",
    b"ayse.yilmaz.@example.test",
    b"ayse.yilmaz @example.test",
    b" ayse.yilmaz@example.test\t",
    b"ayse.yilmaz\t@example.test",
    b"ayse.yilmaz\0@example.test",
    b"ayse.yilmaz@example.test\0.evil.test",
    b"ayse.yilmaz@example",
    b"ayse.yilmaz@exam_ple.test",
    b"ayse.yilmaz@-example.test",
    b"ayse.yilmaz@[192.0.2.1]",
    b"ayse.yilmaz@[IPv6:2001:db8::1]",
    b"ayse.yilmaz@[example.test]",
    b"ayse.yilmaz@192.0.2.1",
    b"ayse.yilmaz",
    b"postmaster",
    b"",
    "ayşe.yilmaz@example.test".encode(),
    "ayse.yılmaz@example.test".encode(),
    "AYSE.YİLMAZ@example.test".encode(),
    "\u0430yse.yilmaz@example.test".encode(),  # Cyrillic a
    "ａyse.yilmaz@example.test".encode(),  # full width
    "ayse.yilma\u200bz@example.test".encode(),  # zero width
    "\u212aemal@example.test".encode(),  # the Kelvin sign
    "ayse.yilmaz＠example.test".encode(),
    "ayse@faß.test".encode(),  # fass.test in IDNA 2003, xn--fa-hia.test in IDNA 2008
    "ayse@ς.test".encode(),
    "ayse@a\u200db.test".encode(),  # dropped in IDNA 2003
    "ayse@example\u2024test".encode(),  # a dot in IDNA 2003
    b"ayse.yilmaz@\xff.test",
    b"\xe7@example.test",  # Latin-5
    b"x" * 65 + b"@example.test",
    b"a@" + b"x" * 64 + b".test",
    b"a@" + b".".join([LONG_LABEL] * 5) + b".test",
    b"x" * 400 + b"@example.test",
]


def reached(rcpt: bytes) -> bytes:
    """Whom a RCPT line means to a reader that was not written here: Python's IDNA 2003, quotes off, ASCII folded."""
    match = re.fullmatch(rb"RCPT TO:<(.+)@([^@]+)>(?: .*)?", rcpt)
    assert match is not None, rcpt
    local = match[1][1:-1] if match[1][:1] == b'"' == match[1][-1:] else match[1]
    assert re.fullmatch(rb"[A-Za-z0-9._+-]+", local), "nothing to be read in two ways"
    return (local + b"@" + match[2].decode().encode("idna")).lower()


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
