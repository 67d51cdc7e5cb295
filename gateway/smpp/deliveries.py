"""What a pooled SMSC sends, and which account it is for.

    take() ── a receipt ──▶ owners.find ──▶ the account that sent the message, under the id that it was told
       │                        └─ nobody yet: it came before the answer to its message, and waits for that
       └── a message from a handset ──▶ the account whose `addresses` its destination is among

It goes to any bind of the account, in this worker, that takes it; the SMSC has the client's own answer. Where no such
bind is, the SMSC is told ESME_RX_T_APPN and brings it again, to this worker or another. So it is of a receipt whose
message nobody knows; when it has been brought for longer than any answer takes, it is refused for good, as is a message
to nobody's address: ESME_RX_R_APPN concerns that one alone, where ESME_RX_P_APPN would drop what else is queued for the
address (SMPP 5.0 table 4-45).

A refusal by SMS is recorded also while its client is away (promise I5): the client gets the message when it is back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple, cast

from gateway import limits
from gateway.config import Account
from gateway.metrics import Metrics
from gateway.smpp import spelling
from gateway.smpp.mo import Refusals
from gateway.smpp.owners import Found, Missing, Owner, Owners
from gateway.smpp.pdu import ALERT_NOTIFICATION, RESPONSE
from gateway.smpp.routes import Route
from gateway.smpp.spelling import Delivery
from gateway.smpp.statuses import ESME_RX_R_APPN, ESME_RX_T_APPN
from gateway.smpp.upstream import Smsc


class Addresses:
    """Which account an address is, at one SMSC."""

    def __init__(self, accounts: Sequence[Account], default: bytes) -> None:
        self._exact = {address: one.system_id for one in accounts for address in one.addresses}
        prefixes = [
            (address[:-1], one.system_id) for one in accounts for address in one.addresses if address[-1:] == b"*"
        ]
        self._prefixes = sorted(prefixes, key=lambda prefix: -len(prefix[0]))
        self.only = accounts[0].system_id if len(accounts) == 1 else b""
        self._default = default or self.only

    def account(self, address: bytes) -> bytes:
        """The exact one, else the longest beginning, else the default; empty: nobody."""
        if (found := self._exact.get(address)) is not None:
            return found
        return next((account for start, account in self._prefixes if address.startswith(start)), self._default)


class _Waiting(NamedTuple):
    """A receipt that came before the answer to its message."""

    smsc: Smsc
    sequence: int
    receipt: Delivery
    until: float


class Deliveries:
    """Those of one upstream, in one worker. `routes` by account; the pool keeps them."""

    def __init__(
        self,
        upstream: str,
        addresses: Addresses,
        owners: Owners,
        routes: Mapping[bytes, list[Route]],
        metrics: Metrics,
        refusals: Refusals | None,
    ) -> None:
        self._upstream = upstream
        self._addresses = addresses
        self._owners = owners
        self._routes = routes
        self._metrics = metrics
        self._refusals = refusals
        self._loop = asyncio.get_running_loop()
        self._orphans: dict[bytes, list[_Waiting]] = {}
        self._count = 0
        self._strange: dict[bytes, float] = {}  # whose receipts nobody waits for; when the first came

    def take(self, smsc: Smsc, command: int, sequence: int, body: bytes) -> None:
        """Answered once, now or later; an alert_notification never is."""
        if command == ALERT_NOTIFICATION:
            self._alert(smsc, body)
            return
        read = spelling.read(command, body)
        if isinstance(read, int):
            smsc.respond(command | RESPONSE, read, sequence)
            return
        if not read.is_receipt:
            self._to_address(smsc, sequence, read)
            return
        key = self._owners.key_of_receipt(smsc.host, read)
        if not key:
            self._to_nobody(smsc, sequence, read)
            return
        until = self._loop.time() + limits.SMPP_ORPHAN_S
        self._owners.find(key, partial(self._found, key, _Waiting(smsc, sequence, read, until)))

    def noted(self, key: bytes) -> None:
        """Its message is answered: what waited for that goes on."""
        for waiting in self._adopt(key):
            self._owners.find(key, partial(self._found, key, waiting))

    def sweep(self, now: float) -> None:
        """Another worker may have noted them; what has waited for too long is given up."""
        while self._strange:
            key, first = next(iter(self._strange.items()))
            if now - first <= limits.SMPP_STRANGE_S_MAX and len(self._strange) <= limits.SMPP_STRANGE_MAX:
                break
            del self._strange[key]
        for key in list(self._orphans):
            for waiting in self._adopt(key):
                if waiting.smsc.connected:
                    self._owners.find(key, partial(self._found, key, waiting))

    # receipts

    def _found(self, key: bytes, waiting: _Waiting, found: Found) -> None:
        smsc, sequence, receipt, until = waiting
        now = self._loop.time()
        if isinstance(found, Owner):
            self._strange.pop(key, None)
            body = spelling.retold(receipt, found.message_id)
            self._to_account(found.account, smsc, sequence, receipt, body)
        elif found is Missing.UNAVAILABLE:
            self._later(smsc, sequence, receipt)
        elif now < until:
            self._wait(key, waiting)
        elif now - self._strange.setdefault(key, now) < limits.SMPP_STRANGE_S:
            self._later(smsc, sequence, receipt)
        else:
            del self._strange[key]
            self._to_nobody(smsc, sequence, receipt)

    def _wait(self, key: bytes, waiting: _Waiting) -> None:
        if self._count >= limits.SMPP_ORPHANS_MAX:
            self._later(waiting.smsc, waiting.sequence, waiting.receipt)
            return
        self._orphans.setdefault(key, []).append(waiting)
        self._counted(1)

    def _adopt(self, key: bytes) -> list[_Waiting]:
        found = self._orphans.pop(key, [])
        self._counted(-len(found))
        return found

    def _counted(self, more: int) -> None:
        self._count += more
        self._metrics.smpp_orphans[self._upstream] = self._count

    # whom

    def _to_address(self, smsc: Smsc, sequence: int, message: Delivery) -> None:
        account = self._addresses.account(message.address)
        if account:
            self._to_account(account, smsc, sequence, message, spelling.body_of(message))
        else:
            self._refused(smsc, sequence, message)

    def _to_nobody(self, smsc: Smsc, sequence: int, receipt: Delivery) -> None:
        """The only account of an SMSC may know what we do not."""
        if self._addresses.only:
            self._to_account(self._addresses.only, smsc, sequence, receipt, spelling.body_of(receipt))
        else:
            self._refused(smsc, sequence, receipt)

    def _to_account(self, account: bytes, smsc: Smsc, sequence: int, delivery: Delivery, body: bytes) -> None:
        command = delivery.command
        if self._try(account, smsc, command, sequence, body):
            self._metrics.smpp_deliveries[_kind(delivery), "passed"] += 1
            return
        if not delivery.is_receipt and self._refusals is not None:
            bind = _Absent(self, account, smsc, delivery)
            if self._refusals.take(bind, account, sequence, delivery):
                return
        self._later(smsc, sequence, delivery)

    def _try(self, account: bytes, smsc: Smsc, command: int, sequence: int, body: bytes) -> bool:
        routes = self._routes.get(account, ())
        return any(route.take(smsc, command, sequence, body) for route in sorted(routes, key=len))

    def _later(self, smsc: Smsc, sequence: int, delivery: Delivery) -> None:
        self._metrics.smpp_deliveries[_kind(delivery), "later"] += 1
        smsc.respond(delivery.command | RESPONSE, ESME_RX_T_APPN, sequence)

    def _refused(self, smsc: Smsc, sequence: int, delivery: Delivery) -> None:
        self._metrics.smpp_deliveries[_kind(delivery), "nobody"] += 1
        smsc.respond(delivery.command | RESPONSE, ESME_RX_R_APPN, sequence)

    def _alert(self, smsc: Smsc, body: bytes) -> None:
        """A handset is there again (§4.12.1): for whom stands behind the handset's address."""
        end = body.find(0, 2)
        start = end + 3
        stop = body.find(0, start)
        account = self._addresses.account(body[start:stop]) if 0 < end < stop else b""
        if account:
            self._try(account, smsc, ALERT_NOTIFICATION, 0, body)

    # what a refusal by SMS tells, of a client that is away

    def came_back(self, account: bytes, smsc: Smsc, sequence: int, message: Delivery) -> None:
        """It is recorded. Is the client there by now?"""
        if self._try(account, smsc, message.command, sequence, spelling.body_of(message)):
            self._metrics.smpp_deliveries["message", "passed"] += 1
        else:
            self._later(smsc, sequence, message)

    def turned_back(self, smsc: Smsc, sequence: int, message: Delivery) -> None:
        self._later(smsc, sequence, message)

    def sender(self, account: bytes) -> Smsc | None:
        """Where a confirmation goes: it needs the client's route, and the client is away."""
        routes = self._routes.get(account)
        return cast(Smsc, routes[0]) if routes else None


class _Absent:
    """Stands for the bind of a client that is not there (`mo.Bind`)."""

    def __init__(self, deliveries: Deliveries, account: bytes, smsc: Smsc, message: Delivery) -> None:
        self.smsc: Smsc | None = smsc
        self._deliveries = deliveries
        self._account = account
        self._message = message

    def pass_on(self, smsc: Smsc, command: int, sequence: int, body: bytes) -> None:
        self._deliveries.came_back(self._account, smsc, sequence, self._message)

    def turn_back(self, smsc: Smsc, command: int, sequence: int) -> None:
        self._deliveries.turned_back(smsc, sequence, self._message)

    def sender(self) -> Smsc | None:
        return self._deliveries.sender(self._account)


def _kind(delivery: Delivery) -> str:
    return "receipt" if delivery.is_receipt else "message"
