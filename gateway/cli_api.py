"""`izinli api-user …`: who may use the national API, and for which brands."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from filters.passwords import SALT_OCTETS, make
from gateway.cli_common import (
    EX_DATAERR,
    AsJson,
    ConfigFile,
    brand_of,
    console,
    errors,
    fail,
    keys_of,
    load_config,
    print_json,
    reachable,
    secret_of,
    settings_of,
)
from gateway.config import Config

if TYPE_CHECKING:
    from registry.national.access import Access

NAME_CHARACTERS_MAX = 128
READ_ONLY = ":read"

api_user_app = typer.Typer(help="Who may use the national API.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="What it logs in as; the national system uses e-mail addresses.")]


@api_user_app.command()
def add(
    config: ConfigFile,
    name: Name,
    brand: Annotated[list[str], typer.Option(help="İYS brand code, or CODE:read for one that it may only read.")],
    password_file: Annotated[Path, typer.Option(help="Its first line is the password; a hash of it is kept.")],
) -> None:
    """Let a program in; --brand may be repeated."""
    from registry.national.access import ClientExists, shown

    loaded = load_config(config)
    grants = _grants(loaded, brand)
    if not 0 < len(name) <= NAME_CHARACTERS_MAX or not name.isprintable() or " " in name:
        fail(f"a name has 1 to {NAME_CHARACTERS_MAX} printable characters and no blank", EX_DATAERR)
    hashed = make(secret_of(password_file), secrets.token_bytes(SALT_OCTETS))
    with _access(loaded, create=True) as access:
        try:
            access.add(name, hashed, grants, datetime.now(UTC))
        except ClientExists:
            fail(f"there is a user {name} already; take it away first: izinli api-user remove", EX_DATAERR)
    console.print(f"added: {escape(name)} for {shown(grants)}")
    if not loaded.registry.api.served:
        errors.print(escape("the API is not served yet: write  api = true  under [registry]"))


@api_user_app.command("list")
def list_users(config: ConfigFile, as_json: AsJson = False) -> None:
    """Everybody who may, and for which brands."""
    from registry.national.access import shown

    with _access(load_config(config)) as access:
        clients = access.clients()
    if as_json:
        users = [{"name": one.name, "brands": _told(one.grants)} for one in clients]
        print_json({"users": users})
        return
    for one in clients:
        console.print(f"{escape(one.name):32} {shown(one.grants)}")


@api_user_app.command()
def remove(config: ConfigFile, name: Name) -> None:
    """Take a user and its tokens away; it is out within seconds."""
    with _access(load_config(config)) as access:
        if not access.remove(name, datetime.now(UTC)):
            fail(f"there is no user {name}", EX_DATAERR)
    console.print(f"removed: {escape(name)}")


@contextmanager
def _access(config: Config, *, create: bool = False) -> Iterator[Access]:
    from registry.national.access import Access
    from registry.service import open_registry

    with reachable(), open_registry(settings_of(config, keys_of(config, create=create))) as registry:
        yield Access(registry.ledger.engine)


def _grants(config: Config, said: list[str]) -> dict[int, bool]:
    grants: dict[int, bool] = {}
    for text in said:
        code = text.removesuffix(READ_ONLY)
        if not (code.isascii() and code.isdigit() and len(code) <= 10):
            fail(f"--brand {text}: not a brand code, nor CODE{READ_ONLY}", EX_DATAERR)
        grants[brand_of(config, int(code)).code] = not text.endswith(READ_ONLY)
    return grants


def _told(grants: object) -> dict[str, str]:
    assert isinstance(grants, dict)
    return {str(brand): "write" if may_write else "read" for brand, may_write in sorted(grants.items())}
