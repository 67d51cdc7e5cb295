"""Load generator, sink and the proxy by hand over real sockets; the generator must not call a bad run a good one."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from smpplib import client

from bench import programs, smpp_load
from bench import smpp_wire as wire
from bench.process import Program
from tests.conftest import free_port

Stranger = Callable[[Callable[[int], bytes]], int]

ENDS = ["--system-id", "marka", "--password", "ornek123"]
RTHROTTLED = 0x58


def load(port: int, *, count: int, window: int, binds: int = 4) -> subprocess.CompletedProcess[str]:
    amount = ["--count", str(count), "--window", str(window), "--binds", str(binds)]
    command = [sys.executable, "-m", "bench.smpp_load", "--port", str(port), *ENDS, *amount]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def sink(tmp_path: Path) -> Iterator[Program]:
    with programs.smpp_sink(tmp_path, free_port()) as program:
        yield program


@pytest.mark.parametrize(("window", "count"), [(1, 11), (10, 1_001), (100, 70_003), (300, 5_000)])
def test_all_messages_are_answered(sink: Program, window: int, count: int) -> None:
    done = load(sink.port, count=count, window=window)
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert (printed["messages"], printed["ok"]) == (count, count)
    assert min(printed["seconds"], printed["cpu_s"]) > 0


def test_fewer_messages_than_binds(sink: Program) -> None:
    assert load(sink.port, count=1, window=10).returncode == 0


def test_the_proxy_by_hand_passes_everything_on(tmp_path: Path, sink: Program) -> None:
    with programs.smpp_naive(tmp_path, sink.port) as naive:
        assert load(naive.port, count=500, window=10).returncode == 0


def test_the_dump_holds_the_messages_as_they_came(tmp_path: Path) -> None:
    dump = tmp_path / "seen"
    with programs.smpp_sink(tmp_path, free_port(), dump=dump) as program:
        assert load(program.port, count=3, window=2, binds=1).returncode == 0
    message = wire.submit_sm(smpp_load.SOURCE, "905550000001", smpp_load.TEXT)
    ring = wire.Ring(message, wire.SEQUENCE_AT, wire.sequence_label, first=smpp_load.FIRST)
    assert dump.read_bytes() == ring.take(3)


def test_a_foreign_client_is_served(sink: Program) -> None:
    esme = client.Client("127.0.0.1", sink.port, allow_unknown_opt_params=True)
    esme.connect()
    esme.bind_transceiver(system_id="marka", password="ornek123")
    ids = []
    for text in (b"kisa", b"daha uzun bir metin"):
        esme.send_message(source_addr="ORNEK", destination_addr="905550000001", short_message=text)
        ids.append(esme.read_pdu().message_id)
    assert ids == [b"%016x" % 1, b"%016x" % 2]
    esme.unbind()
    esme.disconnect()


@pytest.fixture
def stranger() -> Iterator[Stranger]:
    """A server for one bind that answers each submit_sm with what it is told: its port."""
    door = socket.create_server(("127.0.0.1", 0))

    def serve(answer: Callable[[int], bytes]) -> None:
        peer, _ = door.accept()
        inbox = wire.Inbox()
        with peer:
            while read := peer.recv_into(inbox.room()):
                inbox.stop += read
                done = 0
                for at, length, command, _, sequence in wire.walk(inbox.octets, inbox.stop):
                    done = at + length
                    peer.sendall(
                        answer(sequence)
                        if command == wire.SUBMIT_SM
                        else wire.pdu(wire.RESPONSE | command, sequence, b"")
                    )
                inbox.drop(done)

    def start(answer: Callable[[int], bytes]) -> int:
        threading.Thread(target=serve, args=(answer,), daemon=True).start()
        port: int = door.getsockname()[1]
        return port

    yield start
    door.close()


def test_one_refused_message_is_a_failed_run(stranger: Stranger) -> None:
    def answer(sequence: int) -> bytes:
        if sequence == 7:
            return wire.pdu(wire.SUBMIT_SM_RESP, sequence, status=RTHROTTLED)
        return wire.pdu(wire.SUBMIT_SM_RESP, sequence, b"id\0")

    done = load(stranger(answer), count=20, window=5, binds=1)
    assert done.returncode == 1
    assert json.loads(done.stdout)["others"] == {"0x00000058": 1}


def test_an_answer_to_another_message_is_a_failed_run(stranger: Stranger) -> None:
    port = stranger(lambda sequence: wire.pdu(wire.SUBMIT_SM_RESP, sequence + 1, b"id\0"))
    done = load(port, count=20, window=5, binds=1)
    assert done.returncode == 1
    assert "sequence numbers" in done.stderr


def test_a_question_in_between_is_answered(stranger: Stranger) -> None:
    def answer(sequence: int) -> bytes:
        return wire.pdu(wire.ENQUIRE_LINK, sequence) + wire.pdu(wire.SUBMIT_SM_RESP, sequence, b"id\0")

    assert load(stranger(answer), count=20, window=5, binds=1).returncode == 0
