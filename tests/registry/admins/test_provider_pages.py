"""Deciding about providers on the page: as the command line does, by whom, and by nobody who only reads."""

from __future__ import annotations

import re

import pytest

from registry.admins.store import Role
from registry.index.interface import IndexDown
from registry.limits import ADMIN_PAGE_ROWS, PROVIDER_REASON_CHARACTERS_MAX
from registry.national.access import Access
from registry.providers import documents
from registry.providers.application import parse
from registry.providers.states import State, Way
from registry.providers.suspensions import suspensions
from tests.registry.admins.support import AUDITOR, Browser, Rooms, audit_of
from tests.registry.providers.support import EMAIL, MOBILE, PDF, TCKN, said


async def decide(browser: Browser, action: str, reason: str = "", number: int = 1) -> tuple[int, str]:
    """(status, what the page then says)."""
    answer = await browser.post(f"/providers/{number}/decision", action=action, reason=reason)
    if answer.status_code == 303:
        answer = await browser.get(answer.headers["location"])
        return 303, answer.text
    return answer.status_code, answer.text


def buttons(text: str) -> list[str]:
    return re.findall(r'name="action" value="([\w-]+)"', text)


async def test_an_operator_decides_and_each_step_says_who(rooms: Rooms) -> None:
    rooms.office.apply()
    browser = await rooms.logged_in()
    page = (await browser.get("/providers/1")).text
    for shown in (MOBILE, EMAIL, "0123456789000015", "1234567890", "Deniz Deneme", f"{'•' * 9}{TCKN[-2:]}"):
        assert shown in page
    assert TCKN not in page
    assert buttons(page) == ["confirm-mobile", "confirm-email", "reject"]
    status, page = await decide(browser, "confirm-mobile", "called back")
    assert (status, buttons(page)) == (303, ["confirm-email", "reject"])
    _, page = await decide(browser, "confirm-email", "called back")
    assert buttons(page) == ["approve", "reject"]
    status, page = await decide(browser, "approve")
    assert status == 200
    password = re.search(r'id="api-password">([\w-]+)<', page)
    assert password is not None
    found = Access(rooms.ledger.engine).login("provider-900000")
    assert found is not None
    assert found[0].grants == {900_000: True, 900_001: True}
    assert found[1].matches(password[1].encode())
    assert rooms.desk.onboarding.brands[900_000].name == "Deneme Kahve"
    assert password[1] not in (await browser.get("/providers/1")).text, "it is shown once"

    _, page = await decide(browser, "suspend", "complaints")
    assert "in effect" in page
    assert rooms.publisher.status().fault == ""
    assert suspensions(rooms.ledger.engine).brands == {900_000, 900_001}
    _, page = await decide(browser, "resume", "settled")
    assert buttons(page) == ["suspend"]
    changes = rooms.office.providers.changes(1)
    assert {change.actor for change in changes[1:]} == {"admin:ayse"}
    audit = (await browser.get("/audit")).text
    assert audit.index("resume → approved") < audit.index("suspend → suspended")
    assert "API client-add" in audit


async def test_what_no_check_digit_says_is_a_caution(rooms: Rooms) -> None:
    rooms.office.apply()
    rooms.office.apply(mersis="8867713444958600")
    browser = await rooms.logged_in()
    assert "caution" not in (await browser.get("/providers/1")).text
    assert "older form" in (await browser.get("/providers/2")).text


async def test_a_reason_is_required(rooms: Rooms) -> None:
    rooms.office.apply()
    browser = await rooms.logged_in()
    for action in ("confirm-mobile", "confirm-email", "reject", "suspend", "resume"):
        for reason in ("", "  ", "x" * (PROVIDER_REASON_CHARACTERS_MAX + 1)):
            status, page = await decide(browser, action, reason)
            assert status == 422
            assert re.search(r'<textarea id="reason" [^>]*aria-invalid="true" aria-describedby="fault"', page)
            assert '<span class="fault" id="fault">A reason of 1 to 500 characters is required.</span>' in page
    assert len(rooms.office.providers.changes(1)) == 1


async def test_what_does_not_fit_is_told_and_changes_nothing(rooms: Rooms) -> None:
    rooms.office.approved()
    rooms.office.verified(mobile="+905550000008")
    browser = await rooms.logged_in()
    status, page = await decide(browser, "reject", "x")
    assert (status, "this one is approved" in page) == (409, True)
    status, page = await decide(browser, "approve", number=2)
    assert (status, "has the same MERSİS number" in page) == (409, True)
    for action in ("verify", "apply", "", "x"):
        assert (await decide(browser, action, "x"))[0] == 400
    for number in (0, 3, 2**63):
        assert (await decide(browser, "reject", "x", number))[0] == 404
    assert (await browser.get("/providers/x")).status_code == 404


async def test_an_approval_that_was_cut_short_may_be_repeated_and_no_other(rooms: Rooms) -> None:
    rooms.office.approved()
    browser = await rooms.logged_in()
    assert buttons((await browser.get("/providers/1")).text) == ["suspend", "approve"]
    assert (await decide(browser, "approve"))[0] == 200
    assert (await decide(browser, "approve"))[0] == 409
    assert buttons((await browser.get("/providers/1")).text) == ["suspend"]


