"""Who gets in, with what, and for how long: on each kind of ledger."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Connection, event, select

from filters.passwords import make
from registry import limits
from registry.admins import audit
from registry.admins.logins import Session
from registry.admins.store import AdminExists, Admins, NoSuchAdmin, Role
from registry.admins.tables import admin_audit, admin_recovery, admin_session, admin_user
from registry.ledger import Ledger
from tests.registry.admins.support import AUDITOR, HASH, OPERATOR, PASSWORD, Staff, audit_of

AT_ONCE = 4


def test_a_code_works_once(staff: Staff) -> None:
    staff.hire()
    token = staff.enter()
    assert token is not None
    assert staff.logins.session(token, staff.clock()) == Session(OPERATOR, Role.OPERATOR)
    assert staff.enter() is None, "RFC 6238 §5.2: the verifier MUST NOT accept the second attempt"
    assert staff.enter(code=staff.code(steps=-1)) is None, "nor an older one"
    assert staff.enter(code=staff.code(steps=1)) is not None
    staff.clock.forward(30)
    assert staff.enter() is None, "it was used before its time"
    staff.clock.forward(30)
    assert staff.enter() is not None
    staff.clock.forward(-600)
    assert staff.enter() is None, "a clock that is set back opens nothing again"


def test_logins_at_the_same_time_use_a_code_once(
    open_ledger: Callable[[], Ledger], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each as if in a process of its own, all past their reading and the slow part before the first one writes."""
    first = Staff(open_ledger().engine)
    new = first.hire()
    others = [Staff(open_ledger().engine) for _ in range(AT_ONCE)]
    together = threading.Barrier(AT_ONCE)
    changing = Admins.changing

    @contextmanager
    def gathered(admins: Admins) -> Iterator[Connection]:
        together.wait(60)
        with changing(admins) as connection:
            yield connection

    monkeypatch.setattr(Admins, "changing", gathered)
    for code in (first.code(), new.recovery_codes[0]):

        def enter(one: Staff, code: str = code) -> str | None:
            return one.logins.enter(OPERATOR, PASSWORD, code, one.clock(), "192.0.2.1")

        with ThreadPoolExecutor(AT_ONCE) as threads:
            tokens = list(threads.map(enter, others))
        assert sum(token is not None for token in tokens) == 1
    done = [action for _, action, _, _ in audit_of(first.admins.engine)]
    assert (done.count("login"), done.count("login-recovery"), done.count("login-refused")) == (1, 1, 6)


def test_a_recovery_code_works_once_and_a_reset_takes_the_others(staff: Staff) -> None:
    old = staff.hire()
    assert staff.enter(code=old.recovery_codes[3].upper().replace("-", " ")) is not None
    assert staff.enter(code=old.recovery_codes[3]) is None
    assert staff.admins.all()[0].recovery_codes == 9
    new = staff.admins.reset(OPERATOR, None, staff.clock(), "user root")
    assert staff.enter(code=old.recovery_codes[4]) is None
    assert staff.enter() is None, "of the old secret"
    assert staff.enter(code=new.recovery_codes[0]) is not None


def test_whatever_is_wrong_lets_nobody_in_and_uses_nothing_up(staff: Staff) -> None:
    new = staff.hire()
    assert staff.enter(password="x") is None
    assert staff.enter(password=PASSWORD + "x" * 128) is None
    assert staff.enter(password="", code=new.recovery_codes[0]) is None
    assert staff.enter(code="") is None
    assert staff.enter("nobody", code=staff.code()) is None
    assert staff.enter(code=new.recovery_codes[0]) is not None
    assert staff.enter() is not None
    refused = [row[2:] for row in audit_of(staff.admins.engine) if row[1] == audit.Action.REFUSED]
    assert refused == [(OPERATOR, "from 192.0.2.1")] * 4 + [("", "from 192.0.2.1")], "who is unknown may be a password"


