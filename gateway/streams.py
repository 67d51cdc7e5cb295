"""Which stream a message belongs to: the first rule of the configuration that matches; none is a refusal."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address

from filters.model import Stream
from gateway.config import Rule


class StreamTable:
    """The rules of one protocol, in the order of the file."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._rules = tuple(rules)
        self._by_client = any(rule.match.client is not None for rule in self._rules)
        self._known: dict[tuple[bytes | None, bytes | None, bytes | None], Stream | None] = {}

    def match(
        self,
        *,
        mail_from_domain: bytes | None = None,
        account: bytes | None = None,
        source_addr: bytes | None = None,
        client: IPv4Address | IPv6Address | None = None,
    ) -> Stream | None:
        """The stream of a message; `mail_from_domain` in lower case."""
        if self._by_client:
            return self._find(mail_from_domain, account, source_addr, client)
        key = (mail_from_domain, account, source_addr)
        if key in self._known:
            return self._known[key]
        if len(self._known) >= KNOWN_MAX:
            self._known.clear()
        stream = self._known[key] = self._find(mail_from_domain, account, source_addr, client)
        return stream

    def _find(
        self,
        mail_from_domain: bytes | None,
        account: bytes | None,
        source_addr: bytes | None,
        client: IPv4Address | IPv6Address | None,
    ) -> Stream | None:
        for rule in self._rules:
            match = rule.match
            if (
                match.mail_from_domain in (None, mail_from_domain)
                and match.account in (None, account)
                and match.source_addr in (None, source_addr)
                and (match.client is None or (client is not None and client in match.client))
            ):
                return rule.stream
        return None


KNOWN_MAX = 1000  # answers remembered; a client may send under any domain
