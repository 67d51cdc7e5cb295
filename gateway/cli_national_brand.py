"""`izinli national brand …`: which brands are kept in step besides those of the configuration, and by whose login.

A registry that runs takes them up within seconds, and consents of them wait from the command's end on.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from sqlalchemy import Engine

from gateway.cli_common import (
    EX_CONFIG,
    EX_DATAERR,
    AsJson,
    ConfigFile,
    console,
    fail,
    keys_of,
    load_config,
    operator,
    print_json,
    reachable,
    secret_of,
    settings_of,
)

if TYPE_CHECKING:
    from registry.service import Settings
    from registry.sync.settings import Login, National

national_brand_app = typer.Typer(help="Which brands are kept in step.", no_args_is_help=True)

Code = Annotated[int, typer.Option("--brand", help="Its code here.")]


@national_brand_app.command()
def add(
    config: ConfigFile,
    brand: Code,
    user: Annotated[str, typer.Option(help="Who we are there for it; default: the login of [national].")] = "",
    password_file: Annotated[Path | None, typer.Option(help="Its first line is the user's password.")] = None,
    iys_code: Annotated[int, typer.Option(min=0, help="The provider's code there; default: as here.")] = 0,
    brand_code: Annotated[int, typer.Option(min=0, help="The brand's code there; default: as here.")] = 0,
    push_user: Annotated[str, typer.Option(help="The national system's user at our receiver.")] = "",
    push_password_file: Annotated[Path | None, typer.Option(help="Its first line is that user's password.")] = None,
) -> None:
    """Keep a brand in step from now on; for one that was added before: with these logins."""
    from registry.providers.vault import Vault
    from registry.sync import brands

    login = _login("--user", user, "--password-file", password_file)
    push = _login("--push-user", push_user, "--push-password-file", push_password_file)
    if push is not None and ":" in push.username:
        fail("--push-user: may have no colon; HTTP Basic ends the user name there", EX_DATAERR)
    with _opened(config) as (settings, national, engine):
        if brand in national.codes:
            fail(f"--brand {brand}: it has a [[national.brand]], which counts; change that one", EX_CONFIG)
        if login is None and national.login is None:
            fail("--user is missing, and [national] has no username for it", EX_DATAERR)
        if not national.key:
            fail("keys/provider.key is missing, which passwords are sealed with; izinli serve makes it", EX_CONFIG)
        ours = _iys_code_of(settings, engine, brand)
        wanted = brands.Added(brand, iys_code or ours, brand_code or brand, login, push)
        brands.add(engine, Vault(national.key), wanted, operator(), datetime.now(UTC))
    console.print(f"brand {brand} is kept in step as {wanted.brand_code} of {wanted.iys_code}")


@national_brand_app.command("list")
def list_brands(config: ConfigFile, as_json: AsJson = False) -> None:
    """All brands that are kept in step, and by which login."""
    from registry.sync.brands import Brands, added

    with _opened(config) as (_, national, engine):
        found = Brands(national, engine).refresh()
        rows = {row["code"]: row for row in added(engine)}
    told = [
        {
            "code": one.code,
            "iysCode": one.iys_code,
            "brandCode": one.there,
            "user": one.login.username,
            "push": one.push is not None,
            "from": "configuration" if one.code in national.codes else "command" if one.code in rows else "approval",
        }
        for one in found
    ]
    lost = sorted(set(rows) - {one.code for one in found})
    if as_json:
        print_json({"brands": told, "unreadable": lost})
        return
    for said in told:
        where = f"{said['brandCode']} of {said['iysCode']}"
        console.print(f"{said['code']:>10}  {where:22}  {escape(str(said['user']))}  ({said['from']})", soft_wrap=True)
    for code in lost:
        console.print(f"{code:>10}  its password cannot be read; add it again", soft_wrap=True)


@national_brand_app.command()
def remove(config: ConfigFile, brand: Code) -> None:
    """Keep a brand in step no more. Consents that wait go on waiting; new ones count at once."""
    from registry.sync import brands

    with _opened(config) as (_, national, engine):
        if not brands.remove(engine, brand):
            fail(f"--brand {brand}: nobody added it (izinli national brand list)", EX_DATAERR)
    console.print(f"brand {brand} was taken out")
    if brand in national.codes:
        console.print("it has a [[national.brand]], so it is kept in step all the same")


@contextmanager
def _opened(config: Path) -> Iterator[tuple[Settings, National, Engine]]:
    from registry import log
    from registry.service import open_ledger

    log.for_command()
    loaded = load_config(config)
    settings = settings_of(loaded, keys_of(loaded, create=False))
    if settings.national is None:
        fail(f"{config}: [national] is not enabled", EX_CONFIG)
    with reachable(), open_ledger(settings) as ledger:
        yield settings, settings.national, ledger.engine


def _iys_code_of(settings: Settings, engine: Engine, code: int) -> int:
    from registry.sync.brands import approved

    if code in settings.brands:
        return settings.brands[code].iys_code
    with engine.connect() as connection:
        found = approved(connection).get(code)
    if found is None:
        fail(f"--brand {code}: there is no [[brand]] with this code, and none was approved", EX_DATAERR)
    return found


def _login(user_option: str, user: str, file_option: str, path: Path | None) -> Login | None:
    from registry.sync.settings import Login

    if bool(user) != (path is not None):
        fail(f"{user_option} and {file_option} belong together", EX_DATAERR)
    if path is None:
        return None
    password = secret_of(path)
    try:
        password.decode()
    except UnicodeDecodeError as error:
        fail(f"{path}: {error}", EX_DATAERR)
    return Login(user, password)
