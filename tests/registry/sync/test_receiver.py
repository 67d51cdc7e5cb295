"""The national system pushes: who may, what is taken, once, and not acknowledged before no message passes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from filters.model import Status
from registry.index.interface import IndexDown
from registry.sync.receiver import Receiver
from registry.sync.wire import TEST_RECIPIENT
from registry.web import WebServer
from tests.conftest import accepts, eventually, free_port
from tests.registry.support import BRAND, onay, record, ret
from tests.registry.sync.support import DAY, LATER, PUSHER, SYNCED, Here, row

T1, T2, T3 = ("0" * 63 + digit for digit in "123")
PATH = f"/national/push/{BRAND}"
MAY = (PUSHER.username, PUSHER.password.decode())


@pytest.fixture
def http(we: Here) -> Iterator[httpx.Client]:
    """Speaks to our receiver as the national system does."""
    app = FastAPI()
    receiver = Receiver({SYNCED.code: SYNCED}.get, we.sync.take)
    receiver.add_to(app)
    port = free_port()
    server = WebServer(app, "127.0.0.1", port)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    eventually(lambda: accepts(port), within=30, what="the receiver")
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=60) as client:
        yield client
    server.should_exit = True
    thread.join(30)
    receiver.close()


def push(http: httpx.Client, *rows: dict[str, Any]) -> int:
    return http.post(PATH, json={"list": list(rows)}, auth=MAY).status_code


def test_i5_a_pushed_rejection_stops_the_next_message(we: Here, http: httpx.Client) -> None:
    record(we.ledger, onay(1, DAY))
    assert we.passes(onay(1))
    assert push(http, row(1, "RET", LATER, transaction=T1)) == 200
    assert not we.passes(onay(1))


def test_the_record_that_tries_the_receiver_is_dropped(we: Here, http: httpx.Client) -> None:
    said = {"iysCode": 121212, "brandCode": 121212, "recipient": TEST_RECIPIENT, "type": "EPOSTA", "status": "RET"}
    assert push(http, {**said, "source": "IYS_MOBIL", "transactionId": T1}) == 200
    assert we.events() == []


def test_twice_is_once(we: Here, http: httpx.Client) -> None:
    for _ in range(2):
        assert push(http, row(1, "RET", LATER, transaction=T1)) == 200
    assert push(http, *[row(1, "RET", LATER, transaction=T1)] * 2) == 200
    assert we.events() == ["001 RET national"]


def test_late_and_in_the_wrong_order(we: Here, http: httpx.Client) -> None:
    """P4: an older RET after a newer ONAY; a tie is RET."""
    push(http, row(1, "ONAY", LATER, transaction=T1), row(2, "RET", LATER, transaction=T2))
    push(http, row(1, "RET", DAY, transaction=T3), row(2, "ONAY", LATER, transaction="f" * 64))
    assert (we.stands(onay(1)), we.stands(onay(2))) == (Status.ONAY, Status.RET)
    assert (we.passes(onay(1)), we.passes(onay(2))) == (True, False)


def test_a_closed_line_without_a_date_is_a_rejection_at_its_creation(we: Here, http: httpx.Client) -> None:
    record(we.ledger, onay(1, DAY))
    closed = row(1, "RET", "", transaction=T1, source="IYS_AHS_HAT_KAPATMA", creationDate=LATER)
    assert push(http, closed) == 200
    assert we.stands(ret(1)) is Status.RET


@pytest.mark.parametrize("auth", [None, ("pushuser", "wrong"), ("wrong", "pushpass")])
def test_whoever_cannot_prove_it_is_not_read(we: Here, http: httpx.Client, auth: Any) -> None:
    answer = http.post(PATH, content=b"{" * 1000, auth=auth)
    assert (answer.status_code, "www-authenticate" in answer.headers) == (401, True)
    assert http.post("/national/push/100009", content=b"{}", auth=MAY).status_code == 401


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"list": 1}', b'{"list": [', b"[" * 100_000])
def test_what_is_no_push_is_refused(http: httpx.Client, body: bytes) -> None:
    assert http.post(PATH, content=body, auth=MAY).status_code == 400


def test_a_row_that_cannot_be_read_does_not_keep_the_others(we: Here, http: httpx.Client) -> None:
    odd = [
        1,
        None,
        {},
        row(2, "RED", LATER, transaction=T2),
        row(3, "RET", "4.3.2026", transaction=T3, creationDate=""),
    ]
    assert push(http, *odd, row(1, "RET", LATER, transaction=T1)) == 200  # type: ignore[arg-type]
    assert we.events() == ["001 RET national"]


def test_another_brands_move_is_refused(we: Here, http: httpx.Client) -> None:
    assert push(http, row(1, "RET", LATER, transaction=T1, brandCode=100009)) == 400
    assert we.events() == []


def test_i5_no_200_while_the_index_does_not_know(we: Here, http: httpx.Client, monkeypatch: Any) -> None:
    record(we.ledger, onay(1, DAY))
    assert we.passes(onay(1))

    def down(_: object) -> None:
        raise IndexDown("of this test")

    with monkeypatch.context() as patch:
        patch.setattr(we.publisher, "publish_now", down)
        assert push(http, row(1, "RET", LATER, transaction=T1)) == 503
    assert push(http, row(1, "RET", LATER, transaction=T1)) == 200
    assert not we.passes(onay(1))


def test_who_waits_too_long_is_told_to_come_again(we: Here, http: httpx.Client, monkeypatch: Any) -> None:
    monkeypatch.setattr("registry.sync.receiver.SYNC_PUSH_SECONDS", 0.2)
    go_on = threading.Event()
    publish = we.publisher.publish_now

    def slow(keys: Any) -> None:
        go_on.wait(60)
        publish(keys)

    with monkeypatch.context() as patch:
        patch.setattr(we.publisher, "publish_now", slow)
        assert push(http, row(1, "RET", LATER, transaction=T1)) == 503
        go_on.set()
        eventually(lambda: we.events() == ["001 RET national"], within=30, what="what was late")
