"""The arguments of XCLIENT and XFORWARD, Postfix's commands by which a trusted host says for whom it speaks.

XCLIENT_README: the host takes the client's place for all that follows. XFORWARD_README: it tells what the trace should
say, and nothing else changes. Both write `NAME=value`, values in xtext (RFC 3461 §4).
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from gateway.smtp.grammar import Fault

XCLIENT: Final = (b"NAME", b"ADDR", b"PORT", b"PROTO", b"HELO", b"LOGIN", b"DESTADDR", b"DESTPORT")
XFORWARD: Final = (b"NAME", b"ADDR", b"PORT", b"PROTO", b"HELO", b"IDENT", b"SOURCE")

VALUE_OCTETS_MAX: Final = 255
_UNKNOWN: Final = (b"[UNAVAILABLE]", b"[TEMPUNAVAIL]")
_XTEXT: Final = re.compile(rb"(?:[\x21-\x2a\x2c-\x3c\x3e-\x7e]|\+[0-9A-Fa-f]{2})*")
_HEXCHAR: Final = re.compile(rb"\+([0-9A-Fa-f]{2})")

Attributes = dict[bytes, bytes | None]
"""Name in capitals to the decoded value; None: the host does not know it."""


def read(argument: bytes, known: tuple[bytes, ...]) -> Attributes | Fault:
    """The attributes of one command; `known` is XCLIENT or XFORWARD."""
    attributes: Attributes = {}
    for word in argument.split():
        name, equals, text = word.partition(b"=")
        name = name.upper()
        if name not in known or not equals:
            return Fault(501, "5.5.4", "unknown attribute")
        if _XTEXT.fullmatch(text) is None:
            return Fault(501, "5.5.4", f"syntax of attribute {name.decode()}")
        value = _HEXCHAR.sub(lambda match: bytes((int(match[1], 16),)), text)
        if len(value) > VALUE_OCTETS_MAX or not _is_line(value):
            return Fault(501, "5.5.4", f"syntax of attribute {name.decode()}")
        attributes[name] = None if text.upper() in _UNKNOWN else value
        if name == b"ADDR" and attributes[name] is not None and address(value) is None:
            return Fault(501, "5.5.4", "syntax of attribute ADDR")
    return attributes if attributes else Fault(501, "5.5.4", "no attribute")


def address(value: bytes) -> IPv4Address | IPv6Address | None:
    """`1.2.3.4` or `IPV6:2001:db8::1`; None: neither."""
    text = value.decode("ascii", "replace")
    if "%" in text:
        return None  # a scope means nothing outside the host that wrote it
    if text[:5].upper() == "IPV6:":
        text = text[5:]
    try:
        found = ip_address(text)
    except ValueError:
        return None
    return (isinstance(found, IPv6Address) and found.ipv4_mapped) or found


def _is_line(value: bytes) -> bool:
    """Nothing in it could end a header field."""
    return value.isascii() and value.decode("ascii").isprintable()
