"""DKIM signatures for the copies of a message: relaxed/relaxed with SHA-256 (RFC 6376; RFC 8463 for Ed25519).

The notice breaks whatever signature a message came with, and one-click unsubscribe counts only when List-Unsubscribe
and List-Unsubscribe-Post are covered by a valid one (RFC 8058 §4). So the copies are signed after the change.

`Copies` takes the first copy apart. Of the others only the octets around the links are canonicalised again; the fields
they share, and the body up to the first link, are hashed once. What remains per copy is mostly the key's own work.
"""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from filters.mime import fields

if TYPE_CHECKING:
    from hashlib import _Hash

RSA_BITS_MIN: Final = 1024
"""A shorter key must not sign (RFC 8301 §3.2); Gmail takes its signatures for none."""

RSA_BITS_GOOD: Final = 2048
"""What RFC 8301 §3.2 asks of signers, and what fits in a DNS answer."""

RSA_BITS_MAX: Final = 4096
"""Verifiers need not take longer keys (RFC 8301 §3.2), and one signature would take milliseconds."""

SIGNATURES: Final = frozenset((b"dkim-signature", b"x-google-dkim-signature", b"domainkey-signature"))
"""The fields, in lower case, that hold for the message as it came: DKIM, Google's own form of it, and DomainKeys."""

_UNSUBSCRIBE: Final = b"list-unsubscribe"
# RFC 6376 §5.4.1 and what describes the body. The only one that differs between copies comes last.
_SIGNED: Final = (
    *(b"from", b"sender", b"reply-to", b"subject", b"date", b"message-id", b"to", b"cc", b"in-reply-to", b"references"),
    *(b"resent-date", b"resent-from", b"resent-to", b"resent-cc"),
    *(b"mime-version", b"content-type", b"content-transfer-encoding"),
    *(b"list-id", b"list-help", b"list-subscribe", b"list-post", b"list-owner", b"list-archive"),
    *(b"list-unsubscribe-post", _UNSUBSCRIBE),
)
# Named once more than they are there (RFC 6376 §8.15): one that is added on the way breaks the signature. Of those in
# the second set this holds where there is one, since a relay may add what is missing (RFC 6409 §8).
_CLOSED: Final = frozenset((b"from", b"reply-to", b"subject", b"list-unsubscribe-post", _UNSUBSCRIBE))
_CLOSED_IF_THERE: Final = frozenset(
    (
        *(b"sender", b"date", b"message-id", b"to", b"cc"),
        *(b"mime-version", b"content-type", b"content-transfer-encoding"),
    )
)
_INSTANCES_MAX: Final = 10  # of one field; more are not signed, so that the signature stays short

_CRLF: Final = b"\r\n"
_FOLD: Final = b"\r\n\t"
_WIDTH: Final = 72
_SIGNATURE: Final = re.compile(rb"(?:\A|\n)(?:%b)[ \t]*+:" % b"|".join(SIGNATURES), re.IGNORECASE)
_LABEL: Final = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_DOMAIN: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})+")
_SELECTOR: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_NAME_MAX: Final = 253  # RFC 1035 §3.1, as text

_SHA256: Final = Prehashed(hashes.SHA256())
_PKCS1: Final = PKCS1v15()


class KeyUnusable(ValueError):
    """A private key, domain or selector cannot sign; the text says why, in words for whoever configured it."""


