"""`[[account]]`: who may log in, as an ESME over SMPP or as a mail client with AUTH, or as both."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from filters.passwords import Hash
from filters.sms import ALPHABETS, CHARSETS, Alphabet, alphabets
from gateway import limits
from gateway.config.listener import Listener
from gateway.config.pool import read_addresses, rival
from gateway.config.upstream import Upstream
from gateway.config.values import secret, word
from gateway.passwords import Stored
from gateway.smpp.statuses import ESME_RSUBMITFAIL, VENDOR
from gateway.toml import Table, meant

# What only an ESME has: how its binds go on to the SMSC.
ESME_KEYS: Final = (
    *("upstream", "upstream_system_id", "upstream_password_file", "binds_max", "window", "alphabet_of"),
    *("mo_ambiguous", "rate", "burst", "rate_mode", "block_status", "block_mode", "addresses"),
)

MO_AMBIGUOUS: Final = ("latest", "all")
"""Whom a citizen refuses who names nobody and was written to by several brands: the last one, or all of the last."""
RATE_MODES: Final = ("pace", "reject")
"""Who submits too fast is read no further for a while, or told ESME_RTHROTTLED."""
BLOCK_MODES: Final = ("status", "receipt")
"""A refusal is the answer, or the receipt of a message that was accepted."""
CODINGS: Final = ("0", "1", "3")  # what a sender may mean something of its own by (SMPP 3.4 §5.2.19)


@dataclass(frozen=True, slots=True)
class Account:
    """Who may log in here; an ESME also says how its mirrored bind logs in at the SMSC, if it has one."""

    system_id: bytes
    password: bytes  # empty: only its hash is kept
    upstream_system_id: bytes = b""
    upstream_password: bytes = b""
    upstream: str = ""  # empty: no ESME, mail only
    binds_max: int = 16
    window: int = 200  # submits a bind may have unanswered
    alphabets: tuple[Alphabet | None, ...] = ALPHABETS  # what it means by each data_coding
    password_hash: Hash | None = None
    mo_ambiguous: str = MO_AMBIGUOUS[0]
    rate: int = 0  # submits a second, in each worker; 0: no limit
    burst: int = 0  # of them at once
    rate_mode: str = RATE_MODES[0]
    block_status: int = ESME_RSUBMITFAIL  # what a refusal is told; or one of `VENDOR`
    block_mode: str = BLOCK_MODES[0]
    addresses: tuple[bytes, ...] = ()  # of a pooled SMSC: what handsets write to; * at the end: whatever follows

    @property
    def is_esme(self) -> bool:
        return bool(self.upstream)

    @property
    def stored(self) -> Stored:
        """What AUTH compares with."""
        return Stored(self.password, self.password_hash)


def read_accounts(
    tables: list[Table], upstreams: dict[str, Upstream], listeners: tuple[Listener, ...], home: Path
) -> dict[bytes, Account]:
    """All accounts by name. One without any key of an ESME is a mail client's, if there is a listener with AUTH."""
    accounts: dict[bytes, Account] = {}
    has_auth = any(listener.auth != "none" for listener in listeners)
    for table in tables:
        system_id = word(table, "system_id")
        if system_id in accounts:
            table.note("system_id", f"account {system_id.decode()!r} is defined twice")
        if has_auth and not any(key in table.values for key in ESME_KEYS):
            password, hashed = _password(table, home, hash_allowed=True)
            account = Account(system_id, password, password_hash=hashed)
        else:
            account = _esme(table, system_id, upstreams, accounts, home)
        table.finish()
        accounts[system_id] = account
    return accounts


