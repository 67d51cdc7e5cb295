"""The keys of `[registry]` that are about the national API: whether it is served, how often one address may ask, and
what it does otherwise than the national system."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.toml import Table

OFTEN = 1_000_000
DELAY_MINUTES_MAX = 1440


@dataclass(frozen=True, slots=True)
class Api:
    """The API. Of the bounds 0 is none; the defaults are the national system's own."""

    served: bool = False
    per_second: int = 10
    tokens_per_hour: int = 100
    status_per_hour: int = 1000
    history_per_hour: int = 100
    changes_delay_minutes: int = 60  # so long a move is kept from `changes`
    push_private: bool = False  # who is told of moves may be in our own network
    reject_unknown_merchants: bool = False  # in the list for intermediaries


def read_api(table: Table) -> Api:
    """From `[registry]`."""
    usual = Api()
    served = table.flag("api")
    bounds = {
        name: table.number(f"api_{name}", getattr(usual, name), 0, OFTEN)
        for name in ("per_second", "tokens_per_hour", "status_per_hour", "history_per_hour")
    }
    delay = table.number("api_changes_delay_minutes", usual.changes_delay_minutes, 0, DELAY_MINUTES_MAX)
    private, unknown = table.flag("api_push_private"), table.flag("api_reject_unknown_merchants")
    return Api(
        served,
        **bounds,
        changes_delay_minutes=delay,
        push_private=private,
        reject_unknown_merchants=unknown,
    )
