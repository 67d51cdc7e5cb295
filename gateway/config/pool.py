"""`topology = "pooled"`: the keys of an SMSC at which izinli keeps binds of its own, for all its accounts together.

With the default, "mirror", each bind of a client opens one at the SMSC under a login of its account's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gateway import limits
from gateway.config.values import secret, word
from gateway.toml import Table, meant

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.config.account import Account
    from gateway.config.upstream import Upstream

TOPOLOGIES: Final = ("mirror", "pooled")
BIND_TYPES: Final = ("transceiver", "pair")
"""Each of the `binds` is one for both directions, or a transmitter with a receiver beside it."""
VERSIONS: Final = {"3.3": 0x33, "3.4": 0x34, "5.0": 0x50}
MESSAGE_IDS: Final = ("same", "loose", "hex_in_response", "hex_in_receipt")
"""How an SMSC spells the id of a message in its answer and in the receipt; see `gateway.smpp.spelling`."""
ID_SPACES: Final = ("upstream", "host")
"""Whether an id means one message at all hosts of an SMSC, or at one of them."""

POOL_KEYS: Final = (
    *("system_id", "password_file", "system_type", "interface_version", "binds", "bind_type", "window"),
    *("message_id", "id_space", "default_account"),
)
SYSTEM_TYPE_OCTETS_MAX: Final = 12  # SMPP 3.4 §5.2.3
ADDRESS_OCTETS_MAX: Final = 20  # §5.2.9


@dataclass(frozen=True, slots=True)
class Pool:
    """How izinli binds at an SMSC by itself, in each worker."""

    system_id: bytes
    password: bytes
    system_type: bytes = b""
    interface_version: int = VERSIONS["3.4"]
    binds: int = 2
    bind_type: str = BIND_TYPES[0]
    window: int = 100  # requests that one bind may have unanswered
    message_id: str = MESSAGE_IDS[0]
    id_space: str = ID_SPACES[0]
    default_account: bytes = b""  # gets what is sent to an address that is nobody's; empty: nobody does


def read_pool(table: Table, home: Path) -> Pool | None:
    """Of an SMSC's table; None: the topology is mirror."""
    if table.choice("topology", TOPOLOGIES, TOPOLOGIES[0]) == TOPOLOGIES[0]:
        for key in POOL_KEYS:
            if key in table.values:
                table.get(key, type(table.values[key]))
                fix = 'write topology = "pooled", or leave it out'
                table.note(key, "says nothing with topology mirror, where each account has its own login", fix)
        return None
    system_type = table.text("system_type")
    if not _is_word(system_type, SYSTEM_TYPE_OCTETS_MAX):
        table.note("system_type", f"must be at most {SYSTEM_TYPE_OCTETS_MAX} printable ASCII characters")
    version = table.choice("interface_version", VERSIONS, "3.4")
    return Pool(
        word(table, "system_id"),
        secret(table, "password_file", home),
        system_type.encode("ascii", "replace"),
        VERSIONS.get(version, VERSIONS["3.4"]),
        table.number("binds", 2, 1, limits.SMPP_POOL_BINDS_MAX),
        table.choice("bind_type", BIND_TYPES, BIND_TYPES[0]),
        table.number("window", 100, 1, limits.SMPP_CONGESTED_MAX),
        table.choice("message_id", MESSAGE_IDS, MESSAGE_IDS[0]),
        table.choice("id_space", ID_SPACES, ID_SPACES[0]),
        table.text("default_account").encode(),
    )


def read_addresses(table: Table, upstream: Upstream | None, others: Mapping[bytes, Account]) -> tuple[bytes, ...]:
    """`addresses` of an account: what handsets write to that is its own. Each means one account of an SMSC."""
    texts = table.texts("addresses")
    if texts and upstream is not None and upstream.pool is None:
        fix = "leave it out: what comes to the login of an account is its own"
        table.note("addresses", f"says nothing where upstream.{upstream.name} has topology mirror", fix)
    if len(texts) > limits.SMPP_ADDRESSES_MAX:
        table.note("addresses", f"names more than {limits.SMPP_ADDRESSES_MAX} addresses")
    taken = {
        address: other.system_id.decode()
        for other in others.values()
        if upstream is not None and other.upstream == upstream.name
        for address in other.addresses
    }
    for text in texts:
        if not _is_word(text, ADDRESS_OCTETS_MAX) or "*" in text[:-1] or not text:
            fix = 'write it as it comes in deliver_sm; a * may stand at its end, as in "MARKA*"'
            table.note("addresses", f"{text!r} is no address", fix)
        elif text.encode() in taken:
            table.note("addresses", f"{text!r} is an address of account {taken[text.encode()]!r} too", "it means one")
    return tuple(text.encode("ascii", "replace") for text in texts)


def check_pools(table: Table, upstreams: Mapping[str, Upstream], accounts: Mapping[bytes, Account]) -> None:
    """What is wrong with pools as a part of the whole; `table` is that of all upstreams."""
    seen: list[Upstream] = []
    for upstream in upstreams.values():
        pool = upstream.pool
        if pool is None:
            continue
        own = [account.system_id.decode() for account in accounts.values() if account.upstream == upstream.name]
        inner = table.table(upstream.name)
        default = pool.default_account.decode()
        if default and default not in own:
            text = f"there is no [[account]] {default!r} with upstream {upstream.name}"
            inner.note("default_account", text, meant(default, own))
        for other in seen:
            if (
                other.pool is not None
                and other.pool.system_id == pool.system_id
                and set(other.hosts) & set(upstream.hosts)
            ):
                text = f"upstream.{other.name} logs in with it at the same host"
                inner.note("system_id", text, "receipts of one would reach the other: make one upstream of them")
        seen.append(upstream)


def rival(
    upstream: Upstream, system_id: bytes, upstreams: Mapping[str, Upstream], accounts: Mapping[bytes, Account]
) -> str:
    """Who else logs in at `upstream` with `system_id`, as a person would name it; empty: nobody."""
    for account in accounts.values():
        other = upstreams.get(account.upstream)
        if other is not None and account.upstream_system_id == system_id and _meet(upstream, other):
            return f"account {account.system_id.decode()!r}"
    for other in upstreams.values():
        if other.pool is not None and other.pool.system_id == system_id and _meet(upstream, other):
            return f"upstream.{other.name}"
    return ""


def _meet(one: Upstream, other: Upstream) -> bool:
    return one.name == other.name or bool(set(one.hosts) & set(other.hosts))


def _is_word(text: str, octets_max: int) -> bool:
    return text.isascii() and text.isprintable() and " " not in text and len(text) <= octets_max
