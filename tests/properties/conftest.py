"""The registry's ledgers: each example begins with a new one."""

from tests.registry.conftest import ledgers

__all__ = ["ledgers"]
