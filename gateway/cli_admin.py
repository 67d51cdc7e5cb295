"""`izinli admin …`: who may work on the admins' pages, and with what they log in (docs/admin.md)."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.markup import escape

from filters.passwords import SALT_OCTETS, Hash, make
from gateway.cautions import open_to
from gateway.cli_common import (
    EX_CONFIG,
    EX_DATAERR,
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
    secret_of,
    settings_of,
)
from gateway.config import Config

if TYPE_CHECKING:
    from registry.admins.store import Admins, Enrolment

ISSUER: Final = "izinli"
PASSWORD_OCTETS_MIN: Final = 12
_CHANCE_OCTETS: Final = 18  # of a password that is made here

admin_app = typer.Typer(help="Who may work on the admins' pages.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="What it logs in as: a–z, 0–9, '.', '_' and '-'.")]
PasswordFile = Annotated[
    Path | None, typer.Option(help=f"Its first line is the password, of {PASSWORD_OCTETS_MIN} octets or more.")
]


class RoleName(StrEnum):
    """What an admin may do."""

    OPERATOR = "operator"
    AUDITOR = "auditor"


@admin_app.command()
def add(
    config: ConfigFile,
    name: Name,
    role: Annotated[RoleName, typer.Option(help="An operator decides, an auditor only reads.")],
    password_file: PasswordFile = None,
) -> None:
    """Let somebody in. Without a file the password is made here; all of it is shown this once."""
    from registry.admins.store import AdminExists, Role

    loaded = load_config(config)
    password, hashed = _password(password_file)
    with _admins(loaded) as admins:
        try:
            new = admins.add(name, Role(role.value), hashed, datetime.now(UTC), operator())
        except AdminExists:
            fail(f"there is an admin {name} already; see: izinli admin reset", EX_DATAERR)
        except ValueError as error:
            fail(str(error), EX_DATAERR)
    console.print(f"added: {escape(name)}, {role}")
    _show(name, new, "" if password_file else password)
    if loaded.registry.admin is None:
        errors.print(escape('there is no page yet: write  admin = "127.0.0.1:8081"  under [registry]'))


@admin_app.command("list")
def list_admins(config: ConfigFile, as_json: AsJson = False) -> None:
    """Everybody, with role, last login and how many recovery codes are left."""
    with _admins(load_config(config)) as admins:
        found = admins.all()
    if as_json:
        print_json({"admins": [asdict(one) for one in found]})
        return
    for one in found:
        state = "disabled" if one.disabled else "enabled"
        last = one.last_login or "never"
        text = f"{one.name:32} {one.role:9} {state:9} last login {last:20}  {one.recovery_codes} recovery codes"
        console.print(escape(text), soft_wrap=True)


@admin_app.command()
def reset(config: ConfigFile, name: Name, password_file: PasswordFile = None) -> None:
    """A new secret and new recovery codes (and a new password, with a file); the old ones and all sessions end."""
    hashed = None if password_file is None else _password(password_file)[1]
    with _admins(load_config(config)) as admins:
        new = admins.reset(name, hashed, datetime.now(UTC), operator())
    console.print(f"reset: {escape(name)}")
    _show(name, new, "")


@admin_app.command()
def disable(config: ConfigFile, name: Name) -> None:
    """Let nobody in by this name; its sessions end at once."""
    with _admins(load_config(config)) as admins:
        admins.set_disabled(name, True, datetime.now(UTC), operator())
    console.print(f"disabled: {escape(name)}")


@admin_app.command()
def enable(config: ConfigFile, name: Name) -> None:
    """The end of `disable`."""
    with _admins(load_config(config)) as admins:
        admins.set_disabled(name, False, datetime.now(UTC), operator())
    console.print(f"enabled: {escape(name)}")


@admin_app.command()
def remove(config: ConfigFile, name: Name) -> None:
    """Take an admin away; what it did stays in the audit."""
    with _admins(load_config(config)) as admins:
        admins.remove(name, datetime.now(UTC), operator())
    console.print(f"removed: {escape(name)}")


@contextmanager
def _admins(config: Config) -> Iterator[Admins]:
    """What cannot be done ends the command with one line."""
    from registry.admins.store import Admins, NoSuchAdmin
    from registry.providers.vault import Vault
    from registry.service import open_ledger

    keys = keys_of(config, create=False)  # with a key of its own nobody would get in where the pages are
    if not keys.provider:
        fail(
            "keys/provider.key is missing; this is done where the registry runs, whose first start makes it", EX_CONFIG
        )
    with reachable(), open_ledger(settings_of(config, keys)) as ledger:
        try:
            yield Admins(ledger.engine, Vault(keys.provider))
        except NoSuchAdmin as error:
            fail(f"there is no admin {error}; see: izinli admin list", EX_DATAERR)


def _password(path: Path | None) -> tuple[str, Hash]:
    """The password of a file, or a new one, and its hash."""
    if path is None:
        said = secrets.token_urlsafe(_CHANCE_OCTETS).encode()
    else:
        said = secret_of(path)
        if mode := open_to(path):
            errors.print(escape(f"caution: {path}: others than its owner have access (mode {mode:04o}); chmod 600"))
        if len(said) < PASSWORD_OCTETS_MIN:
            fail(f"{path}: a password of an admin has {PASSWORD_OCTETS_MIN} octets or more", EX_DATAERR)
    try:
        text = said.decode("utf-8")
    except UnicodeDecodeError:
        fail(f"{path}: its first line is not UTF-8", EX_DATAERR)
    return text, make(said, secrets.token_bytes(SALT_OCTETS))


def _show(name: str, new: Enrolment, password: str) -> None:
    """What is known to nobody else, and kept nowhere in clear."""
    import segno

    from registry.admins import totp

    uri = totp.uri_of(new.secret, name, ISSUER)
    console.print("Shown this once:")
    if password:
        console.print(f"  password        {escape(password)}", soft_wrap=True)
    console.print(f"  secret          {new.secret}", soft_wrap=True)
    console.print(f"  authenticator   {escape(uri)}", soft_wrap=True)
    for at, code in enumerate(new.recovery_codes):
        console.print(f"  {'recovery codes' if at == 0 else '':14}  {code}", soft_wrap=True)
    if console.is_terminal:
        segno.make(uri, error="l").terminal(compact=True)
