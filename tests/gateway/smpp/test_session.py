"""The state table, as conversations without sockets."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import limits
from gateway.smpp.session import Answer, Event, Fault, Session, State
from tests.gateway.smpp import support
from tests.gateway.smpp.support import (
    ALERT,
    BIND_RX,
    BIND_TRX,
    BIND_TX,
    CANCEL,
    DATA,
    DELIVER,
    ENQUIRE,
    NACK,
    QUERY,
    REPLACE,
    RESP,
    SUBMIT,
    SUBMIT_MULTI,
    UNBIND,
    Pdu,
    pdu,
)

ROK, INVCMDLEN, INVCMDID, INVBNDSTS, ALYBND, SYSERR, T_APPN = 0, 2, 3, 4, 5, 8, 0x64
BINDS = {"tx": BIND_TX, "rx": BIND_RX, "trx": BIND_TRX}


def said(session: Session) -> list[Pdu]:
    """What the session says, as PDUs."""
    octets, pdus = session.output(), []
    while octets:
        length, command, status, sequence = struct.unpack_from(">IIII", octets)
        pdus.append(Pdu(command, status, sequence, octets[16:length]))
        octets = octets[length:]
    return pdus


def heard(session: Session, *octets: bytes, now: float = 0.0) -> list[Event]:
    events = []
    for one in octets:
        session.receive(one, now)
        while (event := session.next_event()) is not None:
            events.append(event)
    return events


def bound(state: str = "trx") -> Session:
    session = Session(0.0)
    if state != "open":
        command = BINDS[state]
        (event,) = heard(session, pdu(command, 1, support.bind_body()))
        assert event[:3] == (command, 0, 1)
        session.bound(command, ROK, 1, b"smsc\0")
        assert said(session) == [Pdu(command | RESP, ROK, 1, b"smsc\0")]
    return session


@pytest.mark.parametrize("command", [SUBMIT, SUBMIT_MULTI, DATA, QUERY, CANCEL, REPLACE])
@pytest.mark.parametrize("state", ["open", "tx", "rx", "trx"])
def test_what_is_handed_out_in_which_state(command: int, state: str) -> None:
    """Table 2-1, but for replace_sm, which it has on a transmitter alone."""
    allowed = state in ("tx", "trx") or (command == DATA and state == "rx")
    session = bound(state)
    whole = pdu(command, 9, b"body")
    events = heard(session, whole)
    if allowed:
        assert events == [(command, 0, 9, whole)]
        assert session.owed == 1
        assert said(session) == []
    else:
        assert events == [Fault("bad_state")]
        assert said(session) == [Pdu(command | RESP, INVBNDSTS, 9, b"")]


@pytest.mark.parametrize("command", [DELIVER, ALERT, 0x0B, 0x111, 0x7777])
@pytest.mark.parametrize("state", ["open", "tx", "rx", "trx"])
def test_what_no_client_may_ask_is_nacked_with_its_sequence_number(command: int, state: str) -> None:
    """outbind (0x0B) among it, which is an SMSC's to say."""
    session = bound(state)
    assert heard(session, pdu(command, 77)) == [Fault("bad_command")]
    assert said(session) == [Pdu(NACK, INVCMDID, 77, b"")]
    assert session.state is not State.CLOSED


@pytest.mark.parametrize("state", ["open", "tx", "rx", "trx"])
def test_enquire_link_is_answered_everywhere(state: str) -> None:
    session = bound(state)
    assert heard(session, pdu(ENQUIRE, 5)) == []
    assert said(session) == [Pdu(ENQUIRE | RESP, ROK, 5, b"")]


def test_a_second_bind_is_told_that_the_first_stands() -> None:
    session = bound("tx")
    assert heard(session, pdu(BIND_TRX, 2, support.bind_body())) == [Fault("bad_state")]
    assert said(session) == [Pdu(BIND_TRX | RESP, ALYBND, 2, b"")]


def test_nothing_is_taken_before_the_bind_is_answered() -> None:
    session = Session(0.0)
    events = heard(session, pdu(BIND_TX, 1, support.bind_body()) + pdu(SUBMIT, 2, b"x"))
    assert [event[0] for event in events] == [BIND_TX, "bad_state"]
    assert said(session) == [Pdu(SUBMIT | RESP, INVBNDSTS, 2, b"")]


