"""The control plane as a whole: what the command line starts and calls.

Settings come in checked (`gateway.config` reads the file); secrets are bytes already.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple, TextIO

from fastapi import FastAPI

from filters.index_url import IndexUrl
from filters.link import LinkMinter
from filters.model import Brand, Channel, RecipientType
from filters.transition import LAW, Window
from registry import importer, log, metrics
from registry import verify as verification
from registry.admins import serving
from registry.admins.desk import Desk
from registry.admins.serving import AdminPages
from registry.admins.web import create_app as create_admin_app
from registry.append import Registering
from registry.background import Timed, Watch, Worker
from registry.citizen import create_app
from registry.evidence.daily import Daily
from registry.export import export
from registry.importer import Importer, ImportResult
from registry.index.interface import IndexState, IndexWriter
from registry.ledger import Ledger
from registry.limits import FAULT_SECONDS, PUBLISHER_STOP_SECONDS, RETAIN_FIRST_SECONDS
from registry.national.app import beside, create_api
from registry.national.rates import Rates
from registry.national.rest import Manners
from registry.national.state import Api, Options
from registry.providers.approval import Codes
from registry.providers.service import Onboarding, OnboardingService
from registry.publish import IndexStatus, Progress, Publisher, open_index
from registry.publisher_loop import PublisherLoop
from registry.rehearsal import rehearsal
from registry.room import shortage
from registry.subscription import Subscriptions
from registry.sync.brands import approved, registering
from registry.sync.loop import Sync
from registry.sync.running import running as keeping_step
from registry.sync.settings import National
from registry.transition import end_reviews, origin_at
from registry.verify import Verification
from registry.web import WebServer


@dataclass(frozen=True, slots=True)
class Settings:
    """What the control plane needs to know."""

    data_dir: Path
    ledger: str  # "sqlite" (a file in data_dir), "sqlite:///…" or "postgresql://…"
    index: str | IndexUrl  # "sqlite" (a file in data_dir), or where a shared one is (`filters.index_url`)
    host: str
    port: int
    public_url: str
    brands: Mapping[int, Brand]
    fingerprint_key: bytes  # 32 bytes
    link_keys: Mapping[int, bytes]  # id 0–7 -> 32 bytes
    link_key: int  # the id that mints
    internal_secret: bytes = b""  # of the planes; empty: nobody may hand in rejections
    api_rates: Rates | None = None  # how often one address may ask the national API; None: it is not served
    api_manners: Manners = field(default_factory=Manners)
    push_key: bytes = b""  # seals what is said to those that the API tells of moves
    transition: Sequence[Window] = LAW  # the calendar for consents of before the national system
    metrics: tuple[str, int] | None = None  # where Prometheus asks
    admin: AdminPages | None = None  # where admins work
    national: National | None = None  # that brands are kept in step with
    onboarding: Onboarding | None = None  # None: there is no key for it, so nobody can apply

    @property
    def registering(self) -> Registering | None:
        """Which brands' consents count only when the national system has taken them."""
        return registering(self.national) if self.national is not None else None

    @property
    def subscriptions(self) -> Subscriptions:
        """Whose brands are whose, for quotas."""
        return Subscriptions({code: brand.iys_code for code, brand in self.brands.items()}, approved)


class Registry(NamedTuple):
    """The opened parts, each thread-safe."""

    ledger: Ledger
    writer: IndexWriter
    publisher: Publisher


@contextmanager
def open_ledger(settings: Settings) -> Iterator[Ledger]:
    """The ledger alone, migrated and checked. Raises SQLAlchemyError or KeyMismatch."""
    with closing(_ledger(settings)) as ledger:
        yield ledger


@contextmanager
def open_registry(settings: Settings, *, refold: bool = False) -> Iterator[Registry]:
    """Ledger (migrated and checked), index writer and publisher, closed at the end.

    Raises SQLAlchemyError, and KeyMismatch when the ledger was folded with another fingerprint key and `refold` does
    not allow to do it again. The index is not touched yet.
    """
    with closing(_ledger(settings, refold=refold)) as ledger:
        writer = open_index(settings.index, settings.data_dir, ledger.fingerprint.check_value())
        try:
            yield Registry(ledger, writer, Publisher(ledger, writer))
        finally:
            writer.close()


