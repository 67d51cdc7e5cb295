"""`izinli subscription …`: how many consents the brands of one provider may hold together (docs/national.md)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from gateway.cli_common import EX_DATAERR, AsJson, ConfigFile, console, control, fail, operator, print_json, reachable

NONE = "none"
DIGITS_MAX = 15  # no database minds such a number

subscription_app = typer.Typer(help="How many consents a provider may hold.", no_args_is_help=True)


@subscription_app.command()
def quota(
    config: ConfigFile,
    iys_code: Annotated[int, typer.Argument(metavar="IYS_CODE", help="The provider: its brands' iys_code.")],
    consents: Annotated[str, typer.Argument(metavar="N|none", help="So many, or as many as it likes.")],
) -> None:
    """Refuse declared consents above N, together of all its brands (H525); at once, in every process."""
    from registry import quotas
    from registry.service import open_ledger

    if consents != NONE and not (consents.isascii() and consents.isdigit() and len(consents) <= DIGITS_MAX):
        fail(f"{consents}: a whole number of consents, or {NONE}", EX_DATAERR)
    limit = None if consents == NONE else int(consents)
    with reachable(), open_ledger(control(config)) as ledger:
        try:
            found = quotas.set_quota(ledger, iys_code, limit, operator(), datetime.now(UTC))
        except quotas.Unknown:
            fail(f"{iys_code}: no [[brand]] has this iys_code, and none was approved with it", EX_DATAERR)
    if found is None:
        console.print(f"iysCode {iys_code} has no quota")
        return
    console.print(f"iysCode {iys_code}: {found.held:,} of {found.quota:,} consents are held")


@subscription_app.command("list")
def list_subscriptions(config: ConfigFile, as_json: AsJson = False) -> None:
    """Every provider with a quota, and how much of it is used."""
    from registry import subscription
    from registry.service import open_ledger

    with reachable(), open_ledger(control(config)) as ledger, ledger.engine.connect() as connection:
        found = subscription.subscriptions(connection)
    if as_json:
        told = [{"iysCode": one.iys_code, "quota": one.quota, "held": one.held} for one in found]
        print_json({"subscriptions": told})
        return
    for one in found:
        console.print(f"{one.iys_code:>10}  {one.held:,} of {one.quota:,}", soft_wrap=True)
