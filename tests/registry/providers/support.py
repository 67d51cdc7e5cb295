"""Invented companies that apply, and the parts they meet."""

from __future__ import annotations

from base64 import b64encode
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Engine

from registry.providers.application import Application, parse
from registry.providers.documents import Document
from registry.providers.letters import LINK_PATH, Letter
from registry.providers.outbox import Outbox
from registry.providers.proofs import Proofs
from registry.providers.states import Way
from registry.providers.store import Providers
from registry.providers.vault import Vault

KEY = bytes(range(64))
PUBLIC_URL = "https://ret.example.com.tr"
PDF = b"%PDF-1.4\n1 0 obj <<>> endobj\ntrailer <<>>\n%%EOF\n"
PNG = b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + bytes(17) + b"\0\0\0\0IEND\xaeB`\x82"
MOBILE, EMAIL, TCKN = "+905550000007", "imza@firma.example.com.tr", "12345678950"
APPLICATION: dict[str, Any] = {
    "title": "Deneme Kahve Ticaret A.Ş.",
    "mersis": "0123456789000015",
    "tin": "1234567890",
    "brands": ["Deneme Kahve", "Deneme Çay"],
    "signatory": {"name": "Deniz Deneme", "tckn": TCKN, "mobile": MOBILE, "email": EMAIL},
    "document": b64encode(PDF).decode(),
}


def said(**changes: Any) -> dict[str, Any]:
    """An application with other fields; those of the signatory by their own names. None: left out."""
    made = deepcopy(APPLICATION)
    for name, value in changes.items():
        table = made["signatory"] if name in made["signatory"] else made
        if value is None:
            del table[name]
        else:
            table[name] = value
    return made


class Clock:
    """A time that moves when it is told to."""

    def __init__(self) -> None:
        self.now = datetime(2026, 3, 4, 7, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class Office:
    """Onboarding without its pages; letters stay where they are sent."""

    def __init__(self, engine: Engine, ways: frozenset[Way] = frozenset(Way)) -> None:
        self.clock = Clock()
        self.vault = Vault(KEY)
        self.providers = Providers(engine, self.vault)
        self.proofs = Proofs(self.providers, PUBLIC_URL, ways)
        self.sent: list[tuple[Way, Letter]] = []
        doors = {way: lambda letter, way=way: self.sent.append((way, letter)) for way in ways}
        self.outbox = Outbox(engine, self.vault, doors)

    def apply(self, **changes: Any) -> str:
        """The handle of a new application."""
        application: Application = parse(said(**changes))
        return self.proofs.apply(application, Document(bytes(32), application.document_type), self.clock())[0]

    def letter(self, way: Way) -> Letter:
        """The newest that was sent on this way."""
        self.outbox.tick(self.clock())
        return [letter for used, letter in self.sent if used is way][-1]

    def code(self) -> str:
        return self.letter(Way.MOBILE).text.rpartition(": ")[2]

    def token(self) -> str:
        return self.letter(Way.EMAIL).text.partition(LINK_PATH)[2].split()[0]

    def verified(self, **changes: Any) -> int:
        """The number of a new application both of whose addresses are proven."""
        handle = self.apply(**changes)
        self.proofs.try_code(handle, self.code(), self.clock())
        self.proofs.use_link(self.token(), self.clock())
        found = self.providers.standing(handle)
        assert found is not None
        return found.id

    def approved(self, start: int = 900_000, **changes: Any) -> int:
        number = self.verified(**changes)
        self.providers.approve(number, self.clock(), "user ayse", "", start=start, taken={})
        return number
