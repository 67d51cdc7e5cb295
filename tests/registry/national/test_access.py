"""Clients and tokens on both kinds of database."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import select

from registry.ledger import Ledger
from registry.national.access import Access, ClientExists, Minted, digest_of, shown
from registry.national.tables import api_audit
from tests.registry.national.support import BRAND, CLIENT, HASH, IYS, PASSWORD, READER
from tests.registry.support import NOW


@pytest.fixture
def access(ledger: Ledger) -> Access:
    one = Access(ledger.engine)
    assert not one.exists()
    one.add(CLIENT, HASH, {IYS: True, BRAND: False}, NOW)
    return one


def test_a_client_is_found_with_what_it_may(access: Access) -> None:
    found = access.login(CLIENT)
    assert found is not None
    client, stored = found
    assert (client.name, dict(client.grants)) == (CLIENT, {IYS: True, BRAND: False})
    assert stored.matches(PASSWORD.encode())
    assert not stored.matches(b"another one")
    assert access.login("nobody") is None
    assert access.exists()


def test_names_are_given_once(access: Access) -> None:
    with pytest.raises(ClientExists):
        access.add(CLIENT, HASH, {IYS: True}, NOW)
    access.add(READER, HASH, {BRAND: False}, NOW)
    assert [client.name for client in access.clients()] == sorted([CLIENT, READER])


def test_a_client_goes_with_its_tokens(access: Access, ledger: Ledger) -> None:
    access.keep(CLIENT, Minted("a", "r"), NOW)
    assert access.sessions([digest_of("a")], NOW)[0] is not None
    assert access.remove(CLIENT, NOW)
    assert not access.remove(CLIENT, NOW)
    assert access.sessions([digest_of("a")], NOW) == [None]
    access.add(CLIENT, HASH, {IYS: True}, NOW)
    assert access.sessions([digest_of("a")], NOW) == [None], "the name does not bring its tokens back"
    with ledger.engine.connect() as connection:
        audited = connection.execute(select(api_audit.c.action, api_audit.c.client).order_by(api_audit.c.id)).all()
    assert [tuple(row) for row in audited] == [
        (action, "cli") for action in ("client-add", "client-remove", "client-add")
    ]


def test_sessions_are_told_in_the_order_of_the_question(access: Access) -> None:
    access.keep(CLIENT, Minted("a", "r"), NOW)
    access.keep(CLIENT, Minted("b", "s"), NOW + timedelta(hours=1))
    one, none, other = access.sessions([digest_of(token) for token in ("b", "r", "a")], NOW)
    assert (one is not None, none, other is not None) == (True, None, True)
    assert one is not None
    assert one.client.grants == {IYS: True, BRAND: False}
    assert one.expires_at == int(NOW.timestamp()) + 3600 + 7200


def test_of_many_who_exchange_one_refresh_token_one_succeeds(access: Access) -> None:
    access.keep(CLIENT, Minted("a", "r"), NOW)
    owner = access.owner_of_refresh("r", NOW)
    assert owner is not None

    def exchange(index: int) -> bool:
        return access.exchange("r", CLIENT, Minted(f"a{index}", f"r{index}"), NOW)

    with ThreadPoolExecutor(5) as threads:
        assert sorted(threads.map(exchange, range(5))) == [False] * 4 + [True]
    assert access.owner_of_refresh("r", NOW) is None
    assert sum(access.owner_of_refresh(f"r{index}", NOW) is not None for index in range(5)) == 1


def test_grants_are_shown_as_they_are_written() -> None:
    assert shown({BRAND: False, IYS: True}) == f"{IYS} {BRAND}:read"
