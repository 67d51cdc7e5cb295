"""Batches: the vectors B1–B4, what becomes of each item, and that nothing is told as done before it is."""

from __future__ import annotations

import re
from functools import partial
from typing import Any
from uuid import UUID

import pytest

from filters.model import Channel, RecipientType, Status
from registry.index.embedded import SqliteIndexWriter
from registry.index.interface import IndexDown
from registry.ledger import Ledger
from registry.national.recorder import Recorder
from registry.rules import Move
from tests.registry.national.support import A1, BRAND, IYS, OTHER, READER, B, Served, codes
from tests.registry.support import fold, may_be_sent, number
from tests.waiting import eventually_async

POST = f"{B}/consents/request"
V2 = f"/v2{B}/consents/request"
HEX = re.compile(r"[0-9a-f]{64}")
VECTOR: list[dict[str, Any]] = [
    {
        "type": "EPOSTA",
        "source": "HS_WEB",
        "recipient": "ada@example.test",
        "status": "ONAY",
        "consentDate": "2026-03-03 18:00:00",
        "recipientType": "BIREYSEL",
    },
    {
        "type": "MESAJ",
        "source": "HS_MOBIL",
        "recipient": "+905321112233",
        "status": "ONAY",
        "consentDate": "2026-03-03 18:05:00",
        "recipientType": "BIREYSEL",
    },
    {
        "type": "MESAJ",
        "source": "HS_MOBIL",
        "recipient": "+905331112233",
        "status": "RET",
        "consentDate": "2026-03-03 18:06:00",
        "recipientType": "BIREYSEL",
    },
]


def consent(index: int, **fields: Any) -> dict[str, Any]:
    return {**A1, "recipient": number(index).decode(), **fields}


def move(index: int, kind: RecipientType = RecipientType.BIREYSEL) -> Move:
    return Move(BRAND, Channel.MESAJ, number(index), kind, Status.ONAY, "HS_WEB", "")


async def accepted(api: Served, items: Any, path: str = POST) -> str:
    answer = await api.ask("POST", path, items)
    assert answer.status_code == 202, answer.text
    request: str = answer.json()["requestId"]
    return request


async def told(api: Served, request: str, path: str = POST) -> list[dict[str, Any]]:
    answer = await api.ask("GET", f"{path}/{request}")
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()
    return found


def work(api: Served) -> None:
    while api.api.rest.batches.work_off():
        pass


async def test_the_vector(api: Served) -> None:
    answer = await api.ask("POST", POST, VECTOR)
    assert answer.status_code == 202
    request, subs = answer.json()["requestId"], answer.json()["subRequests"]
    assert str(UUID(request)) == request
    for said, sub in zip(VECTOR, subs, strict=True):
        assert sub == said | {"subRequestId": sub["subRequestId"], "creationDate": "2026-03-04 10:00:00"}
    assert await told(api, request) == []  # not finished
    api.clock.forward(seconds=131)
    work(api)
    first, second, third = await told(api, request)
    assert HEX.fullmatch(first["transactionId"])
    assert first == {
        "index": 0,
        "status": "success",
        "subRequestId": subs[0]["subRequestId"],
        "requestId": request,
        "transactionId": first["transactionId"],
        "creationDate": "2026-03-04 10:02:11",
    }
    assert (second["index"], second["status"]) == (1, "success")
    assert (third["index"], third["status"], third["error"]["code"]) == (2, "failure", "H175")
    assert third["error"]["message"]
    assert "transactionId" not in third


async def test_what_was_taken_counts_and_a_refused_ret_does_too(
    api: Served, sqlite_ledger: Ledger, embedded: SqliteIndexWriter
) -> None:
    items = [consent(1), consent(2, status="RET"), consent(3, recipientType="TACIR")]
    await accepted(api, items)
    assert sqlite_ledger.head() == 0  # accepted is not recorded
    work(api)
    assert may_be_sent(embedded, sqlite_ledger, move(1))
    assert fold(sqlite_ledger, move(2)) is Status.RET
    assert fold(sqlite_ledger, move(3, RecipientType.TACIR)) is Status.ONAY