async def test_a_suspension_that_the_index_does_not_have_yet_is_said_to_be_so(
    rooms: Rooms, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away() -> None:
        raise IndexDown("away")

    rooms.office.approved()
    browser = await rooms.logged_in()
    monkeypatch.setattr(rooms.publisher, "publish_suspensions", away)
    status, page = await decide(browser, "suspend", "complaints")
    assert (status, "not in effect yet" in page) == (303, True)
    assert rooms.office.providers.get(1).state is State.SUSPENDED


async def test_an_auditor_reads_and_does_not_decide(rooms: Rooms) -> None:
    rooms.office.verified()
    browser = await rooms.logged_in(AUDITOR, Role.AUDITOR)
    assert buttons((await browser.get("/providers/1")).text) == []
    for path in ("/providers/1/decision", "/consents/refusal"):
        answer = await browser.post(path, action="approve", brand="1", channel="MESAJ", recipient="05550000001")
        assert answer.status_code == 403
        assert audit_of(rooms.ledger.engine)[-1] == ("admin:mehmet", "denied", path.replace("1", "{number}"), "")
    assert rooms.office.providers.get(1).state is State.VERIFIED
    assert rooms.ledger.head() == 0


async def test_applications_by_state_and_page_by_page(rooms: Rooms) -> None:
    for index in range(ADMIN_PAGE_ROWS + 1):
        rooms.office.apply(mobile=f"+90555100{index:04}")
    rooms.office.proofs.confirm_by_hand(1, Way.MOBILE, rooms.clock(), "user root", "x")
    rooms.office.proofs.confirm_by_hand(1, Way.EMAIL, rooms.clock(), "user root", "x")
    browser = await rooms.logged_in()

    def listed(text: str) -> list[int]:
        return [int(number) for number in re.findall(r'href="/providers/(\d+)"', text)]

    first = (await browser.get("/providers")).text
    assert listed(first) == list(range(1, ADMIN_PAGE_ROWS + 1))
    following = re.search(r'rel="next" href="([^"]+)"', first)
    assert following is not None
    last = (await browser.get(following[1])).text
    assert listed(last) == [ADMIN_PAGE_ROWS + 1]
    assert 'rel="next"' not in last
    assert listed((await browser.get("/providers?state=verified")).text) == [1]
    assert len(listed((await browser.get("/providers?state=applied")).text)) == ADMIN_PAGE_ROWS
    for query in ("state=x", "after=-1", "after=x"):
        assert (await browser.get(f"/providers?{query}")).status_code == 404
    older = re.search(r'rel="next" href="([^"]+)"', (await browser.get("/audit")).text)
    assert older is not None
    assert "login" not in re.findall(r"<td>(\S+)</td>", (await browser.get(older[1])).text)
    assert (await browser.get("/audit?skip=x")).status_code == 404


async def test_a_document_is_saved_not_shown_and_that_is_written_down(rooms: Rooms) -> None:
    application = parse(said(title="<b>A.Ş."))
    kept = documents.keep(rooms.desk.data_dir, application.document, application.document_type)
    rooms.office.proofs.apply(application, kept, rooms.clock())
    browser = await rooms.logged_in()
    page = (await browser.get("/providers/1")).text
    assert "&lt;b&gt;A.Ş." in page
    path = f"/providers/1/documents/{kept.digest.hex()}"
    assert path in page
    answer = await browser.http.get(path)
    assert (answer.status_code, answer.content, answer.headers["content-type"]) == (200, PDF, "application/pdf")
    assert answer.headers["content-disposition"] == f'attachment; filename="{kept.name}"'
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert audit_of(rooms.ledger.engine)[-1] == ("admin:ayse", "document", "provider 1", kept.name)
    for other in ("0" * 64, "..%2f..%2fkeys", kept.name):
        assert (await browser.get(f"/providers/1/documents/{other}")).status_code == 404
    (rooms.desk.data_dir / "documents" / kept.name).write_bytes(PDF + b"changed")
    assert (await browser.get(path)).status_code == 409
    (rooms.desk.data_dir / "documents" / kept.name).unlink()
    assert "on the machine that took" in (await browser.get(path)).text


async def test_a_reason_is_kept_as_one_line_that_no_terminal_obeys(rooms: Rooms) -> None:
    """`izinli provider show` prints it: it must not look like a line of the history, nor clear the screen."""
    rooms.office.apply()
    browser = await rooms.logged_in()
    reason = "fake\r\n2026-03-04T07:00:00Z  approve → approved\x1b[2J \u202ebidi"
    assert (await decide(browser, "reject", reason))[0] == 303
    kept = rooms.office.providers.changes(1)[-1].reason
    assert kept == "fake 2026-03-04T07:00:00Z approve → approved\ufffd[2J \ufffdbidi"


async def test_a_reason_is_as_long_as_the_browser_counts_it(rooms: Rooms) -> None:
    """A line's end is one character of `maxlength`, and two of a form (HTML, form submission)."""
    rooms.office.apply()
    browser = await rooms.logged_in()
    reason = "\r\n".join(["x" * 4] * (PROVIDER_REASON_CHARACTERS_MAX // 5))
    assert (await decide(browser, "reject", reason))[0] == 303


async def test_a_confirmation_that_is_there_already_is_not_said_to_be_recorded(rooms: Rooms) -> None:
    rooms.office.apply()
    browser = await rooms.logged_in()
    for action in ("confirm-mobile", "confirm-email"):
        assert (await decide(browser, action, "called back"))[0] == 303
        before = rooms.office.providers.changes(1)
        status, page = await decide(browser, action, "twice")
        assert (status, "is confirmed already" in page) == (409, True)
        assert rooms.office.providers.changes(1) == before
