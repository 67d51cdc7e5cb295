"""The admins' door: nobody comes in without all that is asked, and nothing is changed without our own form."""

from __future__ import annotations

import re

import httpx
import pytest
from fastapi.routing import APIRoute

from registry import limits
from registry.admins import audit, pages
from registry.admins.store import Role
from registry.admins.web import REFUSED, origin_of
from tests.registry.admins.support import AUDITOR, HASH, OPERATOR, URL, Rooms, audit_of

POSTS = ("/logout", "/providers/1/decision", "/consents", "/consents/refusal")
OUTSIDE = {"/login"}


async def test_no_route_is_reached_without_a_session(rooms: Rooms) -> None:
    """Every route that the application has, with every method that it takes."""
    rooms.staff.hire()
    walked = set()
    for cookie in ("", "x" * 43):
        for route in rooms.app.routes:
            assert isinstance(route, APIRoute)
            if route.path in OUTSIDE:
                continue
            for method in route.methods or ():
                browser = rooms.browser()
                browser.http.cookies.set("izinli-admin", cookie)
                path = re.sub(r"\{\w+\}", "1", route.path)
                answer = await browser.http.request(method, path, headers={"origin": URL}, data={"csrf": "0" * 64})
                assert (answer.status_code, answer.headers.get("location")) == (303, "/login"), (method, path)
                assert answer.text == ""
                walked.add((method, path))
    assert {("POST", path) for path in POSTS} | {("GET", "/"), ("GET", "/providers"), ("GET", "/audit")} <= walked
    assert {path for method, path in walked if method == "POST"} == set(POSTS)


async def test_a_login_is_one_form_and_the_cookie_is_for_nobody_else(rooms: Rooms) -> None:
    rooms.staff.hire()
    browser = rooms.browser()
    page = await browser.get("/login")
    assert set(re.findall(r' name="(\w+)"', page.text)) - {"viewport", "robots"} == {"csrf", "name", "password", "code"}
    assert "<script" not in page.text
    answer = await browser.log_in()
    assert (answer.status_code, answer.headers["location"]) == (303, "/providers")
    cookie = next(one for one in answer.headers.get_list("set-cookie") if one.startswith("izinli-admin="))
    assert cookie.endswith("; HttpOnly; Path=/; SameSite=strict")
    for path in ("/providers", "/audit", "/consents"):
        page = await browser.get(path)
        assert page.status_code == 200
        assert "<script" not in page.text
        for name, value in pages.HEADERS.items():
            assert page.headers[name] == value
        assert "'unsafe" not in page.headers["content-security-policy"]
    assert (await browser.get("/")).headers["location"] == "/providers"
    assert (await browser.get("/nothing")).status_code == 404


async def test_behind_tls_the_cookie_is_secure_and_of_this_host_alone(rooms: Rooms) -> None:
    tls = Rooms(rooms.ledger, rooms.publisher, rooms.writer, rooms.desk.data_dir, "https://yonetim.example.com.tr")
    tls.staff.hire()
    browser = tls.browser()
    answer = await browser.log_in()
    cookie = next(one for one in answer.headers.get_list("set-cookie") if "izinli-admin=" in one)
    assert cookie.startswith("__Host-izinli-admin=")
    assert cookie.endswith("; HttpOnly; Path=/; SameSite=strict; Secure")
    assert (await browser.get("/providers")).headers["strict-transport-security"] == "max-age=31536000"
    await tls.close()


async def test_whatever_is_wrong_is_answered_alike(rooms: Rooms) -> None:
    rooms.staff.hire()
    rooms.staff.hire(AUDITOR, Role.AUDITOR)
    rooms.staff.admins.set_disabled(AUDITOR, True, rooms.clock(), "user root")
    told = set()
    for said in (
        {"name": "nobody"},
        {"name": "x\0' OR 1=1"},
        {"name": AUDITOR, "code": rooms.staff.code(AUDITOR)},
        {"password": "wrong"},
        {"code": "000000" if rooms.staff.code() != "000000" else "000001"},
        {"code": ""},
    ):
        browser = rooms.browser()
        answer = await browser.log_in(**{"name": OPERATOR, **said})
        text = re.sub(r'value="[0-9a-f]{64}"', "", answer.text)
        told.add((answer.status_code, text))
        assert "izinli-admin=" not in answer.headers.get("set-cookie", "")
        assert REFUSED in text
    assert len(told) == 1