async def test_b1_more_than_a_thousand(api: Served, sqlite_ledger: Ledger) -> None:
    answer = await api.ask("POST", POST, [consent(index) for index in range(1001)])
    assert (answer.status_code, codes(answer)) == (422, ["H125"])
    await accepted(api, [consent(index) for index in range(1000)])
    work(api)
    assert sqlite_ledger.head() == 1000


async def test_b2_the_same_key_twice(api: Served) -> None:
    answer = await api.ask("POST", POST, [consent(1), consent(2), consent(1, status="RET")])
    (fault,) = answer.json()["errors"]
    assert (answer.status_code, fault["code"], fault["index"]) == (422, "H194", 2)
    mixed = [
        consent(1, type="EPOSTA", recipient="Ada@example.test"),
        consent(1, type="EPOSTA", recipient="ada@example.test"),
    ]
    assert codes(await api.ask("POST", POST, mixed)) == ["H194"]
    apart = [consent(1), consent(1, type="ARAMA"), consent(1, recipientType="TACIR")]
    await accepted(api, apart)


async def test_b3_one_faulty_item_refuses_the_whole_batch(api: Served, sqlite_ledger: Ledger) -> None:
    items = [consent(1), consent(2), consent(3, recipient="05321112233"), consent(4, name="x"), consent(5)]
    answer = await api.ask("POST", POST, items)
    assert answer.status_code == 422
    assert [(one["code"], one["index"]) for one in answer.json()["errors"]] == [("H121", 2), ("H118", 3)]
    work(api)
    assert sqlite_ledger.head() == 0


NO_BATCHES = [
    ({}, 400, "H092"),
    ([], 400, "H092"),
    (["x"], 400, "H092"),
    ([consent(1), None], 400, "H092"),
    (5, 400, "H092"),
]


async def test_what_is_no_batch(api: Served) -> None:
    for body, status, code in NO_BATCHES:
        answer = await api.ask("POST", POST, body)
        assert (answer.status_code, codes(answer)) == (status, [code]), (body, status, code)


REQUEST_IDS = [
    ("abcde", 422, "H199"),
    ("12345", 422, "H400"),
    ("0b6e0c1e-6d6d-4a6e-9f0a-3f1d0a5c7e110", 422, "H198"),
    ("0b6e0c1e-6d6d-4a6e-9f0a-3f1d0a5c7e11", 404, "X440"),
    ("1%00a", 404, "X440"),
]


async def test_b4_request_ids(api: Served) -> None:
    for request_id, status, code in REQUEST_IDS:
        for path in (POST, V2):
            answer = await api.ask("GET", f"{path}/{request_id}")
            assert (answer.status_code, codes(answer)) == (status, [code]), (request_id, status, code)


async def test_items_see_what_came_before_them(api: Served) -> None:
    """V2 and V3 over batches, V7 within one: a rejection that comes late is its own failure, not the batch's."""
    await accepted(api, [consent(1), consent(2)])
    later = {"consentDate": "2026-03-04 09:00:00"}
    items = [consent(1, status="RET", **later), consent(2), consent(3, consentDate="2026-02-20 10:00:00")]
    second = await accepted(api, items)
    third = await accepted(api, [consent(1, status="RET", consentDate="2026-03-04 09:30:00")])
    work(api)
    found = [one.get("error", {}).get("code", "") for one in await told(api, second)]
    assert found == ["", "H178", "H467"]
    assert [one["error"]["code"] for one in await told(api, third)] == ["H174"]


