"""The vectors of the token endpoint (T1–T9), and what else can be said to it."""

from __future__ import annotations

from base64 import urlsafe_b64decode
from typing import Any

import httpx
import msgspec
import pytest
from sqlalchemy import select

from registry.limits import API_FORM_OCTETS_MAX, API_SESSION_SECONDS, API_TOKENS_PER_CLIENT_MAX
from registry.national import state
from registry.national.access import Minted, digest_of
from registry.national.tables import api_client, api_token
from tests.registry.national.support import BRAND, CLIENT, IYS, OTHER, PASSWORD, STRANGER, Served, codes

LOGIN = {"username": CLIENT, "password": PASSWORD, "grant_type": "password"}
BRANDS_PATH = f"/sps/{IYS}/brands"


async def ask(api: Served, **said: Any) -> httpx.Response:
    return await api.http.post("/oauth2/token", json=said)


async def with_token(api: Served, token: str, path: str = BRANDS_PATH) -> int:
    return (await api.http.get(path, headers={"authorization": f"Bearer {token}"})).status_code


@pytest.mark.parametrize("form", [False, True], ids=["T1 JSON", "T2 form"])
async def test_a_password_gets_two_tokens(api: Served, form: bool) -> None:
    options: dict[str, Any] = {"data": LOGIN} if form else {"json": LOGIN}
    answer = await api.http.post("/oauth2/token", **options)
    said = answer.json()
    assert answer.status_code == 200
    assert (said["expires_in"], said["refresh_expires_in"], said["token_type"]) == (7200, 14400, "bearer")
    assert await with_token(api, said["access_token"]) == 200
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["connection"] == "close"


async def test_tokens_are_jwt_with_the_claims_that_clients_read(api: Served) -> None:
    token = (await ask(api, **LOGIN)).json()["access_token"]
    head, claims, _ = token.split(".")
    assert msgspec.json.decode(_octets(head)) == {"alg": "HS256", "typ": "JWT"}
    said = msgspec.json.decode(_octets(claims))
    assert said["preferred_username"] == CLIENT
    assert [brand["brandCode"] for brand in said["brands"]] == [IYS, BRAND]
    assert said["serviceProvider"] == {"title": "Örnek Market Ticaret A.Ş.", "iysCode": IYS}
    assert said["exp"] - said["iat"] == 7200


def _octets(part: str) -> bytes:
    return urlsafe_b64decode(part + "=" * (-len(part) % 4))


async def test_t3_a_refresh_token_works_once(api: Served) -> None:
    first = (await ask(api, **LOGIN)).json()
    second = await ask(api, grant_type="refresh_token", refresh_token=first["refresh_token"])
    assert second.status_code == 200
    assert second.json()["refresh_token"] != first["refresh_token"]
    again = await ask(api, grant_type="refresh_token", refresh_token=first["refresh_token"])
    assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")
    third = await ask(api, grant_type="refresh_token", refresh_token=second.json()["refresh_token"])
    assert await with_token(api, third.json()["access_token"]) == 200


WRONG: dict[str, dict[str, Any]] = {
    "T4": {"username": CLIENT, "password": PASSWORD},
    "T5": {**LOGIN, "grant_type": "magic"},
    "T6": {**LOGIN, "password": "wrong"},
    "nobody": {**LOGIN, "username": "nobody@firma.test"},
    "an empty user": {**LOGIN, "username": ""},
    "an empty grant": {**LOGIN, "grant_type": ""},
    "an empty refresh token": {"grant_type": "refresh_token", "refresh_token": ""},
    "no user": {"password": PASSWORD, "grant_type": "password"},
    "an empty password": {**LOGIN, "password": ""},
    "a number": {**LOGIN, "password": 1},
    "a grant that is a list": {**LOGIN, "grant_type": ["password"]},
    "a long password": {**LOGIN, "password": "x" * 129},
    "NUL": {**LOGIN, "username": "a\0b"},
    "no refresh token": {"grant_type": "refresh_token"},
    "an unknown refresh token": {"grant_type": "refresh_token", "refresh_token": "x.y.z"},
}


@pytest.mark.parametrize("said", WRONG.values(), ids=WRONG.keys())
async def test_what_is_wrong_is_said_in_the_oauth_shape(api: Served, said: dict[str, Any]) -> None:
    answer = await ask(api, **said)
    assert answer.status_code == 400
    assert answer.json().keys() == {"error", "error_description"}
    empty, strange = "" in said.values(), said.get("refresh_token")
    assert answer.json()["error"] == ("invalid_grant" if empty or strange else "invalid_request")


async def test_an_access_token_is_no_refresh_token_and_the_other_way_round(api: Served) -> None:
    said = (await ask(api, **LOGIN)).json()
    assert (await ask(api, grant_type="refresh_token", refresh_token=said["access_token"])).status_code == 400
    assert await with_token(api, said["refresh_token"]) == 401


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'"x"', b"\xff", b"[" * 5000, b'{"password":"\\ud800"}'])
async def test_what_is_no_object_is_refused(api: Served, body: bytes) -> None:
    for kind in ("application/json", "text/plain"):
        answer = await api.http.post("/oauth2/token", content=body, headers={"content-type": kind})
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


