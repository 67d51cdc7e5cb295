"""A national API on an ASGI transport with a clock that is moved by hand, and short ways to speak to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import httpx

from filters.model import Brand
from filters.passwords import SALT_OCTETS, Hash, make
from registry.ledger import Ledger
from registry.national.app import create_api
from registry.national.rates import Rates
from registry.national.state import Api, Options
from registry.publish import Publisher
from tests.registry.support import KEY, NOW

IYS = 700100
BRAND = 700101  # a sub-brand of 700100
OTHER = 700200  # another firm's master brand
BRANDS = {
    IYS: Brand(IYS, "Örnek Market", "Örnek Market Ticaret A.Ş.", "0123456789000015", IYS),
    BRAND: Brand(BRAND, "Örnek Kahve", "Örnek Market Ticaret A.Ş.", "0123456789000015", IYS),
    OTHER: Brand(OTHER, "Deneme Moda", "Deneme Moda Ltd. Şti.", "0555000111200001", OTHER),
}
FREE = Rates(per_second=0, tokens_per_hour=0, status_per_hour=0, history_per_hour=0)
PASSWORD = "a password of these tests"
HASH: Hash = make(PASSWORD.encode(), bytes(SALT_OCTETS))
CLIENT = "api@firma.test"
READER = "okur@firma.test"
STRANGER = "api@baska.test"
B = f"/sps/{IYS}/brands/{BRAND}"


@dataclass
class Clock:
    """Stands still until it is moved."""

    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **by: float) -> None:
        self.now += timedelta(**by)


@dataclass
class Served:
    """An API, its clock, and a client that has logged in as CLIENT."""

    api: Api
    clock: Clock
    http: httpx.AsyncClient
    tokens: dict[str, str] = field(default_factory=dict)

    async def token(self, name: str = CLIENT) -> str:
        """An access token of one of the clients."""
        if name not in self.tokens:
            said = {"username": name, "password": PASSWORD, "grant_type": "password"}
            self.tokens[name] = (await self.http.post("/oauth2/token", json=said)).json()["access_token"]
        return self.tokens[name]

    async def ask(self, method: str, path: str, body: Any = None, *, as_: str = CLIENT) -> httpx.Response:
        headers = {"authorization": f"Bearer {await self.token(as_)}"}
        options: dict[str, Any] = {} if body is None else {"json": body}
        return await self.http.request(method, path, headers=headers, **options)

    async def add(self, *, path: str = f"{B}/consents", **fields: Any) -> httpx.Response:
        """Add the consent of vector A1 with other fields; None takes a field away."""
        body = {name: value for name, value in {**A1, **fields}.items() if value is not None}
        return await self.ask("POST", path, body)

    async def status(self, recipient: str = "+905321112233", **fields: str) -> httpx.Response:
        said = {"recipient": recipient, "type": "MESAJ", "recipientType": "BIREYSEL", **fields}
        return await self.ask("POST", f"{B}/consents/status", said)


A1: Mapping[str, Any] = {
    "recipient": "+905321112233",
    "type": "MESAJ",
    "source": "HS_WEB",
    "status": "ONAY",
    "consentDate": "2026-03-03 18:05:00",
    "recipientType": "BIREYSEL",
}
V2 = f"/v2{B}/consents"


@asynccontextmanager
async def served(ledger: Ledger, publisher: Publisher, rates: Rates = FREE, **options: Any) -> AsyncIterator[Served]:
    clock = Clock()
    api = Api(ledger, publisher, BRANDS, KEY, Options(rates, clock=clock, **options))
    api.access.add(CLIENT, HASH, {IYS: True, BRAND: True}, NOW)
    api.access.add(READER, HASH, {BRAND: False}, NOW)
    api.access.add(STRANGER, HASH, {OTHER: True}, NOW)
    transport = httpx.ASGITransport(create_api(api), raise_app_exceptions=False)
    try:
        async with httpx.AsyncClient(transport=transport, base_url="https://izin.example.com.tr") as http:
            yield Served(api, clock, http)
    finally:
        api.close()


def codes(response: httpx.Response) -> list[str]:
    """The codes of an answer in the national shape."""
    return [one["code"] for one in response.json()["errors"]]