def _esme(
    table: Table, system_id: bytes, upstreams: dict[str, Upstream], accounts: dict[bytes, Account], home: Path
) -> Account:
    smscs = [upstream.name for upstream in upstreams.values() if upstream.protocol == "smpp"]
    upstream = table.text("upstream", smscs[0] if smscs else "")
    if upstream not in smscs:
        table.note("upstream", f"there is no [upstream.{upstream}] with protocol smpp", meant(upstream, smscs))
    rate = table.number("rate", 0, 0, limits.SMPP_RATE_MAX)
    account = Account(
        system_id,
        _password(table, home, hash_allowed=False)[0],
        *_login(table, upstreams.get(upstream), upstreams, accounts, home),
        upstream,
        table.number("binds_max", 16, 1, 1000),
        table.number("window", 200, 1, 10_000),
        _alphabets(table.table("alphabet_of"), septets=not (upstream in smscs and upstreams[upstream].packed)),
        mo_ambiguous=table.choice("mo_ambiguous", MO_AMBIGUOUS, MO_AMBIGUOUS[0]),
        rate=rate,
        burst=table.number("burst", max(rate, 1), 1, limits.SMPP_RATE_MAX),
        rate_mode=table.choice("rate_mode", RATE_MODES, RATE_MODES[0]),
        block_status=_block_status(table),
        block_mode=table.choice("block_mode", BLOCK_MODES, BLOCK_MODES[0]),
        addresses=read_addresses(table, upstreams.get(upstream), accounts),
    )
    for key in ("burst", "rate_mode"):
        if key in table.values and not rate:
            table.note(key, "says nothing without a rate", "write rate = 100, or leave it out")
    return account


def _login(
    table: Table, smsc: Upstream | None, upstreams: dict[str, Upstream], accounts: dict[bytes, Account], home: Path
) -> tuple[bytes, bytes]:
    """How its binds log in at `smsc`. Nobody else may log in so; at a pooled one it has no login of its own."""
    if smsc is None or smsc.pool is None:
        login, password = word(table, "upstream_system_id"), secret(table, "upstream_password_file", home)
        if smsc is not None and login and (other := rival(smsc, login, upstreams, accounts)):
            fix = "each account needs a login of its own at the SMSC, or receipts would reach the wrong one"
            table.note("upstream_system_id", f"{other} logs in with it too", fix)
        return login, password
    for key in ("upstream_system_id", "upstream_password_file"):
        if table.text(key):
            text = f"upstream.{smsc.name} has topology pooled: all its accounts share the binds of upstream.{smsc.name}"
            table.note(key, text, f"leave it out; system_id and password_file of upstream.{smsc.name} log in")
    return b"", b""


def _block_status(table: Table) -> int:
    status = table.number("block_status", ESME_RSUBMITFAIL, 0, VENDOR[-1])
    if status != ESME_RSUBMITFAIL and status not in VENDOR:
        fix = f"use {ESME_RSUBMITFAIL:#04x} (ESME_RSUBMITFAIL), or a vendor's status, {VENDOR[0]:#x} to {VENDOR[-1]:#x}"
        table.note("block_status", f"{status:#x} is not a refusal that all clients take for one", fix)
    return status


def _alphabets(table: Table, *, septets: bool) -> tuple[Alphabet | None, ...]:
    """`alphabet_of = { 0 = "latin5" }`: by data_coding, a name of `filters.sms.CHARSETS`."""
    meant_by = {
        int(coding): CHARSETS[name] for coding in CODINGS if (name := table.choice(coding, CHARSETS, "")) in CHARSETS
    }
    table.finish()
    return alphabets(meant_by, septets=septets)


def _password(table: Table, home: Path, *, hash_allowed: bool) -> tuple[bytes, Hash | None]:
    """The password itself or its hash, from a file."""
    if "password_hash_file" not in table.values:
        return secret(table, "password_file", home), None
    line = secret(table, "password_hash_file", home)
    if not hash_allowed:
        fix = "write password_file instead"
        table.note("password_hash_file", "an ESME's password is too short for a hash to hide, and SMPP needs it", fix)
    if "password_file" in table.values:
        table.note("password_file", "there is a password_hash_file too", "leave one of them out")
    found = table.parsed("password_hash_file", Hash.parse, line.decode("ascii", "replace")) if line else None
    return b"", found
