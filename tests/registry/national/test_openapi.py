"""The API as it describes itself: nobody sees another's brands on any route, and nothing breaks it."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings

from registry.ledger import Ledger
from registry.national.app import PREFIXES
from tests.registry.national.support import BRAND, IYS, OTHER, READER, STRANGER, B, Served, codes

PUBLIC = {("POST", "/oauth2/token")}
PARTS = {"iysCode": str(IYS), "brandCode": str(BRAND), "type": "MESAJ", "recipientType": "BIREYSEL"}
BODIES: tuple[Any, ...] = (None, {}, [], {"recipients": ["+905321112233"]})


def operations(document: dict[str, Any]) -> list[tuple[str, str]]:
    """(method, path) of every route."""
    found = [(method.upper(), path) for path, methods in document["paths"].items() for method in methods]
    assert len(found) >= 6, "hardly anything was described: the walk would pass for the wrong reason"
    return found


async def described(api: Served) -> dict[str, Any]:
    answer = await api.http.get("/openapi.json")
    assert answer.status_code == 200
    document: dict[str, Any] = answer.json()
    return document


def filled(path: str, **parts: str) -> str:
    return path.format_map(_Parts({**PARTS, **parts}))


class _Parts(dict[str, str]):
    def __missing__(self, _name: str) -> str:
        return "1"


async def test_no_route_tells_a_stranger_anything(api: Served, sqlite_ledger: Ledger) -> None:
    await api.add()
    head = sqlite_ledger.head()
    for method, path in operations(await described(api)):
        if (method, path) in PUBLIC:
            continue
        paths = [filled(path), filled(path, iysCode=str(OTHER))] if "brandCode" in path else [filled(path)]
        for where in paths:
            for body in BODIES:
                answer = await api.ask(method, where, body, as_=STRANGER)
                assert answer.status_code in (401, 403, 404), (method, where)
                assert answer.json().keys() == {"errors"}
                nobody = await api.http.request(method, where, json=body)
                assert (nobody.status_code, codes(nobody)) == (401, ["H351"])
    assert sqlite_ledger.head() == head


async def test_who_may_only_read_changes_nothing(api: Served, sqlite_ledger: Ledger) -> None:
    await api.add()
    head = sqlite_ledger.head()
    for path in (f"{B}/consents", f"/v2{B}/consents"):
        answer = await api.ask("POST", path, {}, as_=READER)
        assert (answer.status_code, codes(answer)) == (404, ["H355"])
    assert (await api.ask("POST", f"{B}/consents/status", _one(), as_=READER)).json()["status"] == "ONAY"
    assert sqlite_ledger.head() == head
    master = await api.ask("POST", f"/sps/{IYS}/brands/{IYS}/consents/status", _one(), as_=READER)
    assert codes(master) == ["H353"]


def _one() -> dict[str, str]:
    return {"recipient": "+905321112233", "type": "MESAJ", "recipientType": "BIREYSEL"}


async def test_every_path_is_one_that_the_api_is_asked_for(api: Served) -> None:
    assert all(path.startswith(PREFIXES) for _, path in operations(await described(api)))


async def test_the_documents_are_served(api: Served) -> None:
    assert "swagger" in (await api.http.get("/docs")).text.lower()


@pytest.mark.parametrize(("method", "path", "code"), [("GET", "/sps/", "X404"), ("PUT", f"{B}/consents", "X405")])
async def test_what_is_not_there_is_said_in_the_national_shape(api: Served, method: str, path: str, code: str) -> None:
    answer = await api.ask(method, path)
    assert (answer.status_code, codes(answer)) == (int(code[1:]), [code])
    assert answer.headers["connection"] == "close"


async def test_who_asks_in_another_way_is_told_which_there_are(api: Served) -> None:
    """RFC 9110 §15.5.6."""
    for method in ("PUT", "HEAD", "OPTIONS"):
        assert (await api.ask(method, f"{B}/consents")).headers["allow"] == "POST"
    assert (await api.ask("PATCH", f"{B}/retailers")).headers["allow"] == "GET, POST"
    assert (await api.ask("PUT", "/docs")).headers["allow"] == "GET, HEAD"


async def test_our_own_fault_is_h015_and_tells_nothing(api: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("a secret")

    token = await api.token()
    monkeypatch.setattr(api.api.rulebook, "of", broken)
    answer = await api.http.post(f"{B}/consents", json={}, headers={"authorization": f"Bearer {token}"})
    assert (answer.status_code, codes(answer)) == (500, ["H015"])
    assert "secret" not in answer.text


async def test_whatever_is_sent_nothing_breaks(api: Served) -> None:
    """Schemathesis makes requests from the description, good ones and bad ones."""
    schema = schemathesis.openapi.from_dict(await described(api))
    token = await api.token()
    asked = [result.ok() for result in schema.get_all_operations()]
    assert asked
    cases: list[schemathesis.Case] = []
    for operation in asked:
        for mode in schemathesis.GenerationMode:
            strategy = operation.as_strategy(generation_mode=mode)

            @settings(
                max_examples=4,
                deadline=None,
                database=None,
                derandomize=True,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(case=strategy)
            def collect(case: schemathesis.Case) -> None:
                cases.append(case)

            collect()
    assert len(cases) > 100
    statuses = set()
    for number, case in enumerate(cases):
        if number % 4:  # seldom guessed
            mine = {name: value for name, value in PARTS.items() if name in case.path_parameters}
            case.path_parameters = {**case.path_parameters, **mine}
        made = case.as_transport_kwargs(base_url=str(api.http.base_url))
        made.pop("cookies", None)
        if isinstance(made.get("data"), bytes | str):
            made["content"] = made.pop("data")
        headers = {**dict(made.pop("headers", None) or {}), "authorization": f"Bearer {token}"}
        try:
            answer = await api.http.request(headers=headers, **made)
        except (UnicodeEncodeError, httpx.InvalidURL):
            continue  # it could not be sent at all
        assert answer.status_code < 500, (made, answer.text)
        statuses.add(answer.status_code)
    assert {200, 400, 422} <= statuses