def test_an_unknown_name_costs_the_same_work(staff: Staff, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted, for the time itself is a matter of the machine: hashes, and statements of each kind."""
    staff.hire(password=make(PASSWORD.encode(), bytes(16)))
    work: list[str] = []
    matches = type(HASH).matches

    def counted(self: Any, password: bytes) -> bool:
        work.append(f"scrypt {self.ln} {self.r} {self.p}")
        return matches(self, password)

    monkeypatch.setattr(type(HASH), "matches", counted)
    event.listen(staff.admins.engine, "before_cursor_execute", lambda *told: work.append(told[2].split()[0]))
    seen = []
    for name, password, code in (("nobody", "x", "123456"), (OPERATOR, "x", "123456"), (OPERATOR, PASSWORD, "1")):
        work.clear()
        assert staff.enter(name, password, code) is None
        seen.append(list(work))
    assert seen[0] == seen[1] == seen[2]
    assert "DELETE" in seen[0]


def test_who_is_disabled_reset_or_removed_is_out_at_once(staff: Staff) -> None:
    staff.hire()
    staff.hire(AUDITOR, Role.AUDITOR)
    now = staff.clock()

    def session(token: str | None) -> Session | None:
        assert token is not None
        return staff.logins.session(token, now)

    token, other = staff.enter(), staff.enter(AUDITOR)
    staff.admins.set_disabled(OPERATOR, True, now, "user root")
    assert session(token) is None
    assert staff.enter(code=staff.code(steps=1)) is None
    staff.admins.set_disabled(OPERATOR, False, now, "user root")
    assert session(token) is None, "to be enabled again brings no session back"
    token = staff.enter(code=staff.code(steps=1))
    assert session(token) is not None
    staff.enrolments[OPERATOR] = staff.admins.reset(OPERATOR, HASH, now, "user root")
    assert session(token) is None
    token = staff.enter()
    staff.admins.remove(OPERATOR, now, "user root")
    assert session(token) is None
    assert session(other) == Session(AUDITOR, Role.AUDITOR)
    for change in (staff.admins.remove, lambda *said: staff.admins.set_disabled(said[0], True, *said[1:])):
        with pytest.raises(NoSuchAdmin):
            change(OPERATOR, now, "user root")
    done = [row[1] for row in audit_of(staff.admins.engine) if row[0] == "user root" and row[2] == OPERATOR]
    assert done == ["admin-add", "admin-disable", "admin-enable", "admin-reset", "admin-remove"]


def test_a_session_ends_without_use_and_after_a_day_of_it(staff: Staff) -> None:
    staff.hire()
    token = staff.enter()
    assert token is not None
    staff.clock.forward(limits.ADMIN_IDLE_SECONDS - 1)
    assert staff.logins.session(token, staff.clock()) is not None
    staff.clock.forward(limits.ADMIN_IDLE_SECONDS - 1)
    assert staff.logins.session(token, staff.clock()) is not None, "its use prolonged it"
    staff.clock.forward(limits.ADMIN_IDLE_SECONDS)
    assert staff.logins.session(token, staff.clock()) is None
    token, used = staff.enter(), 0
    assert token is not None
    while staff.logins.session(token, staff.clock()) is not None:
        staff.clock.forward(600)
        used += 600
    assert used == limits.ADMIN_SESSION_SECONDS
    assert staff.enter() is not None
    with staff.admins.engine.connect() as connection:
        assert len(connection.execute(select(admin_session)).all()) == 1, "the others are forgotten"


def test_what_is_kept_opens_nothing(staff: Staff) -> None:
    new = staff.hire()
    token = staff.enter()
    assert token is not None
    kept = b""
    with staff.admins.engine.connect() as connection:
        for table in (admin_user, admin_recovery, admin_session, admin_audit):
            for row in connection.execute(select(table)):
                kept += b"|".join(one if isinstance(one, bytes) else str(one).encode() for one in row)
    assert OPERATOR.encode() in kept
    for secret in (PASSWORD, new.secret, token, *new.recovery_codes, new.recovery_codes[0].replace("-", "")):
        assert secret.encode() not in kept


def test_names_that_cannot_be(staff: Staff) -> None:
    for name in ("", "Ayse", "ayşe", "-a", "a" * 33, "a b", "a\n"):
        with pytest.raises(ValueError, match="a name has"):
            staff.hire(name)
    assert staff.admins.all() == []


def test_a_name_is_given_once(staff: Staff) -> None:
    staff.hire()
    with pytest.raises(AdminExists):
        staff.hire()
    assert [one.name for one in staff.admins.all()] == [OPERATOR]
    assert len(audit_of(staff.admins.engine)) == 1


def test_the_audit_tells_of_all_that_decides_newest_first(staff: Staff) -> None:
    staff.hire()
    staff.clock.forward(1)
    staff.enter()
    told = audit.newest(staff.admins.engine, 0, 10)
    assert [(row.actor, row.action) for row in told] == [("admin:ayse", "login"), ("user root", "admin-add")]
    assert [row.action for row in audit.newest(staff.admins.engine, 1, 10)] == ["admin-add"]


def test_another_key_tells_nobody_which_names_there_are(staff: Staff, capsys: pytest.CaptureFixture[str]) -> None:
    """A known name is answered as an unknown one, and the operator's log says what is wrong."""
    staff.hire()
    other = Staff(staff.admins.engine, staff.clock, key=bytes(64))
    other.enrolments = staff.enrolments
    assert other.enter() is None
    assert other.enter("nobody", code="1") is None
    assert [row[2] for row in audit_of(staff.admins.engine)][1:] == [OPERATOR, ""]
    assert "admin_secret_unreadable" in "".join(capsys.readouterr())
    assert staff.enter() is not None, "nothing was used up"
