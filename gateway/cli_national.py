"""`izinli national …`: how far brands are in step with the national system, and what can be done about it by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.markup import escape
from rich.table import Table

from filters.model import RecipientType, Status
from gateway.cli_common import (
    EX_CONFIG,
    EX_TEMPFAIL,
    AsJson,
    ConfigFile,
    console,
    errors,
    fail,
    keys_of,
    load_config,
    print_json,
    reachable,
    settings_of,
)
from gateway.cli_national_brand import national_brand_app
from gateway.config import Config
from gateway.keys import Keys

if TYPE_CHECKING:
    from registry.sync.loop import Sync
    from registry.sync.settings import SyncedBrand

NOT_REGISTERED: Final = "not_registered: the national system has not taken this consent yet (izinli national status)"

national_app = typer.Typer(help="Keep step with the national system.", no_args_is_help=True)
national_app.add_typer(national_brand_app, name="brand")

Brand = Annotated[int | None, typer.Option("--brand", help="This one only; default: all that are kept in step.")]


@national_app.command()
def status(config: ConfigFile, brand: Brand = None, as_json: AsJson = False) -> None:
    """How far each brand is; exit 1 when somebody has to look: something is overdue, refused for us, or was missed."""
    from registry.sync.figures import Figures, figures

    with _opened(config, brand) as (sync, brands):
        found: list[Figures] = [figures(sync, one) for one in brands]
        lost = sorted(sync.brands.unreadable)
    if as_json:
        print_json({"brands": [one.told() for one in found], "unreadable": lost})
    else:
        _show(found)
        for code in lost:
            console.print(f"brand {code}: its password cannot be read; izinli national brand add gives it another one")
    if lost or not all(one.well for one in found):
        raise typer.Exit(1)


@national_app.command()
def pull(config: ConfigFile, brand: Brand = None, as_json: AsJson = False) -> None:
    """Fetch what the national system has recorded since the last time."""
    _each(config, brand, as_json, lambda sync, one: sync.pull(one)._asdict())


@national_app.command()
def push(config: ConfigFile, brand: Brand = None, as_json: AsJson = False) -> None:
    """Send what waits, and ask what became of what was sent before."""
    _each(config, brand, as_json, lambda sync, one: {"sent": sync.push(one)})


@national_app.command()
def reconcile(config: ConfigFile, brand: Brand = None, as_json: AsJson = False) -> None:
    """Compare every recipient, a thousand at a time; goes on where it stopped."""
    _each(config, brand, as_json, lambda sync, one: sync.reconcile(one)._asdict())


def waits(config: Config, keys: Keys, fingerprint: str, recipient_type: RecipientType) -> bool:
    """Whether an ONAY stands here that does not count because the national system has not taken it."""
    from registry.awaiting import UNREGISTERED
    from registry.national.standing import standings
    from registry.service import open_ledger

    if config.national is None or not fingerprint:
        return False
    with reachable(), open_ledger(settings_of(config, keys)) as ledger, ledger.engine.connect() as connection:
        found = standings(connection, [bytes.fromhex(fingerprint)])
    stands = found.get((bytes.fromhex(fingerprint), recipient_type.value))
    return stands is not None and stands.status is Status.BEKLIYOR and stands.origin.startswith(UNREGISTERED)


def _each(
    config: ConfigFile, brand: int | None, as_json: bool, work: Callable[[Sync, SyncedBrand], dict[str, Any]]
) -> None:
    from registry.importer import bring_up_to_date
    from registry.sync.client import Fault
    from registry.sync.state import Busy

    told: list[dict[str, Any]] = []
    with _opened(config, brand) as (sync, brands):
        bring_up_to_date(sync.publisher)  # what is recorded is to have an index that can be told
        for one in brands:
            try:
                told.append({"brand": one.code, **work(sync, one)})
            except Busy:
                fail(f"brand {one.code}: another process works on it; come again", EX_TEMPFAIL)
            except Fault as refusal:
                fail(f"brand {one.code}: the national system: {refusal}", EX_TEMPFAIL)
        if fault := bring_up_to_date(sync.publisher):
            errors.print(escape(f"recorded; the index will follow when it can: {fault}"), soft_wrap=True)
    if as_json:
        print_json({"brands": told})
        return
    for said in told:
        console.print("  ".join(f"{name} {value}" for name, value in said.items()))


@contextmanager
def _opened(config: ConfigFile, brand: int | None) -> Iterator[tuple[Sync, list[SyncedBrand]]]:
    from registry import log
    from registry.service import open_registry
    from registry.sync.loop import Sync

    log.for_command()
    loaded = load_config(config)
    settings = settings_of(loaded, keys_of(loaded, create=False))
    national = settings.national
    if national is None:
        fail(f"{config}: [national] is not enabled", EX_CONFIG)
    with reachable(), open_registry(settings) as registry:
        sync = Sync(national, registry.ledger, registry.publisher, settings.fingerprint_key)
        try:
            known = sync.brands.refresh()
            chosen = [one for one in known if brand in (None, one.code)]
            if brand is not None and not chosen:
                codes = ", ".join(str(one.code) for one in known)
                fix = f"izinli national brand add, or one of these: {codes}"
                fail(f"--brand {brand}: it is not kept in step: {fix}", EX_CONFIG)
            yield sync, chosen
        finally:
            sync.close()


def _show(found: list[Any]) -> None:
    table = Table(box=None, pad_edge=False)
    for name in ("brand", "level with", "waiting", "sent", "due", "refused", "look at"):
        table.add_column(name, overflow="fold")
    for one in found:
        counted, refused = one.uploads, ", ".join(f"{code} {count}" for code, count in sorted(one.refused.items()))
        cells = (one.brand, one.level or "never", counted["waiting"], counted["sent"], one.due or "-", refused or "-")
        table.add_row(*(escape(str(cell)) for cell in cells), escape("; ".join(one.problems)) or "-")
    console.print(table)
