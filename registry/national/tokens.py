"""What tokens look like: JSON Web Tokens (RFC 7519) with the claims that clients of the national API read from its own.

They are signed with HS256, but nothing here believes a signature: a token counts while its hash stands in the ledger's
database (`registry.national.access`).
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import msgspec

from filters.model import Brand
from registry.national.access import ACCESS_SECONDS, REFRESH_SECONDS, Client, Minted

_CONTEXT: Final = b"izinli national api tokens"
_CHANCE_OCTETS: Final = 24


class Minter:
    """Makes pairs of tokens; `secret` is a key of this installation."""

    def __init__(self, secret: bytes, brands: Mapping[int, Brand]) -> None:
        self._key = hmac.digest(secret, _CONTEXT, "sha256")
        self._brands = brands

    def mint(self, client: Client, now: datetime) -> Minted:
        """A new pair for the client."""
        seconds = int(now.timestamp())
        mine = [self._brands[code] for code in sorted(client.grants) if code in self._brands]
        about: dict[str, Any] = {
            "preferred_username": client.name,
            "brands": [{"brandCode": brand.code, "name": brand.name} for brand in mine],
            "realm_access": {"roles": ["write" if any(client.grants.values()) else "read"]},
        }
        if mine:
            about["serviceProvider"] = {"title": mine[0].title, "iysCode": mine[0].iys_code}
        access = self._token({"typ": "Bearer", "iat": seconds, "exp": seconds + ACCESS_SECONDS, **about})
        return Minted(access, self._token({"typ": "Refresh", "iat": seconds, "exp": seconds + REFRESH_SECONDS}))

    def _token(self, claims: Mapping[str, Any]) -> str:
        parts = [{"alg": "HS256", "typ": "JWT"}, {"jti": secrets.token_urlsafe(_CHANCE_OCTETS), **claims}]
        said = b".".join(_base64(msgspec.json.encode(part)) for part in parts)
        return (said + b"." + _base64(hmac.digest(self._key, said, hashlib.sha256))).decode("ascii")


def _base64(raw: bytes) -> bytes:
    return urlsafe_b64encode(raw).rstrip(b"=")
