"""Whatever octets come, cut wherever: a session answers or closes, never raises, and cutting changes no answer.

Two answers look at what has come already, and so at how it was cut: input behind a STARTTLS (RFC 3207 has the client
wait for its 220; what is there earlier is an injection), and input behind a DATA that was refused (RFC 2920 has it
wait for the 354). For them it is enough that the session ends.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.smtp import replies
from gateway.smtp.events import (
    Data,
    Fault,
    Impersonate,
    Mail,
    Message,
    Offer,
    Rcpt,
    StartTls,
    State,
    Terms,
)
from gateway.smtp.sasl import Credentials
from gateway.smtp.session import Session

SIZE_MAX = 2_000
OPEN = Terms()
GUARDED = Terms(starttls=True, tls_required=True, auth=True, trusted=True)
SECURE = Terms(starttls=True, auth=True, auth_required=True, trusted=True, recipients_max=2)

EHLO, MAIL, RCPT = b"EHLO c.example.test\r\n", b"MAIL FROM:<a@b.test>\r\n", b"RCPT TO:<c@d.test>\r\n"
LOGIN = b"AUTH PLAIN AGEAYg==\r\n"
# How far a session has come before it hears the octets; `!`: the handshake of a STARTTLS is done there.
STATES = {
    "greeted": (OPEN, [b""]),
    "ready": (OPEN, [EHLO]),
    "mail": (OPEN, [EHLO + MAIL]),
    "rcpt": (OPEN, [EHLO + MAIL + RCPT]),
    "data": (OPEN, [EHLO + MAIL + RCPT + b"DATA\r\n"]),
    "unsafe": (SECURE, [EHLO]),
    "guarded": (GUARDED, [b""]),
    "guarded and ready": (GUARDED, [EHLO]),
    "guarded and done": (GUARDED, [EHLO + b"STARTTLS\r\n", b"!"]),
    "handshake done": (SECURE, [EHLO + b"STARTTLS\r\n", b"!"]),
    "secured": (SECURE, [EHLO + b"STARTTLS\r\n", b"!", EHLO]),
    "password asked": (SECURE, [EHLO + b"STARTTLS\r\n", b"!", EHLO + b"AUTH PLAIN\r\n"]),
    "name asked": (SECURE, [EHLO + b"STARTTLS\r\n", b"!", EHLO + b"AUTH LOGIN\r\n"]),
    "logged in": (SECURE, [EHLO + b"STARTTLS\r\n", b"!", EHLO + LOGIN]),
    "impersonated": (SECURE, [EHLO + b"XCLIENT LOGIN=a\r\n"]),
    "secured rcpt": (SECURE, [EHLO + b"STARTTLS\r\n", b"!", EHLO + LOGIN + MAIL + RCPT]),
}
WORDS = [
    *(
        EHLO,
        MAIL,
        RCPT,
        LOGIN,
        b"DATA\r\n",
        b".\r\n",
        b"\r\n.\r\n",
        b"RSET\r\n",
        b"QUIT\r\n",
        b"NOOP\r\n",
        b"HELO x\r\n",
    ),
    *(
        b"STARTTLS\r\n",
        b"STARTTLS x\r\n",
        b"AUTH LOGIN\r\n",
        b"AUTH PLAIN =\r\n",
        b"AUTH LOGIN YQ==\r\n",
        b"AUTH X\r\n",
    ),
    *(b"YQ==\r\n", b"*\r\n", b"AHgAeA==\r\n", b"=\r\n", b"XCLIENT ADDR=192.0.2.1 LOGIN=x\r\n", b"XCLIENT X=Y\r\n"),
    *(
        b"XFORWARD ADDR=IPV6:::1 HELO=h\r\n",
        b"XFORWARD HELO=+0D\r\n",
        b"BDAT 1\r\n",
        b"\r\n",
        b"\r",
        b"\n",
        b"\0",
        b"x" * 2100,
    ),
    *(
        b"MAIL FROM:<a@b.test> AUTH=<>\r\n",
        b"MAIL FROM:<> SIZE=99999\r\n",
        b"VRFY x\r\n",
        b"HELP\r\n",
        b"Subject: x\r\n",
    ),
]
OCTETS = st.lists(st.one_of(st.sampled_from(WORDS), st.binary(max_size=30)), max_size=14).map(b"".join)


@dataclass
class Owner:
    """Stands in for the door: it says yes, but lets nobody in whose name is x."""

    terms: Terms
    said: bytes = b""
    faults: list[str] = field(default_factory=list)
    messages: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        offer = Offer([b"PIPELINING"], SIZE_MAX)
        self.session = Session(b"gate.example.test", lambda: offer, self.terms)
        self.session.greet(0.0)
        self.hear(b"")

    def hear(self, octets: bytes) -> None:
        self.session.receive(octets, 0.0)
        self._act()

    def secure(self) -> None:
        self.session.secure(0.0)
        self._act()

    def _act(self) -> None:
        session = self.session
        while (event := session.next_event()) is not None:
            guarded = session.terms.tls_required and not session.secured
            assert not guarded or isinstance(event, StartTls | Fault), "where TLS is required nothing goes before it"
            match event:
                case Mail():
                    session.answer(replies.SENDER_OK)
                case Rcpt():
                    session.answer(replies.RECIPIENT_OK)
                case Data():
                    session.answer(replies.START_DATA)
                case Message(content):
                    self.messages.append(content)
                    session.answer(replies.OK)
                case Credentials(system_id):
                    session.answer(replies.LOGIN_REFUSED if system_id == b"x" else replies.LOGGED_IN)
                case Impersonate():
                    session.answer(session.greeting)
                case StartTls():
                    assert session.state is State.HANDSHAKE
                case Fault(kind):
                    self.faults.append(kind)
        self.said += session.output()


def after(state: str, *pieces: bytes) -> Owner:
    terms, steps = STATES[state]
    owner = Owner(terms)
    for step in steps:
        if step == b"!":
            owner.secure()
        else:
            owner.hear(step)
    assert owner.session.state not in (State.CLOSED, State.HANDSHAKE), state
    owner.said = b""
    for piece in pieces:
        if owner.session.state is State.HANDSHAKE:
            break  # what follows is TLS, and reaches no session
        owner.hear(piece)
    return owner


@given(st.sampled_from(list(STATES)), OCTETS)
@settings(max_examples=400, deadline=None)
def test_nothing_a_client_says_raises_and_each_command_is_answered(state: str, octets: bytes) -> None:
    owner = after(state, octets)
    session = owner.session
    lines = [line for line in owner.said.split(b"\r\n") if line]
    assert owner.said.endswith(b"\r\n") or not owner.said
    assert all(line[:3].isdigit() and line[3:4] in (b" ", b"-") and len(line) <= 510 for line in lines)
    assert not session.stands_still
    assert not session.owes
    # Whatever was a whole line was acted on: nothing stays behind unanswered.
    if session.state not in (State.CLOSED, State.DATA, State.HANDSHAKE):
        assert session.held < 2_048
        said = len(owner.said)
        owner.hear(b"\r\n")
        assert len(owner.said) > said


@given(st.sampled_from(list(STATES)), OCTETS, st.data())
@settings(max_examples=400, deadline=None)
def test_cutting_changes_no_answer(state: str, octets: bytes, data: st.DataObject) -> None:
    whole = after(state, octets)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(octets)), max_size=6)))
    pieces = [octets[a:b] for a, b in zip([0, *cuts], [*cuts, len(octets)], strict=True)]
    cut = after(state, *pieces)
    if "starttls_injection" in whole.faults or "pipelining" in whole.faults:
        shared = whole.said.rsplit(b"\r\n", 2)[0]
        assert cut.said.startswith(shared)
        return
    if "starttls_injection" in cut.faults or "pipelining" in cut.faults:
        raise AssertionError("a cut can hide what came too early, not make it")
    assert (cut.said, cut.messages, cut.faults) == (whole.said, whole.messages, whole.faults)
    assert cut.session.state is whole.session.state


@given(OCTETS)
@settings(max_examples=200, deadline=None)
def test_nobody_sends_before_the_login_that_is_required(octets: bytes) -> None:
    """Whatever is said in TLS, without right credentials no transaction opens."""
    owner = after("secured", octets.replace(b"AGEAYg", b"AHgAeA").replace(b"XCLIENT", b"XKLIENT"))
    if not owner.session.account:
        assert not owner.messages
        assert owner.session.state not in (State.MAIL, State.RCPT, State.DATA)
