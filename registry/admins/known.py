"""Browsers from which a name has logged in before: they have tries of their own, which nobody else can use up.

What OWASP calls device cookies. Such a cookie lets nobody in and names nobody: it only says under which mark the tries
of this name and browser are counted, so that a stranger who keeps trying a name does not keep its owner out.
"""

from __future__ import annotations

import hmac
import secrets
from typing import Final

from registry.providers.vault import Vault

_PURPOSE: Final = "admin browser"
_MARK_OCTETS: Final = 16


class KnownBrowsers:
    """Nothing of them is stored: a cookie is a mark of chance and the keyed digest of name and mark."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    def cookie(self, name: str) -> str:
        """For a browser from which this name has just got in."""
        mark = secrets.token_hex(_MARK_OCTETS)
        return f"{mark}.{self._digest(name, mark)}"

    def mark(self, name: str, cookie: str) -> str:
        """The mark of a cookie that was given for this name, or the empty string."""
        mark, _, digest = cookie.partition(".")
        good = hmac.compare_digest(digest.encode("utf-8", "replace"), self._digest(name, mark).encode())
        return mark if good else ""

    def _digest(self, name: str, mark: str) -> str:
        return self._vault.digest(_PURPOSE, f"{name}\n{mark}").hex()
