"""What intermediaries ask: vectors AH1 and AH2, with user and password."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import httpx
import pytest

from filters.passwords import make
from registry.index.embedded import SqliteIndexWriter
from registry.ledger import Ledger
from registry.limits import API_SESSION_SECONDS
from registry.national import basic
from registry.national.rates import Rates
from registry.national.rest import Manners
from registry.publish import Publisher
from tests.registry.national.support import BRAND, OTHER, PASSWORD, READER, STRANGER, Served, codes, served
from tests.registry.support import NOW

VECTOR = "Basic ZGVtby1haHM6czNjcmV0LXB3"  # demo-ahs:s3cret-pw
FIRST, SECOND, THIRD = "+905321112233", "+905331112233", "+905341112233"
ASKED = {"recipients": [FIRST, SECOND, THIRD]}


def credentials(name: str, password: str = PASSWORD) -> str:
    return "Basic " + b64encode(f"{name}:{password}".encode()).decode()


def path(kind: str = "BIREYSEL", channel: str = "MESAJ", brand: int = BRAND) -> str:
    return f"/brands/{brand}/consents/{kind}/rejected/{channel}"


async def ask(api: Served, where: str, body: Any = ASKED, authorization: str = VECTOR) -> httpx.Response:
    headers = {"authorization": authorization} if authorization else {}
    if body is None:
        return await api.http.get(where, headers=headers)
    return await api.http.post(where, json=body, headers=headers)


async def fill(api: Served) -> None:
    api.api.access.add("demo-ahs", make(b"s3cret-pw", bytes(16)), {BRAND: False}, NOW)
    for kind in ("BIREYSEL", "TACIR"):
        for recipient in (FIRST, SECOND):
            assert (await api.add(recipient=recipient, recipientType=kind)).status_code == 200
        rejection = {"status": "RET", "consentDate": "2026-03-04 09:00:00"}
        assert (await api.add(recipient=SECOND, recipientType=kind, **rejection)).status_code == 200


@pytest.fixture
async def filled(api: Served) -> Served:
    await fill(api)
    return api


async def test_ah1_consumers_nobody_knows_of_are_on_the_list(filled: Served) -> None:
    answer = await ask(filled, path())
    assert (answer.status_code, answer.json()) == (200, {"list": [SECOND, THIRD]})


async def test_ah2_merchants_nobody_knows_of_are_not(filled: Served) -> None:
    assert (await ask(filled, path("TACIR"))).json() == {"list": [SECOND]}


async def test_ah2_unless_that_is_chosen(sqlite_ledger: Ledger, embedded: SqliteIndexWriter) -> None:
    manners = Manners(unknown_merchants_rejected=True)
    async with served(sqlite_ledger, Publisher(sqlite_ledger, embedded), manners=manners) as api:
        await fill(api)
        assert (await ask(api, path("TACIR"))).json() == {"list": [SECOND, THIRD]}


async def test_the_list_is_spelled_as_the_question(filled: Served) -> None:
    body = {"recipients": ["+9005321112233", "x", FIRST]}
    for kind in ("BIREYSEL", "TACIR"):
        assert (await ask(filled, path(kind), body)).json() == {"list": ["+9005321112233", "x"]}


async def test_the_brands_of_a_tax_number(filled: Served) -> None:
    (brand,) = (await ask(filled, "/brands/1234567890", None)).json()
    assert (brand["brandCode"], brand["name"]) == (BRAND, "Örnek Kahve")
    for tin in ("5550001112", "x", "123456789"):  # another firm's, and no number
        assert codes(await ask(filled, f"/brands/{tin}", None)) == ["X440"]


NOBODYS = [
    "",
    "Basic",
    "Basic !",
    "Basic eA==",
    "Bearer x",
    credentials(READER, "wrong"),
    credentials("nobody"),
    "Digest x",
]


async def test_whoever_has_no_password_hears_nothing(filled: Served) -> None:
    for authorization in NOBODYS:
        for where, body in ((path(), ASKED), ("/brands/1234567890", None)):
            answer = await ask(filled, where, body, authorization)
            assert (answer.status_code, codes(answer)) == (401, ["H351"]), authorization


async def test_others_brands_are_others(filled: Served) -> None:
    assert codes(await ask(filled, path(), authorization=credentials(STRANGER))) == ["H353"]
    assert codes(await ask(filled, path(brand=OTHER))) == ["H353"]
    assert (await filled.ask("POST", path(), ASKED, as_=READER)).json() == {"list": [SECOND, THIRD]}  # a token does too


WRONG = [
    (path("KURUMSAL"), ASKED, "H116"),
    (path(channel="SMS"), ASKED, "H117"),
    (path(), {"recipients": []}, "H164"),
    (path(), {}, "H168"),
    (path(), {"recipients": "x"}, "H478"),
    (path(), {"recipients": ["ada@example.test"]}, "H464"),
    (path(), {"recipients": [FIRST, FIRST]}, "H193"),
]


async def test_what_is_asked_wrongly(filled: Served) -> None:
    for where, body, code in WRONG:
        answer = await ask(filled, where, body)
        assert (answer.status_code, codes(answer)) == (422, [code]), (where, body, code)


async def test_a_password_is_checked_once_and_counts_no_longer_than_its_user(
    filled: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[str] = []
    slow = basic.Basics._login

    def counted(self: basic.Basics, name: str, password: bytes) -> basic.Login:
        checked.append(name)
        return slow(self, name, password)

    monkeypatch.setattr(basic.Basics, "_login", counted)
    for _ in range(5):
        assert (await ask(filled, path())).status_code == 200
    assert checked == ["demo-ahs"]
    monkeypatch.setattr(basic, "API_SESSION_SECONDS", 0.0)
    assert (await ask(filled, path())).status_code == 200
    assert checked == ["demo-ahs"]  # looked up again, and not hashed again
    filled.api.access.remove("demo-ahs", NOW)
    assert (await ask(filled, path())).status_code == 401
    filled.api.access.add("demo-ahs", make(b"another one", bytes(16)), {BRAND: False}, NOW)
    assert (await ask(filled, path())).status_code == 401
    assert API_SESSION_SECONDS > 0


async def test_guessing_is_counted_as_logins_are(sqlite_ledger: Ledger, embedded: SqliteIndexWriter) -> None:
    rates = Rates(per_second=0, tokens_per_hour=3, status_per_hour=0, history_per_hour=0)
    async with served(sqlite_ledger, Publisher(sqlite_ledger, embedded), rates) as api:
        statuses = [(await ask(api, path(), authorization=credentials(READER, f"{n}"))).status_code for n in range(4)]
        assert statuses == [401, 401, 401, 429]


async def test_who_waits_to_be_asked_for_a_password_is_asked(filled: Served) -> None:
    """As .NET's and Java's clients do (RFC 7617 section 2): the first request has none."""

    class WhenAsked(httpx.Auth):
        def auth_flow(self, request: httpx.Request) -> Any:
            answer = yield request
            assert answer.headers["www-authenticate"].startswith("Basic realm=")
            request.headers["authorization"] = VECTOR
            yield request

    answer = await filled.http.post(path(), json=ASKED, auth=WhenAsked())
    assert answer.json() == {"list": [SECOND, THIRD]}
    refused = await filled.http.get("/sps/700100/brands")
    assert refused.headers["www-authenticate"] == "Bearer"
