"""`izinli provider …`: who applied to send, and what operators decide about it (docs/providers.md)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer
from rich.markup import escape

from gateway.cli_common import (
    EX_CANTCREAT,
    EX_CONFIG,
    EX_DATAERR,
    EX_TEMPFAIL,
    AsJson,
    ConfigFile,
    console,
    errors,
    fail,
    keys_of,
    load_config,
    operator,
    print_json,
    reachable,
    settings_of,
)
from gateway.config import Config

if TYPE_CHECKING:
    from registry.providers.service import OnboardingService
    from registry.providers.states import Action
    from registry.providers.store import Change, Provider
    from registry.service import Registry

provider_app = typer.Typer(help="Who applied to send: approve, reject, suspend.", no_args_is_help=True)

Number = Annotated[int, typer.Argument(metavar="ID", help="As `izinli provider list` shows it.")]
Reason = Annotated[str, typer.Option(help="Why; it is kept with the decision.")]


class Proven(StrEnum):
    """What an operator can vouch for."""

    MOBILE = "mobile"
    EMAIL = "email"


class StateName(StrEnum):
    """States of an application."""

    APPLIED = "applied"
    VERIFIED = "verified"
    APPROVED = "approved"
    REJECTED = "rejected"
    SUSPENDED = "suspended"


class _Office(NamedTuple):
    """What the commands work with."""

    config: Config
    registry: Registry
    service: OnboardingService


@provider_app.command("list")
def list_providers(
    config: ConfigFile,
    state: Annotated[StateName | None, typer.Option(help="Only who stands so.")] = None,
    as_json: AsJson = False,
) -> None:
    """Everybody who applied, in the order in which they did."""
    from registry.providers.states import State

    with _office(config) as office:
        found = office.service.providers.all(None if state is None else State(state.value))
    if as_json:
        print_json({"providers": [_told(one) for one in found]})
        return
    for one in found:
        codes = " ".join(map(str, one.codes))
        console.print(f"{one.id:>5}  {one.state:9}  {one.mersis}  {escape(one.title)}  {codes}", soft_wrap=True)


@provider_app.command()
def show(config: ConfigFile, number: Number, as_json: AsJson = False) -> None:
    """All that is known of one, and what was decided, by whom, when and why."""
    with _office(config) as office:
        one = office.service.providers.get(number)
        changes = office.service.providers.changes(number)
        document = office.config.data_dir / "documents" / one.document.name
    if as_json:
        print_json({**_told(one), "document": str(document), "changes": [change._asdict() for change in changes]})
        return
    _print(one, document, changes)


@provider_app.command()
def confirm(
    config: ConfigFile,
    number: Number,
    way: Annotated[Proven, typer.Argument(help="What you have made sure of.")],
    reason: Reason,
) -> None:
    """Vouch for the signatory's mobile or mail address by hand."""
    from registry.providers.states import Way

    with _office(config) as office:
        state = office.service.proofs.confirm_by_hand(number, Way(way.value), datetime.now(UTC), operator(), reason)
    console.print(f"confirmed: provider {number} is {state}")


@provider_app.command()
def approve(
    config: ConfigFile,
    number: Number,
    reason: Reason = "",
    credentials_file: Annotated[
        Path | None, typer.Option(help="Write the API's user and password there (mode 0600), not on the screen.")
    ] = None,
) -> None:
    """Give the brands their codes, and the provider a user of the API. Cut short, it may be repeated."""
    from registry.providers import approval

    with _office(config) as office, _delivery(credentials_file) as deliver:
        service, engine = office.service, office.registry.ledger.engine
        codes = approval.Codes(office.config.registry.onboarding.codes_from, office.config.brands)
        one = approval.approve(engine, service.providers, number, codes, datetime.now(UTC), (operator(), reason))
        service.brands.refresh()
        console.print(f"approved: provider {number}, iysCode {one.iys_code}")
        for name, code in one.brands:
            console.print(f"  brand {code}  {escape(name)}")
        _give_credentials(office, one, deliver)
    errors.print("its streams begin with:  \\[\\[stream]] … brand = CODE  in the gateways' configuration")


@provider_app.command()
def reject(config: ConfigFile, number: Number, reason: Reason) -> None:
    """Turn an application down."""
    from registry.providers.states import Action

    with _office(config) as office:
        _change(office, number, Action.REJECT, reason)


@provider_app.command()
def suspend(config: ConfigFile, number: Number, reason: Reason) -> None:
    """Have all gateways refuse the commercial messages of its brands, from now on."""
    from registry.providers.states import Action

    with _office(config) as office:
        _change(office, number, Action.SUSPEND, reason)
        _publish(office)


