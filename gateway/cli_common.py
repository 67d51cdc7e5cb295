"""What the commands have in common: from the configuration to what the planes need, and what a person sees.

Exit codes are those of sysexits.h: 78 a faulty configuration, 65 bad input, 69 something is not reachable.
"""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from filters.model import Brand
from gateway import keys
from gateway.config import Config, ConfigError, load, read_secret
from gateway.config.national import Known
from gateway.toml import Problem

if TYPE_CHECKING:
    from registry.admins.serving import AdminPages
    from registry.providers.service import Onboarding
    from registry.service import Settings
    from registry.sync.settings import National

EX_DATAERR: Final = 65
EX_UNAVAILABLE: Final = 69
EX_CANTCREAT: Final = 73
EX_TEMPFAIL: Final = 75
EX_CONFIG: Final = 78

console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)

ConfigFile = Annotated[Path, typer.Option("-c", "--config", help="The configuration file.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


# from the configuration to what the planes need


def load_config(path: Path) -> Config:
    try:
        return load(path)
    except ConfigError as error:
        refuse(path, error.problems)


def keys_of(config: Config, *, create: bool) -> keys.Keys:
    try:
        if create:
            for path in keys.create_missing(config.data_dir):
                errors.print(f"key written: {escape(str(path))} (keep it in the backup)")
        return keys.load(config.data_dir)
    except (keys.KeyFault, OSError) as error:
        fail(str(error), EX_CONFIG)


def brand_of(config: Config, code: int) -> Brand:
    brand = config.brands.get(code)
    if brand is None:
        known = ", ".join(map(str, config.brands))
        fail(f"--brand {code}: there is no [[brand]] with this code; known: {known}", EX_CONFIG)
    return brand


def settings_of(config: Config, secrets: keys.Keys) -> Settings:
    from registry.national.rates import Rates
    from registry.national.rest import Manners
    from registry.service import Settings

    host, port = config.registry.bind
    api = config.registry.api
    onboarding = onboarding_of(config, secrets.provider) if secrets.provider else None
    rates = Rates(api.per_second, api.tokens_per_hour, api.status_per_hour, api.history_per_hour)
    delay = timedelta(minutes=api.changes_delay_minutes)
    return Settings(
        data_dir=config.data_dir,
        ledger=config.registry.ledger,
        index=config.index.server or config.index.url,
        host=host,
        port=port,
        public_url=config.registry.public_url,
        brands=config.brands,
        fingerprint_key=secrets.fingerprint,
        link_keys=secrets.link,
        link_key=secrets.link_current,
        internal_secret=secrets.internal,
        transition=config.registry.transition,
        metrics=config.registry.metrics,
        admin=admin_pages_of(config),
        api_rates=rates if api.served else None,
        national=national_of(config, secrets.provider),
        api_manners=Manners(delay, api.push_private, unknown_merchants_rejected=api.reject_unknown_merchants),
        push_key=secrets.push,
        onboarding=onboarding,
    )


def admin_pages_of(config: Config) -> AdminPages | None:
    from registry.admins.serving import AdminPages

    chosen = config.registry.admin
    return None if chosen is None else AdminPages(*chosen.bind, chosen.url, chosen.certificate)


def onboarding_of(config: Config, key: bytes) -> Onboarding:
    from registry.providers.doors import MailDoor, SmsDoor
    from registry.providers.service import Onboarding

    chosen = config.registry.onboarding
    mail, smpp = chosen.mail, chosen.smpp
    mail_door = None if mail is None else MailDoor(*mail.address, mail.sender)
    sms_door = None if smpp is None else SmsDoor(*smpp.address, smpp.account, smpp.password, smpp.sender)
    return Onboarding(key, chosen.served, chosen.codes_from, mail_door, sms_door)


def national_of(config: Config, key: bytes) -> National | None:
    from registry.sync.settings import Login, National, SyncedBrand

    def known(one: Known | None) -> Login | None:
        return None if one is None else Login(one.username, one.password)

    said = config.national
    if said is None:
        return None
    brands = tuple(
        SyncedBrand(
            one.code, config.brands[one.code].iys_code, Login(one.login.username, one.login.password), known(one.push)
        )
        for one in said.brands
    )
    times = float(said.pull_s), float(said.upload_s), float(said.result_s), float(said.calls_per_second)
    login, push = known(said.login), known(said.push)
    return National(said.url, brands, said.ca_file, *times, login=login, push=push, approved=said.approved, key=key)


def control(path: Path) -> Settings:
    config = load_config(path)
    return settings_of(config, keys_of(config, create=False))


# who asks, and with which secret


def operator() -> str:
    """Who is at the command line, for the evidence."""
    from registry.evidence import actors

    return actors.operator()


def secret_of(path: Path) -> bytes:
    """The first line of a file; one that cannot be a password ends the command."""
    try:
        return read_secret(path)
    except (OSError, ValueError) as error:
        fail(f"{path}: {error}", EX_DATAERR)


# what a person sees


def progress_bar(unit: str) -> Progress:
    """A bar on standard error, gone when it is done, and absent where nobody looks."""
    counted = TextColumn("{task.fields[done]:,} " + unit)
    columns = (TextColumn("{task.description}"), BarColumn(), counted, TimeRemainingColumn())
    return Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal)


class reachable:
    """Faults of ledger and index end the command with one line."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, _: object) -> None:
        from sqlalchemy.exc import SQLAlchemyError

        from registry.index.interface import IndexDown, IndexUnusable
        from registry.ledger import KeyMismatch

        if isinstance(fault, SQLAlchemyError | IndexDown | IndexUnusable | KeyMismatch):
            fail(str(fault), EX_UNAVAILABLE)


def print_json(value: dict[str, Any]) -> None:
    print(json.dumps(value, ensure_ascii=False, default=str))


def refuse(path: Path, problems: list[Problem]) -> NoReturn:
    for problem in problems:
        errors.print(escape(f"{path}: {problem}"), soft_wrap=True)
    errors.print(f"{len(problems)} problem{'s' if len(problems) > 1 else ''}")
    sys.exit(EX_CONFIG)


def fail(text: str, code: int) -> NoReturn:
    errors.print(escape(text), soft_wrap=True)
    sys.exit(code)
