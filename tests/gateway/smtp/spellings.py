"""Spellings of addresses: which pass, as whom, and which are refused whoever they mean; and how others read them."""

from __future__ import annotations

import re

AYSE = b"ayse.yilmaz@example.test"
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