def _ledger(settings: Settings, *, refold: bool = False) -> Ledger:
    return Ledger.open(
        settings.ledger,
        settings.data_dir,
        settings.fingerprint_key,
        refold=refold,
        registering=settings.registering,
        subscriptions=settings.subscriptions,
    )


def import_csv(
    settings: Settings,
    brand: int,
    path: Path,
    *,
    declare: bool = False,
    held: int | None = None,
    dry_run: bool = False,
    rejects: Path | None = None,
    progress: importer.Progress | None = None,
) -> ImportResult:
    """Import a CSV file of consents (`registry.importer`) and bring the index up to date.

    `rejects` defaults to `<path>.rejects.csv`; `progress(bytes_done, bytes_total, lines)` is called after each batch.
    Raises CsvError (nothing recorded), OSError or SQLAlchemyError. That the index could not follow is no error here:
    the consents are recorded and the service lets the index know; see `ImportResult.index_fault`.
    With `held` they are from before the national system, of a provider that holds so many in all; raises TooLate.
    A `dry_run` records nothing: the result is what an import would say, and the reject file what it would hold.
    """
    reject_path = path.with_name(path.name + ".rejects.csv") if rejects is None else rejects
    with open_registry(settings) as registry, ExitStack() as stack:
        ledger = stack.enter_context(rehearsal(registry.ledger)) if dry_run else registry.ledger
        now = datetime.now(UTC)
        existing = "" if held is None else origin_at(settings.transition, held, now)
        run = Importer(ledger, settings.fingerprint_key, brand, now=now, declare=declare, existing=existing)
        run.run(path, reject_path, progress)
        fault = "" if dry_run else importer.bring_up_to_date(registry.publisher)
    written = reject_path if run.rejected else None
    return ImportResult(
        run.lines, run.recorded, run.unchanged, run.rejected, written, fault, dict(run.reasons), run.honoured
    )


def export_csv(settings: Settings, brand: int, out: TextIO, progress: Callable[[int], None]) -> int:
    """Write a brand's standing consents (`registry.export`). Raises SQLAlchemyError, KeyMismatch or OSError."""
    with open_registry(settings) as registry:
        return export(registry.ledger, brand, out, progress)


def rebuild(settings: Settings, progress: Progress | None = None, *, anew: bool = False) -> IndexState:
    """Build the index anew from the ledger, or go on with a build that was cut short (unless `anew`).

    Also after a change of the fingerprint key. `progress(members_done, members_total)` is called after each chunk.
    Raises IndexDown or SQLAlchemyError.
    """
    with open_registry(settings, refold=True) as registry:
        return registry.publisher.rebuild(progress, anew=anew)


def index_status(settings: Settings) -> IndexStatus:
    """What the index says of itself. Raises IndexDown, SQLAlchemyError or KeyMismatch."""
    with open_registry(settings) as registry:
        return registry.publisher.status()


def verify(settings: Settings, progress: verification.Progress | None = None) -> Verification:
    """Compare the index with the ledger's fold, member by member; changes nothing.

    `progress(lanes_done, lanes_total)`. Raises IndexDown, IndexUnusable, SQLAlchemyError or KeyMismatch.
    """
    with open_registry(settings) as registry:
        return verification.verify(registry.ledger, registry.writer, progress)


def repair(settings: Settings, found: Verification, progress: verification.Progress | None = None) -> Verification:
    """Mend what was found to differ, and compare again. Raises as `verify`."""
    with open_registry(settings) as registry:
        verification.repair(registry.publisher, found.differences)
        return verification.verify(registry.ledger, registry.writer, progress)


def open_onboarding(settings: Settings, registry: Registry) -> OnboardingService | None:
    """Providers' applications, and the brands that come of them."""
    chosen = settings.onboarding
    if chosen is None:
        return None
    engine, public_url = registry.ledger.engine, settings.public_url
    return OnboardingService(chosen, engine, settings.data_dir, settings.brands, public_url)


