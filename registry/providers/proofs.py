"""Proving that a number and a mail address are the applicant's: what was sent is what comes back.

Codes and links are good for a while and for one of them at a time: the newest counts. Wrong codes are counted; so is
how often one number or address was written to, whoever asked for it, for else the form would be a means to pester
people.
"""

from __future__ import annotations

import hmac
from datetime import datetime
from enum import Enum

from sqlalchemy import Connection, Row, func, insert, select, update

from registry.limits import PROOF_DAY_SECONDS, PROOF_PAUSE_SECONDS, PROOF_TRIES_MAX, PROOFS_PER_DAY_MAX
from registry.providers import letters
from registry.providers.application import Application
from registry.providers.documents import Document
from registry.providers.outbox import enqueue
from registry.providers.states import NotNow, State, Way
from registry.providers.store import APPLICANT, Providers, Unknown
from registry.providers.tables import provider, provider_proof


class Answer(Enum):
    """What became of a wish."""

    DONE = "done"  # sent, or proven
    BY_HAND = "by_hand"  # nothing is sent on this way: an operator confirms
    SETTLED = "settled"  # proven before, or the application is closed
    TOO_SOON = "too_soon"
    TOO_OFTEN = "too_often"  # to this number or address today
    WRONG = "wrong"
    TOO_MANY_TRIES = "too_many_tries"
    EXPIRED = "expired"


class Proofs:
    """Thread-safe; a method is one transaction and raises SQLAlchemyError. `ways`: on which something can be sent."""

    def __init__(self, providers: Providers, public_url: str, ways: frozenset[Way]) -> None:
        self._providers = providers
        self._vault = providers.vault
        self._public_url = public_url
        self._ways = ways

    def apply(self, application: Application, document: Document, now: datetime) -> tuple[str, dict[Way, Answer]]:
        """Take an application in, and send what proves its addresses; its handle. Raises TooManyOpen."""
        with self._providers.changing() as connection:
            handle = self._providers.apply(connection, application, document, now)
            row = self._providers.find(connection, handle)
            assert row is not None
            number, mobile, email = row.id, application.mobile, application.email
            addresses = {Way.MOBILE: mobile, Way.EMAIL: email}
            return handle, {way: self._send(connection, number, way, addresses[way], now) for way in Way}

    def send_again(self, handle: str, way: Way, now: datetime) -> Answer:
        """Another code or link; the older ones count no more. Raises Unknown."""
        with self._providers.changing() as connection:
            row = self._providers.find(connection, handle)
            if row is None:
                raise Unknown
            if row.state != State.APPLIED or getattr(row, f"{way}_confirmed"):
                return Answer.SETTLED
            newest = _newest(connection, row.id, way)
            if newest is not None and newest.made_at > now.timestamp() - PROOF_PAUSE_SECONDS:
                return Answer.TOO_SOON
            return self._send(connection, row.id, way, getattr(row, way), now)

    def try_code(self, handle: str, code: str, now: datetime) -> Answer:
        """The code of an SMS. Raises Unknown."""
        with self._providers.changing() as connection:
            row = self._providers.find(connection, handle)
            if row is None:
                raise Unknown
            if row.state != State.APPLIED or row.mobile_confirmed:
                return Answer.SETTLED
            newest = _newest(connection, row.id, Way.MOBILE)
            if newest is None or newest.expires_at <= now.timestamp():
                return Answer.EXPIRED
            if newest.tries >= PROOF_TRIES_MAX:
                return Answer.TOO_MANY_TRIES
            if not hmac.compare_digest(bytes(newest.digest), self._digest(Way.MOBILE, row.id, code)):
                counted = update(provider_proof).where(provider_proof.c.id == newest.id)
                connection.execute(counted.values(tries=newest.tries + 1))
                return Answer.WRONG if newest.tries + 1 < PROOF_TRIES_MAX else Answer.TOO_MANY_TRIES
            self._providers.confirm(connection, row.id, Way.MOBILE, now, APPLICANT, "")
            return Answer.DONE

    def look_at_link(self, token: str, now: datetime) -> Answer:
        """Whether a link would prove anything; changes nothing. Raises Unknown."""
        with self._providers.reading() as connection:
            return self._of_link(connection, token, now)[0]

    def use_link(self, token: str, now: datetime) -> Answer:
        """The link of a mail. Using it again does no harm. Raises Unknown."""
        with self._providers.changing() as connection:
            answer, number = self._of_link(connection, token, now)
            if answer is Answer.DONE:
                self._providers.confirm(connection, number, Way.EMAIL, now, APPLICANT, "")
            return answer

    def confirm_by_hand(self, number: int, way: Way, now: datetime, actor: str, reason: str) -> State:
        """An operator vouches for it. Raises Unknown or NotNow."""
        with self._providers.changing() as connection:
            return self._providers.confirm(connection, number, way, now, actor, reason)

    def _of_link(self, connection: Connection, token: str, now: datetime) -> tuple[Answer, int]:
        digest = self._digest(Way.EMAIL, 0, token)
        found = connection.execute(select(provider_proof).where(provider_proof.c.digest == digest)).first()
        if found is None:
            raise Unknown
        row = connection.execute(select(provider).where(provider.c.id == found.provider)).one()
        if row.email_confirmed or row.state != State.APPLIED:
            return Answer.SETTLED, row.id
        newest = _newest(connection, row.id, Way.EMAIL)
        expired = newest is None or newest.id != found.id or found.expires_at <= now.timestamp()
        return (Answer.EXPIRED if expired else Answer.DONE), row.id

    def _send(self, connection: Connection, number: int, way: Way, address: str, now: datetime) -> Answer:
        if way not in self._ways:
            return Answer.BY_HAND
        seconds = int(now.timestamp())
        recipient = self._vault.digest("recipient", address)
        lately = select(func.count()).select_from(provider_proof).where(provider_proof.c.recipient == recipient)
        lately = lately.where(provider_proof.c.made_at > seconds - PROOF_DAY_SECONDS)
        if connection.execute(lately).scalar_one() >= PROOFS_PER_DAY_MAX:
            return Answer.TOO_OFTEN
        said = letters.secret(way)
        expires_at = seconds + letters.SECONDS[way]
        proof = {
            "provider": number,
            "way": way,
            "recipient": recipient,
            "digest": self._digest(way, number if way is Way.MOBILE else 0, said),
            "made_at": seconds,
            "expires_at": expires_at,
            "tries": 0,
        }
        connection.execute(insert(provider_proof).values(proof))
        letter = letters.letter(way, address, said, self._public_url)
        enqueue(connection, self._vault, way, letter, seconds, expires_at)
        return Answer.DONE

    def _digest(self, way: Way, number: int, said: str) -> bytes:
        """A code is short, so it is one of its application's; a link has to be found by its token alone."""
        return self._vault.digest(f"{way} {number}", said)


def _newest(connection: Connection, number: int, way: Way) -> Row[tuple[int, int, bytes, int, int]] | None:
    columns = (getattr(provider_proof.c, name) for name in ("id", "tries", "digest", "made_at", "expires_at"))
    query = select(*columns).where(provider_proof.c.provider == number, provider_proof.c.way == way)
    return connection.execute(query.order_by(provider_proof.c.id.desc()).limit(1)).first()


__all__ = ["Answer", "NotNow", "Proofs"]
