"""Greetings of a next hop, without a socket."""

from __future__ import annotations

from base64 import b64decode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.smtp.client import Broken, Extensions
from gateway.smtp.greeting import Greeting, Login, Ready, Secure
from gateway.smtp.replies import Reply

LOGIN = Login(b"izinli", b"not a secret")
NOTHING = Extensions()


def ehlo(*keywords: bytes) -> bytes:
    lines = [b"hop", *keywords]
    return b"".join(b"250-%b\r\n" % line for line in lines[:-1]) + b"250 %b\r\n" % lines[-1]


def greeting(*, starttls: bool = False, login: Login | None = None) -> Greeting:
    """EHLO was said."""
    one = Greeting(b"gate.example.test", starttls=starttls, login=login)
    assert one.output() == b""
    assert one.receive(b"220-hop\r\n220 ESMTP\r\n") is None
    assert one.output() == b"EHLO gate.example.test\r\n"
    return one


def test_banner_and_ehlo() -> None:
    event = greeting().receive(ehlo(b"pipelining", b"SIZE 1000", b"8BITMIME"))
    assert event == Ready(Extensions(pipelining=True, eight_bit_mime=True, size=1000))


def test_helo_where_ehlo_is_unknown() -> None:
    one = greeting()
    assert one.receive(b"500 what\r\n") is None
    assert one.output() == b"HELO gate.example.test\r\n"
    assert one.receive(b"250 hop\r\n") == Ready(NOTHING)


@pytest.mark.parametrize("asked", [{"starttls": True}, {"login": LOGIN}])
def test_helo_is_no_way_around_tls_or_a_login(asked: dict[str, object]) -> None:
    event = greeting(**asked).receive(b"500 what\r\n")  # type: ignore[arg-type]
    assert event == Broken("refused", Reply(500, b"what"))


@pytest.mark.parametrize(
    ("banner", "why"),
    [
        (b"554 no\r\n", "refused"),
        (b"354 what\r\n", "refused"),
        (b"421 busy\r\n", "closing"),
        (b"SSH-2.0-x\r\n", "malformed_reply"),
        (b"220 hop\r\n250 hop\r\n", "unsolicited"),
        (b"220 hop\r\n250-hop\r\n250 PIPELINING\r\n", "unsolicited"),
        (b"220-" + b"x" * 3000, "long_reply"),
        (b"220-x\r\n" * 200, "long_reply"),
    ],
)
def test_a_greeting_that_is_none(banner: bytes, why: str) -> None:
    one = Greeting(b"gate")
    event = one.receive(banner)
    assert isinstance(event, Broken)
    assert event.why == why
    assert one.output() == b""
    assert one.receive(b"220 hop\r\n") is None


@pytest.mark.parametrize("rest", [b"250 and more\r\n", b"25"])
def test_words_behind_a_good_greeting_spoil_it(rest: bytes) -> None:
    assert isinstance(greeting().receive(ehlo(b"PIPELINING") + rest), Broken)


def test_starttls_forgets_what_was_said_in_plain_text() -> None:
    one = greeting(starttls=True)
    assert one.receive(ehlo(b"STARTTLS", b"PIPELINING", b"SIZE 5")) is None
    assert one.output() == b"STARTTLS\r\n"
    assert one.receive(b"220 go\r\n") == Secure()
    assert one.output() == b""
    one.secured()
    assert one.output() == b"EHLO gate.example.test\r\n"
    assert one.receive(ehlo(b"DSN")) == Ready(Extensions(dsn=True))


def test_starttls_that_is_not_offered_or_not_granted() -> None:
    assert greeting(starttls=True).receive(ehlo(b"PIPELINING")) == Broken("no_starttls")
    one = greeting(starttls=True)
    one.receive(ehlo(b"STARTTLS"))
    one.output()
    assert one.receive(b"454 4.7.0 no TLS today\r\n") == Broken("no_starttls", Reply(454, b"4.7.0 no TLS today"))


@pytest.mark.parametrize("injected", [b"250 x\r\n", ehlo(b"AUTH PLAIN"), b"2", b"250-x\r\n"])
@pytest.mark.parametrize("at_once", [True, False])
def test_octets_behind_the_220_are_an_attack(injected: bytes, at_once: bool) -> None:
    one = greeting(starttls=True)
    one.receive(ehlo(b"STARTTLS"))
    one.output()
    if at_once:
        event = one.receive(b"220 go\r\n" + injected)
    else:
        assert one.receive(b"220 go\r\n") == Secure()
        event = one.receive(injected)
    assert isinstance(event, Broken)
    assert event.why == "injection"
    assert one.output() == b""


def test_auth_plain_in_one_step() -> None:
    one = greeting(login=LOGIN)
    assert one.receive(ehlo(b"AUTH LOGIN plain CRAM-MD5", b"PIPELINING")) is None
    command, mechanism, response = one.output().split()
    assert (command, mechanism, b64decode(response)) == (b"AUTH", b"PLAIN", b"\0izinli\0not a secret")
    assert one.receive(b"235 2.7.0 welcome\r\n") == Ready(Extensions(pipelining=True))


def test_auth_login_where_that_is_all_there_is() -> None:
    one = greeting(login=LOGIN)
    assert one.receive(ehlo(b"AUTH LOGIN")) is None
    assert one.output() == b"AUTH LOGIN\r\n"
    assert one.receive(b"334 VXNlcm5hbWU6\r\n") is None
    assert b64decode(one.output()) == LOGIN.user
    assert one.receive(b"334 UGFzc3dvcmQ6\r\n") is None
    assert b64decode(one.output()) == LOGIN.password
    assert one.receive(b"235 2.7.0 welcome\r\n") == Ready(NOTHING)


@pytest.mark.parametrize("offered", [b"AUTH CRAM-MD5", b"PIPELINING", b"AUTH=PLAIN"])
def test_a_login_that_cannot_be_made(offered: bytes) -> None:
    assert greeting(login=LOGIN).receive(ehlo(offered)) == Broken("auth")


@pytest.mark.parametrize("said", [b"535 5.7.8 no\r\n", b"454 4.7.0 later\r\n", b"250 what\r\n", b"334 \r\n"])
def test_a_login_that_is_not_taken(said: bytes) -> None:
    one = greeting(login=LOGIN)
    one.receive(ehlo(b"AUTH PLAIN"))
    one.output()
    event = one.receive(said)
    assert isinstance(event, Broken)
    assert event.why == "auth"


@settings(max_examples=300, deadline=None)
@given(
    noise=st.lists(
        st.one_of(
            st.binary(max_size=30),
            st.sampled_from([b"220 x\r\n", b"250 x\r\n", b"250-STARTTLS\r\n", b"334 x\r\n", b"235 x\r\n"]),
        ),
        max_size=10,
    ),
    starttls=st.booleans(),
    login=st.booleans(),
)
def test_noise_never_raises_and_no_password_goes_in_plain_text(noise: list[bytes], starttls: bool, login: bool) -> None:
    one = Greeting(b"gate", starttls=starttls, login=LOGIN if login else None)
    for piece in noise:
        one.receive(piece)
        assert not (starttls and b"AUTH" in one.output()), "secured() was never said"
