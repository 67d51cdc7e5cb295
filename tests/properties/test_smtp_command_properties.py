"""The short way of a whole, faultless command line is the long way, only shorter: both answer the same to anything."""

from __future__ import annotations

import re
from unittest.mock import patch

from hypothesis import example, given
from hypothesis import strategies as st

from gateway.smtp import session
from tests.properties.test_smtp_secured_properties import MAIL, OCTETS, RCPT, STATES, after

NOTHING = re.compile(rb"(?!)")


@given(st.sampled_from(sorted(STATES)), st.lists(OCTETS, max_size=4))
@example("ready", [b"mail FROM:<a@b.test>\r\nrCpT TO:<c@d.test>\r\n", b"DATA\r\n"])
@example("ready", [MAIL + RCPT + b"DATA \r\n"])
@example("ready", [b"NOOP " + b"x" * 2041 + b"\r\n"])  # the longest line there may be
@example("ready", [b"NOOP " + b"x" * 2042 + b"\r\n"])
@example("ready", [b"NOOP\rx\r\n"])
@example("password asked", [b"*\r\n"])
def test_both_ways_answer_the_same(state: str, pieces: list[bytes]) -> None:
    short = after(state, *pieces)
    with patch.object(session, "_COMMAND", NOTHING):
        long = after(state, *pieces)
    assert (short.said, short.faults, short.messages) == (long.said, long.faults, long.messages)
    assert short.session.state is long.session.state
    assert short.session.held == long.session.held