@provider_app.command()
def resume(config: ConfigFile, number: Number, reason: Reason) -> None:
    """End a suspension."""
    from registry.providers.states import Action

    with _office(config) as office:
        _change(office, number, Action.RESUME, reason)
        _publish(office)


@contextmanager
def _office(path: Path) -> Iterator[_Office]:
    """What cannot be done ends the command with one line."""
    from registry.providers.states import NotNow
    from registry.providers.store import Refused, Unknown
    from registry.service import open_onboarding, open_registry

    config = load_config(path)
    settings = settings_of(config, keys_of(config, create=True))
    with reachable(), open_registry(settings) as registry:
        service = open_onboarding(settings, registry)
        if service is None:
            fail("keys/provider.key is missing; this is done where the registry runs", EX_CONFIG)
        try:
            yield _Office(config, registry, service)
        except Unknown as error:
            fail(f"there is no provider {error}; see: izinli provider list", EX_DATAERR)
        except (NotNow, Refused, ValueError) as error:
            fail(str(error), EX_DATAERR)


def _change(office: _Office, number: int, action: Action, reason: str) -> None:
    state = office.service.providers.change(number, action, datetime.now(UTC), operator(), reason)
    console.print(f"recorded: provider {number} is {state}")


def _publish(office: _Office) -> None:
    from registry.index.interface import IndexDown

    try:
        office.registry.publisher.publish_suspensions()
    except IndexDown as error:
        fail(f"recorded, but not in effect yet: {error}; the registry's service goes on trying", EX_TEMPFAIL)
    console.print("in effect: gateways know with their next message")


@contextmanager
def _delivery(path: Path | None) -> Iterator[int | None]:
    """A new file that nobody else may read; it goes again if nothing was written. None: the screen."""
    if path is None:
        yield None
        return
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        fail(f"{path}: {error.strerror}; nothing was changed", EX_CANTCREAT)
    try:
        yield descriptor
    finally:
        empty = os.fstat(descriptor).st_size == 0
        os.close(descriptor)
        if empty:
            path.unlink()


def _give_credentials(office: _Office, one: Provider, deliver: int | None) -> None:
    """A new user of the API, whose password is shown once and kept as a hash."""
    from registry.providers import approval

    def keep(given: approval.Credentials) -> None:
        if deliver is not None:
            os.write(deliver, f"user = {given.user}\npassword = {given.password}\n".encode())
            os.fsync(deliver)

    given = approval.give_user(office.registry.ledger.engine, one, datetime.now(UTC), operator(), keep)
    if deliver is None:
        console.print(f"API user      {given.user}")
        console.print(f"API password  {given.password}    (it is shown this once)", soft_wrap=True)


def _told(one: Provider) -> dict[str, Any]:
    return {
        "id": one.id,
        "state": one.state.value,
        "title": one.title,
        "mersis": one.mersis,
        "tin": one.tin,
        "signatory": {"name": one.signatory, "tckn": one.tckn, "mobile": one.mobile, "email": one.email},
        "confirmed": {way.value: yes for way, yes in one.confirmed.items()},
        "iysCode": one.iys_code,
        "brands": [{"name": name, "code": code} for name, code in one.brands],
        "appliedAt": one.applied_at.isoformat(),
    }


def _print(one: Provider, document: Path, changes: list[Change]) -> None:
    from registry.numbers import cautions
    from registry.providers.states import Way

    proven = {way: "confirmed" if one.confirmed[way] else "not confirmed" for way in Way}
    rows = {
        "state": one.state.value,
        "title": one.title,
        "MERSİS": one.mersis,
        "tax number": one.tin,
        "signatory": f"{one.signatory}, TCKN {one.tckn}",
        "mobile": f"{one.mobile} ({proven[Way.MOBILE]})",
        "email": f"{one.email} ({proven[Way.EMAIL]})",
        "document": str(document),
        "brands": ", ".join(f"{name} ({code})" if code else name for name, code in one.brands),
    }
    for name, text in rows.items():
        console.print(f"{name:12}{escape(text)}", soft_wrap=True)
    for caution in cautions(one.mersis, one.tin):
        console.print(f"{'caution':12}{caution}", soft_wrap=True)
    for change in changes:
        why = f": {change.reason}" if change.reason else ""
        console.print(escape(f"{change.at}  {change.action} → {change.state}, by {change.actor}{why}"), soft_wrap=True)