async def test_one_address_and_one_name_try_so_often(rooms: Rooms) -> None:
    """I7. Who knows the password has as many tries as who does not; a good login is told to wait as well."""
    rooms.staff.hire()
    for _ in range(limits.ADMIN_TRIES_BURST):
        assert (await rooms.browser().log_in("nobody", code="1")).status_code == 401
    refused = await rooms.browser().log_in()
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) > 0
    for number in range(limits.ADMIN_NAME_TRIES_BURST):
        assert (await rooms.browser(f"198.51.100.{number}").log_in(code="1")).status_code == 401
    refused = await rooms.browser("198.51.100.99").log_in()
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) > 60
    assert [row[1] for row in audit_of(rooms.ledger.engine)].count("login") == 0


async def test_who_keeps_trying_a_name_does_not_keep_its_browser_out(rooms: Rooms) -> None:
    """A browser that the name has logged in from has tries of its own, as many as others have together."""
    known = await rooms.logged_in()
    other = await rooms.logged_in(AUDITOR, Role.AUDITOR)
    cookie = known.http.cookies["izinli-admin-known"]
    for number in range(limits.ADMIN_NAME_TRIES_BURST):
        await rooms.browser(f"198.51.100.{number}").log_in(code="1")
    rooms.clock.forward(60)
    for brought in ("", other.http.cookies["izinli-admin-known"], f"{'0' * 32}.{'0' * 64}", '"\\377"'):
        stranger = rooms.browser("203.0.113.1")
        stranger.http.cookies.set("izinli-admin-known", brought)
        assert (await stranger.log_in()).status_code == 429
    again = await known.log_in()
    assert again.status_code == 303
    assert "izinli-admin-known" not in str(again.headers.get_list("set-cookie")), "one mark, however often it logs in"
    answers = []
    for number in range(limits.ADMIN_NAME_TRIES_BURST):
        thief = rooms.browser(f"203.0.113.{number + 2}")
        thief.http.cookies.set("izinli-admin-known", cookie)
        answers.append((await thief.log_in(code="1")).status_code)
    assert answers[0] == 401, "it lets nobody in"
    assert answers[-1] == 429, "nor may its thief try without a bound"


def test_a_name_is_not_forgotten_sooner_than_it_would_be_forgiven() -> None:
    """I7. A login costs some 50 ms of a thread: trying other names does not make room for more tries of this one."""
    seconds = limits.ADMIN_NAMES_MAX * 0.05 / limits.ADMIN_THREADS
    assert seconds >= limits.ADMIN_NAME_TRIES_BURST / limits.ADMIN_NAME_TRIES_PER_SECOND


async def test_a_session_that_was_brought_along_becomes_nobodys(rooms: Rooms) -> None:
    """Session fixation: what the cookie held before the login means nothing after it."""
    first = await rooms.logged_in()
    before = first.http.cookies["izinli-admin"]
    await first.log_in(code=rooms.staff.code(steps=1))
    after = first.http.cookies["izinli-admin"]
    assert before != after
    thief = rooms.browser()
    thief.http.cookies.set("izinli-admin", before)
    assert (await thief.get("/providers")).headers["location"] == "/login"
    chosen = rooms.browser()
    chosen.http.cookies.set("izinli-admin", "chosen by somebody else")
    rooms.clock.forward(60)
    assert (await chosen.log_in()).status_code == 303
    values = [cookie.value for cookie in chosen.http.cookies.jar if cookie.name == "izinli-admin"]
    assert values != ["chosen by somebody else"]


async def test_sessions_end(rooms: Rooms) -> None:
    browser = await rooms.logged_in()
    left = await browser.post("/logout")
    assert left.headers["location"] == "/login"
    assert (await browser.get("/providers")).status_code == 303
    rooms.clock.forward(60)
    await browser.log_in()
    token = browser.http.cookies["izinli-admin"]
    rooms.clock.forward(limits.ADMIN_IDLE_SECONDS)
    assert (await browser.get("/providers")).status_code == 303
    await browser.log_in()
    assert browser.http.cookies["izinli-admin"] != token
    assert (await browser.get("/providers")).status_code == 200
    rooms.staff.admins.set_disabled(OPERATOR, True, rooms.clock(), "user root")
    assert (await browser.get("/providers")).headers["location"] == "/login", "at once"
    rooms.staff.admins.set_disabled(OPERATOR, False, rooms.clock(), "user root")
    rooms.clock.forward(60)
    await browser.log_in()
    rooms.staff.admins.reset(OPERATOR, HASH, rooms.clock(), "user root")
    assert (await browser.get("/providers")).status_code == 303


