"""The SMTP door: sockets to sessions, sessions to transactions.

    client ──octets──▶ ServedClient ──▶ session.Session ──events──▶ delivery.Transaction ──▶ upstream.SmtpUpstream
                            ◀──────────── replies ────────────────────────┘

The door has what they share: streams, next hops, notices, keys, and one timer for all deadlines (`gateway.door`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Final

from filters import mail
from filters.dkim import Signer
from filters.model import Brand, Kind, RecipientType, Stream
from filters.notice import mail_html, mail_text
from gateway import limits
from gateway.config import Config, Listener
from gateway.door import Door, Peer
from gateway.metrics import Metrics
from gateway.passwords import Checker
from gateway.pipeline import Pipeline
from gateway.smtp import trace
from gateway.smtp.client import Extensions
from gateway.smtp.delivered import Delivered
from gateway.smtp.delivery import Transaction
from gateway.smtp.events import Offer, Terms
from gateway.smtp.lmtp import LmtpSession, LmtpTransaction
from gateway.smtp.served import ServedClient
from gateway.smtp.session import Session
from gateway.smtp.signing import Keyring
from gateway.smtp.upstream import SmtpUpstream
from gateway.streams import StreamTable

PROTOCOL = "smtp"
# What a next hop that was never reached is taken for.
_UNKNOWN_HOP = Extensions(eight_bit_mime=True)
# What a session was, as Received says it (RFC 3848, RFC 6531 §4.3): plain, extended, extended with SMTPUTF8.
_SPOKEN: Final = {"smtp": (b"SMTP", b"ESMTP", b"UTF8SMTP"), "lmtp": (b"LMTP", b"LMTP", b"UTF8LMTP")}


class SmtpDoor(Door[ServedClient]):
    """One `[[listener]]` that takes mail. `upstreams` are the SMTP ones by name, shared by the doors."""

    def __init__(
        self,
        listener: Listener,
        config: Config,
        pipeline: Pipeline,
        streams: StreamTable,
        metrics: Metrics,
        upstreams: Mapping[str, SmtpUpstream],
        delivered: Delivered,
        keyring: Keyring | None = None,
    ) -> None:
        super().__init__(
            PROTOCOL, listener, metrics, sessions_max=limits.SMTP_SESSIONS_MAX, sweep_s=limits.SMTP_SWEEP_S
        )
        self.pipeline = pipeline
        self.streams = streams
        self.upstreams = upstreams
        self.delivered = delivered
        self.trace_header = listener.trace_header
        is_lmtp = listener.protocol == "lmtp"
        self.session_type = LmtpSession if is_lmtp else Session
        self.transaction_type = LmtpTransaction if is_lmtp else Transaction
        self.spoken = _SPOKEN[listener.protocol]
        self._keyring = keyring or Keyring({})
        self.transit = 0  # octets of content received and not yet answered
        self._size_max = listener.size_max
        # A trusted host may speak for others; all the rest holds for every client of the listener.
        self._terms = Terms(
            starttls=listener.starttls,
            tls_required=listener.tls == "required",
            auth=listener.auth != "none",
            auth_required=listener.auth == "required",
            recipients_max=listener.recipients_max,
        )
        self._xclient_from = listener.xclient_from
        self.accounts = config.accounts if self._terms.auth else {}
        self.passwords = Checker() if self._terms.auth else None
        self._date = (0, b"")
        self._notices: dict[Brand, mail.Notice] = {}
        self._null_streams = {
            name: Stream("null sender", None, Kind.INFORMATIONAL, RecipientType.BIREYSEL, name) for name in upstreams
        }

    def connection(self) -> asyncio.Protocol:
        """One session."""
        return ServedClient(self)

    async def start(self) -> None:
        """Learn what the next hops offer; those that are away are asked when they are back."""
        await asyncio.gather(*(upstream.start() for upstream in self.upstreams.values() if upstream.extensions is None))

    async def drain(self, timeout_s: float) -> None:
        """421 at the next command boundary; what is under way is finished, for at most `timeout_s`."""
        await super().drain(timeout_s)
        if self.passwords is not None:
            self.passwords.close()

    # for connections and transactions

    def offer(self) -> Offer:
        """What we can do and every next hop can take (a stream is known at MAIL only, after this was said)."""
        hops = [upstream.extensions or _UNKNOWN_HOP for upstream in self.upstreams.values()]
        sizes = [hop.size - limits.SMTP_GROWTH for hop in hops if hop.size]
        size_max = max(0, min([self._size_max, *sizes]))
        keywords = [b"PIPELINING", b"SIZE %d" % size_max]
        keywords += [b"8BITMIME"] if all(hop.eight_bit_mime for hop in hops) else []
        keywords += [b"SMTPUTF8"] if all(hop.smtputf8 for hop in hops) else []
        keywords += [b"DSN"] if all(hop.dsn for hop in hops) else []
        return Offer([*keywords, b"ENHANCEDSTATUSCODES"], size_max)

    def terms(self, peer: Peer) -> Terms:
        """What holds for a client whose socket ends at `peer`."""
        trusted = peer is not None and any(peer in network for network in self._xclient_from)
        return self._terms._replace(trusted=True) if trusted else self._terms

    def stream(self, sender: bytes, peer: Peer, account: bytes = b"") -> Stream | None:
        """The stream of a transaction; a null sender's is informational: notices about mail are not commercial."""
        if sender:
            domain = sender.rpartition(b"@")[2].lower()
            return self.streams.match(mail_from_domain=domain, account=account or None, client=peer)
        return self._null_streams[next(iter(self.upstreams))]

    def notice(self, brand: Brand) -> mail.Notice:
        """What `brand` must say; the same object for all its messages."""
        known = self._notices.get(brand)
        if known is None:
            known = mail.Notice(mail_text(brand, mail.LINK), mail_html(brand, mail.LINK))
            self._notices[brand] = known
        return known

    def signers(self, brand: Brand) -> tuple[Signer, ...]:
        """The keys that sign what is sent for `brand`."""
        return self._keyring.signers(brand)

    def unix_s(self) -> int:
        """The wall clock, in whole seconds."""
        return int(time.time())

    def date(self) -> bytes:
        """The wall clock as RFC 5322 writes it, written once a second."""
        second = self.unix_s()
        if second != self._date[0]:
            self._date = (second, trace.date_time(second))
        return self._date[1]
