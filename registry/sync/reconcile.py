"""Reconciliation of every recipient: whom the national system has in ONAY, a thousand at a time.

For after a gap that no pull can close, and on demand. Where both sides say the same nothing happens. Where they differ,
the national system is asked for the one record: its newest date wins, a tie is RET; a rejection that it does not have
goes to it again; a consent of which it knows nothing counts no more until it takes it (`registry.awaiting.MISSING`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any, Final, NamedTuple

from sqlalchemy import select, update

from filters.model import Channel, RecipientType, Status
from registry.awaiting import MISSING
from registry.ledger import Ledger
from registry.limits import SYNC_STATUS_PER_HOUR, SYNC_STATUS_RECIPIENTS
from registry.log import logger
from registry.national.standing import Standing, standings
from registry.rules import Move
from registry.schema import consent_event
from registry.sync.apply import ACTOR
from registry.sync.client import Fault
from registry.sync.codes import Then
from registry.sync.outbox import OPEN
from registry.sync.pull import GAP, Wire, take_rows
from registry.sync.settings import SyncedBrand
from registry.sync.tables import REFUSED, WAITING, national_upload
from registry.sync.upload import onay_among

PLACE: Final = "reconciled"
"""Name of the state that says how far a reconciliation is: which of the six lists, and after whom; "" at its end."""
ASKED: Final = "asked"
"""Name of the state that counts single queries: the hour and how many."""
NOT_FOUND: Final = 404
RATIO: Final = "too many refusals"
"""Why single queries rest: more of them would cost us the access (`registry.sync.client.Ratio`)."""


class Reconciled(NamedTuple):
    """What a reconciliation found."""

    recipients: int
    differences: int
    taken: int  # records that were newer there
    sent: int  # rejections that go there again
    missing: int  # consents of which it knows nothing


class Difference(NamedTuple):
    """A key of which the two sides say different things."""

    fingerprint: bytes
    recipient: bytes
    channel: Channel
    kind: RecipientType
    stands: Standing


def reconcile(wire: Wire, ledger: Ledger, brand: SyncedBrand, prolong: Callable[[], None]) -> Reconciled:
    """Go on where the last one stopped, to the end. Raises Fault, Busy, IndexDown or SQLAlchemyError."""
    place = wire.state.get(brand.code, PLACE)
    total = Reconciled(0, 0, 0, 0, 0)
    for at, (channel, kind) in enumerate(product(Channel, RecipientType)):
        done, _, after = place.partition(" ")
        if place and at < int(done):
            continue
        for recipients in _recipients(ledger, brand.code, channel, kind, after if place and at == int(done) else ""):
            prolong()
            found = _compare(wire, ledger, brand, channel, kind, recipients, prolong)
            total = Reconciled(*(a + b for a, b in zip(total, found, strict=True)))
            wire.state.put(brand.code, PLACE, f"{at} {recipients[-1].decode()}")
    wire.state.put(brand.code, PLACE, "")
    wire.state.put(brand.code, GAP, "")
    return total


def _compare(
    wire: Wire,
    ledger: Ledger,
    brand: SyncedBrand,
    channel: Channel,
    kind: RecipientType,
    recipients: list[bytes],
    prolong: Callable[[], None],
) -> Reconciled:
    keys = {ledger.fingerprint(brand.code, channel, one): one for one in recipients}
    there = onay_among(wire, brand, channel, kind, recipients)
    with ledger.engine.connect() as connection:  # after the question: what we heard meanwhile is no difference
        found = standings(connection, sorted(keys))
    differences = [
        Difference(fingerprint, recipient, channel, kind, stands)
        for fingerprint, recipient in keys.items()
        if (stands := found.get((fingerprint, kind.value))) is not None
        and (stands.status is Status.ONAY) != (recipient in there)
        and not (stands.status is Status.BEKLIYOR and recipient not in there)
    ]
    said = []
    for one in differences:
        prolong()
        said.append(_settle(wire, ledger, brand, one))
    return Reconciled(len(recipients), len(said), *(said.count(what) for what in ("taken", "sent", "missing")))


def _settle(wire: Wire, ledger: Ledger, brand: SyncedBrand, one: Difference) -> str:
    record = _record_of(wire, brand, one)
    stands = one.stands
    if record is None:
        if stands.status is Status.ONAY and one.kind is RecipientType.BIREYSEL:
            return _miss(wire, ledger, brand, one)
        return "none"  # a RET, or an ONAY that a merchant need not give: nothing there contradicts it
    news, unreadable = take_rows(wire, brand, [record])
    if news or unreadable:
        return "taken" if news else "none"
    if stands.status is Status.RET:
        return _send_again(wire, ledger, stands)
    return "none"


def _record_of(wire: Wire, brand: SyncedBrand, one: Difference) -> Any:
    """What the national system has recorded of a recipient; None: nothing. Raises Fault when the hour is used up."""
    now = wire.state.clock()
    hour, _, count = wire.state.get(0, ASKED).partition(" ")
    used = int(count) if hour == f"{now:%Y-%m-%dT%H}" else 0
    if wire.client.ratio.low:  # nobody there is 404, and that counts as a failure of ours
        logger.error("national_success_low", brand=brand.code)
        raise Fault(Then.HOUR, RATIO)
    if used >= SYNC_STATUS_PER_HOUR:
        raise Fault(Then.HOUR, "H086")
    wire.state.put(0, ASKED, f"{now:%Y-%m-%dT%H} {used + 1}")
    body = {"recipient": one.recipient.decode(), "type": one.channel.value, "recipientType": one.kind.value}
    try:
        answer = wire.ask(brand, "POST", "/consents/status", body=body)
    except Fault as fault:
        # what it answers about somebody it does not know is not documented; these are what its wrappers say
        if fault.status == NOT_FOUND or fault.code == "H401":
            return None
        raise
    return None if answer.empty else answer.json()


def _miss(wire: Wire, ledger: Ledger, brand: SyncedBrand, one: Difference) -> str:
    date, status, source = one.stands.consent
    move = Move(brand.code, one.channel, one.recipient, one.kind, status, source, date)
    with ledger.append() as log:
        still = standings(log.connection, [one.fingerprint]).get((one.fingerprint, one.kind.value))
        if still is None or still.seq != one.stands.seq:
            return "none"  # something happened meanwhile
        log.write([(one.fingerprint, move, True)], origin=MISSING, now=wire.state.clock(), actor=ACTOR)
    wire.taker.publish([(one.fingerprint, one.kind.value)])
    return "missing"


def _send_again(wire: Wire, ledger: Ledger, stands: Standing) -> str:
    mine = update(national_upload).where(national_upload.c.seq == stands.seq)
    mine = mine.where(national_upload.c.state.not_in((*OPEN, REFUSED)))
    with ledger.append() as log:
        changed = log.connection.execute(mine.values(state=WAITING, next_at=0)).rowcount
        known = select(national_upload.c.seq).where(national_upload.c.seq == stands.seq)
        if not changed and log.connection.execute(known).first() is None:
            # so old that its upload was forgotten: it would be refused as too late (H467)
            logger.error("national_rejection_lost", event=stands.seq)
    return "sent" if changed else "none"


def _recipients(ledger: Ledger, brand: int, channel: Channel, kind: RecipientType, after: str) -> Iterator[list[bytes]]:
    """All of whom something is recorded, in their order."""
    column = consent_event.c.recipient
    here = (consent_event.c.brand == brand, consent_event.c.channel == channel.value)
    query = select(column).distinct().where(*here, consent_event.c.recipient_type == kind.value).order_by(column)
    while True:
        with ledger.engine.connect() as connection:
            page = query.where(column > after).limit(SYNC_STATUS_RECIPIENTS)
            found = [str(one).encode() for one in connection.execute(page).scalars()]
        if not found:
            return
        yield found
        after = found[-1].decode()