async def test_a_form_that_is_not_ours_changes_nothing(rooms: Rooms) -> None:
    browser = await rooms.logged_in()
    other = await rooms.logged_in(AUDITOR, Role.AUDITOR)
    before = audit_of(rooms.ledger.engine)

    async def sent(path: str, origin: str | None, fields: dict[str, str]) -> httpx.Response:
        headers = {} if origin is None else {"origin": origin}
        return await browser.http.post(path, data={"action": "reject", "reason": "x", **fields}, headers=headers)

    for path in (*POSTS, "/login"):
        if path == "/login":
            await browser.get(path)
        for origin, csrf in (
            (URL, None),
            (URL, ""),
            (URL, "0" * 64),
            (URL, other.csrf),
            (None, browser.csrf),
            ("null", browser.csrf),
            ("https://evil.example", browser.csrf),
        ):
            answer = await sent(path, origin, {} if csrf is None else {"csrf": csrf})
            assert answer.status_code == 403, (path, origin, csrf)
    assert audit_of(rooms.ledger.engine) == before
    assert (await browser.get("/providers")).status_code == 200, "nor is anybody logged out"


async def test_bodies_are_bounded_and_understood_or_refused(rooms: Rooms) -> None:
    browser = await rooms.logged_in()
    headers = {"origin": URL, "content-type": "application/x-www-form-urlencoded"}
    long = b"csrf=" + browser.csrf.encode() + b"&reason=" + b"x" * limits.ADMIN_BODY_OCTETS_MAX
    answer = await browser.http.post("/providers/1/decision", content=long, headers=headers)
    assert (answer.status_code, answer.headers["connection"]) == (413, "close")
    json = await browser.http.post("/consents", json={"csrf": browser.csrf}, headers={"origin": URL})
    assert json.status_code == 400
    assert (await browser.http.put("/providers")).status_code == 404


async def test_a_database_that_is_away_is_told_and_nobody_is_let_in(rooms: Rooms) -> None:
    browser = await rooms.logged_in()
    with rooms.ledger.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE admin_session RENAME TO gone")
    answer = await browser.get("/providers")
    assert (answer.status_code, answer.headers["cache-control"]) == (503, "no-store")
    rooms.clock.forward(60)
    assert (await browser.log_in()).status_code == 503


async def test_who_waits_is_bounded(rooms: Rooms, monkeypatch: pytest.MonkeyPatch) -> None:
    """I7."""
    browser = await rooms.logged_in()
    monkeypatch.setattr("registry.admins.web.ADMIN_WAITING_MAX", 0)
    answer = await browser.get("/providers")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, str(limits.RETRY_SECONDS))


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://Yonetim.Example.com.tr:443", "https://yonetim.example.com.tr"),
        ("http://127.0.0.1:8081", "http://127.0.0.1:8081"),
        ("http://[::1]:8081", "http://[::1]:8081"),
        ("http://localhost:80", "http://localhost"),
    ],
)
def test_origins_are_as_browsers_write_them(url: str, origin: str) -> None:
    assert origin_of(url) == origin


async def test_refused_logins_cannot_hide_what_was_done(rooms: Rooms) -> None:
    """Anybody may write them, and who did something may want it out of sight."""
    browser = await rooms.logged_in()
    with rooms.staff.admins.changing() as connection:
        for _ in range(limits.ADMIN_PAGE_ROWS):
            audit.write(connection, rooms.clock(), "nobody", audit.Action.REFUSED, "", "from 192.0.2.9")
    assert "<td>login</td>" not in (await browser.get("/audit")).text
    page = (await browser.get("/audit?refused=no")).text
    assert "<td>login</td>" in page
    assert "login-refused" not in page
    for number in range(limits.ADMIN_PAGE_ROWS):
        rooms.staff.admins.note(rooms.clock(), "admin:ayse", audit.Action.LOOKUP, f"brand {number} MESAJ")
    older = re.search(r'rel="next" href="([^"]+)"', (await browser.get("/audit?refused=no")).text)
    assert older is not None
    page = (await browser.get(older[1].replace("&amp;", "&"))).text
    assert "<td>login</td>" in page
    assert "login-refused" not in page
    assert (await browser.get("/audit?refused=x")).status_code == 404
