"""What the door says: one total table from a verdict to a reply, and the clean passing-on of a next hop's words.

Enhanced codes as RFC 5248 pairs them with basic ones. “Cannot tell” is 4xx, always (promise I4); a refusal says its
reason by the name the journal uses, and the id under which the decision stands there.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from filters.model import Outcome, Reason

LINE_OCTETS_MAX = 512  # RFC 5321 §4.5.3.1.5, CRLF included

BLOCKS: dict[Reason, tuple[int, str, str]] = {
    Reason.NO_CONSENT: (550, "5.7.1", "recipient has not consented to commercial messages of this brand"),
    Reason.REJECTED: (550, "5.7.1", "recipient has refused commercial messages of this brand"),
    Reason.SUSPENDED: (550, "5.7.1", "the sender of this brand is suspended here"),
    Reason.BAD_ADDRESS: (550, "5.7.1", "no consent can exist for an address of this form"),
    Reason.NO_STREAM: (550, "5.7.1", "sender is not configured here"),
    Reason.UNFIT: (550, "5.6.0", "the mandatory notice cannot be put into this message"),
    Reason.SIGNED: (550, "5.7.1", "the mandatory notice would break the DKIM signature of this message"),
}
DEFERS: dict[Reason, tuple[int, str, str]] = {
    Reason.INDEX_DOWN: (451, "4.4.3", "consent cannot be looked up now, try again later"),
    Reason.INDEX_STALE: (451, "4.4.3", "consent cannot be looked up now, try again later"),
    Reason.OVERLOAD: (451, "4.4.5", "too busy now, try again later"),
    Reason.JOURNAL_DOWN: (451, "4.3.0", "cannot record a decision now, try again later"),
    Reason.INTERNAL: (451, "4.3.0", "local error, try again later"),
}


class Reply(NamedTuple):
    """A next hop's answer: its code, and its text without codes' separators, several lines joined by one blank."""

    code: int
    text: bytes


class Each(bytes):
    """The answers to a message that was accepted for several recipients: one line for each (LMTP)."""


def line(code: int, enhanced: str | None, text: str) -> bytes:
    """One reply line; `text` is ours and ASCII."""
    return f"{code} {enhanced} {text}\r\n".encode("ascii") if enhanced else f"{code} {text}\r\n".encode("ascii")


def lines(code: int, texts: list[bytes]) -> bytes:
    """A reply of several lines (RFC 5321 §4.2.1)."""
    head = b"%d" % code
    return b"".join(b"%b-%b\r\n" % (head, text) for text in texts[:-1]) + b"%b %b\r\n" % (head, texts[-1])


OK = line(250, "2.0.0", "ok")
SENDER_OK = line(250, "2.1.0", "ok")
RECIPIENT_OK = line(250, "2.1.5", "ok")
START_DATA = line(354, None, "end data with <CRLF>.<CRLF>")
START_TLS = line(220, "2.0.0", "ready to start TLS")
LOGGED_IN = line(235, "2.7.0", "authentication successful")
LOGIN_REFUSED = line(535, "5.7.8", "authentication credentials invalid")
LOGIN_BUSY = line(454, "4.7.0", "too many logins at once, try again later")
BYE = line(221, "2.0.0", "bye")
NOT_ALLOWED = line(554, "5.7.1", "this client may not relay here")  # RFC 5321 §3.1: instead of 220
TOO_MANY_SESSIONS = line(421, "4.3.2", "too many connections, try again later")
TOO_MANY_OF_CLIENT = line(421, "4.3.2", "too many connections from this address, try again later")
DRAINING = line(421, "4.3.2", "shutting down, try again later")
IDLE = line(421, "4.4.2", "idle for too long")
LOCAL_ERROR = line(451, "4.3.0", "local error, try again later")
LOCAL_ERROR_CLOSING = line(421, "4.3.0", "local error, try again later")
NO_ROOM = line(452, "4.3.1", "too many messages in transit, try again later")
TOO_LARGE = line(552, "5.3.4", "message is too large")
LOOP = line(554, "5.4.6", "too many hops")
CHANGED = line(451, "4.7.1", "consent changed in transit, try again")
NOT_NOTIFIED = line(451, "4.4.1", "some recipients were refused and you could not be notified, try again")
BARE_LINE_END = line(500, "5.5.2", "lines end in CR LF")
CONTENT_FAULTS = {
    "bare_lf": line(550, "5.6.11", "bare LF in content"),
    "bare_cr": line(550, "5.6.11", "bare CR in content"),
    "nul": line(550, "5.6.11", "NUL in content"),
    "long_line": line(550, "5.6.0", "line of more than 998 octets in content"),
}


def verdict(outcome: Outcome, reason: Reason, decision_id: bytes) -> bytes:
    """The answer to one recipient; total over both enumerations.

    What is not PASS and stands in neither table under its outcome is our own fault, and so temporary.
    """
    if outcome is Outcome.PASS:
        return RECIPIENT_OK
    return b"%d %b id=%b\r\n" % (*refusal(outcome, reason), decision_id)


def refusal(outcome: Outcome, reason: Reason, unfit: str = "") -> Reply:
    """`verdict` of what is not PASS, in the form of a next hop's answer; `unfit`: the words of `filters.mail.Unfit`."""
    table = BLOCKS if outcome is Outcome.BLOCK else DEFERS
    code, enhanced, text = table.get(reason, DEFERS[Reason.INTERNAL])
    if reason is Reason.UNFIT and unfit:
        text = f"{text}: {unfit}"
    return Reply(code, f"{enhanced} {reason}: {text}".encode("ascii"))


def passed_on(reply: Reply, decision_id: bytes) -> bytes:
    """The next hop's answer to a message, its class kept, on one line, with our id when it fits.

    421 would end our client's session over the next hop's trouble, so it becomes 451; a class that answers no message
    (1yz, 3yz) is a fault of the next hop, so it becomes 451 too. A missing enhanced code is added (RFC 2034 §4: each
    2yz, 4yz and 5yz reply has one).
    """
    code = reply.code if reply.code // 100 in (2, 4, 5) and reply.code != 421 else 451
    text = reply.text
    if not _has_enhanced_code(text, code):
        text = b"%d.0.0 " % (code // 100) + text
    suffix = b" id=" + decision_id
    room = LINE_OCTETS_MAX - len(b"xyz \r\n")
    if len(text) + len(suffix) <= room:
        text += suffix
    return b"%d %b\r\n" % (code, text[:room])


def sanitised(text: bytes) -> bytes:
    """Printable ASCII only; every other octet becomes `?`, so a hostile next hop cannot speak to our client."""
    return text if text.isascii() and text.decode("ascii").isprintable() else text.translate(_PRINTABLE)


_ENHANCED = re.compile(rb"([245])\.[0-9]{1,3}\.[0-9]{1,3}(?![^ ])")
_PRINTABLE = bytes(octet if 0x20 <= octet <= 0x7E else ord("?") for octet in range(256))


def _has_enhanced_code(text: bytes, code: int) -> bool:
    """RFC 3463 §2: class "." subject "." detail, the class equal to the reply's."""
    found = _ENHANCED.match(text)
    return found is not None and int(found[1]) == code // 100
