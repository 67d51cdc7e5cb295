"""What all doors do with connections: who comes in, how many of one client, over which kind of socket."""

from __future__ import annotations

import asyncio
import socket
import stat
from ipaddress import IPv4Address, ip_address, ip_network
from pathlib import Path

import pytest

from gateway.config import Address, Listener, UnixAddress
from gateway.door import Door, Peer, Refusal
from gateway.metrics import Metrics
from gateway.supervisor import CannotListen, listen, stop_listening
from tests.conftest import free_port

HERE = ip_address("192.0.2.1")
THERE = ip_address("192.0.2.2")


class Plain:
    """A connection that remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def drain(self) -> None:
        self.told.append("drain")

    def abort(self) -> None:
        self.told.append("abort")

    def sweep(self, now: float) -> None:
        self.told.append("sweep")


class Wire(asyncio.Transport):
    """A transport that only has a peer."""

    def __init__(self, peername: object) -> None:
        super().__init__({"peername": peername})


class PlainDoor(Door[Plain]):
    def connection(self) -> asyncio.Protocol:
        return asyncio.Protocol()


def door(
    allow: str = "192.0.2.0/24",
    *,
    sessions_max: int = 10,
    per_client: int = 0,
    bind: Address | UnixAddress | None = None,
) -> PlainDoor:
    listener = Listener("smtp", bind or Address("127.0.0.1", 0), (ip_network(allow),), sessions_per_client=per_client)
    return PlainDoor("smtp", listener, Metrics(), sessions_max=sessions_max, sweep_s=3600)


def come(to: PlainDoor, peer: Peer) -> tuple[Plain, Refusal | None]:
    connection = Plain()
    to.opened(connection, Wire((str(peer), 1)))
    return connection, to.admit(connection, peer)


async def test_nobody_who_is_not_named() -> None:
    gate = door()
    assert come(gate, HERE)[1] is None
    assert come(gate, ip_address("198.51.100.1"))[1] is Refusal.NOT_ALLOWED
    assert gate.metrics.protocol_errors[("smtp", "not_allowed")] == 1
    assert gate.metrics.sessions["smtp"] == 2


async def test_i7_one_client_has_no_more_than_its_share() -> None:
    gate = door(per_client=2)
    first, _ = come(gate, HERE)
    assert come(gate, HERE)[1] is None
    assert come(gate, THERE)[1] is None
    third, refusal = come(gate, HERE)
    assert refusal is Refusal.TOO_MANY_OF_CLIENT
    assert gate.metrics.protocol_errors[("smtp", "too_many_of_client")] == 1
    gate.closed(third)
    gate.closed(first)
    assert come(gate, HERE)[1] is None


async def test_a_connection_counts_for_the_peer_it_was_said_to_speak_for() -> None:
    gate = door(per_client=1)
    connection, _ = come(gate, HERE)
    assert gate.admit(connection, THERE) is None, "told better, as XCLIENT does"
    assert come(gate, HERE)[1] is None
    assert come(gate, THERE)[1] is Refusal.TOO_MANY_OF_CLIENT


async def test_the_bound_of_all_is_said_first() -> None:
    gate = door(sessions_max=1)
    come(gate, HERE)
    assert come(gate, ip_address("198.51.100.1"))[1] is Refusal.TOO_MANY_SESSIONS


@pytest.mark.parametrize(
    ("peername", "expected"),
    [
        (("192.0.2.1", 25), HERE),
        (("::ffff:192.0.2.1", 25, 0, 0), HERE),
        (("fe80::1%eth0", 25, 0, 2), ip_address("fe80::1")),
        (None, IPv4Address(0)),
        ("", IPv4Address(0)),
    ],
)
async def test_whose_connection_it_is(peername: object, expected: Peer) -> None:
    assert door().opened(Plain(), Wire(peername)) == expected


async def test_a_tcp_client_that_is_gone_already_is_not_taken_for_a_local_one() -> None:
    gate, connection = door(), Plain()
    assert gate.admit(connection, gate.opened(connection, Wire(None))) is Refusal.NOT_ALLOWED


async def test_whoever_may_open_the_unix_socket_is_allowed(tmp_path: Path) -> None:
    gate, connection = door(bind=UnixAddress(tmp_path / "s"), per_client=1), Plain()
    assert gate.admit(connection, gate.opened(connection, Wire(""))) is None
    assert come(gate, None)[1] is None, "all share one name, so no share of their own"


async def test_a_drain_tells_all_and_waits_for_the_last() -> None:
    gate = door()
    connection, _ = come(gate, HERE)
    ending = asyncio.get_running_loop().create_task(gate.drain(30))
    while not connection.told:
        await asyncio.sleep(0)
    assert come(gate, HERE)[1] is Refusal.DRAINING
    for one in list(gate.sessions):
        assert not ending.done()
        gate.closed(one)
    await ending
    assert connection.told == ["drain"]


async def test_a_drain_does_not_wait_for_ever() -> None:
    gate = door()
    connection, _ = come(gate, HERE)
    await gate.drain(0.01)
    assert connection.told == ["drain", "abort"]


# the sockets themselves


def test_a_unix_socket_is_its_owners_and_groups_and_goes_with_the_service(tmp_path: Path) -> None:
    path = tmp_path / "smtp.sock"
    sock = listen(UnixAddress(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    stop_listening(sock)
    assert not path.exists()


def test_a_socket_file_left_of_a_crash_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "smtp.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    stop_listening(listen(UnixAddress(path)))


def test_a_socket_that_is_served_and_a_file_that_is_none_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "smtp.sock"
    sock = listen(UnixAddress(path))
    with pytest.raises(CannotListen, match="in use"):
        listen(UnixAddress(path))
    stop_listening(sock)
    path.write_text("precious")
    with pytest.raises(CannotListen, match="in use"):
        listen(UnixAddress(path))
    assert path.read_text() == "precious"


def test_a_tcp_address_is_listened_on_once() -> None:
    address = Address("127.0.0.1", free_port())
    sock = listen(address)
    with pytest.raises(CannotListen, match="in use"):
        listen(address)
    stop_listening(sock)
