"""The keys of `[registry]` that are about the national API: whether it is served, and how often one address may ask."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.toml import Table

OFTEN = 1_000_000


@dataclass(frozen=True, slots=True)
class Api:
    """The API. Of the bounds 0 is none; the defaults are the national system's own."""

    served: bool = False
    per_second: int = 10
    tokens_per_hour: int = 100
    status_per_hour: int = 1000
    history_per_hour: int = 100


def read_api(table: Table) -> Api:
    """From `[registry]`."""
    usual = Api()
    served = table.flag("api")
    bounds = {
        name: table.number(f"api_{name}", getattr(usual, name), 0, OFTEN)
        for name in ("per_second", "tokens_per_hour", "status_per_hour", "history_per_hour")
    }
    return Api(served, **bounds)
