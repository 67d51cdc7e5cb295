"""The registry's ledgers, its PostgreSQL too, for faults in which the ledger's kind matters."""

from tests.registry.conftest import ledgers, postgres_server, postgres_template, postgres_url

__all__ = ["ledgers", "postgres_server", "postgres_template", "postgres_url"]