def test_a_refused_bind_is_the_end() -> None:
    session = Session(0.0)
    heard(session, pdu(BIND_TX, 1, support.bind_body()))
    session.bound(BIND_TX, 0x0E, 1)
    assert said(session) == [Pdu(BIND_TX | RESP, 0x0E, 1, b"")]
    assert session.state is State.CLOSED
    assert heard(session, pdu(ENQUIRE, 2)) == []


def test_i2_an_unbind_is_answered_after_what_is_owed() -> None:
    session = bound()
    heard(session, pdu(SUBMIT, 2, b"x"), pdu(UNBIND, 3))
    assert said(session) == []
    session.respond(SUBMIT | RESP, ROK, 2, b"id\0")
    assert [one.command for one in said(session)] == [SUBMIT | RESP, UNBIND | RESP]
    assert session.state is State.CLOSED


def test_an_impossible_length_is_nacked_and_closes() -> None:
    session = bound()
    events = heard(session, pdu(ENQUIRE, 2) + struct.pack(">IIII", 15, ENQUIRE, 0, 3))
    assert events == [Fault("bad_length")]
    assert said(session) == [Pdu(ENQUIRE | RESP, ROK, 2, b""), Pdu(NACK, INVCMDLEN, 3, b"")]
    assert session.state is State.CLOSED


@pytest.mark.parametrize(("state", "taken"), [("open", False), ("tx", False), ("rx", True), ("trx", True)])
def test_what_the_smsc_sends_goes_to_receivers(state: str, taken: bool) -> None:
    session = bound(state)
    assert session.request(DELIVER, b"mo", 4711, 0.0) is taken
    assert said(session) == ([Pdu(DELIVER, ROK, 1, b"mo")] if taken else [])


def test_i3_an_answer_finds_its_request() -> None:
    session = bound()
    for token in (70, 80):
        assert session.request(DELIVER, b"mo", token, 0.0)
    said(session)
    assert heard(session, pdu(DELIVER | RESP, 2, b"\0")) == [Answer(DELIVER | RESP, 80, ROK, b"\0")]
    assert heard(session, pdu(NACK, 1)) == [Answer(DELIVER | RESP, 70, T_APPN, b"")]
    assert heard(session, pdu(DELIVER | RESP, 1)) == [Fault("unknown_response")]


def test_an_answer_of_another_kind_is_none() -> None:
    session = bound()
    session.request(DELIVER, b"mo", 70, 0.0)
    assert heard(session, pdu(DATA | RESP, 1)) == [Fault("unknown_response")]
    assert heard(session, pdu(DELIVER | RESP, 1, status=0x65)) == [Answer(DELIVER | RESP, 70, 0x65, b"")]


def test_i3_answers_for_a_lost_smsc_reach_no_other() -> None:
    session = bound()
    session.request(DELIVER, b"mo", 70, 0.0)
    session.forget_requests()
    assert heard(session, pdu(DELIVER | RESP, 1)) == [Fault("unknown_response")]


def test_requests_of_its_owners_own_outlive_the_smsc() -> None:
    session = bound()
    assert session.request(DELIVER, b"mo", 70, 0.0)
    assert session.request(DELIVER, b"receipt", -1, 0.0)
    session.forget_requests()
    assert heard(session, pdu(DELIVER | RESP, 1)) == [Fault("unknown_response")]
    assert heard(session, pdu(DELIVER | RESP, 2)) == [Answer(DELIVER | RESP, -1, ROK, b"")]


def test_a_client_that_is_not_listened_to_is_not_silent() -> None:
    session = bound()
    for now in range(0, 10 * int(limits.SMPP_INACTIVITY_S), 10):
        session.excuse(float(now))
        assert session.tick(float(now)) == []
    assert session.tick(now + limits.SMPP_INACTIVITY_S + 1) == [Fault("timeout")]


def test_an_alert_has_no_answer() -> None:
    session = bound()
    assert session.request(ALERT, b"alert", None, 0.0)
    assert session.tick(limits.SMPP_RESPONSE_S + 1)[:1] in ([], [Fault("timeout")])
    assert heard(session, pdu(NACK, 1)) == [Fault("unknown_response")]


