"""What changed: vectors C1–C7, the cursor, and whose moves are told."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from filters.model import Channel, RecipientType, Status
from registry import rejections
from registry.forms import Wish
from registry.ledger import Ledger, transaction_id
from registry.national.change_pages import Asked, Changes, cursor_of
from registry.national.moves import CITIZEN_ORIGINS, Side
from registry.national.rest import Manners
from registry.publish import Publisher
from registry.rules import Move, turkey_time
from tests.registry.national.support import BRAND, IYS, OTHER, B, Served, codes, served
from tests.registry.support import NOW, fingerprint, number, record

PATH = f"{B}/consents/changes"


def citizen(index: int, status: Status = Status.RET, date: str = "2026-03-02 21:40:09", **fields: Any) -> Move:
    one = Move(BRAND, Channel.MESAJ, number(index), RecipientType.BIREYSEL, status, "IYS_KISAMESAJ", date)
    return one._replace(**fields)


async def page(api: Served, query: str = "") -> tuple[str, list[dict[str, Any]]]:
    answer = await api.ask("GET", f"{PATH}{query}")
    if answer.status_code == 204:
        assert answer.content == b""
        return "", []
    assert answer.status_code == 200, answer.text
    return answer.json()["after"], answer.json()["list"]


async def test_c1_the_cursor_is_the_second_and_the_id(api: Served, sqlite_ledger: Ledger) -> None:
    move = citizen(1, recipient=b"+905321112233")
    record(sqlite_ledger, move, now=NOW.replace(day=2, hour=18, minute=40, second=10))
    after, (row,) = await page(api, "?source=IYS&limit=2")
    name = transaction_id(move).hex()
    assert after == f"1772476810_{name}"
    assert row == {
        "consentDate": "2026-03-02 21:40:09",
        "creationDate": "2026-03-02 21:40:10",
        "source": "IYS_KISAMESAJ",
        "recipient": "+905321112233",
        "recipientType": "BIREYSEL",
        "status": "RET",
        "type": "MESAJ",
        "transactionId": name,
    }


async def test_c3_nothing_new(api: Served, sqlite_ledger: Ledger) -> None:
    assert await page(api) == ("", [])
    record(sqlite_ledger, citizen(1), now=NOW - timedelta(hours=2))
    after, _ = await page(api)
    assert await page(api, f"?after={after}") == ("", [])
    assert await page(api, f"?after={after}") == ("", [])
    record(sqlite_ledger, citizen(2), now=NOW - timedelta(minutes=90))
    assert len((await page(api, f"?after={after}"))[1]) == 1


@pytest.mark.parametrize(
    ("age", "is_told"),
    [
        (timedelta(minutes=59), False),  # C4
        (timedelta(minutes=60), True),
        (timedelta(minutes=61), True),
        (timedelta(days=7), True),
        (timedelta(days=7, minutes=1), False),  # C5
    ],
)
async def test_c4_c5_the_window(api: Served, sqlite_ledger: Ledger, age: timedelta, is_told: bool) -> None:
    record(sqlite_ledger, citizen(1), now=NOW - age)
    assert bool((await page(api))[1]) is is_told


async def test_what_is_too_new_comes_later(api: Served, sqlite_ledger: Ledger) -> None:
    record(sqlite_ledger, citizen(1), now=NOW - timedelta(minutes=61))
    after, _ = await page(api)
    record(sqlite_ledger, citizen(2), now=NOW - timedelta(minutes=1))
    assert await page(api, f"?after={after}") == ("", [])
    api.clock.forward(minutes=59)
    assert [row["recipient"] for row in (await page(api, f"?after={after}"))[1]] == [number(2).decode()]


async def test_the_hour_is_a_setting(sqlite_ledger: Ledger, embedded: Any) -> None:
    manners = Manners(changes_delay=timedelta(0))
    async with served(sqlite_ledger, Publisher(sqlite_ledger, embedded), manners=manners) as api:
        record(sqlite_ledger, citizen(1), now=NOW)
        assert len((await page(api))[1]) == 1


WRONG = [
    ("limit=1001", "H507"),
    ("limit=0", "H507"),
    ("limit=-1", "H507"),
    ("limit=x", "H507"),
    ("limit=", "H507"),
    ("source=XX", "H506"),
    ("after=x", "H460"),
    ("after=1772476810", "H460"),
]


async def test_c6_what_is_asked_wrongly(api: Served) -> None:
    for query, code in WRONG:
        answer = await api.ask("GET", f"{PATH}?{query}")
        assert (answer.status_code, codes(answer)) == (422, [code]), (query, code)


async def test_c7_a_closed_line_has_no_date(api: Served, sqlite_ledger: Ledger) -> None:
    closed = citizen(1, consent_date="", source="IYS_AHS_HAT_KAPATMA")
    record(sqlite_ledger, closed, now=NOW - timedelta(hours=2))
    (row,) = (await page(api))[1]
    assert (row["source"], row["consentDate"]) == ("IYS_AHS_HAT_KAPATMA", turkey_time(NOW - timedelta(hours=2)))


async def test_pages_of_one_second_lead_through_all(api: Served, sqlite_ledger: Ledger) -> None:
    record(sqlite_ledger, *(citizen(index) for index in range(25)), now=NOW - timedelta(hours=3))
    record(sqlite_ledger, *(citizen(index) for index in range(25, 30)), now=NOW - timedelta(hours=2))
    seen: list[str] = []
    after = ""
    while True:
        following, rows = await page(api, f"?limit=4&after={after}")
        if not rows:
            break
        seen += [row["recipient"] for row in rows]
        after = following
        if len(seen) % 8 == 0:
            api.api.rest.changes._places.clear()  # as after a restart, or in another process
    assert seen == [number(index).decode() for index in range(30)]


async def test_a_cursor_that_is_unknown_begins_with_its_second(api: Served, sqlite_ledger: Ledger) -> None:
    record(sqlite_ledger, citizen(1), now=NOW - timedelta(hours=4))
    record(sqlite_ledger, citizen(2), now=NOW - timedelta(hours=3))
    record(sqlite_ledger, citizen(3), now=NOW - timedelta(hours=2))
    lost = f"{int((NOW - timedelta(hours=3)).timestamp())}_{'0' * 64}"
    told = [row["recipient"] for row in (await page(api, f"?after={lost}"))[1]]
    assert told == [number(2).decode(), number(3).decode()]
    ancient = f"1_{'0' * 64}"
    assert len((await page(api, f"?after={ancient}"))[1]) == 3


async def test_whose_moves_are_told(api: Served, sqlite_ledger: Ledger) -> None:
    """Citizens' own refusals by our link or SMS are theirs, though their source begins with HS."""
    assert (await api.add(recipient=number(1).decode())).status_code == 200
    record(sqlite_ledger, citizen(2), now=NOW)
    by_link = citizen(1, source="HS_WEB", consent_date="2026-03-04 09:59:00")
    sqlite_ledger.record([(fingerprint(sqlite_ledger, by_link), by_link)], origin=Wish.BUTTON.value, now=NOW)
    refused = await api.add(recipient=number(3).decode(), status="RET")
    assert codes(refused) == ["H175"]  # recorded for ourselves, but no move of the national system's
    api.clock.forward(hours=1)
    hs, iys = (await page(api, "?source=HS"))[1], (await page(api))[1]
    assert [(row["recipient"], row["status"]) for row in hs] == [(number(1).decode(), "ONAY")]
    assert [(row["recipient"], row["source"]) for row in iys] == [
        (number(2).decode(), "IYS_KISAMESAJ"),
        (number(1).decode(), "HS_WEB"),
    ]
    assert {Wish.BUTTON.value, Wish.ONE_CLICK.value, rejections.ORIGIN, rejections.CALLER} == set(CITIZEN_ORIGINS)


