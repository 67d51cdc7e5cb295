"""`[upstream.NAME]`: where messages go on to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from filters.sms import RESERVE_MAX
from gateway.config.values import Address, parse_address
from gateway.toml import Table

PROTOCOLS: Final = ("smtp", "smpp")


@dataclass(frozen=True, slots=True)
class Upstream:
    """Where messages go on to."""

    name: str
    protocol: str
    hosts: tuple[Address, ...]
    connections_max: int = 20  # smtp
    reserve: int = 5  # smpp: characters an operator appends to each text (BTK decision 2016/DK-YED/211)


def read_upstream(table: Table, name: str) -> Upstream:
    protocol = table.choice("protocol", PROTOCOLS)
    texts = table.texts("hosts")
    if not texts:
        table.note("hosts", "names no host", 'for example hosts = ["127.0.0.1:2526"]')
    hosts = tuple(host for text in texts if (host := table.parsed("hosts", parse_address, text)))
    connections_max = table.number("connections_max", 20, 1, 1000)
    reserve = table.number("reserve", 5, 0, RESERVE_MAX)
    table.finish()
    return Upstream(name, protocol, hosts, connections_max, reserve)