def test_i7_what_a_client_does_not_answer_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SMPP_DELIVERIES_MAX", 2)
    session = bound()
    assert [session.request(DELIVER, b"", n, 0.0) for n in range(3)] == [True, True, False]
    heard(session, pdu(DELIVER | RESP, 1))
    assert session.request(DELIVER, b"", 4, 0.0)


# the timers of §7.2


def test_session_init_timer() -> None:
    session = Session(0.0)
    assert session.tick(limits.SMPP_SESSION_INIT_S) == []
    assert session.tick(limits.SMPP_SESSION_INIT_S + 1) == [Fault("timeout")]
    assert session.state is State.CLOSED


def test_enquire_link_timer_then_inactivity_timer() -> None:
    session = bound()
    assert session.tick(limits.SMPP_ENQUIRE_LINK_S) == []
    assert said(session) == []
    later = limits.SMPP_ENQUIRE_LINK_S + 1
    assert session.tick(later) == []
    assert said(session) == [Pdu(ENQUIRE, ROK, 1, b"")]
    session.tick(later + 1)
    assert said(session) == []
    assert heard(session, pdu(ENQUIRE | RESP, 1), now=later + 2) == []
    assert session.tick(later + 3) == []
    assert session.tick(later + 2 + limits.SMPP_INACTIVITY_S + 1) == [Fault("timeout")]
    assert session.state is State.CLOSED


def test_response_timer_tells_the_smsc_to_try_again() -> None:
    session = bound()
    session.request(DELIVER, b"mo", 70, 0.0)
    heard(session, pdu(ENQUIRE, 9), now=limits.SMPP_RESPONSE_S)
    events = session.tick(limits.SMPP_RESPONSE_S + 1)
    assert events == [Fault("timeout"), Answer(DELIVER | RESP, 70, T_APPN, b"")]
    assert session.tick(limits.SMPP_RESPONSE_S + 2) == []


# draining


def test_draining_answers_what_is_owed_refuses_what_is_new_and_unbinds() -> None:
    session = bound()
    heard(session, pdu(SUBMIT, 2, b"x"))
    session.drain()
    heard(session, pdu(SUBMIT, 3, b"x"))
    assert said(session) == [Pdu(SUBMIT | RESP, SYSERR, 3, b"")]
    session.respond(SUBMIT | RESP, ROK, 2, b"id\0")
    assert said(session) == [Pdu(SUBMIT | RESP, ROK, 2, b"id\0"), Pdu(UNBIND, ROK, 1, b"")]
    heard(session, pdu(UNBIND | RESP, 1))
    assert session.state is State.CLOSED


def test_a_client_that_ignores_our_unbind_is_left() -> None:
    session = bound()
    session.drain()
    said(session)
    assert session.tick(1.0) == []
    assert session.tick(1.1 + limits.SMPP_UNBIND_S) == [Fault("timeout")]
    assert session.state is State.CLOSED


COMMANDS = [BIND_TX, BIND_TRX, SUBMIT, ENQUIRE, UNBIND, DATA, DELIVER, NACK, DELIVER | RESP, UNBIND | RESP, 0x9999]
STREAM = st.lists(
    st.one_of(
        st.builds(pdu, st.sampled_from(COMMANDS), st.integers(0, 4), st.binary(max_size=20), st.integers(0, 3)),
        st.binary(max_size=20),
    ),
    max_size=12,
).map(b"".join)


def converse(stream: bytes, size: int) -> tuple[list[Event], list[Pdu], State]:
    """A whole session in pieces of `size` octets; each request is answered at once."""
    session, events, answers = Session(0.0), [], []
    for at in range(0, len(stream), size):
        session.receive(stream[at : at + size], 0.0)
        while (event := session.next_event()) is not None:
            events.append(event)
            if event[0] in (BIND_TX, BIND_TRX):
                session.bound(event[0], ROK, event[2])  # type: ignore[misc, arg-type]
                session.request(DELIVER, b"mo", 1, 0.0)
            elif event[0] == SUBMIT:
                session.respond(SUBMIT | RESP, ROK, event[2])  # type: ignore[misc, arg-type]
        answers += said(session)
    return events, answers, session.state


@given(STREAM)
def test_any_octets_in_any_pieces_never_raise_and_give_the_same(stream: bytes) -> None:
    whole = converse(stream, len(stream) or 1)
    assert converse(stream, 1) == whole
    assert converse(stream, 7) == whole
