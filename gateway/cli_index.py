"""`izinli index …`: what an operator does with the consent index."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from gateway.cli_common import (
    EX_UNAVAILABLE,
    AsJson,
    ConfigFile,
    console,
    control,
    fail,
    keys_of,
    load_config,
    print_json,
    progress_bar,
    reachable,
    settings_of,
)

index_app = typer.Typer(
    help="The consent index: how it is, build it anew, compare it with the ledger.", no_args_is_help=True
)
NAMED_MAX = 5  # fingerprints of one difference that a person is shown


@index_app.command()
def rebuild(
    config: ConfigFile,
    anew: Annotated[bool, typer.Option("--anew", help="Do not go on with a build that was cut short.")] = False,
    as_json: AsJson = False,
) -> None:
    """Build the index anew from the ledger while traffic flows; goes on with a build that was cut short."""
    from registry.service import rebuild as build

    settings = control(config)
    with progress_bar("members") as bar, reachable():
        task = bar.add_task("building", total=None, done=0)

        def advance(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total, done=done)

        state = build(settings, advance, anew=anew)
    if as_json:
        print_json(asdict(state) | {"count": state.count})
    else:
        console.print(f"epoch {state.epoch}: {state.count:,} members")


@index_app.command()
def verify(
    config: ConfigFile,
    repair: Annotated[bool, typer.Option("--repair", help="Mend what differs.")] = False,
    as_json: AsJson = False,
) -> None:
    """Compare the index with the ledger, member by member; exit 1 when they differ (still, after --repair)."""
    from registry import service

    settings = control(config)
    with progress_bar("lanes") as bar, reachable():
        task = bar.add_task("comparing", total=None, done=0)

        def advance(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total, done=done)

        found = service.verify(settings, advance)
        equal = found.equal or (repair and service.repair(settings, found, advance).equal)
    if as_json:
        print_json(
            {
                "equal": equal,
                "ledger_members": found.ledger_members,
                "index_members": found.index_members,
                "counted": found.counted,
                "missing": found.missing,
                "surplus": found.surplus,
                "differences": [_as_json(one) for one in found.differences],
            }
        )
    else:
        console.print(f"ledger {found.ledger_members:,}, index {found.index_members:,} (it says {found.counted:,})")
        if found.differences:
            console.print(_differences(found.differences))
        console.print(_conclusion(found.equal, equal))
    sys.exit(0 if equal else 1)


@index_app.command()
def snapshot(config: ConfigFile, as_json: AsJson = False) -> None:
    """Write the filter's file of this machine now; the service does so by itself."""
    from gateway.index.snapshot import SnapshotFault
    from gateway.keeper import take

    loaded = load_config(config)
    keys = keys_of(loaded, create=False)
    try:
        with progress_bar("members") as bar:
            task = bar.add_task("reading", total=None, done=0)

            def advance(done: int, total: int) -> None:
                bar.update(task, completed=done, total=total, done=done)

            taken = asdict(take(loaded, keys, advance))
    except (SnapshotFault, OSError) as error:
        fail(str(error), EX_UNAVAILABLE)
    if as_json:
        print_json(taken)
    else:
        console.print(
            f"{escape(str(taken['path']))}: epoch {taken['epoch']}, {taken['members']:,} members, "
            f"{taken['octets']:,} octets, {taken['seconds']:.1f} s"
        )


@index_app.command()
def status(config: ConfigFile, as_json: AsJson = False) -> None:
    """What the index says of itself, and the gateway on this machine of it."""
    from gateway.index import report
    from registry.service import index_status

    loaded = load_config(config)
    with reachable():
        found = asdict(index_status(settings_of(loaded, keys_of(loaded, create=False))))
    taken, workers = report.filter_file(loaded.data_dir), report.workers(loaded)
    beside = {"filter_file": taken, "gateway": workers}
    if as_json:
        print_json(found | {name: one if isinstance(one, str) else asdict(one) for name, one in beside.items()})
        return
    for name, value in found.items():
        console.print(f"{name:18} {escape(_shown(value))}")
    for name, one in beside.items():
        console.print(f"{name:18} {escape(one if isinstance(one, str) else _listed(asdict(one)))}")


def _shown(value: object) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "-"}[value]
    if isinstance(value, float):
        return f"{value:,.1f}"
    return f"{value:,}" if isinstance(value, int) else " ".join(value) if isinstance(value, tuple) else str(value)


def _listed(values: dict[str, object]) -> str:
    return ", ".join(f"{name} {_shown(value)}" for name, value in values.items() if value != ())


def _conclusion(was_equal: bool, equal: bool) -> str:
    if was_equal:
        return "equal"
    return "mended: equal now" if equal else "they differ; mend with: izinli index verify --repair"


def _differences(differences: tuple[Any, ...]) -> Table:
    table = Table(box=None, pad_edge=False)
    for title in ("range", "family", "ledger", "index", "missing", "surplus", "fingerprints"):
        table.add_column(title)
    for one in differences:
        named = [name.hex() for name in (*one.missing, *one.surplus)]
        more = " …" if len(named) > NAMED_MAX else ""
        sides = [f"{side.members:,} {side.checksum}" for side in (one.ledger, one.index)]
        row = (one.range, one.family.name, *sides, f"{len(one.missing):,}", f"{len(one.surplus):,}")
        table.add_row(*row, " ".join(named[:NAMED_MAX]) + more)
    return table


def _as_json(one: Any) -> dict[str, Any]:
    return {
        "range": one.range,
        "family": one.family.name,
        "ledger": one.ledger._asdict(),
        "index": one.index._asdict(),
        "missing": [name.hex() for name in one.missing],
        "surplus": [name.hex() for name in one.surplus],
    }
