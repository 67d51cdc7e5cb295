"""Additions into the ledger, many in one transaction, each judged as if it had come alone.

What the national system would refuse and a citizen has nevertheless said is recorded too: a RET of somebody it knows
nothing of (V1, V9) or of which it was told too late (V7). The caller is told the national system's code, and no message
passes (promise I5).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from itertools import groupby
from operator import itemgetter
from typing import Final, NamedTuple, Protocol

from sqlalchemy import Connection

from filters.model import Channel, RecipientType, Status
from registry.append import Append, Key
from registry.bulk import among
from registry.evidence import actors
from registry.index.interface import IndexDown
from registry.ledger import Ledger, dated, transaction_id
from registry.national.audit import Audited, write_audits
from registry.national.standing import API, FIRST, REFUSED, REFUSED_FIRST, REFUSED_LATE, Standing, standings
from registry.publish import Publisher
from registry.rules import LATE, Consent, Move, declaration_fault, turkey_time

UNCERTAIN: Final = "H192"
UNKNOWN_RETAILER: Final = "H180"
_RET: Final = Status.RET


class Addition(NamedTuple):
    """One consent that somebody adds. It obeys the rules of one line, but for V7 when it is `late`."""

    fingerprint: bytes
    move: Move
    client: str
    repeatable: bool = False  # v2: the same again is the same
    late: bool = False
    retailer: int = 0
    retailer_access: tuple[int, ...] = ()

    @property
    def key(self) -> Key:
        return self.fingerprint, self.move.recipient_type._value_


class Added(NamedTuple):
    """What became of it: `code` "" and both others, or the code of why not."""

    code: str
    transaction: str = ""  # 64 hexadecimal digits
    created: str = ""  # Turkey time
    again: bool = False  # it was recorded before
    retailer: int = 0  # which one is unknown (UNKNOWN_RETAILER)

    @property
    def taken(self) -> bool:
        return not self.code


class Retailers(Protocol):
    """Who may have taken a consent for a brand, and who may use it."""

    def known(self, connection: Connection, wanted: Collection[tuple[int, int]]) -> Collection[tuple[int, int]]:
        """Of pairs (brand, retailer code) those that exist."""

    def attach(self, connection: Connection, taken: Sequence[tuple[int, Addition]]) -> None:
        """Note the retailers of events, by their numbers in the ledger."""


class NoRetailers:
    """A registry without retailers: every code is unknown."""

    def known(self, connection: Connection, wanted: Collection[tuple[int, int]]) -> Collection[tuple[int, int]]:
        return ()

    def attach(self, connection: Connection, taken: Sequence[tuple[int, Addition]]) -> None:
        """There are none."""


class Recorder:
    """Callable for a group of additions: recorded, and known to the index as far as `Added.taken` says so.

    Blocks. Raises SQLAlchemyError: then nothing of the group is recorded.
    """

    def __init__(
        self, ledger: Ledger, publisher: Publisher, retailers: Retailers, clock: Callable[[], datetime]
    ) -> None:
        self._ledger = ledger
        self._publisher = publisher
        self._retailers = retailers
        self._clock = clock

    def __call__(self, additions: Sequence[Addition]) -> list[Added]:
        with self._ledger.append() as log:
            answers = self.record(log, additions)
        return self.publish(additions, answers)

    def record(self, log: Append, additions: Sequence[Addition]) -> list[Added]:
        """The half that is done inside an append; `publish` follows when it is committed."""
        turn = _Turn(log, additions, self._retailers, self._clock())
        answers = [turn.add(addition) for addition in additions]
        turn.write()
        return answers

    def publish(self, additions: Sequence[Addition], answers: list[Added]) -> list[Added]:
        """Let the index know; what may not be acknowledged is UNCERTAIN then. Repeating it is harmless."""
        # a RET that stood already is published again: the index may have missed it
        told = {
            addition.key: None
            for addition, added in zip(additions, answers, strict=True)
            if added.taken or addition.move.status is _RET
        }
        if not told:
            return answers
        try:
            self._publisher.publish_now(told)
        except IndexDown:  # what is recorded will be published; only a withdrawal may not be acknowledged before
            uncertain = Added(UNCERTAIN)
            return [
                uncertain if addition.move.status is _RET else added
                for addition, added in zip(additions, answers, strict=True)
            ]
        return answers


class _Turn:
    """One transaction."""

    def __init__(self, log: Append, additions: Sequence[Addition], retailers: Retailers, now: datetime) -> None:
        self._log = log
        self._now = now
        self._created = turkey_time(now)
        self._recorded_at = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        self._retailers = retailers
        self._stands = standings(log.connection, sorted({addition.fingerprint for addition in additions}))
        self._known = _known(log.connection, [one.move for one in additions if one.repeatable and self._differs(one)])
        wanted = {(one.move.brand, code) for one in additions for code in _retailers_of(one)}
        self._retailers_known = retailers.known(log.connection, wanted) if wanted else ()
        self._allowance = log.allowance(one.move.brand for one in additions)
        self._written: list[tuple[str, Addition, bool]] = []  # (origin, addition, whether it becomes the fold)

    def add(self, addition: Addition) -> Added:
        """Judge it after all that came before it."""
        stands = self._stands.get(addition.key)
        move = addition.move
        if addition.repeatable and (again := self._again(move, stands)) is not None:
            return Added("", transaction_id(move).hex(), again, again=True)
        for retailer in _retailers_of(addition):
            if (move.brand, retailer) not in self._retailers_known:
                return Added(UNKNOWN_RETAILER, retailer=retailer)
        code = LATE if addition.late else fault(move, stands)
        if code is None and self._allowance is not None:
            code = self._allowance.fault(move, stands and stands.status)
        if code is None:
            self._take(addition, stands, API)
            return Added("", transaction_id(move).hex(), self._created)
        if move.status is _RET and code in (LATE, "H175", "H486"):
            self._refuse(addition, stands)
        return Added(code)

    def write(self) -> None:
        """Write what was taken, with who did it."""
        audits: list[Audited] = []
        taken: list[tuple[int, Addition]] = []
        for origin, group in groupby(self._written, key=itemgetter(0)):
            run = list(group)
            entries = [(one.fingerprint, one.move, wins) for _, one, wins in run]
            who = [actors.api_client(one.client) for _, one, _ in run]
            last = self._log.write(entries, origin=origin, now=self._now, actor=who)
            numbered = list(enumerate((one for _, one, _ in run), last - len(run) + 1))
            taken += numbered
            action = "consent-refused" if origin in REFUSED else "consent"
            audits += [Audited(one.client, action, one.move.brand, number) for number, one in numbered]
        if audits:
            write_audits(self._log.connection, audits, self._now)
        if with_retailers := [(number, one) for number, one in taken if _retailers_of(one)]:
            self._retailers.attach(self._log.connection, with_retailers)

    def _differs(self, addition: Addition) -> bool:
        stands = self._stands.get(addition.key)
        return stands is not None and stands.consent != addition.move.consent

    def _again(self, move: Move, stands: Standing | None) -> str | None:
        """When this very move was recorded, None: never."""
        if stands is None:
            return None
        if stands.consent == move.consent and stands.origin not in REFUSED:
            return stands.created
        return self._known.get(move)

    def _take(self, addition: Addition, stands: Standing | None, origin: str) -> None:
        move = addition.move
        wins = stands is None or move.consent > stands.consent
        self._written.append((origin, addition, wins))
        if stands is not None and stands.origin not in REFUSED:  # this group may bring it again
            self._known[move._replace(**stands.consent._asdict())] = stands.created
        if wins:
            if self._allowance is not None:
                self._allowance.note(move, stands and stands.status)
            self._stands[addition.key] = Standing(move.consent, move.status, origin, self._recorded_at, 0)

    def _refuse(self, addition: Addition, stands: Standing | None) -> None:
        """A RET that the national system would not take, for ourselves; what stands later than it stays."""
        if not addition.move.consent_date:
            addition = addition._replace(move=dated(addition.move, stands and stands.consent, self._now))
        if stands is None:
            self._take(addition, None, REFUSED_FIRST)
        elif stands.consent.status is not _RET and addition.move.consent > stands.consent:
            self._take(addition, stands, REFUSED_LATE)


def fault(move: Move, stands: Standing | None) -> str | None:
    """The code of the rule that a move breaks, seen with the national system's eyes, or None.

    It knows nothing of a RET that it refused to take; so the same again is refused as before.
    """
    if stands is None or stands.origin not in REFUSED or move.status is not _RET:
        return declaration_fault(move, None if stands is None else stands.consent)
    if stands.origin in FIRST:
        return declaration_fault(move, None)
    return declaration_fault(move, Consent(stands.consent.consent_date, Status.ONAY, stands.consent.source))


def _retailers_of(addition: Addition) -> tuple[int, ...]:
    return (addition.retailer, *addition.retailer_access) if addition.retailer else addition.retailer_access


def _known(connection: Connection, moves: Sequence[Move]) -> dict[Move, str]:
    """The moves that the API ever took about these recipients, and when (Turkey time)."""
    columns = ", ".join((*Move._fields, "recorded_at", "origin", "seq"))
    query = f"SELECT {columns} FROM consent_event WHERE recipient"
    found: dict[Move, str] = {}
    for *said, recorded_at, origin, seq in among(connection, query, sorted({one.recipient.decode() for one in moves})):
        brand, channel, recipient, kind, status, source, date = said
        if origin not in REFUSED:
            move = Move(brand, Channel(channel), recipient.encode(), RecipientType(kind), Status(status), source, date)
            found[move] = Standing(move.consent, move.status, origin, recorded_at, seq).created
    return found