class Signer:
    """A private key (PEM, RSA or Ed25519) that signs for `domain` (d=) under `selector` (s=). Raises KeyUnusable."""

    __slots__ = ("_key", "algorithm", "bits", "domain", "selector")

    def __init__(self, key_pem: bytes, domain: str, selector: str) -> None:
        self.domain = _checked(domain, _DOMAIN, "a domain name, such as example.com.tr")
        self.selector = _checked(selector, _SELECTOR, "a selector, such as izinli-2026")
        if len(self.record_name) > _NAME_MAX:
            raise KeyUnusable(f"{self.record_name} is too long for a name in DNS")
        self._key = _private_key(key_pem)
        self.algorithm = b"rsa-sha256" if isinstance(self._key, RSAPrivateKey) else b"ed25519-sha256"
        self.bits = self._key.key_size if isinstance(self._key, RSAPrivateKey) else 256

    @property
    def weak(self) -> bool:
        """An RSA key shorter than it should be."""
        return isinstance(self._key, RSAPrivateKey) and self.bits < RSA_BITS_GOOD

    @property
    def record_name(self) -> str:
        """Where the public key is looked for: the name of a TXT record (RFC 6376 §3.6.2.1)."""
        return f"{self.selector}._domainkey.{self.domain}"

    @property
    def record(self) -> str:
        """The text of that record (RFC 6376 §3.6.1; RFC 8463 §4: the bare 32 octets of an Ed25519 key)."""
        public = self._key.public_key()
        if isinstance(self._key, RSAPrivateKey):
            kind, octets = "rsa", public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        else:
            kind, octets = "ed25519", public.public_bytes(Encoding.Raw, PublicFormat.Raw)
        return f"v=DKIM1; k={kind}; p={b64encode(octets).decode()}"

    def field(self, names: Iterable[bytes], signed: _Hash, body_hash: bytes, t: int) -> bytes:
        """The DKIM-Signature field, folded, with CRLF at its end.

        `names` are those of the signed fields, `signed` is what these hash to (it is not changed), `t` Unix time in
        seconds.
        """
        tags = b"v=1; a=%b; c=relaxed/relaxed; t=%d;\r\n\td=%b; s=%b;\r\n\th=%b;\r\n\tbh=%b;\r\n\tb=" % (
            self.algorithm,
            t,
            self.domain.encode("ascii"),
            self.selector.encode("ascii"),
            _folded(names),
            b64encode(body_hash),
        )
        whole = signed.copy()
        whole.update(b"dkim-signature:" + tags.replace(_FOLD, b" "))
        signature = b64encode(self._signature(whole.digest()))
        lines = [signature[at : at + _WIDTH] for at in range(0, len(signature), _WIDTH)]
        return b"DKIM-Signature: " + tags + _FOLD.join(lines) + _CRLF

    def _signature(self, digest: bytes) -> bytes:
        if isinstance(self._key, RSAPrivateKey):
            return self._key.sign(digest, _PKCS1, _SHA256)
        return self._key.sign(digest)  # RFC 8463 §3: the digest is the message


class Copies:
    """The copies of one message, ready to be signed.

    `pieces` make the first copy, and `kept` are the indices of those that are whole lines and the same in each copy (as
    `MailPlan` has them). Beyond the other pieces nothing may differ, and of signed fields only List-Unsubscribe.
    """

    __slots__ = ("_begun", "_fields", "_names", "_offset", "_pending", "_prefix", "_runs", "_seam")

    def __init__(self, pieces: Sequence[bytes | memoryview], kept: Collection[int] = ()) -> None:
        self._seam, self._offset = _seam(pieces)
        self._names, self._fields = _headers(self._head(pieces))
        self._runs = _runs(pieces, kept, self._seam, self._offset)
        prefix = b""
        if self._runs and isinstance(self._runs[0], bytes):
            prefix = self._runs.pop(0)  # type: ignore[assignment]
        lines = prefix.rstrip(_CRLF)
        self._pending = prefix[len(lines) :]  # counts unless nothing follows
        self._begun = bool(lines)
        self._prefix = hashlib.sha256(lines)

    def sign(self, pieces: Sequence[bytes | memoryview], signers: Iterable[Signer], t: int) -> bytes:
        """One copy's signature fields, to be put on top of it; none if it has no From, which each must cover."""
        if not self._names:
            return b""
        signed = self._fields.copy()
        head = self._head(pieces)
        signed.update(b"".join(_named(head, _lowered(head), _UNSUBSCRIBE)))
        body_hash = self._body(pieces)
        return b"".join([signer.field(self._names, signed, body_hash, t) for signer in signers])

    def _head(self, pieces: Sequence[bytes | memoryview]) -> bytes:
        """The header section of a copy, with its last CRLF."""
        whole, cut = pieces[: self._seam], pieces[self._seam : self._seam + 1]
        return b"".join([*whole, *(piece[: self._offset] for piece in cut)]).removesuffix(_CRLF)

    def _body(self, pieces: Sequence[bytes | memoryview]) -> bytes:
        """The hash of a copy's body."""
        rest = [self._pending]
        for run in self._runs:
            rest.append(run if isinstance(run, bytes) else _reduced(b"".join(pieces[run[0] : run[2]])[run[1] :]))
        lines = _closed(b"".join(rest))
        hashed = self._prefix.copy()
        if lines:
            hashed.update(lines)
        elif self._begun:
            hashed.update(_CRLF)
        return hashed.digest()


def sign(message: bytes, signers: Iterable[Signer], t: int) -> bytes:
    """The signature fields of a single message, whose lines end in CRLF."""
    return Copies([message]).sign([message], signers, t)


def is_signed(message: bytes) -> bool:
    """Whether a message came with a signature of its own."""
    end = message.find(b"\r\n\r\n")
    return _SIGNATURE.search(message, 0, len(message) if end < 0 else end) is not None


def relaxed_body(body: bytes) -> bytes:
    """RFC 6376 §3.4.4; lines end in CRLF, the last one perhaps in nothing."""
    return _closed(_reduced(body))


