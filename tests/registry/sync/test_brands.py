"""Brands that come to be kept in step while a registry runs."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from filters.model import Channel, RecipientType, Status
from registry.awaiting import UNREGISTERED
from registry.ledger import Ledger
from registry.providers.tables import provider, provider_brand
from registry.providers.vault import KEY_OCTETS, Vault
from registry.rules import Move
from registry.sync.brands import Added, Brands, add, added, registering, remove
from registry.sync.loop import SyncLoop
from registry.sync.settings import Login, National
from registry.sync.tables import national_brand
from tests.conftest import eventually
from tests.registry.national.support import Clock
from tests.registry.support import BRAND, onay, ret
from tests.registry.sync.support import DAY, HASH, LATER, PASSWORD, PUSHER, USER, Line, There, here, open_ledger

VAULT_KEY = bytes(range(KEY_OCTETS))
OURS = 900_001  # the brand's code here; at the national system it is BRAND
LOGIN = Login(USER, PASSWORD)
NOW = datetime(2026, 3, 4, 7, 0, tzinfo=UTC)
NOBODY = National("http://127.0.0.1:1", (), key=VAULT_KEY)


def at_home(one: Move) -> Move:
    return one._replace(brand=OURS)


def approve(ledger: Ledger, code: int = OURS, state: str = "approved") -> None:
    """A provider with one brand, as an approval leaves it."""
    texts = ("title", "mersis", "tin", "signatory", "mobile", "email", "document_type")
    row: dict[str, Any] = dict.fromkeys(texts, "x") | {"id": code, "state": state, "iys_code": code, "applied_at": 0}
    row |= {"handle": b"%d" % code, "tckn": b"", "document": b"", "mobile_confirmed": 1, "email_confirmed": 1}
    with ledger.engine.begin() as connection:
        connection.execute(provider.insert().values(row))
        connection.execute(provider_brand.insert().values(provider=code, place=0, name="x", code=code))


def test_a_brand_that_is_added_is_kept_in_step_without_a_restart(
    tmp_path: Path, national: There, wire: Line, clock: Clock
) -> None:
    """Under its codes there, and by every process: the ledger asks when it records."""
    with here(tmp_path / "here", wire.port, clock, brands=(), key=VAULT_KEY) as we:
        loop = SyncLoop(we.sync)
        assert we.sync.brands.refresh() == ()
        we.say(at_home(onay(1, DAY)))
        assert we.passes(at_home(onay(1))), "nobody asks the national system"

        add(we.ledger.engine, Vault(VAULT_KEY), Added(OURS, BRAND, BRAND, LOGIN, PUSHER), "of this test", clock())
        we.say(at_home(onay(2, DAY)))
        assert not we.passes(at_home(onay(2))), "not_registered"
        national.record(onay(3, DAY), ret(3, LATER))

        (brand,) = we.sync.brands.refresh()
        assert we.sync.brands.known(OURS) == brand
        assert (brand.code, brand.there, brand.push) == (OURS, BRAND, PUSHER)

        def in_step() -> bool:
            loop.turn(brand)
            clock.forward(minutes=11)
            return we.passes(at_home(onay(2))) and we.stands(at_home(onay(3))) is Status.RET

        eventually(in_step, within=60, what="the brand being in step")
        assert national.holds(onay(2)) is Status.ONAY
        assert remove(we.ledger.engine, OURS)
        assert not remove(we.ledger.engine, OURS)
        assert we.sync.brands.refresh() == ()


@pytest.mark.parametrize("state", ["approved", "suspended"])
def test_all_that_were_approved_by_the_login_of_an_intermediary(
    tmp_path: Path, national: There, wire: Line, clock: Clock, state: str
) -> None:
    """Of whom is suspended too: what citizens say about it must reach the national system."""
    national.api.access.remove(USER, clock())
    national.api.access.add(USER, HASH, {OURS: True}, clock())
    with here(tmp_path / "here", wire.port, clock, brands=(), login=LOGIN, approved=True) as we:
        assert we.sync.brands.refresh() == ()
        approve(we.ledger, BRAND, state)
        (brand,) = we.sync.brands.refresh()
        assert (brand.code, brand.iys_code, brand.login, brand.push) == (BRAND, BRAND, LOGIN, None)
        we.say(onay(1, DAY))
        assert not we.passes(onay(1))
        national.api.access.remove(USER, clock())
        national.api.access.add(USER, HASH, {BRAND: True}, clock())

        def taken() -> bool:
            we.sync.push(brand)
            return we.passes(onay(1))

        eventually(taken, within=60, what="the upload")
        assert national.holds(onay(1)) is Status.ONAY


def test_passwords_are_sealed_and_a_lost_key_stops_one_brand_only(tmp_path: Path, ledger_url: str) -> None:
    with open_ledger(ledger_url, tmp_path / "one") as (ledger, _, _):
        engine, vault = ledger.engine, Vault(VAULT_KEY)
        add(engine, vault, Added(OURS, OURS, OURS, LOGIN), "first", NOW)
        add(engine, vault, Added(OURS, OURS, OURS, Login(USER, b"another"), PUSHER), "second", NOW)
        add(engine, vault, Added(OURS + 1, OURS, OURS + 1), "third", NOW)
        with engine.connect() as connection:
            stored = connection.execute(national_brand.select()).all()
        assert not any(secret in bytes(row.password + row.push_password) for row in stored for secret in (b"another",))
        assert [(row["code"], row["added_by"]) for row in added(engine)] == [(OURS, "second"), (OURS + 1, "third")]

        brands = Brands(NOBODY, engine)
        assert [one.login.password for one in brands.refresh()] == [b"another"]
        assert brands.unreadable == {OURS + 1}, "it needs the login of the configuration, and there is none"
        both = Brands(replace(NOBODY, login=LOGIN), engine).refresh()
        assert [one.login.password for one in both] == [b"another", PASSWORD]
        lost = Brands(replace(NOBODY, login=LOGIN, key=bytes(KEY_OCTETS)), engine)
        assert [one.code for one in lost.refresh()] == [OURS + 1]
        assert lost.unreadable == {OURS}

        with engine.begin() as connection:
            connection.execute(update(national_brand).values(code=national_brand.c.code + 10))
        assert Brands(NOBODY, engine).refresh() == (), "a password counts for the brand that it was sealed for"


def test_consents_wait_of_whom_somebody_added_or_approved(tmp_path: Path, ledger_url: str) -> None:
    chosen = replace(NOBODY, login=LOGIN)
    everybody = registering(replace(chosen, approved=True))
    with open_ledger(ledger_url, tmp_path / "one", registering=everybody) as (ledger, _, _):
        add(ledger.engine, Vault(VAULT_KEY), Added(OURS, OURS, OURS), "", NOW)
        approve(ledger, OURS + 1)
        with ledger.engine.connect() as connection:
            asked = (OURS, OURS + 1, OURS + 2)
            assert set(asked) & set(everybody(connection, asked)) == {OURS, OURS + 1}
            assert set(asked) & set(registering(chosen)(connection, asked)) == {OURS}
        entries = []
        for code in asked:
            move = Move(code, Channel.MESAJ, b"+905550000001", RecipientType.BIREYSEL, Status.ONAY, "HS_WEB", DAY)
            entries.append((ledger.fingerprint(code, move.channel, move.recipient), move))
        ledger.record(entries, origin="declare", now=NOW)
        with ledger.engine.connect() as connection:
            origins = connection.exec_driver_sql("SELECT origin FROM consent_event ORDER BY seq").scalars().all()
        assert [one.startswith(UNREGISTERED) for one in origins] == [True, True, False]
