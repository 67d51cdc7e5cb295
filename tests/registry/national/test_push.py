"""Receivers of citizens' moves over real HTTPS: taken, told in order, told again, and never in our own network."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from sqlalchemy import select

from filters.model import Channel, RecipientType, Status
from registry.index.embedded import SqliteIndexWriter
from registry.ledger import Ledger, transaction_id
from registry.national.push_delivery import Delivery
from registry.national.rest import Manners
from registry.national.stored import api_push
from registry.publish import Publisher
from registry.rules import Move
from tests.registry.national.receiver import TEST_RECIPIENT, Receiver, receiving
from tests.registry.national.support import BRAND, BRANDS, IYS, READER, B, Served, codes, served
from tests.registry.support import number, record
from tests.waiting import eventually_async

REGISTER, UNREGISTER = f"{B}/push/registration", f"{B}/push/unregistration"
USER, PASSWORD = "pushuser", "pushpass"


@pytest.fixture(scope="module")
def receiver_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    with receiving(tmp_path_factory.mktemp("receiver")) as one:
        yield one


@pytest.fixture
def receiver(receiver_server: Receiver) -> Receiver:
    receiver_server.reset()
    return receiver_server


@pytest.fixture
async def pushing(sqlite_ledger: Ledger, embedded: SqliteIndexWriter, receiver: Receiver) -> AsyncIterator[Served]:
    manners = Manners(push_private=True, push_trust=receiver.trust)
    async with served(sqlite_ledger, Publisher(sqlite_ledger, embedded), manners=manners) as one:
        yield one


def citizen(index: int, status: Status = Status.RET, second: int = 0, **fields: Any) -> Move:
    date = f"2026-03-03 10:00:{second:02d}"
    return Move(BRAND, Channel.MESAJ, number(index), RecipientType.BIREYSEL, status, "IYS_WEB", date)._replace(**fields)


def wanted(receiver: Receiver, **fields: Any) -> dict[str, Any]:
    one = {"url": receiver.url, "type": "MESAJ", "username": USER, "password": PASSWORD}
    return {name: value for name, value in {**one, **fields}.items() if value is not None}


async def register(api: Served, *connections: dict[str, Any]) -> None:
    answer = await api.ask("POST", REGISTER, {"connection": list(connections)})
    assert answer.status_code == 200, answer.text
    assert answer.json() == {"message": "Bağlantı Oluşturuldu"}


def deliver(api: Served) -> None:
    while api.api.rest.delivery.step():
        pass


async def test_p1_a_receiver_is_tried_with_a_fixed_record(pushing: Served, receiver: Receiver) -> None:
    await register(pushing, wanted(receiver))
    ((path, credentials, (move,)),) = receiver.heard
    assert (path, credentials) == ("/hook", f"{USER}:{PASSWORD}")
    assert move["recipient"] == TEST_RECIPIENT
    assert (move["iysCode"], move["brandCode"], move["source"]) == (121212, 121212, "IYS_MOBIL")
    (listed,) = (await pushing.ask("GET", REGISTER)).json()
    assert listed == {
        "url": receiver.url,
        "type": "MESAJ",
        "status": "Bağlantı Oluşturuldu",
        "registerTime": "2026-03-04 10:00:00",
    }


async def test_of_several_all_are_registered_or_none(pushing: Served, receiver: Receiver) -> None:
    """Whoever is told no has changed nothing, also when the last of them is to blame."""
    good, gone = wanted(receiver), wanted(receiver, type="ARAMA", url="https://nowhere.invalid/")
    third = [wanted(receiver, url=f"{receiver.url}?{index}") for index in range(3)]
    for connections, code in (([good, gone], "H530"), (third, "X430")):
        answer = await pushing.ask("POST", REGISTER, {"connection": connections})
        assert (answer.status_code, codes(answer)) == (422, [code])
        assert (await pushing.ask("GET", REGISTER)).json() == []
    await register(pushing, good, wanted(receiver, type="ARAMA"))
    assert len((await pushing.ask("GET", REGISTER)).json()) == 2


async def test_moves_of_citizens_from_then_on(pushing: Served, receiver: Receiver, sqlite_ledger: Ledger) -> None:
    record(sqlite_ledger, citizen(9))
    await register(pushing, wanted(receiver))
    moves = [citizen(1, Status.ONAY), citizen(1, second=1), citizen(2)]
    others = [
        citizen(3, channel=Channel.ARAMA),
        citizen(4, brand=IYS),
        citizen(5, Status.ONAY, source="HS_WEB"),
    ]
    record(sqlite_ledger, *moves, *others)
    deliver(pushing)
    assert receiver.moves == [
        {
            "iysCode": IYS,
            "brandCode": BRAND,
            "consentDate": one.consent_date,
            "creationDate": "2026-03-04 10:00:00",
            "source": "IYS_WEB",
            "recipient": one.recipient.decode(),
            "recipientType": "BIREYSEL",
            "status": one.status.value,
            "type": "MESAJ",
            "transactionId": transaction_id(one).hex(),
        }
        for one in moves
    ]
    deliver(pushing)
    assert len(receiver.moves) == 3


async def test_many_moves_in_order_and_in_pieces(pushing: Served, receiver: Receiver, sqlite_ledger: Ledger) -> None:
    await register(pushing, wanted(receiver))
    record(sqlite_ledger, *(citizen(index) for index in range(1234)))
    deliver(pushing)
    assert [move["recipient"] for move in receiver.moves] == [number(index).decode() for index in range(1234)]
    assert max(len(moves) for _, _, moves in receiver.heard) == 100


async def test_who_fails_is_told_later_from_where_it_stopped(
    pushing: Served, receiver: Receiver, sqlite_ledger: Ledger
) -> None:
    await register(pushing, wanted(receiver))
    record(sqlite_ledger, *(citizen(index) for index in range(150)))
    receiver.status = 503
    waits = []
    for _ in range(10):
        deliver(pushing)
        with sqlite_ledger.engine.connect() as connection:
            next_at = connection.execute(select(api_push.c.next_at)).scalar_one()
        waits.append(next_at - int(pushing.clock().timestamp()))
        deliver(pushing)  # left alone: it hears nothing
        pushing.clock.forward(seconds=waits[-1])
    assert waits == [5, 10, 20, 40, 80, 160, 320, 640, 900, 900]
    pushing.tokens.clear()
    assert (await pushing.ask("GET", REGISTER)).json()[0]["status"] == "Bağlantı Oluşturulamadı"
    record(sqlite_ledger, citizen(150))
    receiver.status = 200
    deliver(pushing)
    assert [move["recipient"] for move in receiver.moves] == [number(index).decode() for index in range(151)]
    assert (await pushing.ask("GET", REGISTER)).json()[0]["status"] == "Bağlantı Oluşturuldu"


async def test_another_process_waits_for_the_one_that_delivers(
    pushing: Served, receiver: Receiver, sqlite_ledger: Ledger
) -> None:
    await register(pushing, wanted(receiver))
    record(sqlite_ledger, citizen(1))
    rest = pushing.api.rest
    (due,) = rest.registrations.due()
    assert rest.registrations.take(due, "another process") is not None
    deliver(pushing)
    assert receiver.moves == []
    pushing.clock.forward(seconds=121)  # it was killed: its lease ends
    deliver(pushing)
    assert len(receiver.moves) == 1
    restarted = Delivery(sqlite_ledger.engine, rest.registrations, rest.outward, BRANDS)
    assert restarted.step() is False
    assert len(receiver.moves) == 1  # how far it was told outlives the process


async def test_the_thread_delivers(pushing: Served, receiver: Receiver, sqlite_ledger: Ledger) -> None:
    pushing.api.start()
    await register(pushing, wanted(receiver))
    record(sqlite_ledger, citizen(1))
    await eventually_async(lambda: len(receiver.moves) == 1, within=60, what="a move is pushed")


async def test_a_password_is_sealed(pushing: Served, receiver: Receiver, sqlite_ledger: Ledger) -> None:
    await register(pushing, wanted(receiver))
    with sqlite_ledger.engine.connect() as connection:
        row = connection.execute(select(api_push)).one()
    assert PASSWORD.encode() not in bytes(row.password)
    assert PASSWORD not in str(tuple(row))


async def test_the_same_address_again_has_a_new_password(
    pushing: Served, receiver: Receiver, sqlite_ledger: Ledger
) -> None:
    await register(pushing, wanted(receiver))
    await register(pushing, wanted(receiver, password="another"))
    assert len((await pushing.ask("GET", REGISTER)).json()) == 1
    record(sqlite_ledger, citizen(1))
    deliver(pushing)
    assert receiver.heard[-1][1] == f"{USER}:another"


async def test_two_of_each_type_and_no_more(pushing: Served, receiver: Receiver) -> None:
    urls = [f"{receiver.url}/{index}" for index in range(3)]
    await register(pushing, wanted(receiver, url=urls[0]), wanted(receiver, url=urls[1]))
    await register(pushing, wanted(receiver, url=urls[2], type="ARAMA"))
    third = await pushing.ask("POST", REGISTER, {"connection": [wanted(receiver, url=urls[2])]})
    assert (third.status_code, codes(third)) == (422, ["X430"])
    assert (await pushing.ask("POST", UNREGISTER, wanted(receiver, url=urls[0]))).status_code == 200
    await register(pushing, wanted(receiver, url=urls[2]))


async def test_unregistration_wants_user_and_password(
    pushing: Served, receiver: Receiver, sqlite_ledger: Ledger
) -> None:
    await register(pushing, wanted(receiver))
    for other in ({"password": "x"}, {"username": "x"}, {"url": f"{receiver.url}x"}, {"type": "ARAMA"}):
        answer = await pushing.ask("POST", UNREGISTER, wanted(receiver, **other))
        assert (answer.status_code, codes(answer)) == (404, ["X440"])
    answer = await pushing.ask("POST", UNREGISTER, wanted(receiver))
    assert answer.json() == {"message": "Bağlantı Kaldırıldı"}
    assert (await pushing.ask("GET", REGISTER)).json() == []
    record(sqlite_ledger, citizen(1))
    deliver(pushing)
    assert receiver.moves == []


WRONG = [
    ({"url": "http://push.example.com.tr/"}, "H531"),
    ({"url": "ftp://push.example.com.tr/"}, "H531"),
    ({"url": "push.example.com.tr"}, "H531"),
    ({"url": None}, "H531"),
    ({"url": 5}, "H531"),
    ({"url": "https://"}, "H530"),
    ({"url": "https://user@push.example.com.tr/"}, "H530"),
    ({"url": "https://push.example.com.tr/#x"}, "H530"),
    ({"url": "https://push.example.com.tr:99999/"}, "H530"),
    ({"url": "https://push.example.com.tr/a b"}, "H530"),
    ({"url": "https://push.example.com.tr/\r\nx: y"}, "H530"),
    ({"url": "https://nowhere.invalid/"}, "H530"),
    ({"type": None}, "H111"),
    ({"type": "SMS"}, "H117"),
    ({"username": None}, "H093"),
    ({"password": ""}, "H093"),
    ({"username": "a:b"}, "H460"),
    ({"password": "a\nb"}, "H460"),
    ({"more": "x"}, "H118"),
]


async def test_what_is_asked_wrongly(pushing: Served, receiver: Receiver) -> None:
    for fields, code in WRONG:
        answer = await pushing.ask("POST", REGISTER, {"connection": [wanted(receiver, **fields)]})
        assert (answer.status_code, codes(answer)) == (422, [code]), (fields, code)
        assert receiver.heard == []


NO_REGISTRATIONS = [{}, [], {"connection": []}, {"connection": "x"}, {"connection": ["x"]}]


async def test_bodies(pushing: Served) -> None:
    for body in NO_REGISTRATIONS:
        assert codes(await pushing.ask("POST", REGISTER, body)) == ["H460"], body


async def test_who_may_only_read_registers_nobody(pushing: Served, receiver: Receiver) -> None:
    for path, body in ((REGISTER, {"connection": [wanted(receiver)]}), (UNREGISTER, wanted(receiver))):
        assert codes(await pushing.ask("POST", path, body, as_=READER)) == ["H355"]


OTHER_STATUSES = [301, 307, 400, 401, 500]


async def test_a_receiver_that_does_not_take_the_record(pushing: Served, receiver: Receiver) -> None:
    for status in OTHER_STATUSES:
        receiver.status, receiver.location = status, receiver.url
        answer = await pushing.ask("POST", REGISTER, {"connection": [wanted(receiver)]})
        assert (answer.status_code, codes(answer)) == (422, ["H530"]), status
        assert (await pushing.ask("GET", REGISTER)).json() == []


async def test_without_leave_nobody_in_our_own_network(
    sqlite_ledger: Ledger, embedded: SqliteIndexWriter, receiver: Receiver
) -> None:
    manners = Manners(push_trust=receiver.trust)
    async with served(sqlite_ledger, Publisher(sqlite_ledger, embedded), manners=manners) as api:
        for url in (receiver.url, f"https://127.0.0.1:{receiver.port}/", f"https://[::1]:{receiver.port}/"):
            answer = await api.ask("POST", REGISTER, {"connection": [wanted(receiver, url=url)]})
            assert codes(answer) == ["H530"]
    assert receiver.heard == []
