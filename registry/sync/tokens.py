"""One access token of a login for all threads and processes that share a ledger, kept over restarts.

The national system counts requests for tokens by the hour and begins the hour anew with each further one; so a token is
asked for only when the last one is about to end (with its refresh token, which works once), by one process at a time,
and after H084 by nobody for an hour.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from typing import Any, Final

from sqlalchemy import insert, select, update

from registry.limits import SYNC_TOKEN_EARLY_SECONDS, SYNC_TOKEN_STOP_SECONDS, SYNC_TOKEN_WAIT_SECONDS
from registry.log import logger
from registry.national.seal import Seal, SealBroken
from registry.sync.client import UNREADABLE, Answer, Client, Fault
from registry.sync.codes import Then
from registry.sync.settings import Login
from registry.sync.state import Busy, State
from registry.sync.tables import national_token

PATH: Final = "/oauth2/token"
BLOCKED: Final = "H084"
REFUSED: Final = "invalid_grant"
_NOTHING: Final = {"access": b"", "access_until": 0, "refresh": b"", "refresh_until": 0, "blocked_until": 0}


class Tokens:
    """Thread-safe. Raises Fault, Busy or SQLAlchemyError."""

    def __init__(self, client: Client, state: State, url: str, key: bytes, sleep: Callable[[float], Any] = time.sleep):
        """`key` is a key of this installation, that tokens are sealed with."""
        self._client = client
        self._state = state
        self._url = url
        self._seal = Seal(hashlib.blake2b(b"national tokens", key=key[:64], digest_size=32).digest())
        self._sleep = sleep

    def call(self, login: Login, call: Callable[[str], Answer]) -> Answer:
        """The answer to a call with a token; once more with another one if the token is not accepted."""
        token = self.of(login)
        try:
            return call(token)
        except Fault as fault:
            if fault.then is not Then.RENEW:
                raise
        try:
            return call(self.of(login, refused=token))
        except Fault as fault:
            if fault.then is Then.RENEW:  # a new token is no better: that is about us
                raise Fault(Then.HELD, fault.code, fault.status) from fault
            raise

    def of(self, login: Login, refused: str = "") -> str:
        """A token that is good for a while. `refused`: one that the national system did not accept."""
        name = self._name(login)
        deadline = time.monotonic() + SYNC_TOKEN_WAIT_SECONDS
        while True:
            if token := self._kept(name, refused):
                return token
            try:
                with self._state.lease(f"token {name}"):
                    return self._kept(name, refused) or self._ask(login, name, refused)
            except Busy:
                if time.monotonic() > deadline:
                    raise
                self._sleep(0.1)

    def blocked_until(self, login: Login) -> int:
        """Unix time before which nobody asks; 0: somebody may."""
        until = int(self._row(self._name(login))["blocked_until"])
        return until if until > self._now() else 0

    def _kept(self, name: str, refused: str) -> str:
        row = self._row(name)
        if row["access_until"] - SYNC_TOKEN_EARLY_SECONDS <= self._now():
            return ""
        token = self._opened(f"access {name}", row["access"])
        return "" if token == refused else token

    def _ask(self, login: Login, name: str, refused: str) -> str:
        row = self._row(name)
        now = self._now()
        if now < row["blocked_until"] <= now + SYNC_TOKEN_STOP_SECONDS:
            raise Fault(Then.STOP, BLOCKED, 429)
        lives = row["refresh_until"] - SYNC_TOKEN_EARLY_SECONDS > now
        refresh = self._opened(f"refresh {name}", row["refresh"]) if lives else ""
        if refresh and not refused:
            # it works once: should we be killed now, the next one must not try it and use up a request in vain
            self._store(name, refresh=b"", refresh_until=0)
            try:
                return self._take(name, {"grant_type": "refresh_token", "refresh_token": refresh})
            except Fault as fault:
                if fault.status != 400:
                    raise
                logger.info("national_refresh_refused", error=fault.code)
        said = {"grant_type": "password", "username": login.username, "password": login.password.decode()}
        return self._take(name, said)

    def _take(self, name: str, said: dict[str, str]) -> str:
        try:
            answer = self._client.call("POST", PATH, body=said)
        except Fault as fault:
            if fault.then is Then.STOP:
                self._store(name, blocked_until=self._now() + SYNC_TOKEN_STOP_SECONDS)
                logger.error("national_token_stopped", seconds=SYNC_TOKEN_STOP_SECONDS)
            if fault.status == 400:  # OAuth's own words: the password is wrong
                raise Fault(Then.HELD, fault.code, fault.status) from fault
            raise
        told = answer.json()
        access, refresh = _text(told, "access_token"), _text(told, "refresh_token")
        if not access:
            raise Fault(Then.LATER, UNREADABLE, answer.status)
        now = self._now()
        self._store(
            name,
            access=self._seal.close(access, f"access {name}"),
            access_until=now + _seconds(told, "expires_in", 7200),
            refresh=self._seal.close(refresh, f"refresh {name}") if refresh else b"",
            refresh_until=now + _seconds(told, "refresh_expires_in", 14400) if refresh else 0,
            blocked_until=0,
        )
        return access

    def _opened(self, about: str, sealed: bytes) -> str:
        try:
            return self._seal.open(sealed, about) if sealed else ""
        except SealBroken:  # with another key of ours: as if there were none
            return ""

    def _row(self, name: str) -> dict[str, Any]:
        with self._state.engine.connect() as connection:
            row = connection.execute(select(national_token).where(national_token.c.login == name)).one_or_none()
        return dict(_NOTHING) if row is None else row._asdict()

    def _store(self, name: str, **values: Any) -> None:
        with self._state.writing.begin() as connection:
            mine = update(national_token).where(national_token.c.login == name).values(values)
            if connection.execute(mine).rowcount == 0:
                connection.execute(insert(national_token).values(login=name, **{**_NOTHING, **values}))

    def _now(self) -> int:
        return int(self._state.clock().timestamp())

    def _name(self, login: Login) -> str:
        return hashlib.sha256(f"{self._url}\n{login.username}".encode()).hexdigest()[:32]


def _text(told: Any, name: str) -> str:
    value = told.get(name) if isinstance(told, dict) else None
    return value if isinstance(value, str) and value.isascii() else ""


def _seconds(told: Any, name: str, usual: int) -> int:
    """Of two numbers that the official text has for the same thing the shorter one is safe."""
    value = told.get(name)
    return min(value, usual) if type(value) is int and value > 0 else usual
