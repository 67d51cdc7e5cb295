"""How a gateway hands a rejection to its registry: the contract between the planes, as `filters.key` is for the index.

    POST {registry}{PATH}
    Authorization: Bearer <the secret, in hex>
    {"brands": [100001], "channel": "MESAJ", "recipient": "+905550000001", "source": "HS_MESAJ"}

`recipient` is canonical (`filters.address`). 200 and nothing else: recorded, and in effect everywhere.
"""

from __future__ import annotations

from typing import Final

PATH: Final = "/internal/rejections"
BRANDS_MAX: Final = 100
"""In one request: each is four writes in one transaction."""


def bearer(secret: bytes) -> str:
    """The value of the Authorization field."""
    return f"Bearer {secret.hex()}"