def relaxed_field(name: bytes, value: bytes) -> bytes:
    """RFC 6376 §3.4.2; `name` in lower case without blanks, `value` as it stands in the message."""
    return name + b":" + _reduced(value.replace(_CRLF, b"")).strip(b" ") + _CRLF


def _checked(text: str, form: re.Pattern[str], what: str) -> str:
    """`text` in lower case. Raises KeyUnusable."""
    name = text.lower()
    if not form.fullmatch(name):
        raise KeyUnusable(f"{text!r} is not {what}")
    return name


def _private_key(pem: bytes) -> RSAPrivateKey | Ed25519PrivateKey:
    try:
        key = load_pem_private_key(pem, None)
    except TypeError as error:
        raise KeyUnusable("the private key is encrypted; it must stand in the file as it is") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyUnusable("there is no private key in PEM form") from error
    if isinstance(key, Ed25519PrivateKey):
        return key
    if not isinstance(key, RSAPrivateKey):
        raise KeyUnusable("the private key is neither RSA nor Ed25519")
    if not RSA_BITS_MIN <= key.key_size <= RSA_BITS_MAX:
        raise KeyUnusable(
            f"an RSA key of {key.key_size} bits; it must have {RSA_BITS_MIN} to {RSA_BITS_MAX}, best {RSA_BITS_GOOD}"
        )
    return key


def _reduced(lines: bytes) -> bytes:
    """White space between words made one blank, that at line ends none (RFC 6376 §3.4.4 a)."""
    # A handful of scans in C; a regular expression calls back for each run of blanks and takes ten times as long.
    if b"\t" in lines:
        lines = lines.replace(b"\t", b" ")
    while b"  " in lines:
        lines = lines.replace(b"  ", b" ")
    return lines.replace(b" \r\n", _CRLF)


def _closed(lines: bytes) -> bytes:
    """Empty lines at the end taken away, a missing last CRLF put there (RFC 6376 §3.4.4 b); empty stays empty."""
    lines = lines.rstrip(b" \r\n")
    return lines + _CRLF if lines else b""


def _seam(pieces: Sequence[bytes | memoryview]) -> tuple[int, int]:
    """Where the body begins, behind the empty line: the index of a piece and an offset in it."""
    copy = b"".join(pieces)
    at = 2 if copy.startswith(_CRLF) else copy.find(b"\r\n\r\n") + 4
    if at == 3:
        return len(pieces), 0
    for index, piece in enumerate(pieces):
        if at == 0 or at < len(piece):
            return index, at
        at -= len(piece)
    return len(pieces), 0


def _headers(head: bytes) -> tuple[list[bytes], _Hash]:
    """The names for h=, and the hash of the fields all copies share; no names when there is no From."""
    names: list[bytes] = []
    hashed = hashlib.sha256()
    lower = _lowered(head)
    for name in _SIGNED:
        found = _named(head, lower, name)
        if name == b"from" and not found:
            break
        closed = name in _CLOSED or (bool(found) and name in _CLOSED_IF_THERE)
        names += [name] * (len(found) + (closed and len(found) < _INSTANCES_MAX))
        if name != _UNSUBSCRIBE:
            hashed.update(b"".join(found))
    return names, hashed


def _lowered(head: bytes) -> bytes:
    """A header section in the form that `mime.fields` reads."""
    return b"\n" + head.lower()


def _named(head: bytes, lower: bytes, name: bytes) -> list[bytes]:
    """The canonical fields of this name in a header section, the lowest first (RFC 6376 §5.4.2)."""
    if b"\n" + name not in lower:
        return []
    found = [(one.start(2) - 1, one.end(2) - 1) for one in fields(lower, name) if one[1] == name]
    return [relaxed_field(name, head[start:end]) for start, end in found[: -_INSTANCES_MAX - 1 : -1]]


def _runs(
    pieces: Sequence[bytes | memoryview], kept: Collection[int], seam: int, offset: int
) -> list[bytes | tuple[int, int, int]]:
    """The body as runs of whole lines: canonical octets, or (first index, offset in it, end index) of what differs."""
    runs: list[bytes | tuple[int, int, int]] = []
    for index in range(seam, len(pieces)):
        start = offset if index == seam else 0
        last = runs[-1] if runs else b""
        if index in kept:
            runs.append(_reduced(bytes(pieces[index][start:])))
        elif isinstance(last, tuple):
            runs[-1] = (last[0], last[1], index + 1)
        else:
            runs.append((index, start, index + 1))
    return runs


def _folded(names: Iterable[bytes]) -> bytes:
    """The value of h=, in lines."""
    lines = [b"h="]
    for name in names:
        if len(lines[-1]) + len(name) > _WIDTH:
            lines.append(b"")
        lines[-1] += name + b":"
    return _FOLD.join(lines)[2:-1]
