"""Rejections that the gateway hands in: only with the secret, only what is whole, and done when it is answered."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from filters.handover import BRANDS_MAX, PATH
from filters.link import LinkMinter
from filters.model import RecipientType, Status
from registry.citizen import create_app
from registry.index.interface import IndexDown, IndexWriter
from registry.ledger import Ledger
from registry.limits import BODY_BYTES_MAX
from registry.publish import Publisher
from registry.rejections import Refusal, parse
from tests.registry.support import BRAND, BRANDS, LINK_KEY, fold, may_be_sent, number, onay, record, ret

SECRET = bytes(range(32))
GOOD = {"brands": [BRAND], "channel": "MESAJ", "recipient": number(1).decode(), "source": "HS_MESAJ"}
BEARER = {"authorization": f"Bearer {SECRET.hex()}"}
TACIR = RecipientType.TACIR


def client_of(ledger: Ledger, publisher: Publisher, secret: bytes = SECRET) -> httpx.AsyncClient:
    app = create_app(ledger, publisher, LinkMinter({0: LINK_KEY}, 0), BRANDS, internal_secret=secret)
    transport = httpx.ASGITransport(app, client=("192.0.2.1", 1234), raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://registry.test")


@pytest.fixture
async def gateway(sqlite_ledger: Ledger, writer: IndexWriter, publisher: Publisher) -> AsyncIterator[httpx.AsyncClient]:
    record(sqlite_ledger, onay(1), onay(2))
    publisher.ensure()
    async with client_of(sqlite_ledger, publisher) as client:
        client.headers.update(BEARER)
        yield client


def log_of(ledger: Ledger) -> list[tuple[int, str, str, str]]:
    """(brand, recipient type, source, origin) of the rejections in the log."""
    query = "SELECT brand, recipient_type, source, origin FROM consent_event WHERE status = 'RET' ORDER BY seq"
    with ledger._engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(query))]


async def test_i5_it_is_out_of_the_index_when_it_is_answered(
    gateway: httpx.AsyncClient, sqlite_ledger: Ledger, writer: IndexWriter
) -> None:
    assert (await gateway.post(PATH, json=GOOD)).status_code == 200
    assert not may_be_sent(writer, sqlite_ledger, onay(1))
    assert not may_be_sent(writer, sqlite_ledger, onay(1, kind=TACIR))
    assert may_be_sent(writer, sqlite_ledger, onay(2))
    assert log_of(sqlite_ledger) == [(BRAND, "BIREYSEL", "HS_MESAJ", "sms"), (BRAND, "TACIR", "HS_MESAJ", "sms")]


async def test_a_second_time_changes_nothing(gateway: httpx.AsyncClient, sqlite_ledger: Ledger) -> None:
    assert (await gateway.post(PATH, json=GOOD)).status_code == 200
    head = sqlite_ledger.head()
    assert (await gateway.post(PATH, json=GOOD)).status_code == 200
    assert sqlite_ledger.head() == head


async def test_several_brands_are_one_step(gateway: httpx.AsyncClient, sqlite_ledger: Ledger) -> None:
    assert (await gateway.post(PATH, json=GOOD | {"brands": [BRAND, 777, BRAND]})).status_code == 200
    assert {brand for brand, *_ in log_of(sqlite_ledger)} == {BRAND, 777}
    assert len(log_of(sqlite_ledger)) == 4


@pytest.mark.parametrize(
    "said",
    ["", "Bearer", "Bearer " + bytes(32).hex(), f"Basic {SECRET.hex()}", SECRET.hex(), f"Bearer {SECRET.hex()}0", "ğ"],
)
async def test_nobody_without_the_secret(gateway: httpx.AsyncClient, sqlite_ledger: Ledger, said: str) -> None:
    head = sqlite_ledger.head()
    answer = await gateway.post(PATH, json=GOOD, headers=[(b"authorization", said.encode("utf-8"))])
    assert answer.status_code == 401
    assert sqlite_ledger.head() == head


async def test_without_a_secret_there_is_no_such_place(sqlite_ledger: Ledger, publisher: Publisher) -> None:
    async with client_of(sqlite_ledger, publisher, secret=b"") as client:
        assert (await client.post(PATH, json=GOOD, headers={"authorization": "Bearer "})).status_code == 404


async def test_it_is_not_read(gateway: httpx.AsyncClient) -> None:
    assert (await gateway.get(PATH)).status_code == 404


BAD: dict[str, Any] = {
    "no JSON": b"brands=1",
    "not UTF-8": b"\xff",
    "deep": b"[" * 2000,
    "a list": [GOOD],
    "a field too few": {key: value for key, value in GOOD.items() if key != "source"},
    "a field too many": GOOD | {"status": "ONAY"},
    "no brand": GOOD | {"brands": []},
    "many brands": GOOD | {"brands": list(range(1, BRANDS_MAX + 2))},
    "a brand that is true": GOOD | {"brands": [True]},
    "a brand in words": GOOD | {"brands": ["100001"]},
    "a brand out of range": GOOD | {"brands": [2**31]},
    "another channel": GOOD | {"channel": "SMS"},
    "a channel that is a list": GOOD | {"channel": ["MESAJ"]},
    "a number as it is dialled": GOOD | {"recipient": "05550000001"},
    "no number": GOOD | {"recipient": 905550000001},
    "a lone surrogate": GOOD | {"recipient": "\ud800"},
    "a mail address for a number": GOOD | {"recipient": "a@example.test"},
    "the national system's source": GOOD | {"source": "IYS_KISAMESAJ"},
    "a source that is a list": GOOD | {"source": ["HS_MESAJ"]},
}


@pytest.mark.parametrize("body", BAD.values(), ids=BAD.keys())
async def test_what_is_not_whole_changes_nothing(
    gateway: httpx.AsyncClient, sqlite_ledger: Ledger, body: object
) -> None:
    head = sqlite_ledger.head()
    answer = await gateway.post(PATH, content=body if isinstance(body, bytes) else json.dumps(body))
    assert answer.status_code == 400
    assert "0555" not in answer.text
    assert sqlite_ledger.head() == head


async def test_i7_a_long_body_is_refused(gateway: httpx.AsyncClient, sqlite_ledger: Ledger) -> None:
    head = sqlite_ledger.head()
    assert (await gateway.post(PATH, json=GOOD | {"source": "x" * BODY_BYTES_MAX})).status_code == 413
    assert sqlite_ledger.head() == head


@given(st.binary() | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(lambda x: repr(x).encode()))
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_nothing_but_a_value_error_comes_of_any_body(body: bytes) -> None:
    with pytest.raises(ValueError):
        parse(body)


def test_the_largest_request_fits_its_bounds() -> None:
    brands = [2**31 - 1 - at for at in range(BRANDS_MAX)]
    body = f'{{"brands": {brands}, "channel": "MESAJ", "recipient": "+905550000001", "source": "HS_MESAJ"}}'.encode()
    assert len(body) <= BODY_BYTES_MAX
    assert parse(body) == Refusal(sorted(brands), "MESAJ", b"+905550000001", "HS_MESAJ")  # type: ignore[arg-type]


async def test_i5_without_the_index_nothing_is_claimed_and_a_retry_succeeds(
    gateway: httpx.AsyncClient, sqlite_ledger: Ledger, writer: IndexWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(_facts: object) -> None:
        raise IndexDown("redis.internal.example.test:6379")

    with monkeypatch.context() as broken:
        broken.setattr(writer, "put", down)
        answer = await gateway.post(PATH, json=GOOD)
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) > 0
        assert "redis.internal" not in answer.text
    assert (await gateway.post(PATH, json=GOOD)).status_code == 200
    assert not may_be_sent(writer, sqlite_ledger, onay(1))


async def test_i5_without_the_ledger_nothing_is_claimed(
    gateway: httpx.AsyncClient, sqlite_ledger: Ledger, writer: IndexWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(*_: object, **__: object) -> None:
        raise OperationalError("INSERT", {}, Exception("disk I/O error"))

    with monkeypatch.context() as broken:
        broken.setattr(sqlite_ledger, "record", down)
        assert (await gateway.post(PATH, json=GOOD)).status_code == 503
    assert may_be_sent(writer, sqlite_ledger, onay(1))
    assert fold(sqlite_ledger, ret(1)) is Status.ONAY
