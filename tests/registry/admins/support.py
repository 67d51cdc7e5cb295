"""An invented office: two admins, their authenticators and browsers, and a clock that moves when it is told to."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI
from sqlalchemy import Engine, select

from filters.passwords import Hash
from registry.admins import totp
from registry.admins.desk import Desk
from registry.admins.logins import Logins
from registry.admins.store import Admins, Enrolment, Role
from registry.admins.tables import admin_audit
from registry.admins.web import create_app
from registry.index.interface import IndexWriter
from registry.ledger import Ledger
from registry.providers.approval import Codes
from registry.providers.service import Onboarding, OnboardingService
from registry.providers.vault import Vault
from registry.publish import Publisher
from tests.registry.providers.support import KEY, PUBLIC_URL, Clock, Office
from tests.registry.support import BRANDS

URL = "http://127.0.0.1:8081"
OPERATOR, AUDITOR = "ayse", "mehmet"
PASSWORD = "doğru at pil zımba"
_SALT, _LN = bytes(16), 10
HASH = Hash(_LN, 8, 1, _SALT, hashlib.scrypt(PASSWORD.encode(), salt=_SALT, n=1 << _LN, r=8, p=1, dklen=32))
"""As weak as a stored hash may be, for there are many logins here."""


class Staff:
    """Admins in a database, and what they carry in their pockets."""

    def __init__(self, engine: Engine, clock: Clock | None = None, key: bytes = KEY) -> None:
        self.clock = clock or Clock()
        self.admins = Admins(engine, Vault(key))
        self.logins = Logins(self.admins)
        self.enrolments: dict[str, Enrolment] = {}

    def hire(self, name: str = OPERATOR, role: Role = Role.OPERATOR, password: Hash = HASH) -> Enrolment:
        self.enrolments[name] = self.admins.add(name, role, password, self.clock(), "user root")
        return self.enrolments[name]

    def code(self, name: str = OPERATOR, steps: int = 0) -> str:
        """What the authenticator shows, or showed or will show some steps away."""
        return totp.code_of(self.enrolments[name].secret, totp.step_at(self.clock()) + steps)

    def enter(self, name: str = OPERATOR, password: str = PASSWORD, code: str | None = None) -> str | None:
        code = self.code(name) if code is None else code
        return self.logins.enter(name, password, code, self.clock(), "192.0.2.1")


def audit_of(engine: Engine) -> list[tuple[str, str, str, str]]:
    """(actor, action, subject, detail), oldest first."""
    columns = (admin_audit.c[name] for name in ("actor", "action", "subject", "detail"))
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(select(*columns).order_by(admin_audit.c.id))]


class Rooms:
    """The pages, in process, and what stands behind them. `office` takes applications in."""

    def __init__(
        self, ledger: Ledger, publisher: Publisher, writer: IndexWriter, directory: Path, url: str = URL
    ) -> None:
        self.ledger, self.publisher, self.writer = ledger, publisher, writer
        self.office = Office(ledger.engine)
        self.clock = self.office.clock
        self.staff = Staff(ledger.engine, self.clock)
        onboarding = OnboardingService(Onboarding(KEY), ledger.engine, directory, BRANDS, PUBLIC_URL)
        self.desk = Desk(ledger, publisher, onboarding, Codes(900_000, BRANDS), directory, url, self.clock)
        self.app: FastAPI = create_app(self.desk)
        self._browsers: list[Browser] = []

    def browser(self, address: str = "192.0.2.1") -> Browser:
        """One that has been nowhere."""
        self._browsers.append(Browser(self, address))
        return self._browsers[-1]

    async def logged_in(self, name: str = OPERATOR, role: Role = Role.OPERATOR) -> Browser:
        """One of a new admin."""
        self.staff.hire(name, role)
        browser = self.browser()
        answer = await browser.log_in(name)
        assert answer.status_code == 303, answer.text
        return browser

    async def close(self) -> None:
        for browser in self._browsers:
            await browser.http.aclose()


class Browser:
    """As browsers do: it keeps cookies, and sends its origin and the hidden fields with each form."""

    def __init__(self, rooms: Rooms, address: str) -> None:
        self._rooms = rooms
        self._url = rooms.desk.url
        transport = httpx.ASGITransport(rooms.app, client=(address, 1234), raise_app_exceptions=False)
        self.http = httpx.AsyncClient(transport=transport, base_url=self._url)
        self.csrf = ""

    async def get(self, path: str) -> httpx.Response:
        """The form token of the page is remembered."""
        answer = await self.http.get(path)
        if found := re.search(r'name="csrf" value="([0-9a-f]{64})"', answer.text):
            self.csrf = found[1]
        return answer

    async def post(self, path: str, **fields: str) -> httpx.Response:
        return await self.http.post(path, data={"csrf": self.csrf, **fields}, headers={"origin": self._url})

    async def log_in(self, name: str = OPERATOR, **fields: str) -> httpx.Response:
        await self.get("/login")
        staff = self._rooms.staff
        said: dict[str, Any] = {"name": name, "password": PASSWORD, **fields}
        if "code" not in said:
            said["code"] = staff.code(name if name in staff.enrolments else OPERATOR)
        answer = await self.post("/login", **said)
        if answer.status_code == 303:
            await self.get("/audit")
        return answer
