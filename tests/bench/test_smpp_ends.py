"""Load generator, sink and the proxy by hand over real sockets; the generator must not call a bad run a good one."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from smpplib import client

from bench import programs, smpp_bind, smpp_load
from bench import smpp_wire as wire
from bench.process import Program
from tests.conftest import eventually, free_port

Stranger = Callable[[Callable[[int], bytes]], int]

ENDS = ["--system-id", "marka", "--password", "ornek123"]
RTHROTTLED = 0x58


def load(port: int, *kind: str, count: int, window: int, binds: int = 4) -> subprocess.CompletedProcess[str]:
    amount = ["--count", str(count), "--window", str(window), "--binds", str(binds)]
    command = [sys.executable, "-m", "bench.smpp_load", "--port", str(port), *ENDS, *amount, *kind]
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
    assert 0 < printed["timed"] <= count
    assert 0 < printed["p50_s"] <= printed["p99_s"] <= printed["seconds"]


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
    ring = wire.Ring(message, {wire.SEQUENCE_AT: wire.sequence_label}, first=smpp_bind.FIRST)
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


@pytest.mark.parametrize(("window", "count"), [(1, 11), (10, 1_001), (100, 70_003), (300, 5_000)])
def test_each_message_has_its_receipt_and_each_receipt_its_answer(sink: Program, window: int, count: int) -> None:
    done = load(sink.port, "--receipts", count=count, window=window)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["ok"] == count
    assert sink.is_running, sink.log_tail()


def bound(port: int) -> tuple[socket.socket, wire.Inbox]:
    peer = socket.create_connection(("127.0.0.1", port), timeout=30)
    peer.sendall(wire.bind_transceiver("marka", "ornek123", 1))
    inbox = wire.Inbox()
    hear(peer, inbox, 1)
    return peer, inbox


def hear(peer: socket.socket, inbox: wire.Inbox, pdus: int) -> list[tuple[int, int]]:
    """Commands and sequence numbers of what comes next."""
    while len(found := list(wire.walk(inbox.octets, inbox.stop))) < pdus:
        read = peer.recv_into(inbox.room())
        assert read, "closed"
        inbox.stop += read
    assert len(found) == pdus
    inbox.drop(inbox.stop)
    return [(command, sequence) for _, _, command, _, sequence in found]


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        (b"", "1 receipts were sent, 0 were answered"),
        (wire.pdu(wire.DELIVER_SM_RESP, 7, b"\0"), "not the same ones"),
        (wire.pdu(wire.DELIVER_SM_RESP, 1, b"\0", status=RTHROTTLED), "turned back with 0x00000058"),
    ],
)
def test_a_receipt_that_is_not_answered_ends_the_sink(sink: Program, answers: bytes, why: str) -> None:
    peer, inbox = bound(sink.port)
    with peer:
        peer.sendall(wire.submit_sm("ORNEK", "905550000001", b"merhaba", registered=wire.ASKED_FOR))
        assert hear(peer, inbox, 2) == [(wire.SUBMIT_SM_RESP, 0), (wire.DELIVER_SM, 1)]
        peer.sendall(answers + wire.pdu(wire.UNBIND, 2))
        eventually(lambda: not sink.is_running, within=90, what="the sink has ended")
    assert why in sink.log_tail()


def test_answers_are_late_and_together(tmp_path: Path) -> None:
    delay_ms = 300
    with programs.smpp_sink(tmp_path, free_port(), delay_ms=delay_ms) as late:
        done = load(late.port, count=40, window=10)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["p50_s"] >= delay_ms / 1000
        peer, inbox = bound(late.port)
        with peer:
            peer.sendall(wire.submit_sm("ORNEK", "905550000001", b"merhaba") + wire.pdu(wire.ENQUIRE_LINK, 2))
            # What is no message is answered at once, before the message that came first.
            assert hear(peer, inbox, 2) == [(wire.RESPONSE | wire.ENQUIRE_LINK, 2), (wire.SUBMIT_SM_RESP, 0)]


@pytest.mark.parametrize("count", [1, 11, 500])
def test_long_messages_come_in_whole(tmp_path: Path, count: int) -> None:
    dump = tmp_path / "seen"
    with programs.smpp_sink(tmp_path, free_port(), dump=dump) as program:
        done = load(program.port, "--long", "10", count=count, window=10)
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert printed["ok"] == printed["messages"] >= count
    octets = bytearray(dump.read_bytes())
    seen = [bytes(octets[at : at + length]) for at, length, *_ in wire.walk(octets, len(octets))]
    places = [pdu[pdu.index(wire.CONCATENATION) + 3 :][:4] for pdu in seen if wire.CONCATENATION in pdu]
    assert len(seen) == printed["messages"], "the file has room for all of them"
    first, second = ({place[:3] for place in places if place[3] == part} for part in (1, 2))
    assert first == second
    assert len(places) == len(set(places)), "no two messages under one reference"
    assert len(first) == pytest.approx(len(seen) / 11, abs=4)


@pytest.fixture
def stranger() -> Iterator[Stranger]:
    """A server for one bind that answers each submit_sm with what it is told: its port."""
    door = socket.create_server(("127.0.0.1", 0))

    def serve(answer: Callable[[int], bytes]) -> None:
        peer, _ = door.accept()
        inbox = wire.Inbox()
        with peer, suppress(ConnectionError):  # who has failed does not read the rest
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


def test_a_receipt_for_another_message_is_a_failed_run(stranger: Stranger) -> None:
    receipt = wire.receipt("ORNEK", "905550000001")

    def answer(sequence: int) -> bytes:
        number = 5 if sequence == 7 else sequence
        said = receipt.replace(wire.id_label(0), wire.id_label(number))
        return wire.pdu(wire.SUBMIT_SM_RESP, sequence, wire.id_label(sequence) + b"\0") + said

    done = load(stranger(answer), "--receipts", count=20, window=5, binds=1)
    assert done.returncode == 1
    assert "receipts came for other messages" in done.stderr


def test_a_question_in_between_is_answered(stranger: Stranger) -> None:
    def answer(sequence: int) -> bytes:
        return wire.pdu(wire.ENQUIRE_LINK, sequence) + wire.pdu(wire.SUBMIT_SM_RESP, sequence, b"id\0")

    assert load(stranger(answer), count=20, window=5, binds=1).returncode == 0
