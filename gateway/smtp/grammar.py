"""Command lines of RFC 5321 §4.1.2, as strictly as they are written there.

What is checked must be what is sent (promise I3), so nothing is repaired: no comments, no missing brackets, no source
routes (§3.6.1 calls them obsolete; `<@a:b@c>` is refused instead of reduced), no blanks inside a path. One leniency:
blanks between the colon and the path, which much software sends and which cannot change an address.
"""

from __future__ import annotations

import re
from typing import NamedTuple

# RFC 5321 §4.5.3.1 would allow 64 + 1 + 255 in parts but 256 for a path; senders with VERP exceed the 256.
PATH_OCTETS_MAX = 320

# RFC 5322 §3.2.3 atext; RFC 6531 §3.3 adds the octets above 127, checked as UTF-8 below.
# Runs are possessive: no octet can end them in two ways. Groups are not, for Python before 3.11.5 does not go back to
# the beginning of a possessive group that fails (its issue 106052).
_ATEXT = rb"[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~\x80-\xff]++"
_LOCAL = rb'(?:%b(?:\.%b)*|"(?:[\x20\x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\x20-\x7e])*")' % (_ATEXT, _ATEXT)
_LABEL = rb"[A-Za-z0-9\x80-\xff]++(?:-++[A-Za-z0-9\x80-\xff]++)*"
_DOMAIN = rb"(?:%b(?:\.%b)*|\[[\x21-\x5a\x5e-\x7e]+\])" % (_LABEL, _LABEL)
_MAILBOX = rb"%b@%b" % (_LOCAL, _DOMAIN)
_PARAMETERS = rb"((?: +[A-Za-z0-9][A-Za-z0-9-]*(?:=[\x21-\x3c\x3e-\x7e\x80-\xff]+)?)*) *"

_MAIL = re.compile(rb"(?i:FROM): *<(|%b)>%b" % (_MAILBOX, _PARAMETERS))
_RCPT = re.compile(rb"(?i:TO): *<(%b|(?i:postmaster))>%b" % (_MAILBOX, _PARAMETERS))  # §4.5.1: postmaster alone

_XTEXT = rb"(?:[\x21-\x2a\x2c-\x3c\x3e-\x7e]|\+[0-9A-F]{2})"  # RFC 3461 §4
_VALUES: dict[bytes, dict[bytes, re.Pattern[bytes] | None]] = {
    b"MAIL": {
        b"BODY": re.compile(rb"7BIT|8BITMIME", re.IGNORECASE),  # RFC 6152 §2
        b"SIZE": re.compile(rb"[0-9]{1,20}"),  # RFC 1870 §3
        b"SMTPUTF8": None,  # RFC 6531 §3.4, no value
        b"RET": re.compile(rb"FULL|HDRS", re.IGNORECASE),  # RFC 3461 §4.3
        b"ENVID": re.compile(_XTEXT + rb"{1,100}"),  # RFC 3461 §4.4
        b"AUTH": re.compile(_XTEXT + rb"{1,500}"),  # RFC 4954 §5
    },
    b"RCPT": {
        b"NOTIFY": re.compile(
            rb"NEVER|(?:SUCCESS|FAILURE|DELAY)(?:,(?:SUCCESS|FAILURE|DELAY)){0,2}", re.IGNORECASE
        ),  # RFC 3461 §4.1
        b"ORCPT": re.compile(rb"[A-Za-z0-9-]+;[\x21-\x3c\x3e-\x7e\x80-\xff]{1,500}"),  # RFC 3461 §4.2, RFC 6533 §3
    },
}

Parameters = dict[bytes, bytes]
"""Keyword in capitals to the parameter as it was sent, keyword and case included: `b"ENVID": b"envid=Ab+2B"`."""

NO_PARAMETERS: Parameters = {}


class Path(NamedTuple):
    """An accepted MAIL or RCPT argument: the mailbox between the angle brackets (empty: null sender)."""

    mailbox: bytes
    parameters: Parameters


class Fault(NamedTuple):
    """A refused argument: the reply it earns."""

    code: int
    enhanced: str
    text: str


def mail_path(argument: bytes) -> Path | Fault:
    """`FROM:<mailbox> [parameters]` of a MAIL command."""
    return _path(_MAIL, b"MAIL", argument)


def rcpt_path(argument: bytes) -> Path | Fault:
    """`TO:<mailbox> [parameters]` of a RCPT command."""
    return _path(_RCPT, b"RCPT", argument)


def _path(pattern: re.Pattern[bytes], verb: bytes, argument: bytes) -> Path | Fault:
    match = pattern.fullmatch(argument)
    if match is None:
        return Fault(
            501, "5.5.4", f"syntax: {verb.decode()} {'FROM' if verb == b'MAIL' else 'TO'}:<address> [parameters]"
        )
    mailbox: bytes = match[1]
    if len(mailbox) > PATH_OCTETS_MAX:
        return Fault(501, "5.1.7" if verb == b"MAIL" else "5.1.3", "address is too long")
    if not argument.isascii() and not _is_utf8(argument):
        return Fault(501, "5.1.7" if verb == b"MAIL" else "5.1.3", "address is neither ASCII nor UTF-8")
    if not match[2]:
        return Path(mailbox, NO_PARAMETERS)
    parameters = _parameters(verb, match[2])
    return Path(mailbox, parameters) if isinstance(parameters, dict) else parameters


def _parameters(verb: bytes, text: bytes) -> Parameters | Fault:
    """RFC 5321 §4.1.1.11: unknown parameters earn 555, malformed or repeated ones 501."""
    known = _VALUES[verb]
    parameters: Parameters = {}
    for token in text.split():
        name, equals, value = token.partition(b"=")
        keyword = name.upper()
        if keyword not in known:
            return Fault(555, "5.5.4", f"{verb.decode()} parameter not supported")
        grammar = known[keyword]
        if keyword in parameters or (grammar.fullmatch(value) is None if grammar else equals):
            return Fault(501, "5.5.4", f"syntax of parameter {keyword.decode()}")
        parameters[keyword] = token
    parameters.pop(b"AUTH", None)  # RFC 4954 §5: it is passed on only to a next hop that trusts us with it; none does
    return parameters


def _is_utf8(octets: bytes) -> bool:
    try:
        octets.decode("utf-8", "strict")
    except UnicodeDecodeError:
        return False
    return True
