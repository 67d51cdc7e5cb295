"""One canonical form of an e-mail address or a telephone number, or None. Never "best effort".

The canonical form is what the consent key is made of; the original spelling is what is forwarded. Two spellings that
reach different people must never share a canonical form (promise I3), so whatever is odd has none.

E-mail follows the rules of the national system (İYS API, definitions): ASCII, lower case, 6–265 octets, `+` labels and
dots are part of the address. Case is folded by `bytes.lower`: `str.lower` turns İ into two code points and the Kelvin
sign into k. Telephone numbers are E.164 with a plus.
"""

from __future__ import annotations

import re

import idna

EMAIL_LENGTH_MIN = 6  # "1@2.2x": the shortest the national system takes
EMAIL_LENGTH_MAX = 265
_SPELLING_LENGTH_MAX = 4 * EMAIL_LENGTH_MAX  # a domain in UTF-8, in the widest script

_LABEL = rb"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_EMAIL = re.compile(rb"([A-Za-z0-9._+-]{1,64})@((?:%s\.)+[A-Za-z](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9]))\.?" % _LABEL)
_QUOTED = re.compile(rb'"([A-Za-z0-9._+-]{1,64})"(@.+)', re.DOTALL)

_MOBILE = re.compile(rb"(?:(?:\+|00)?90|0)?(5[0-9]{9})")
_MOBILE_E164 = re.compile(rb"(?:\+|00)?90(5[0-9]{9})|0(5[0-9]{9})")
_FIXED = re.compile(rb"(?:(?:\+|00)?90|0)([2-48][0-9]{9})")
_E164 = re.compile(rb"(?:\+|00)([1-9][0-9]{7,14})")
_DIGITS = re.compile(rb"[1-9][0-9]{7,14}")


def canonical_email(raw: bytes) -> bytes | None:
    """Canonical form of the content of an RFC 5321 path (without the angle brackets), or None.

    None for everything the national system cannot hold a consent for: comments, routes, needed quotes, percent signs,
    address literals, non-ASCII local parts. An internationalised domain becomes its A-label, if IDNA 2008 (UTS 46) and
    IDNA 2003 agree on one: next hops follow either, and with ß or ς they reach different people.
    """
    if len(raw) > _SPELLING_LENGTH_MAX:
        return None
    if (match := _EMAIL.fullmatch(raw)) is None:
        return _rare_email(raw)
    local, domain = match.groups()
    length = len(local) + 1 + len(domain)
    if not EMAIL_LENGTH_MIN <= length <= EMAIL_LENGTH_MAX:
        return None
    return b"%b@%b" % (local.lower(), domain.lower())


def _rare_email(raw: bytes) -> bytes | None:
    """Needlessly quoted local parts and internationalised domains; each is rewritten once and judged again."""
    if (quoted := _QUOTED.fullmatch(raw)) is not None:
        return canonical_email(quoted[1] + quoted[2])
    local, at, domain = raw.rpartition(b"@")
    if not at or domain.isascii() or not local.isascii():
        return None
    try:
        text = domain.decode()
        ascii_domain = idna.encode(text, uts46=True).lower()
        if text.encode("idna").lower() != ascii_domain:
            return None
    except (UnicodeError, idna.IDNAError):
        return None
    return canonical_email(local + b"@" + ascii_domain)


def canonical_msisdn(raw: bytes, *, international: bool = False) -> bytes | None:
    """Canonical form of a telephone number: b"+905550000001", or None.

    Turkish numbers are taken in national (0555…, 555…) and international (90555…, 0090555…, +90555…) spelling; others
    need a plus or 00. `international` says that the digits are E.164 without a plus (SMPP TON 1): then 5550000001 is
    a Brazilian number and not a Turkish one. Blanks, brackets and dashes between digits are dropped; a zero after the
    country code, other scripts' digits, letters and extensions leave no canonical form.
    """
    match = (_MOBILE_E164 if international else _MOBILE).fullmatch(raw)
    if match is not None:
        return b"+90" + (match[1] or match[2] if international else match[1])
    if not raw or len(raw) > 40:
        return None
    if any(mark in raw for mark in b" ()-"):
        return canonical_msisdn(raw.translate(None, b" ()-"), international=international)
    if (match := _FIXED.fullmatch(raw)) is not None:
        return b"+90" + match[1]
    if (match := _E164.fullmatch(raw)) is not None:
        return _foreign(match[1])
    if international and _DIGITS.fullmatch(raw):
        return _foreign(raw)
    return None


def _foreign(digits: bytes) -> bytes | None:
    """E.164 digits of another country; a Turkish number that came this far is malformed (+9005…, +90 with 8 digits)."""
    return None if digits.startswith(b"90") else b"+" + digits


def is_mobile(canonical: bytes) -> bool:
    """Whether a canonical number is a Turkish mobile, the only kind that MESAJ consents are kept for."""
    return len(canonical) == 13 and canonical.startswith(b"+905")
