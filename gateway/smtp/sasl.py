"""The two login exchanges that mail clients use, without sockets: PLAIN (RFC 4616) and LOGIN (never an RFC; Outlook,
and many a printer, have nothing else). Both show the password to whoever listens, so the session offers them in TLS
alone.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Final, NamedTuple

from gateway.smtp.grammar import Fault

MECHANISMS: Final = (b"PLAIN", b"LOGIN")
_USERNAME, _PASSWORD = b64encode(b"Username:"), b64encode(b"Password:")
_CANCELLED: Final = Fault(501, "5.7.0", "authentication cancelled")
_UNREADABLE: Final = Fault(501, "5.5.2", "cannot read this response")


class Credentials(NamedTuple):
    """What a client says it is; nothing is proven yet."""

    system_id: bytes
    password: bytes


class Exchange:
    """One AUTH command and its responses."""

    def __init__(self, mechanism: bytes) -> None:
        """`mechanism` is one of MECHANISMS."""
        self._is_plain = mechanism == b"PLAIN"
        self._system_id: bytes | None = None

    def begin(self, initial: bytes) -> bytes | Credentials | Fault:
        """`initial`: the response in the AUTH command itself, if any; "=" is an empty one (RFC 4954 §4)."""
        if not initial:
            return b"" if self._is_plain else _USERNAME
        return self.respond(b"" if initial == b"=" else initial)

    def respond(self, line: bytes) -> bytes | Credentials | Fault:
        """The client's line to the next challenge (in base64), to what it claims, or to the end of the exchange."""
        if line == b"*":
            return _CANCELLED
        try:
            response = b64decode(line, validate=True)
        except ValueError:
            return _UNREADABLE
        if self._is_plain:
            return _plain(response)
        if self._system_id is None:
            self._system_id = response
            return _PASSWORD
        return Credentials(self._system_id, response)


def _plain(response: bytes) -> Credentials | Fault:
    """RFC 4616 §2: authorization identity, NUL, authentication identity, NUL, password."""
    parts = response.split(b"\0")
    if len(parts) != 3:
        return _UNREADABLE
    acting_for, system_id, password = parts
    if acting_for not in (b"", system_id):
        return Fault(535, "5.7.8", "nobody may log in for somebody else")
    return Credentials(system_id, password)