def open_admin_app(settings: Settings, registry: Registry, onboarding: OnboardingService) -> FastAPI:
    """The admins' pages."""
    assert settings.admin is not None
    assert settings.onboarding is not None
    codes = Codes(settings.onboarding.codes_from, settings.brands)
    desk = Desk(registry.ledger, registry.publisher, onboarding, codes, settings.data_dir, settings.admin.url)
    return create_admin_app(desk)


def open_api(
    settings: Settings, registry: Registry, brands: Mapping[int, Brand], watch: Watch | None = None
) -> Api | None:
    """The national API of this registry, if it is to be served. With a shared index registries count together."""
    if settings.api_rates is None:
        return None
    counted = settings.index if isinstance(settings.index, IndexUrl) else None
    minter, base = LinkMinter(settings.link_keys, settings.link_key), f"{settings.public_url}/r/".encode()

    def link(brand: int, channel: Channel, kind: RecipientType, recipient: bytes) -> str:
        """As the gateway puts it into messages. In the event loop alone, for a minter's ciphers have state."""
        return (base + minter.mint(brand, channel, kind, recipient)).decode()

    options = Options(
        settings.api_rates,
        counted,
        manners=settings.api_manners,
        push_key=settings.push_key,
        links=link,
        watch=watch,
    )
    return Api(registry.ledger, registry.publisher, brands, settings.fingerprint_key, options)


def serve(settings: Settings, *, sock: socket.socket | None = None) -> None:
    """Serve the citizen page and keep the index level until SIGTERM or SIGINT. `sock` is a listening socket to use.

    Raises what `open_registry` raises. Signals reach it in the main thread only.
    """
    log.configure("registry")
    stop = threading.Event()
    with open_registry(settings) as registry, ExitStack() as stack:
        if few := shortage(registry.ledger.engine):
            log.logger.error("ledger_connections_few", error=few, fix="raise it; until then some requests may fail")
        loop = PublisherLoop(registry.publisher, stop, partial(end_reviews, registry.ledger))
        publishing = threading.Thread(target=loop.run, name="publisher", daemon=True)
        minter = LinkMinter(settings.link_keys, settings.link_key)
        secret = settings.internal_secret
        onboarding = open_onboarding(settings, registry)
        brands = settings.brands if onboarding is None else onboarding.brands
        watch = Watch()
        app = create_app(registry.ledger, registry.publisher, minter, brands, loop, internal_secret=secret, watch=watch)
        sync: Sync | None = None
        if settings.national is not None:
            key = settings.fingerprint_key
            step = keeping_step(settings.national, registry.ledger, registry.publisher, key, app, watch)
            sync = stack.enter_context(step)
        if settings.metrics is not None:
            figures = metrics.Figures(registry.ledger, loop, sync, watch=watch)
            stack.enter_context(metrics.served(figures, *settings.metrics))
        if onboarding is not None:
            onboarding.add_to(app)
            stack.enter_context(onboarding.running(watch))
            if settings.admin is not None:
                stack.enter_context(serving.served(open_admin_app(settings, registry, onboarding), settings.admin))
        api = open_api(settings, registry, brands, watch)
        both = beside(app, create_api(api) if api is not None else None)
        server = WebServer(both, settings.host, settings.port)
        pulse = watch.pulse("retention")
        turn = Daily(registry.ledger, stop, moved=pulse.moved).turn
        daily = Worker(pulse, Timed(turn, RETAIN_FIRST_SECONDS), FAULT_SECONDS)
        publishing.start()
        daily.start()
        if api is not None:
            api.start()
        log.logger.info("registry_started", port=sock.getsockname()[1] if sock is not None else settings.port)
        try:
            server.run(sockets=None if sock is None else [sock])
        finally:
            stop.set()
            publishing.join(PUBLISHER_STOP_SECONDS)
            daily.stop(PUBLISHER_STOP_SECONDS)
            if api is not None:
                api.close()
            log.logger.info("registry_stopped")
