"""What is signed is what verifiers read: our canonical form is dkimpy's, and a copy is signed as if it were alone.

dkimpy strips the ends of a field of every white space Python knows, and keeps a blank at the end of a last line that
has no CRLF; RFC 6376 §2.8 means SP and HTAB by WSP, and SMTP ends each line. So vertical tabs and form feeds stay out
of field values here, and such a blank out of the end of bodies.
"""

from __future__ import annotations

from dkim.canonicalization import Relaxed
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.dkim import Copies, relaxed_body, relaxed_field, sign
from filters.mail import plan
from tests.filters.mailtree import NOTICE
from tests.filters.signatures import T, signers, verified

STEADY = settings(derandomize=True, deadline=None, max_examples=300)
LINK = st.from_regex(rb"https://ret\.example/r/[A-Za-z0-9_-]{1,60}", fullmatch=True)

OCTETS = st.binary(max_size=20).map(lambda octets: octets.translate(None, b"\r\n\0"))
WORDS = st.sampled_from(
    [b" ", b"  ", b"\t", b" \t ", b"\r\n", b"\r\n\r\n", b"a", b"=20", b".", b"\xc3\xa7", b"{{izinli_link}}"]
)
BODY = st.lists(st.one_of(WORDS, OCTETS), max_size=40).map(b"".join)
VALUE = st.lists(
    st.one_of(
        st.sampled_from([b" ", b"\t", b"  ", b"\r\n ", b"\r\n\t", b"word", b":", b"\xc3\xb6"]),
        OCTETS.map(lambda octets: octets.translate(None, b"\x0b\x0c")),
    ),
    max_size=12,
).map(b"".join)
NAME = st.sampled_from(
    [b"Subject", b"TO", b"cc", b"Date", b"X-Other", b"MIME-Version", b"List-Id", b"Reply-To", b"From"]
)


@STEADY
@given(body=BODY)
def test_the_canonical_body_is_dkimpys(body: bytes) -> None:
    whole = body.rstrip(b" \t") if not body.endswith(b"\n") else body
    assert relaxed_body(whole) == Relaxed.canonicalize_body(whole)


@STEADY
@given(body=BODY)
def test_a_canonical_body_is_its_own_canonical_form(body: bytes) -> None:
    assert relaxed_body(relaxed_body(body)) == relaxed_body(body)


@STEADY
@given(value=VALUE)
def test_the_canonical_field_is_dkimpys(value: bytes) -> None:
    ((name, canonical),) = Relaxed.canonicalize_headers([(b"Subject", value)])
    assert relaxed_field(b"subject", value) == name + b":" + canonical


@STEADY
@given(values=st.lists(st.tuples(NAME, VALUE), max_size=8), body=BODY, links=st.lists(LINK, min_size=1, max_size=3))
def test_each_copy_is_signed_as_if_alone_and_verifies(
    values: list[tuple[bytes, bytes]], body: bytes, links: list[bytes]
) -> None:
    head = b"From: Marka <a@kampanya.example.com.tr>\r\n" + b"".join(b"%b:%b\r\n" % pair for pair in values)
    made = plan(head + b"\r\n" + body + b"\r\n", NOTICE)
    copies = Copies(made.render(links[0]), made.kept)
    for link in links:
        pieces = made.render(link)
        field = copies.sign(pieces, signers()[1:], T)
        assert field == sign(b"".join(pieces), signers()[1:], T)
        assert verified(field + b"".join(pieces)) == [True]
