"""The reject link: GET shows and changes nothing, POST promises only what is done, nobody learns anything from it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from filters.link import LinkMinter
from filters.model import Channel, RecipientType, Status
from registry import citizen, forms
from registry.citizen import create_app
from registry.index.interface import IndexDown, IndexWriter
from registry.ledger import Ledger
from registry.limits import BAD_TOKENS_BURST, BODY_BYTES_MAX, FORM_FIELDS_MAX
from registry.pages import masked
from registry.publish import Publisher
from tests.registry.support import BRAND, BRANDS, LINK_KEY, differences, fold, may_be_sent, number, onay, record, ret

ONE_CLICK = {"List-Unsubscribe": "One-Click"}
BUTTON = {"ret": "1"}
TACIR = RecipientType.TACIR


def token(
    index: int = 1, *, kind: RecipientType = RecipientType.BIREYSEL, key: bytes = LINK_KEY, brand: int = BRAND
) -> str:
    return LinkMinter({0: key}, 0).mint(brand, Channel.MESAJ, kind, number(index)).decode()


@pytest.fixture
async def browser(sqlite_ledger: Ledger, writer: IndexWriter, publisher: Publisher) -> AsyncIterator[httpx.AsyncClient]:
    record(sqlite_ledger, onay(1), onay(2))
    publisher.ensure()
    app = create_app(sqlite_ledger, publisher, LinkMinter({0: LINK_KEY}, 0), BRANDS)
    transport = httpx.ASGITransport(app, client=("192.0.2.1", 1234), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="https://ret.example.com.tr") as client:
        yield client


async def test_get_shows_who_what_and_a_button(browser: httpx.AsyncClient) -> None:
    answer = await browser.get(f"/r/{token()}")
    assert answer.status_code == 200
    page = answer.text
    assert "Örnek Market Ticaret A.Ş." in page
    assert "+90 5•• ••• •• 01" in page
    assert "Kısa mesaj (SMS)" in page
    assert page.index("Ticari ileti almak istemiyorum") < page.index("Stop commercial messages from")
    assert page.count("<button") == 1
    assert '<form method="post">' in page
    assert '<html lang="tr">' in page
    assert '<section lang="en">' in page


async def test_i5_get_and_head_never_change_anything(
    browser: httpx.AsyncClient, sqlite_ledger: Ledger, writer: IndexWriter
) -> None:
    head = sqlite_ledger.head()
    for _ in range(20):
        assert (await browser.get(f"/r/{token()}?List-Unsubscribe=One-Click&ret=1")).status_code == 200
    answer = await browser.head(f"/r/{token()}")
    assert (answer.status_code, answer.content) == (200, b"")
    assert sqlite_ledger.head() == head
    assert may_be_sent(writer, sqlite_ledger, onay(1))


@pytest.mark.parametrize("path", ["good", "bad", "nowhere"])
async def test_i9_no_page_keeps_or_passes_on_its_address(browser: httpx.AsyncClient, path: str) -> None:
    where = {"good": f"/r/{token()}", "bad": "/r/forged", "nowhere": "/nowhere"}[path]
    answer = await browser.get(where)
    headers = answer.headers
    assert headers["cache-control"] == "no-store"
    assert headers["referrer-policy"] == "no-referrer"
    assert "noindex" in headers["x-robots-tag"]
    assert headers["x-content-type-options"] == "nosniff"
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "frame-ancestors 'none'" in policy
    assert "script" not in policy
    page = answer.text
    assert "<script" not in page
    assert not re.search(r"(src|href)=", page)
    assert token() not in page
    assert number(1).decode() not in page


async def test_i5_the_button_withdraws_before_it_answers(
    browser: httpx.AsyncClient, sqlite_ledger: Ledger, writer: IndexWriter
) -> None:
    answer = await browser.post(f"/r/{token()}", data=BUTTON)
    assert answer.status_code == 200
    assert "Ret talebiniz kaydedildi" in answer.text
    assert not may_be_sent(writer, sqlite_ledger, onay(1))
    assert not may_be_sent(writer, sqlite_ledger, onay(1, kind=TACIR))
    assert may_be_sent(writer, sqlite_ledger, onay(2))
    assert origins(sqlite_ledger) == [("HS_WEB", "link")] * 2


@pytest.mark.parametrize("form", ["urlencoded", "multipart"])
async def test_i5_one_click_in_both_encodings(
    browser: httpx.AsyncClient, sqlite_ledger: Ledger, writer: IndexWriter, form: str
) -> None:
    """RFC 8058 section 3.1; no redirect, no cookie."""
    if form == "multipart":
        answer = await browser.post(f"/r/{token()}", files={name: (None, value) for name, value in ONE_CLICK.items()})
    else:
        answer = await browser.post(f"/r/{token()}", data=ONE_CLICK)
    assert answer.status_code == 200
    assert "set-cookie" not in answer.headers
    assert not may_be_sent(writer, sqlite_ledger, onay(1))
    assert origins(sqlite_ledger) == [("HS_EPOSTA", "oneclick")] * 2


def origins(ledger: Ledger) -> list[tuple[str, str]]:
    """(source, origin) of the rejections in the log."""
    query = "SELECT source, origin FROM consent_event WHERE status = 'RET' ORDER BY seq"
    with ledger._engine.connect() as connection:
        return [(row[0], row[1]) for row in connection.execute(text(query))]


async def test_a_second_refusal_changes_nothing_and_is_confirmed(
    browser: httpx.AsyncClient, sqlite_ledger: Ledger
) -> None:
    first = await browser.post(f"/r/{token()}", data=BUTTON)
    head = sqlite_ledger.head()
    second = await browser.post(f"/r/{token()}", data=ONE_CLICK)
    assert (first.status_code, second.status_code) == (200, 200)
    assert sqlite_ledger.head() == head


async def test_i5_a_refusal_of_somebody_unknown_is_honoured(
    browser: httpx.AsyncClient, sqlite_ledger: Ledger, writer: IndexWriter
) -> None:
    """The national system would refuse a first RET (V1); a merchant could be addressed until we know it."""
    assert may_be_sent(writer, sqlite_ledger, onay(77, kind=TACIR))
    assert (await browser.post(f"/r/{token(77, kind=TACIR)}", data=BUTTON)).status_code == 200
    assert not may_be_sent(writer, sqlite_ledger, onay(77, kind=TACIR))
    assert fold(sqlite_ledger, ret(77)) is Status.RET


async def test_i5_many_refusals_at_once(browser: httpx.AsyncClient, sqlite_ledger: Ledger, writer: IndexWriter) -> None:
    answers = await asyncio.gather(
        *(browser.post(f"/r/{token(index)}", data=BUTTON) for index in [1, 2, *range(100, 130)])
    )
    assert {answer.status_code for answer in answers} == {200}
    assert not any(may_be_sent(writer, sqlite_ledger, onay(index)) for index in [1, 2, *range(100, 130)])
    assert differences(writer, sqlite_ledger) == []


@pytest.mark.parametrize("end", [".", ").", ",", "!", "%3E"])
async def test_punctuation_after_a_link_does_not_break_it(browser: httpx.AsyncClient, end: str) -> None:
    assert (await browser.get(f"/r/{token()}{end}")).status_code == 200


async def test_a_brand_without_an_entry_keeps_its_links(browser: httpx.AsyncClient, sqlite_ledger: Ledger) -> None:
    link = token(5, brand=777)
    assert "777" in (await browser.get(f"/r/{link}")).text
    assert (await browser.post(f"/r/{link}", data=BUTTON)).status_code == 200


BAD = {
    "forged": lambda: token()[:-1] + ("A" if token()[-1] != "A" else "B"),
    "truncated": lambda: token()[:-1],
    "of another key": lambda: token(key=b"y" * 32),
    "empty text": lambda: "%20",
    "not ASCII": lambda: "ğüşıöç",
    "bytes": lambda: "%ff%00%0d%0a",
    "long": lambda: "0" * 5000,
}


@pytest.mark.parametrize("make", BAD.values(), ids=BAD.keys())
async def test_a_bad_token_gets_a_friendly_page_and_changes_nothing(
    browser: httpx.AsyncClient, sqlite_ledger: Ledger, make: Callable[[], str]
) -> None:
    head = sqlite_ledger.head()
    for answer in [await browser.get(f"/r/{make()}"), await browser.post(f"/r/{make()}", data=BUTTON)]:
        assert answer.status_code == 404
        assert "Bağlantı geçersiz" in answer.text
        assert "This link is not valid" in answer.text
    assert sqlite_ledger.head() == head


async def test_who_guesses_tokens_is_slowed_down(browser: httpx.AsyncClient) -> None:
    statuses = [(await browser.get(f"/r/{index:018}")).status_code for index in range(BAD_TOKENS_BURST)]
    assert set(statuses) == {404}
    answer = await browser.get(f"/r/{token()}")
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) >= 1
    assert (await browser.post(f"/r/{token()}", data=BUTTON)).status_code == 429


async def test_good_tokens_are_never_charged(browser: httpx.AsyncClient) -> None:
    for _ in range(3 * BAD_TOKENS_BURST):
        assert (await browser.get(f"/r/{token()}")).status_code == 200


NOTHING = {
    "an empty body": (b"", ""),
    "no form": (b'{"List-Unsubscribe":"One-Click"}', "application/json"),
    "another field": (b"a=b", "application/x-www-form-urlencoded"),
    "another value": (b"List-Unsubscribe=Two-Click", "application/x-www-form-urlencoded"),
    "not ASCII": (b"\xff=\xfe", "application/x-www-form-urlencoded"),
    "too many fields": (b"&".join([b"a=b"] * FORM_FIELDS_MAX + [b"ret=1"]), "application/x-www-form-urlencoded"),
    "no boundary": (b"--x\r\n", "multipart/form-data"),
    "a broken part": (b"--x\r\nnonsense\r\n--x--", "multipart/form-data; boundary=x"),
    "a cut off part": (
        b'--x\r\nContent-Disposition: form-data; name="ret"\r\n\r\n1',
        "multipart/form-data; boundary=x",
    ),
    "a file": (
        b'--x\r\nContent-Disposition: form-data; name="ret"; filename="ret"\r\n\r\n1\r\n--x--\r\n',
        "multipart/form-data; boundary=x",
    ),
}


@pytest.mark.parametrize(("body", "kind"), NOTHING.values(), ids=NOTHING.keys())
async def test_a_post_that_asks_for_nothing_changes_nothing(
    browser: httpx.AsyncClient, sqlite_ledger: Ledger, body: bytes, kind: str
) -> None:
    head = sqlite_ledger.head()
    answer = await browser.post(f"/r/{token()}", content=body, headers={"content-type": kind})
    assert answer.status_code == 400
    assert "Hiçbir şey değiştirilmedi" in answer.text
    assert sqlite_ledger.head() == head


async def test_i7_a_long_body_is_refused(browser: httpx.AsyncClient, sqlite_ledger: Ledger) -> None:
    async def drip() -> AsyncIterator[bytes]:
        for _ in range(BODY_BYTES_MAX // 100 + 1):
            yield b"ret=1&" + b"a" * 94

    head = sqlite_ledger.head()
    kind = {"content-type": "application/x-www-form-urlencoded"}
    announced = await browser.post(f"/r/{token()}", content=b"ret=1&" + b"a" * BODY_BYTES_MAX, headers=kind)
    chunked = await browser.post(f"/r/{token()}", content=drip(), headers=kind)
    assert (announced.status_code, chunked.status_code) == (413, 413)
    assert sqlite_ledger.head() == head


async def test_i7_a_slow_body_is_given_up(
    browser: httpx.AsyncClient, sqlite_ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forms, "BODY_SECONDS_MAX", 0.05)
    never = asyncio.Event()

    async def stall() -> AsyncIterator[bytes]:
        yield b"ret=1"
        await never.wait()

    head = sqlite_ledger.head()
    kind = {"content-type": "application/x-www-form-urlencoded"}
    answer = await browser.post(f"/r/{token()}", content=stall(), headers=kind)
    assert answer.status_code == 408
    assert sqlite_ledger.head() == head


# faults: what was not done is not claimed


async def test_i5_without_the_index_nothing_is_acknowledged_and_a_retry_succeeds(
    browser: httpx.AsyncClient, sqlite_ledger: Ledger, writer: IndexWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The RET is in the ledger, but not out of the index: 503, and the same POST again completes it."""

    def down(_facts: object) -> None:
        raise IndexDown("it does not answer")

    with monkeypatch.context() as broken:
        broken.setattr(writer, "put", down)
        answer = await browser.post(f"/r/{token()}", data=BUTTON)
        assert answer.status_code == 503
        assert "kaydedilemedi" in answer.text
        assert "not saved" in answer.text
        assert int(answer.headers["retry-after"]) > 0
        assert answer.text.count("<button") == 1
    head = sqlite_ledger.head()
    assert may_be_sent(writer, sqlite_ledger, onay(1))
    assert (await browser.post(f"/r/{token()}", data=BUTTON)).status_code == 200
    assert sqlite_ledger.head() == head
    assert not may_be_sent(writer, sqlite_ledger, onay(1))