async def test_v2_the_same_again_names_who_brought_it_first(api: Served, sqlite_ledger: Ledger) -> None:
    first = await accepted(api, [consent(0), consent(1), consent(2)], V2)
    work(api)
    origin = (await told(api, first, V2))[1]
    assert origin["isAddConsentV2Service"] == "true"
    assert "originalRequestInformation" not in origin
    assert (await api.add(path=f"/v2{B}/consents", recipient=number(7).decode())).status_code == 200
    head = sqlite_ledger.head()
    api.clock.forward(hours=1)
    again = await accepted(api, [consent(5), consent(1), consent(7)], V2)
    work(api)
    new, same, single = await told(api, again, V2)
    assert (same["transactionId"], same["creationDate"]) == (origin["transactionId"], origin["creationDate"])
    original = {"requestId": first, "subRequestId": origin["subRequestId"]}
    assert same["originalRequestInformation"] == original
    assert "originalRequestInformation" not in new
    assert single["status"] == "success"
    assert "originalRequestInformation" not in single  # it did not come in a batch
    assert sqlite_ledger.head() == head + 1
    third = await accepted(api, [consent(1)], V2)
    work(api)
    (same,) = await told(api, third, V2)
    assert same["originalRequestInformation"] == original  # the first, not the second
    v1 = await accepted(api, [consent(1)])
    work(api)
    (refused,) = await told(api, v1, V2)
    assert (refused["error"]["code"], refused["isAddConsentV2Service"]) == ("H178", "false")
    assert "isAddConsentV2Service" not in (await told(api, v1))[0]


async def test_a_result_is_told_for_sixty_days(api: Served) -> None:
    request = await accepted(api, [consent(1)])
    work(api)
    api.clock.forward(days=60)
    api.api.rest.batches.forget()
    api.tokens.clear()
    assert len(await told(api, request)) == 1
    api.clock.forward(seconds=1)
    assert (await api.ask("GET", f"{POST}/{request}")).status_code == 404
    assert api.api.rest.batches.forget() == 1


async def test_a_rejection_is_in_the_queue_until_the_index_knows_it(
    api: Served, sqlite_ledger: Ledger, embedded: SqliteIndexWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    await api.add(recipient=number(1).decode())

    def down(*_: object) -> None:
        raise IndexDown("no")

    request = await accepted(api, [consent(1, status="RET", consentDate="2026-03-04 09:00:00"), consent(2)])
    with monkeypatch.context() as patched:
        patched.setattr(api.api.publisher, "publish_now", down)
        work(api)
    rejection, addition = await told(api, request)
    assert (rejection["status"], addition["status"]) == ("enqueue", "success")
    assert "transactionId" not in rejection
    assert may_be_sent(embedded, sqlite_ledger, move(1))  # so nobody may be told otherwise
    work(api)
    assert [one["status"] for one in await told(api, request)] == ["success", "success"]
    assert not may_be_sent(embedded, sqlite_ledger, move(1))


async def test_a_batch_that_can_never_be_recorded_does_not_hold_up_the_others(
    api: Served, sqlite_ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = await accepted(api, [consent(1)])
    with monkeypatch.context() as patched:

        def fail(*_: object) -> None:
            raise KeyError("a bug of ours")

        patched.setattr(Recorder, "record", fail)
        assert api.api.rest.batches.work_off()
    whole = await accepted(api, [consent(2)])
    work(api)
    assert [one["error"]["code"] for one in await told(api, broken)] == ["H101"]
    assert [one["status"] for one in await told(api, whole)] == ["success"]
    assert sqlite_ledger.head() == 1


async def test_who_may_ask(api: Served) -> None:
    answer = await api.ask("POST", POST, [consent(1)], as_=READER)
    assert codes(answer) == ["H355"]
    request = await accepted(api, [consent(1)])
    other = await api.ask("GET", f"/sps/{IYS}/brands/{IYS}/consents/request/{request}")
    assert codes(other) == ["X440"]  # another brand's
    assert codes(await api.ask("GET", f"/sps/{OTHER}/brands/{OTHER}/consents/request/{request}")) == ["H353"]


async def test_the_thread_works_off_what_it_finds(api: Served, sqlite_ledger: Ledger) -> None:
    left = await accepted(api, [consent(1)])  # as by a process that was killed
    api.api.start()
    new = await accepted(api, [consent(2)])
    for request in (left, new):
        await eventually_async(partial(_finished, api, request), within=60, what="a batch is worked off")
    assert sqlite_ledger.head() == 2


async def _finished(api: Served, request: str) -> bool:
    return bool(await told(api, request))
