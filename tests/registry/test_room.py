"""Connections to the ledger: for everybody who may want one, and a word when the server has fewer."""

from __future__ import annotations

import re
from pathlib import Path

from sqlalchemy import make_url

import registry
from registry.ledger import Ledger
from registry.limits import LEDGER_CONNECTIONS_MAX, LEDGER_USERS
from registry.room import shortage
from registry.schema import open_engine

NAMES = re.compile(
    r'(?:thread_name_prefix=|\bpulse\(|_gatherer\([^"\n]*|_gatherer\(\n[^"\n]*\n? *|Thread\([^"\n]*name=)"(\w+)"'
)


def test_every_thread_that_may_want_a_connection_is_counted() -> None:
    home = Path(registry.__file__).parent
    found = {name for path in home.rglob("*.py") for name in NAMES.findall(path.read_text())}
    assert {"withdrawal", "additions", "national", "push", "days"} <= found
    assert found <= set(LEDGER_USERS), "a thread without a connection of its own"
    assert sum(LEDGER_USERS.values()) == LEDGER_CONNECTIONS_MAX


def test_a_server_with_too_few_connections_is_told(ledger: Ledger, ledger_url: str, tmp_path: Path) -> None:
    assert shortage(ledger.engine) == ""
    if not ledger_url.startswith("postgresql"):
        return
    with ledger.engine.begin() as connection:
        connection.exec_driver_sql("DROP ROLE IF EXISTS narrow")
        connection.exec_driver_sql("CREATE ROLE narrow LOGIN CONNECTION LIMIT 5")
    engine = open_engine(make_url(ledger_url).set(username="narrow").render_as_string(hide_password=False), tmp_path)
    told = shortage(engine)
    engine.dispose()
    assert told == f"CONNECTION LIMIT of the role is 5; a registry may need {LEDGER_CONNECTIONS_MAX} at once"
