"""The API of a registry in a process of its own: what it acknowledged is kept, and its log knows nobody."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

import pytest

from filters.model import Channel, RecipientType, Status
from registry.national.access import Access
from registry.rules import Move, turkey_time
from registry.service import open_registry
from tests.conftest import accepts, eventually, free_port
from tests.registry.national.support import A1, BRAND, CLIENT, HASH, IYS, PASSWORD, B
from tests.registry.support import NOW, fold, may_be_sent, settings

SERVED = """
import sys
from dataclasses import replace
from pathlib import Path
from registry.national.rates import Rates
from registry.service import serve
from tests.registry.national.support import BRANDS
from tests.registry.support import settings
rates = Rates() if sys.argv[3] == "api" else None
serve(replace(settings(Path(sys.argv[1]), port=int(sys.argv[2])), brands=BRANDS, api_rates=rates))
"""
direct = build_opener(ProxyHandler({})).open  # a proxy of the environment is not for this machine


@contextmanager
def served(data_dir: Path, what: str = "api") -> Iterator[tuple[int, subprocess.Popen[str]]]:
    port = free_port()
    command = [sys.executable, "-c", SERVED, str(data_dir), str(port), what]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            eventually(lambda: process.poll() is not None or accepts(port), within=60, what="the registry listening")
            eventually(lambda: ask(port, "GET", "/readyz")[0] == 200, within=60, what="the registry being ready")
            yield port, process
        finally:
            process.kill()


def ask(port: int, method: str, path: str, body: Any = None, token: str = "") -> tuple[int, str]:
    headers = {"content-type": "application/json", "authorization": f"Bearer {token}"}
    data = None if body is None else json.dumps(body).encode()
    try:
        with direct(Request(f"http://127.0.0.1:{port}{path}", data, headers, method=method), timeout=30) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()


def log_in(port: int) -> str:
    said = {"username": CLIENT, "password": PASSWORD, "grant_type": "password"}
    status, body = ask(port, "POST", "/oauth2/token", said)
    assert status == 200, body
    return str(json.loads(body)["access_token"])


def prepared(data_dir: Path) -> None:
    with open_registry(settings(data_dir)) as registry:
        Access(registry.ledger.engine).add(CLIENT, HASH, {IYS: True, BRAND: True}, NOW)


def consent(status: str, minutes_ago: int) -> dict[str, Any]:
    return {**A1, "status": status, "consentDate": turkey_time(datetime.now(UTC) - timedelta(minutes=minutes_ago))}


def test_i5_what_was_acknowledged_survives_kill_9_and_a_stop_is_clean(tmp_path: Path) -> None:
    prepared(tmp_path)
    with served(tmp_path) as (port, process):
        token = log_in(port)
        assert ask(port, "POST", f"{B}/consents", consent("ONAY", 9), token)[0] == 200
        assert ask(port, "POST", f"{B}/consents", consent("RET", 5), token)[0] == 200
        process.kill()
    move = Move(BRAND, Channel.MESAJ, b"+905321112233", RecipientType.BIREYSEL, Status.RET, "HS_WEB", "")
    with open_registry(settings(tmp_path)) as registry:
        assert fold(registry.ledger, move) is Status.RET
        assert not may_be_sent(registry.writer, registry.ledger, move)
    with served(tmp_path) as (port, process):
        status, body = ask(port, "POST", f"{B}/consents/status", _query(), token)
        assert (status, json.loads(body)["status"]) == (200, "RET"), "a token outlives the process"
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=60)
    assert process.returncode == 0
    for secret in (token, PASSWORD, "+905321112233", CLIENT):
        assert secret not in log


def _query() -> dict[str, str]:
    return {name: str(A1[name]) for name in ("recipient", "type", "recipientType")}


@pytest.mark.parametrize("path", ["/oauth2/token", f"{B}/consents", "/docs", "/openapi.json"])
def test_without_the_key_there_is_no_api(no_api: int, path: str) -> None:
    for method in ("GET", "POST"):
        status, body = ask(no_api, method, path, {} if method == "POST" else None)
        assert status == 404
        assert "<html" in body


@pytest.fixture(scope="module")
def no_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with served(tmp_path_factory.mktemp("registry"), "none") as (port, _):
        yield port
