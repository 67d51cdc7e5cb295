"""The row "uvloop, by rote" writes as many octets as the gateway does, to the same ends, and passes everything on."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bench import programs
from bench.gateway import LOGIN, gateway, prove_sms_notice
from bench.process import Program
from bench.smpp_rote import pack
from bench.smpp_wire import walk
from tests.conftest import free_port, require

MESSAGES = 300  # the sink's dump has room for them
PATIENCE_S = 60.0
SHARE = 0.05  # a number in a line or in a key may have some digits more or fewer
END = b"the end of the load"
_ARGUMENT = re.compile(rb'"((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True, slots=True)
class Octets:
    """Per message: commands and octets to Redis, octets to the journal and to the SMSC."""

    commands: float
    asked: float
    journal: float
    submitted: float


class Tap:
    """What a Redis is told from now on (MONITOR)."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._peer = socket.create_connection(("127.0.0.1", port), timeout=60)
        self._lines = self._peer.makefile("rb")
        self._peer.sendall(b"MONITOR\r\n")
        assert self._lines.readline() == b"+OK\r\n"

    def commands(self) -> Iterator[tuple[bytes, list[bytes]]]:
        """Whose it is, and its arguments."""
        with socket.create_connection(("127.0.0.1", self._port), timeout=60) as other:
            other.sendall(pack(("ECHO", END)))
            assert other.recv(100)
        with self._peer, self._lines:
            for line in self._lines:
                arguments = _ARGUMENT.findall(line)
                if END in arguments:
                    return
                yield line.split(b"]")[0].split()[-1], arguments


def about_messages(tap: Tap) -> list[bytes]:
    """What is asked for messages and receipts; a gateway also polls, as often as time has passed."""
    found: list[bytes] = []
    before: dict[bytes, bytes] = {}
    for client, arguments in tap.commands():
        name = arguments[0]
        beside = {b"HMGET": b"SMISMEMBER", b"TIME": b"HMGET of a message"}.get(name)
        if name in (b"SMISMEMBER", b"GET") or (beside is not None and before.get(client) == beside):
            found.append(pack(tuple(arguments)))
            before[client] = b"HMGET of a message" if name == b"HMGET" else name
        else:
            before[client] = b""
    return found


def measure(directory: Path, program: Program, next_hop: int, journal: str, *, receipts: bool) -> Octets:
    """One message at a time, so that each has a tick of its own. RuntimeError: one was not accepted."""
    assert program.helper is not None
    dump = directory / "seen"
    with programs.smpp_sink(directory, next_hop, dump=dump) as sink:
        written = sum(file.stat().st_size for file in directory.glob(journal))
        tap = Tap(program.helper.port)
        programs.smpp_load(program.port, login=LOGIN, binds=1, window=1, count=MESSAGES, receipts=receipts)
        commands = about_messages(tap)
        written = sum(file.stat().st_size for file in directory.glob(journal)) - written
        assert sink.is_running, sink.log_tail()
    octets = bytearray(dump.read_bytes())
    submitted = [length for _, length, *_ in walk(octets, len(octets))]
    assert len(submitted) == MESSAGES
    figures = len(commands), sum(map(len, commands)), written, sum(submitted)
    return Octets(*(figure / MESSAGES for figure in figures))


@pytest.mark.parametrize("receipts", [False, True])
def test_it_writes_as_much_as_the_gateway(tmp_path: Path, *, receipts: bool) -> None:
    require("redis-server")
    next_hop = free_port()
    with gateway(tmp_path, protocol="smpp", next_hop=next_hop) as program:
        prove_sms_notice(tmp_path, program, next_hop)
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                gateways = measure(tmp_path, program, next_hop, "izinli-smpp/data/journal/*.ndjson", receipts=receipts)
                break
            except RuntimeError:  # on a busy machine Redis may be late, and a message is told to come back
                if time.monotonic() > deadline:
                    raise
    with programs.smpp_rote(tmp_path, next_hop) as program:
        by_rote = measure(tmp_path, program, next_hop, "rote-smpp/journal", receipts=receipts)
    assert by_rote.commands == gateways.commands == 3
    for name in Octets.__slots__:
        assert getattr(by_rote, name) == pytest.approx(getattr(gateways, name), rel=SHARE), name


@pytest.mark.parametrize("receipts", [False, True])
def test_everything_is_passed_on(tmp_path: Path, *, receipts: bool) -> None:
    require("redis-server")
    with programs.smpp_sink(tmp_path, free_port()) as sink, programs.smpp_rote(tmp_path, sink.port) as rote:
        for window, count in ((1, 9), (10, 1_001), (100, 30_003), (500, 5_000)):
            done = programs.smpp_load(rote.port, login=LOGIN, binds=4, window=window, count=count, receipts=receipts)
            assert done.messages == count
        assert sink.is_running, sink.log_tail()
