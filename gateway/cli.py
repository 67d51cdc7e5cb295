"""The command line. It alone knows both planes: it starts them, and hands each what it needs of the configuration.

Exit codes are those of sysexits.h: 78 a faulty configuration, 65 bad input, 69 something is not reachable.
"""

from __future__ import annotations

import json
import socket
import sys
from dataclasses import asdict
from enum import StrEnum
from getpass import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from filters.model import Brand, Channel, RecipientType
from gateway import keys
from gateway.config import Config, ConfigError, load
from gateway.toml import Problem

if TYPE_CHECKING:
    from registry.service import Settings

EX_DATAERR, EX_UNAVAILABLE, EX_CANTCREAT, EX_CONFIG = 65, 69, 73, 78

app = typer.Typer(help="Commercial messages go only where consent stands.", no_args_is_help=True, add_completion=False)
index_app = typer.Typer(help="The consent index: build it anew, compare it with the ledger, ask how it is.")
app.add_typer(index_app, name="index")
console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)

ConfigFile = Annotated[Path, typer.Option("-c", "--config", help="The configuration file.")]
BrandCode = Annotated[int, typer.Option("--brand", help="İYS brand code.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


class Plane(StrEnum):
    """A half of the service."""

    GATEWAY = "gateway"
    REGISTRY = "registry"


class KeyType(StrEnum):
    """A kind of DKIM key."""

    RSA = "rsa"
    ED25519 = "ed25519"


def main() -> None:
    """The entry point of the package."""
    app()


@app.command()
def init(directory: Annotated[Path, typer.Argument(help="Where to write izinli.toml and its keys.")]) -> None:
    """Write a commented configuration that works as it is."""
    from gateway.init import init as write

    try:
        for path in write(directory):
            console.print(f"written: {escape(str(path))}")
    except OSError as error:
        _fail(str(error), EX_CANTCREAT)
    console.print(f"next:    izinli serve -c {escape(str(directory / 'izinli.toml'))}")


@app.command("check-config")
def check_config(config: ConfigFile) -> None:
    """Report every problem of a configuration at once; exit 78 if there is one, 0 if there are only cautions."""
    from gateway.cautions import cautions
    from gateway.check import problems

    if found := problems(config):
        _refuse(config, found)
    for caution in cautions(_load(config)):
        errors.print(escape(f"caution: {config}: {caution}"), soft_wrap=True)
    console.print(f"{escape(str(config))}: no problem found")


@app.command()
def serve(
    config: ConfigFile,
    only: Annotated[Plane | None, typer.Option(help="Run one half only; default: both.")] = None,
) -> None:
    """Run gateway and registry until SIGTERM, which drains."""
    from gateway.supervisor import serve as run

    loaded = _load(config)
    secrets = _keys(loaded, create=only is not Plane.GATEWAY)

    def registry(page: socket.socket) -> None:
        from registry.service import serve as serve_registry

        serve_registry(_settings(loaded, secrets), sock=page)

    with_registry = None if only is Plane.GATEWAY else registry
    sys.exit(run(loaded, secrets, gateway=only is not Plane.REGISTRY, registry=with_registry))


@app.command("import")
def import_consents(
    config: ConfigFile,
    consents: Annotated[Path, typer.Argument(help="CSV: recipient,type,status,source,recipientType,consentDate")],
    brand: BrandCode,
    declare: Annotated[
        bool, typer.Option("--declare", help="New consents, under the national system's rules for declarations.")
    ] = False,
    rejects: Annotated[Path | None, typer.Option(help="Where bad lines go; default: CONSENTS.rejects.csv")] = None,
    as_json: AsJson = False,
) -> None:
    """Load consents; without --declare: what the national system already holds."""
    from sqlalchemy.exc import SQLAlchemyError

    from registry.ledger import KeyMismatch
    from registry.lines import CsvError
    from registry.service import import_csv

    loaded = _load(config)
    _brand(loaded, brand)
    settings = _settings(loaded, _keys(loaded, create=True))
    try:
        with _progress("lines") as bar:
            task = bar.add_task("importing", total=None, done=0)

            def advance(done: int, total: int, lines: int) -> None:
                bar.update(task, completed=done, total=total, done=lines)

            result = import_csv(settings, brand, consents, declare=declare, rejects=rejects, progress=advance)
    except CsvError as error:
        _fail(f"{consents}: {error}", EX_DATAERR)
    except (OSError, SQLAlchemyError, KeyMismatch) as error:
        _fail(f"{consents}: {error}", EX_UNAVAILABLE)
    if as_json:
        _print_json(asdict(result))
    else:
        console.print(
            f"{result.lines:,} lines: {result.recorded:,} recorded, {result.unchanged:,} unchanged, "
            f"{result.rejected:,} rejected"
        )
    if result.reject_path is not None:
        errors.print(f"rejected lines, with line number and reason: {escape(str(result.reject_path))}")
    if result.index_fault:
        errors.print(f"recorded, but the index does not know it yet: {escape(result.index_fault)}")
    if result.rejected or result.index_fault:
        sys.exit(EX_DATAERR if result.rejected else EX_UNAVAILABLE)


@app.command()
def lookup(
    config: ConfigFile,
    recipient: Annotated[str, typer.Argument(help="E-mail address or telephone number.")],
    brand: BrandCode,
    channel: Annotated[Channel, typer.Option(help="How the message would travel.", case_sensitive=False)],
    recipient_type: Annotated[RecipientType, typer.Option(case_sensitive=False)] = RecipientType.BIREYSEL,
    as_json: AsJson = False,
) -> None:
    """What a commercial message to this recipient would be answered now."""
    from gateway.lookup import lookup as find

    loaded = _load(config)
    found = find(loaded, _keys(loaded, create=False), _brand(loaded, brand), channel, recipient_type, recipient)
    if as_json:
        _print_json(asdict(found))
        return
    console.print(f"canonical form  {escape(found.canonical or 'none: no consent can exist for this spelling')}")
    console.print(f"verdict         {found.outcome} ({found.reason})")
    if found.fingerprint:
        console.print(f"fingerprint     {found.fingerprint}")


@app.command()
def password() -> None:
    """Print the hash of a password, for an account's password_hash_file; it is asked for, or read from a pipe."""
    from gateway.config import PASSWORD_OCTETS_MAX
    from gateway.passwords import make

    if sys.stdin.isatty():
        given = getpass("Password: ").encode()
        if given != getpass("Again: ").encode():
            _fail("the two differ; nothing was printed", EX_DATAERR)
    else:
        given = sys.stdin.buffer.readline(PASSWORD_OCTETS_MAX + 3).rstrip(b"\r\n")
    if not 0 < len(given) <= PASSWORD_OCTETS_MAX or b"\0" in given:
        _fail(f"a password has 1 to {PASSWORD_OCTETS_MAX} octets", EX_DATAERR)
    print(make(given))


@app.command("dkim-key")
def dkim_key(
    domain: Annotated[str, typer.Option(help="The domain that signs: that of From, or one above it.")],
    selector: Annotated[str, typer.Option(help="A name for this key among the domain's, such as izinli-2026.")],
    out: Annotated[Path, typer.Option(help="Where the private key goes; nothing is overwritten.")],
    kind: Annotated[KeyType, typer.Option("--type", help="rsa is read everywhere; sign with both.")] = KeyType.RSA,
) -> None:
    """Make a key to sign mail with, and print the DNS record to publish."""
    from gateway.dkim_key import create, zone_line

    try:
        signer = create(out, domain, selector, kind.value)
    except ValueError as error:
        _fail(str(error), EX_DATAERR)
    except OSError as error:
        _fail(f"{out}: {error.strerror}; nothing was changed", EX_CANTCREAT)
    entry = f'dkim = {{ domain = "{signer.domain}", selector = "{signer.selector}", key_file = "{out}" }}'
    errors.print(escape(f"written: {out} (private; keep it in the backup)"), soft_wrap=True)
    errors.print("publish this TXT record:")
    print(zone_line(signer))
    errors.print(escape(f"check it:  dig +short TXT {signer.record_name}"), soft_wrap=True)
    errors.print(escape(f"then under the [[brand]]:  {entry}"), soft_wrap=True)


@app.command()
def demo(
    as_json: AsJson = False,
    keep_serving: Annotated[bool, typer.Option("--keep-serving", help="Stay up afterwards, to send by hand.")] = False,
) -> None:
    """The whole main job on this machine: mail and SMS pass, are refused, are deferred."""
    from gateway.demo.run import run

    sys.exit(run(as_json=as_json, keep_serving=keep_serving))


@index_app.command()
def rebuild(config: ConfigFile, as_json: AsJson = False) -> None:
    """Build the index anew from the ledger while traffic flows."""
    from registry.service import rebuild as build

    settings = _control(config)
    with _progress("members") as bar, _reachable():
        task = bar.add_task("building", total=None, done=0)

        def advance(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total, done=done)

        state = build(settings, advance)
    if as_json:
        _print_json(asdict(state))
    else:
        console.print(f"epoch {state.epoch}: {state.count:,} members")


@index_app.command()
def verify(config: ConfigFile, as_json: AsJson = False) -> None:
    """Compare the index with the ledger, member by member; exit 1 when they differ."""
    from registry.service import verify as compare

    settings = _control(config)
    with _reachable():
        found = compare(settings)
    if as_json:
        _print_json(asdict(found) | {"equal": found.equal})
    else:
        console.print(f"ledger {found.ledger_members:,}, index {found.index_members:,} (it says {found.counted:,})")
        console.print(f"missing in the index {found.missing:,}, surplus {found.surplus:,}")
        console.print("equal" if found.equal else "they differ; mend with: izinli index rebuild")
    sys.exit(0 if found.equal else 1)


@index_app.command()
def status(config: ConfigFile, as_json: AsJson = False) -> None:
    """What the index says of itself."""
    from registry.service import index_status

    settings = _control(config)
    with _reachable():
        found = index_status(settings)
    if as_json:
        _print_json(asdict(found))
        return
    for name, value in asdict(found).items():
        console.print(f"{name:16} {escape(str(value))}")


# from the configuration to what the planes need


def _load(path: Path) -> Config:
    try:
        return load(path)
    except ConfigError as error:
        _refuse(path, error.problems)


def _keys(config: Config, *, create: bool) -> keys.Keys:
    try:
        if create:
            for path in keys.create_missing(config.data_dir):
                errors.print(f"key written: {escape(str(path))} (keep it in the backup)")
        return keys.load(config.data_dir)
    except (keys.KeyFault, OSError) as error:
        _fail(str(error), EX_CONFIG)


def _brand(config: Config, code: int) -> Brand:
    brand = config.brands.get(code)
    if brand is None:
        known = ", ".join(map(str, config.brands))
        _fail(f"--brand {code}: there is no [[brand]] with this code; known: {known}", EX_CONFIG)
    return brand


def _settings(config: Config, secrets: keys.Keys) -> Settings:
    from registry.service import Settings

    host, port = config.registry.bind
    return Settings(
        data_dir=config.data_dir,
        ledger=config.registry.ledger,
        index=config.index.url,
        host=host,
        port=port,
        public_url=config.registry.public_url,
        brands=config.brands,
        fingerprint_key=secrets.fingerprint,
        link_keys=secrets.link,
        link_key=secrets.link_current,
    )


def _control(path: Path) -> Settings:
    config = _load(path)
    return _settings(config, _keys(config, create=False))


# what a person sees


def _progress(unit: str) -> Progress:
    """A bar on standard error, gone when it is done, and absent where nobody looks."""
    counted = TextColumn("{task.fields[done]:,} " + unit)
    columns = (TextColumn("{task.description}"), BarColumn(), counted, TimeRemainingColumn())
    return Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal)


class _reachable:
    """Faults of ledger and index end the command with one line."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, _: object) -> None:
        from sqlalchemy.exc import SQLAlchemyError

        from registry.index.interface import IndexDown, IndexUnusable
        from registry.ledger import KeyMismatch

        if isinstance(fault, SQLAlchemyError | IndexDown | IndexUnusable | KeyMismatch):
            _fail(str(fault), EX_UNAVAILABLE)


def _print_json(value: dict[str, Any]) -> None:
    print(json.dumps(value, ensure_ascii=False, default=str))


def _refuse(path: Path, problems: list[Problem]) -> NoReturn:
    for problem in problems:
        errors.print(escape(f"{path}: {problem}"), soft_wrap=True)
    errors.print(f"{len(problems)} problem{'s' if len(problems) > 1 else ''}")
    sys.exit(EX_CONFIG)


def _fail(text: str, code: int) -> NoReturn:
    errors.print(escape(text), soft_wrap=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
