"""The control plane as a process: started, asked, told to stop, killed; and what the command line calls."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import ProxyHandler, Request, build_opener

import pytest

from filters.link import LinkMinter
from filters.model import Channel, RecipientType
from registry.index.interface import IndexUnusable
from registry.ledger import KeyMismatch
from registry.service import import_csv, index_status, open_registry, rebuild, repair, verify
from tests.conftest import RedisServer, accepts, eventually, free_port
from tests.registry.support import (
    BRAND,
    LINK_KEY,
    differences,
    may_be_sent,
    number,
    onay,
    record,
    ret,
    settings,
    write_csv,
)

SERVED = """
import sys
from pathlib import Path
from registry import web
from registry.service import serve
from tests.registry.support import settings
web.HEADER_SECONDS_MAX = 0.5
serve(settings(Path(sys.argv[1]), sys.argv[2], port=int(sys.argv[3])))
"""
HANDED_OVER = """
import socket, sys, threading
from pathlib import Path
from registry.service import serve
from tests.registry.support import settings
sock = socket.create_server(("127.0.0.1", 0))
print(sock.getsockname()[1], flush=True)
threading.Thread(target=lambda: serve(settings(Path(sys.argv[1])), sock=sock), daemon=True).start()
sys.stdin.read()
"""
direct = build_opener(ProxyHandler({})).open  # a proxy of the environment is not for this machine


def link(index: int) -> str:
    return LinkMinter({0: LINK_KEY}, 0).mint(BRAND, Channel.MESAJ, RecipientType.BIREYSEL, number(index)).decode()


def ask(port: int, path: str, form: dict[str, str] | None = None) -> tuple[int, str]:
    """(status, body) of a GET, or of a POST when there is a form."""
    data = None if form is None else urlencode(form).encode()
    try:
        with direct(Request(f"http://127.0.0.1:{port}{path}", data), timeout=60) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()


@contextmanager
def served(data_dir: Path, index: str = "sqlite") -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """A registry in a process of its own: (port, process)."""
    port = free_port()
    command = [sys.executable, "-c", SERVED, str(data_dir), index, str(port)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            eventually(lambda: process.poll() is not None or accepts(port), within=90, what="the registry listening")
            assert process.poll() is None
            eventually(lambda: ask(port, "/readyz")[0] == 200, within=90, what="the registry being ready")
            yield port, process
        finally:
            process.kill()


def prepared(data_dir: Path, index: str = "sqlite") -> None:
    with open_registry(settings(data_dir, index)) as registry:
        record(registry.ledger, onay(1), onay(2))


def test_i5_what_was_acknowledged_survives_kill_9(tmp_path: Path, index_url: str) -> None:
    prepared(tmp_path, index_url)
    with served(tmp_path, index_url) as (port, process):
        status, body = ask(port, f"/r/{link(1)}", {"List-Unsubscribe": "One-Click"})
        process.kill()
    assert (status, "Ret talebiniz kaydedildi" in body) == (200, True)
    with open_registry(settings(tmp_path, index_url)) as registry:
        assert not may_be_sent(registry.writer, registry.ledger, onay(1))
        assert may_be_sent(registry.writer, registry.ledger, onay(2))


def test_i9_the_log_knows_nobody(tmp_path: Path) -> None:
    prepared(tmp_path)
    with served(tmp_path) as (port, process):
        ask(port, f"/r/{link(1)}")
        ask(port, f"/r/{link(1)}", {"ret": "1"})
        ask(port, "/r/forged-token")
        with socket.create_connection(("127.0.0.1", port), timeout=60) as odd:
            odd.sendall(f"GET /r/{link(2)} HTTP/9.9 nonsense\r\n\r\n".encode())
            odd.recv(1000)
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=30)
    assert process.returncode == 0
    lines = [json.loads(line) for line in log.splitlines()]
    assert [line["event"] for line in lines if line["level"] == "info"] == ["registry_started", "registry_stopped"]
    for secret in (link(1), link(2), "forged-token", number(1).decode(), "127.0.0.1"):
        assert secret not in log


@pytest.mark.parametrize("number_", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_lets_an_open_withdrawal_end(tmp_path: Path, number_: signal.Signals) -> None:
    prepared(tmp_path)
    body = b"List-Unsubscribe=One-Click"
    head = (
        f"POST /r/{link(1)} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
        "Content-Type: application/x-www-form-urlencoded\r\n\r\n"
    )
    with served(tmp_path) as (port, process), socket.create_connection(("127.0.0.1", port), timeout=60) as client:
        client.sendall(head.encode() + body[:5])
        eventually(lambda: ask(port, "/livez")[0] == 200)
        process.send_signal(number_)
        eventually(lambda: not accepts(port), what="the listening socket closed")
        client.sendall(body[5:])
        assert client.recv(4000).startswith(b"HTTP/1.1 200 ")
        assert process.wait(timeout=30) == 0
    with open_registry(settings(tmp_path)) as registry:
        assert not may_be_sent(registry.writer, registry.ledger, onay(1))


def test_i7_a_connection_that_says_nothing_is_closed(tmp_path: Path) -> None:
    with served(tmp_path) as (port, _), socket.create_connection(("127.0.0.1", port), timeout=60) as client:
        client.sendall(b"GET /r/x HTTP/1.1\r\nX-Slow: ")
        assert client.recv(1000) == b""


def test_i7_headers_are_bounded(tmp_path: Path) -> None:
    with served(tmp_path) as (port, _), socket.create_connection(("127.0.0.1", port), timeout=60) as client:
        client.sendall(b"GET /r/x HTTP/1.1\r\nX-Long: " + b"a" * 100_000)
        assert client.recv(1000).startswith(b"HTTP/1.1 400 ")


def test_a_connection_carries_one_request(tmp_path: Path) -> None:
    with served(tmp_path) as (port, _), socket.create_connection(("127.0.0.1", port), timeout=60) as client:
        client.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = b""
        while part := client.recv(4000):
            answer += part
        assert b"connection: close" in answer


def test_the_index_follows_what_another_process_imports(tmp_path: Path, index_url: str) -> None:
    data_dir = tmp_path / "data"
    with served(data_dir, index_url):
        with open_registry(settings(data_dir, index_url)) as registry:
            record(registry.ledger, onay(9))
            eventually(lambda: may_be_sent(registry.writer, registry.ledger, onay(9)), what="the consent in the index")
        people = [f"+90555{index:07},MESAJ,ONAY,HS_WEB,BIREYSEL,2026-01-01 00:00:00" for index in range(50)]
        assert import_csv(settings(data_dir, index_url), BRAND, write_csv(tmp_path / "in.csv", people)).recorded == 49
        assert verify(settings(data_dir, index_url)).equal


@pytest.mark.interop
def test_i5_a_withdrawal_waits_for_redis_to_come_back(tmp_path: Path, redis_server: RedisServer) -> None:
    prepared(tmp_path, redis_server.url)
    with served(tmp_path, redis_server.url) as (port, _):
        redis_server.stop()
        status, body = ask(port, f"/r/{link(1)}", {"ret": "1"})
        assert (status, "kaydedilemedi" in body) == (503, True)
        assert ask(port, "/readyz")[0] == 503
        assert ask(port, "/livez")[0] == 200
        redis_server.start()
        eventually(lambda: ask(port, f"/r/{link(1)}", {"ret": "1"})[0] == 200, within=90, what="the retry succeeding")
    with open_registry(settings(tmp_path, redis_server.url)) as registry:
        assert not may_be_sent(registry.writer, registry.ledger, onay(1))
        registry.publisher.tick()
        assert differences(registry.writer, registry.ledger) == []


def test_a_listening_socket_can_be_handed_over(tmp_path: Path) -> None:
    """In another thread than the main one no signal is taken; the process ends it."""
    command = [sys.executable, "-c", HANDED_OVER, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        assert ask(port, "/livez") == (200, "ok\n")
        process.communicate("")


# what the command line calls


def test_status_rebuild_and_verify(tmp_path: Path, index_url: str) -> None:
    chosen = settings(tmp_path, index_url)
    prepared(tmp_path, index_url)
    assert index_status(chosen).fault != ""
    with pytest.raises(IndexUnusable):
        verify(chosen)
    steps: list[tuple[int, int]] = []
    assert rebuild(chosen, lambda done, total: steps.append((done, total))).count == 2
    assert steps == [(2, 2)]
    assert index_status(chosen).fault == ""
    assert verify(chosen).equal


def test_verify_sees_what_is_missing_and_what_is_too_much(
    tmp_path: Path, index_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("registry.verify.VERIFY_WAIT_SECONDS", 0.0)
    chosen = settings(tmp_path, index_url)
    prepared(tmp_path, index_url)
    rebuild(chosen)
    with open_registry(chosen) as registry:
        record(registry.ledger, ret(1, "2026-01-02 00:00:00"), onay(3), onay(4))
    found = verify(chosen)
    assert not found.equal
    assert (found.ledger_members, found.index_members, found.missing, found.surplus) == (3, 2, 2, 1)
    assert repair(chosen, found).equal


def test_a_change_of_the_fingerprint_key_needs_a_rebuild(tmp_path: Path, index_url: str) -> None:
    chosen = settings(tmp_path, index_url)
    prepared(tmp_path, index_url)
    rebuild(chosen)
    changed = replace(chosen, fingerprint_key=b"x" * 32)
    with pytest.raises(KeyMismatch):
        index_status(changed)
    rebuild(changed)
    assert verify(changed).equal
    with open_registry(changed) as registry:
        assert may_be_sent(registry.writer, registry.ledger, onay(1))
