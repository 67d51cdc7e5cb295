"""Paths and parameters: what RFC 5321 writes is taken, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.smtp.grammar import PATH_OCTETS_MAX, Fault, Path, mail_path, rcpt_path

TAKEN = [
    b"a@example.test",
    b"A.b+c=d/e%f!g@ex-ample.test",
    b"a@[192.0.2.1]",
    b"a@[IPv6:2001:db8::1]",
    b'"quoted local"@example.test',
    b'"a\\"b"@example.test',
    b'"<x>,<y@z>"@example.test',
    b"a@localhost",
    b"\xc3\xa7\xc4\xb1@\xc3\xb6rnek.test",
]
REFUSED = [
    b"",
    b"a",
    b"a@",
    b"@example.test",
    b"a b@example.test",
    b".a@example.test",
    b"a..b@example.test",
    b"a@example..test",
    b"a@-example.test",
    b"a@example.test.",
    b"a@b@example.test",
    b"a(comment)@example.test",
    b"<a@example.test>",
    b"a@example.test>,<b@example.test",
    b"@relay.test:a@example.test",
    b"a@exam_ple.test",
    b"a@[192.0.2.1",
    b'"a"b@example.test',
    b'"a\\@example.test',
    b"a\0@example.test",
    b"a\t@example.test",
    b"\xff@example.test",
    b"x" * PATH_OCTETS_MAX + b"@example.test",
]


@pytest.mark.parametrize("mailbox", TAKEN)
def test_taken_as_it_is(mailbox: bytes) -> None:
    assert rcpt_path(b"TO:<%b>" % mailbox) == Path(mailbox, {})
    assert mail_path(b"FROM:<%b>" % mailbox) == Path(mailbox, {})


@pytest.mark.parametrize("mailbox", REFUSED)
def test_i3_what_two_parsers_could_read_differently_is_refused(mailbox: bytes) -> None:
    assert isinstance(rcpt_path(b"TO:<%b>" % mailbox), Fault)


@pytest.mark.parametrize(
    "argument",
    [
        b"TO:a@example.test",
        b"TO:<a@example.test",
        b"TO: a@example.test",
        b"TO:<a@example.test>x",
        b"FROM:<a@b.test>",
        b"TO",
    ],
)
def test_brackets_and_keyword_are_needed(argument: bytes) -> None:
    assert isinstance(rcpt_path(argument), Fault)


def test_null_sender_is_no_recipient() -> None:
    assert mail_path(b"FROM:<>") == Path(b"", {})
    assert isinstance(rcpt_path(b"TO:<>"), Fault)


def test_blanks_after_the_colon_and_case_of_the_keyword() -> None:
    assert mail_path(b"from: <a@b.test>") == Path(b"a@b.test", {})


def test_postmaster_needs_no_domain() -> None:
    assert rcpt_path(b"TO:<PostMaster>") == Path(b"PostMaster", {})
    assert isinstance(mail_path(b"FROM:<postmaster>"), Fault)


def test_parameters_are_kept_as_they_were_sent() -> None:
    parsed = mail_path(b"FROM:<a@b.test> size=10  BODY=8bitmime SMTPUTF8 envid=Ab+2Bc ret=Full ")
    assert parsed == Path(
        b"a@b.test",
        {
            b"SIZE": b"size=10",
            b"BODY": b"BODY=8bitmime",
            b"SMTPUTF8": b"SMTPUTF8",
            b"ENVID": b"envid=Ab+2Bc",
            b"RET": b"ret=Full",
        },
    )
    assert rcpt_path(b"TO:<a@b.test> NOTIFY=SUCCESS,delay ORCPT=rfc822;A+40b@c.test") == Path(
        b"a@b.test", {b"NOTIFY": b"NOTIFY=SUCCESS,delay", b"ORCPT": b"ORCPT=rfc822;A+40b@c.test"}
    )


@pytest.mark.parametrize(
    ("argument", "code"),
    [
        (b"FROM:<a@b.test> MT-PRIORITY=3", 555),
        (b"FROM:<a@b.test> AUTH=a+2", 501),
        (b"FROM:<a@b.test> SIZE=1 SIZE=2", 501),
        (b"FROM:<a@b.test> SIZE=x", 501),
        (b"FROM:<a@b.test> SIZE", 501),
        (b"FROM:<a@b.test> SMTPUTF8=1", 501),
        (b"FROM:<a@b.test> BODY=BINARYMIME", 501),
        (b"FROM:<a@b.test> ENVID=a+2", 501),
        (b"FROM:<a@b.test> RET=SOME", 501),
        (b"FROM:<a@b.test> =x", 501),
    ],
)
def test_parameters_refused(argument: bytes, code: int) -> None:
    parsed = mail_path(argument)
    assert isinstance(parsed, Fault)
    assert parsed.code == code


@pytest.mark.parametrize("parameter", [b"NOTIFY=NEVER,SUCCESS", b"NOTIFY=", b"ORCPT=rfc822", b"ORCPT=;x"])
def test_recipient_parameters_refused(parameter: bytes) -> None:
    assert isinstance(rcpt_path(b"TO:<a@b.test> " + parameter), Fault)


@given(st.binary(max_size=80))
def test_what_is_taken_holds_no_octet_that_could_end_a_path_or_a_line(noise: bytes) -> None:
    parsed = rcpt_path(b"TO:<" + noise + b"@example.test>")
    if isinstance(parsed, Path):
        assert not set(parsed.mailbox) & set(b"\0\r\n\t")
        assert parsed.mailbox.startswith(b'"') or not set(parsed.mailbox) & set(b"<> ,;:()")


@pytest.mark.parametrize("value", [b"<>", b"e+3Dmc2@example.com"])
def test_whom_a_client_says_it_sends_for_is_accepted_and_dropped(value: bytes) -> None:
    assert mail_path(b"FROM:<a@b.test> SIZE=1 AUTH=" + value) == Path(b"a@b.test", {b"SIZE": b"SIZE=1"})