@pytest.mark.parametrize("body", ["grant_type=password&grant_type=password", "%ff=%ff&" * 20])
async def test_a_bad_form_is_refused(api: Served, body: str) -> None:
    kind = {"content-type": "application/x-www-form-urlencoded"}
    assert (await api.http.post("/oauth2/token", content=body, headers=kind)).status_code == 400


async def test_i7_a_long_body_is_refused(api: Served) -> None:
    answer = await ask(api, **LOGIN, more="x" * API_FORM_OCTETS_MAX)
    assert (answer.status_code, codes(answer)) == (413, ["X413"])


async def test_t8_who_has_no_token_is_told_h351(api: Served) -> None:
    for headers in ({}, {"authorization": "Bearer x"}, {"authorization": "Basic eDp5"}, {"authorization": "Bearer "}):
        answer = await api.http.get(BRANDS_PATH, headers=headers)
        assert (answer.status_code, codes(answer)) == (401, ["H351"])
        assert answer.headers["connection"] == "close"


async def test_t9_brands_of_others_are_told_h353(api: Served) -> None:
    for path in (f"/sps/{OTHER}/brands", f"/sps/{OTHER}/brands/{OTHER}/consents/status"):
        method, body = ("GET", None) if path.endswith("brands") else ("POST", {})
        answer = await api.ask(method, path, body)
        assert (answer.status_code, codes(answer)) == (403, ["H353"])
    mixed = await api.ask("POST", f"/sps/{OTHER}/brands/{BRAND}/consents/status", {})
    assert codes(mixed) == ["H353"]
    unknown = await api.ask("POST", f"/sps/{IYS}/brands/999/consents/status", {})
    assert codes(unknown) == ["H353"]


async def test_codes_are_numbers(api: Served) -> None:
    assert codes(await api.ask("GET", "/sps/abc/brands")) == ["H190"]
    assert codes(await api.ask("POST", f"/sps/{IYS}/brands/x/consents/status", {})) == ["H191"]
    assert codes(await api.ask("GET", "/sps/²/brands")) == ["H190"]


async def test_tokens_end(api: Served) -> None:
    said = (await ask(api, **LOGIN)).json()
    api.clock.forward(seconds=7199)
    assert await with_token(api, said["access_token"]) == 200
    api.clock.forward(seconds=1)
    assert await with_token(api, said["access_token"]) == 401
    api.clock.forward(seconds=7199)
    assert (await ask(api, grant_type="refresh_token", refresh_token=said["refresh_token"])).status_code == 200
    said = (await ask(api, **LOGIN)).json()
    api.clock.forward(seconds=14400)
    assert (await ask(api, grant_type="refresh_token", refresh_token=said["refresh_token"])).status_code == 400


async def test_a_removed_client_is_out(api: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    assert API_SESSION_SECONDS <= 5
    monkeypatch.setattr(state, "API_SESSION_SECONDS", 0.0)
    said = (await ask(api, **LOGIN)).json()
    assert await with_token(api, said["access_token"]) == 200
    assert api.api.access.remove(CLIENT, api.clock())
    assert await with_token(api, said["access_token"]) == 401
    assert (await ask(api, grant_type="refresh_token", refresh_token=said["refresh_token"])).status_code == 400
    assert (await ask(api, **LOGIN)).status_code == 400


async def test_no_secret_stands_in_the_database(api: Served) -> None:
    said = (await ask(api, **LOGIN)).json()
    with api.api.ledger.engine.connect() as connection:
        tokens = connection.execute(select(api_token)).all()
        clients = connection.execute(select(api_client)).all()
    assert {bytes(row.digest) for row in tokens} == {digest_of(said[f"{kind}_token"]) for kind in ("access", "refresh")}
    assert PASSWORD not in str(clients)
    assert all(row.password.startswith("scrypt$") for row in clients)


def test_i7_a_client_has_so_many_tokens_and_no_more(api: Served) -> None:
    access = api.api.access
    for index in range(API_TOKENS_PER_CLIENT_MAX // 2 + 3):
        api.clock.forward(seconds=1)
        access.keep(STRANGER, Minted(f"a{index}", f"r{index}"), api.clock())
    with api.api.ledger.engine.connect() as connection:
        rows = connection.execute(select(api_token).where(api_token.c.client == STRANGER)).all()
    assert len(rows) == API_TOKENS_PER_CLIENT_MAX
    newest = API_TOKENS_PER_CLIENT_MAX // 2 + 2
    assert {digest_of(f"a{newest}"), digest_of(f"r{newest}")} <= {bytes(row.digest) for row in rows}
