"""The row "uvloop, by rote" reads and writes as many octets as the gateway does, and passes everything on."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path

import pytest

from bench import programs
from bench.gateway import LOGIN, gateway, prove_sms_notice
from bench.process import Program
from bench.smpp_wire import walk
from tests.conftest import eventually, free_port, require

MESSAGES = 500
SHARE = 0.05  # a number in a line, in a key or in the clock may have a digit more or fewer


@dataclass(frozen=True, slots=True)
class Octets:
    """Per message: to Redis, from Redis, to the journal, to the SMSC."""

    asked: float
    answered: float
    journal: float
    submitted: float


def of_redis(port: int) -> tuple[int, int]:
    """Octets that came in and that went out."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as peer, peer.makefile("rb") as answers:
        peer.sendall(b"INFO stats\r\n")
        text = answers.read(int(answers.readline()[1:])).decode()
    found = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    return int(found["total_net_input_bytes"]), int(found["total_net_output_bytes"])


def of_files(files: list[Path]) -> int:
    return sum(file.stat().st_size for file in files)


def measure(directory: Path, program: Program, next_hop: int, journal: str, *, receipts: bool = False) -> Octets:
    """One message at a time, so that each has a tick of its own."""
    assert program.helper is not None
    dump = directory / "seen"
    amount = {"binds": 1, "window": 1, "count": MESSAGES}
    with programs.smpp_sink(directory, next_hop, dump=dump) as sink:
        written = of_files(list(directory.glob(journal)))
        asked, answered = of_redis(program.helper.port)
        programs.smpp_load(program.port, login=LOGIN, receipts=receipts, **amount)
        asked_now, answered_now = of_redis(program.helper.port)
        eventually(lambda: dump.stat().st_size, within=30, what="the dump is written")
        assert sink.is_running, sink.log_tail()
    octets = bytearray(dump.read_bytes())
    lengths = [length for _, length, *_ in walk(octets, len(octets))]
    return Octets(
        (asked_now - asked) / MESSAGES,
        (answered_now - answered) / MESSAGES,
        (of_files(list(directory.glob(journal))) - written) / MESSAGES,
        sum(lengths) / len(lengths),
    )


@pytest.mark.parametrize("receipts", [False, True])
def test_it_writes_as_much_as_the_gateway(tmp_path: Path, *, receipts: bool) -> None:
    require("redis-server")
    next_hop = free_port()
    with gateway(tmp_path, protocol="smpp", next_hop=next_hop) as program:
        prove_sms_notice(tmp_path, program, next_hop)
        gateways = measure(tmp_path, program, next_hop, "izinli-smpp/data/journal/*.ndjson", receipts=receipts)
    with programs.smpp_rote(tmp_path, next_hop) as program:
        by_rote = measure(tmp_path, program, next_hop, "rote-smpp/journal", receipts=receipts)
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
