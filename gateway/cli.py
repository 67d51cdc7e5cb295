"""The command line. `gateway.cli*` alone knows both planes: it starts them, and hands each what it needs of the
configuration.
"""

from __future__ import annotations

import socket
import sys
from dataclasses import asdict
from enum import StrEnum
from getpass import getpass
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from filters.model import Channel, RecipientType
from gateway.cli_admin import admin_app
from gateway.cli_api import api_user_app
from gateway.cli_backup import backup, restore
from gateway.cli_common import (
    EX_CANTCREAT,
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
    refuse,
    settings_of,
)
from gateway.cli_consents import BrandCode, export_consents, import_consents
from gateway.cli_evidence import evidence
from gateway.cli_index import index_app
from gateway.cli_journal import journal_app
from gateway.cli_ledger import ledger_app
from gateway.cli_national import NOT_REGISTERED, national_app, waits
from gateway.cli_provider import provider_app
from gateway.cli_subscription import subscription_app

app = typer.Typer(help="Commercial messages go only where consent stands.", no_args_is_help=True, add_completion=False)
app.command("import")(import_consents)
app.command("export")(export_consents)
app.add_typer(index_app, name="index")
app.add_typer(admin_app, name="admin")
app.add_typer(api_user_app, name="api-user")
app.add_typer(journal_app, name="journal")
app.add_typer(ledger_app, name="ledger")
app.add_typer(national_app, name="national")
app.add_typer(provider_app, name="provider")
app.add_typer(subscription_app, name="subscription")
app.command()(evidence)
app.command()(backup)
app.command()(restore)


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
        fail(str(error), EX_CANTCREAT)
    console.print(f"next:    izinli serve -c {escape(str(directory / 'izinli.toml'))}")


@app.command("check-config")
def check_config(config: ConfigFile) -> None:
    """Report every problem of a configuration at once; exit 78 if there is one, 0 if there are only cautions."""
    from gateway.cautions import cautions
    from gateway.check import problems
    from gateway.sms_notes import sms_notes

    if found := problems(config):
        refuse(config, found)
    loaded = load_config(config)
    for caution in cautions(loaded):
        errors.print(escape(f"caution: {config}: {caution}"), soft_wrap=True)
    for note in sms_notes(loaded):
        errors.print(escape(f"note: {note}"), soft_wrap=True)
    console.print(f"{escape(str(config))}: no problem found")


@app.command()
def serve(
    config: ConfigFile,
    only: Annotated[Plane | None, typer.Option(help="Run one half only; default: both.")] = None,
) -> None:
    """Run gateway and registry until SIGTERM, which drains."""
    from gateway.supervisor import serve as run

    loaded = load_config(config)
    secrets = keys_of(loaded, create=only is not Plane.GATEWAY)

    def registry(page: socket.socket) -> None:
        from registry.service import serve as serve_registry

        serve_registry(settings_of(loaded, secrets), sock=page)

    with_registry = None if only is Plane.GATEWAY else registry
    sys.exit(run(loaded, secrets, gateway=only is not Plane.REGISTRY, registry=with_registry))


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

    loaded = load_config(config)
    secrets = keys_of(loaded, create=False)
    found = find(loaded, secrets, brand_of(loaded, brand), channel, recipient_type, recipient)
    note = NOT_REGISTERED if waits(loaded, secrets, found.fingerprint, recipient_type) else ""
    if as_json:
        print_json({**asdict(found), "note": note})
        return
    console.print(f"canonical form  {escape(found.canonical or 'none: no consent can exist for this spelling')}")
    console.print(f"verdict         {found.outcome} ({found.reason})")
    if found.fingerprint:
        console.print(f"fingerprint     {found.fingerprint}")
    if note:
        console.print(f"why             {note}")


@app.command()
def password() -> None:
    """Print the hash of a password, for an account's password_hash_file; it is asked for, or read from a pipe."""
    from gateway.config import PASSWORD_OCTETS_MAX
    from gateway.passwords import make

    if sys.stdin.isatty():
        given = getpass("Password: ").encode()
        if given != getpass("Again: ").encode():
            fail("the two differ; nothing was printed", EX_DATAERR)
    else:
        given = sys.stdin.buffer.readline(PASSWORD_OCTETS_MAX + 3).rstrip(b"\r\n")
    if not 0 < len(given) <= PASSWORD_OCTETS_MAX or b"\0" in given:
        fail(f"a password has 1 to {PASSWORD_OCTETS_MAX} octets", EX_DATAERR)
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
        fail(str(error), EX_DATAERR)
    except OSError as error:
        fail(f"{out}: {error.strerror}; nothing was changed", EX_CANTCREAT)
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


if __name__ == "__main__":
    main()
