"""Onboarding as the registry's service runs it: its pages, its outbox, and the brands that were approved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fastapi import FastAPI
from sqlalchemy import Engine

from filters.model import Brand
from registry.background import Watch, Worker
from registry.limits import OUTBOX_TICK_SECONDS, OUTBOX_WAIT_SECONDS
from registry.providers import web
from registry.providers.book import BrandBook
from registry.providers.doors import MailDoor, SmsDoor, sends_of
from registry.providers.outbox import Outbox, stepping
from registry.providers.proofs import Proofs
from registry.providers.store import Providers
from registry.providers.vault import Vault


@dataclass(frozen=True, slots=True)
class Onboarding:
    """What is to be known of it. `key`: of `Vault`; `served`: whether there are pages to apply on."""

    key: bytes
    served: bool = False
    codes_from: int = 900_000
    mail: MailDoor | None = None
    sms: SmsDoor | None = None


class OnboardingService:
    """The parts, for one process."""

    def __init__(
        self, chosen: Onboarding, engine: Engine, data_dir: Path, brands: Mapping[int, Brand], public_url: str
    ) -> None:
        self._chosen = chosen
        self._engine = engine
        self._data_dir = data_dir
        self._public_url = public_url
        self._vault = Vault(chosen.key)
        self._sends = sends_of(chosen.mail, chosen.sms)
        self.providers = Providers(engine, self._vault)
        self.proofs = Proofs(self.providers, public_url, frozenset(self._sends))
        self.brands = BrandBook(brands, self.providers, data_dir)

    def add_to(self, app: FastAPI) -> None:
        """The pages, if they are to be served."""
        if self._chosen.served:
            ways = frozenset(self._sends)
            web.add_to(app, web.Desk(self.providers, self.proofs, self._data_dir, ways))

    @contextmanager
    def running(self, watch: Watch | None = None) -> Iterator[None]:
        """Send what waits, and take in what is approved, until the block ends."""
        self.brands.refresh()
        pulse = (watch or Watch()).pulse("onboarding")
        outbox = Outbox(self._engine, self._vault, self._sends, pulse.moved)
        worker = Worker(pulse, stepping(outbox, self.brands.refresh), OUTBOX_TICK_SECONDS)
        worker.start()
        try:
            yield
        finally:
            worker.stop(2 * OUTBOX_WAIT_SECONDS)