async def test_i5_without_the_ledger_nothing_is_acknowledged(
    browser: httpx.AsyncClient, sqlite_ledger: Ledger, writer: IndexWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(*_: object, **__: object) -> None:
        raise OperationalError("INSERT", {}, Exception("disk I/O error"))

    with monkeypatch.context() as broken:
        broken.setattr(sqlite_ledger, "record", down)
        assert (await browser.post(f"/r/{token()}", data=BUTTON)).status_code == 503
        assert (await browser.get(f"/r/{token()}")).status_code == 200
    assert may_be_sent(writer, sqlite_ledger, onay(1))


async def test_our_own_fault_is_a_page_that_claims_nothing(
    browser: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("a secret")

    monkeypatch.setattr(citizen, "withdraw", broken)
    answer = await browser.post(f"/r/{token()}", data=BUTTON)
    assert answer.status_code == 503
    assert "henüz geçerli değil" in answer.text
    assert "secret" not in answer.text


async def test_health(browser: httpx.AsyncClient, writer: IndexWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (await browser.get("/livez")).status_code == 200
    answer = await browser.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"ledger": "ok", "index": "ok", "publisher": "ok"})

    def down() -> None:
        raise IndexDown("redis.internal.example.test:6379")

    monkeypatch.setattr(writer, "state", down)
    answer = await browser.get("/readyz")
    assert (answer.status_code, answer.json()["index"]) == (503, "IndexDown")
    assert (await browser.get("/livez")).status_code == 200


async def test_robots_stay_out(browser: httpx.AsyncClient) -> None:
    assert "Disallow: /" in (await browser.get("/robots.txt")).text


@pytest.mark.parametrize(
    ("recipient", "shown"),
    [
        (b"ayse@example.com.tr", "a•••@e•••.com.tr"),
        (b"a@example.test", "a•••@e•••.test"),
        (b"+905550000001", "+90 5•• ••• •• 01"),
        (b"+902120000099", "+90 2•• ••• •• 99"),
        (b"+4915550000042", "+49 ••• ••• 42"),
    ],
)
def test_i9_a_masked_recipient_tells_a_bystander_little(recipient: bytes, shown: str) -> None:
    assert masked(recipient) == shown


def test_the_pages_bring_all_they_need(tmp_path: Path) -> None:
    style = Path(citizen.__file__).parent / "static" / "style.css"
    assert "url(" not in style.read_text(encoding="utf-8")
    assert "@import" not in style.read_text(encoding="utf-8")