async def test_a_brand_sees_its_own(api: Served, sqlite_ledger: Ledger) -> None:
    record(sqlite_ledger, citizen(1), now=NOW - timedelta(hours=2))
    answer = await api.ask("GET", f"/sps/{IYS}/brands/{IYS}/consents/changes")
    assert answer.status_code == 204
    assert codes(await api.ask("GET", f"/sps/{OTHER}/brands/{OTHER}/consents/changes")) == ["H353"]


def test_an_import_that_writes_an_earlier_time_is_not_missed(ledger: Ledger) -> None:
    """Both kinds of ledger; events of an import carry the time at which it began, hours before others among them."""
    began = NOW - timedelta(hours=5)
    for round_ in range(40):
        record(ledger, citizen(2 * round_), now=began)
        record(ledger, citizen(2 * round_ + 1), now=began + timedelta(minutes=round_))
    changes = Changes(ledger.engine, timedelta(hours=1), lambda: NOW)
    seen: list[int] = []
    after = ""
    while rows := changes.page(Asked(BRAND, Side.IYS, after, 7)):
        seen += [one.seq for one in rows]
        after = cursor_of(rows[-1])
    assert seen == list(range(1, 81))
    fresh = Changes(ledger.engine, timedelta(hours=1), lambda: NOW)
    assert fresh.page(Asked(BRAND, Side.IYS, after, 7)) == []
