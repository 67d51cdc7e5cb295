"""The registry's PostgreSQL, for faults in which the ledger's kind matters."""

from tests.registry.conftest import postgres_server, postgres_url

__all__ = ["postgres_server", "postgres_url"]
