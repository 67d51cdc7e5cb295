"""`izinli national …`, and `izinli serve` as a whole: it keeps step by itself, and takes pushes beside the page."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner, Result

from filters.model import Status
from gateway.cli import app
from gateway.init import init
from registry.rules import turkey_time
from tests.conftest import accepts, eventually, free_port
from tests.registry.national.support import Clock
from tests.registry.support import BRAND, HEADER, number, onay, ret, write_csv
from tests.registry.sync.support import PASSWORD, PUSHER, USER, Line, There, error, line, row, there

WHO = ("--brand", str(BRAND))


def izinli(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments)])


@pytest.fixture
def national(tmp_path: Path) -> Iterator[There]:
    with there(tmp_path / "there", Clock(datetime.now(UTC))) as one:
        yield one


@pytest.fixture
def wire(national: There) -> Iterator[Line]:
    with line(national.port) as one:
        yield one


@pytest.fixture
def config(tmp_path: Path, wire: Line) -> Path:
    home = tmp_path / "home"
    init(home)
    (home / "keys/national.pass").write_bytes(PASSWORD + b"\n")
    (home / "keys/push.pass").write_bytes(PUSHER.password + b"\n")
    path = home / "izinli.toml"
    said = f"""
[national]
enabled = true
url = "http://127.0.0.1:{wire.port}"
pull_seconds = 1
upload_seconds = 1
result_seconds = 0
[[national.brand]]
code = {BRAND}
username = "{USER}"
password_file = "keys/national.pass"
push_username = "{PUSHER.username}"
push_password_file = "keys/push.pass"
"""
    path.write_text(path.read_text().replace("127.0.0.1:8080", f"127.0.0.1:{free_port()}") + said)
    return path


def minutes_ago(minutes: int) -> str:
    return turkey_time(datetime.now(UTC) - timedelta(minutes=minutes))


def declared(config: Path, *people: int) -> None:
    lines = [f"{number(one).decode()},MESAJ,ONAY,HS_WEB,BIREYSEL,{minutes_ago(5)}" for one in people]
    done = izinli("import", "-c", config, *WHO, "--declare", write_csv(config.parent / "in.csv", lines, HEADER))
    assert done.exit_code == 0, done.output


def found(config: Path, one: int) -> dict[str, Any]:
    asked = ["lookup", "-c", config, *WHO, "--channel", "MESAJ", "--json", number(one).decode()]
    said: dict[str, Any] = json.loads(izinli(*asked).stdout)
    return said


def told(config: Path, command: str) -> tuple[int, dict[str, Any]]:
    done = izinli("national", command, "-c", config, "--json")
    return done.exit_code, json.loads(done.stdout)["brands"][0]


def test_what_is_declared_passes_when_it_was_pushed(config: Path, national: There) -> None:
    declared(config, 1)
    said = found(config, 1)
    assert (said["outcome"], said["reason"]) == ("block", "no_consent")
    assert said["note"].startswith("not_registered")
    code, status = told(config, "status")
    assert (code, status["problems"]) == (1, ["no pull went through lately"])
    assert told(config, "push") == (0, {"brand": BRAND, "sent": 1})
    eventually(lambda: told(config, "push") and found(config, 1)["outcome"] == "pass", within=60, what="the consent")
    assert found(config, 1)["note"] == ""
    assert told(config, "pull")[1]["news"] == 0
    code, status = told(config, "status")
    assert (code, status["well"], status["due"], status["uploads"]["done"]) == (0, True, "", 1)
    assert str(BRAND) in izinli("national", "status", "-c", config).stdout


def test_a_pull_and_a_reconciliation_by_hand(config: Path, national: There) -> None:
    declared(config, 1, 2)
    eventually(lambda: told(config, "push") and found(config, 2)["outcome"] == "pass", within=60, what="the consents")
    national.record(ret(1, minutes_ago(1)))
    assert told(config, "pull")[1]["news"] == 1
    assert found(config, 1)["outcome"] == "block"
    assert told(config, "reconcile")[1]["differences"] == 0


def test_faults_are_told_and_end_with_75(config: Path, wire: Line) -> None:
    wire.rules = lambda _, path: (429, error("H084")) if "token" in path else None
    done = izinli("national", "pull", "-c", config)
    assert (done.exit_code, "H084" in done.stderr) == (75, True)
    code, status = told(config, "status")
    assert (code, status["token_blocked_until"] > datetime.now(UTC).isoformat()) == (1, True)


def test_without_a_national_system_there_is_nothing_to_do(config: Path) -> None:
    config.write_text(config.read_text().replace("enabled = true", "enabled = false"))
    assert izinli("national", "status", "-c", config).exit_code == 78
    config.write_text(config.read_text().replace("enabled = false", "enabled = true"))
    assert izinli("national", "status", "-c", config, "--brand", "7").exit_code == 78


def added(config: Path, *more: str) -> Result:
    files = ("--password-file", config.parent / "keys/national.pass")
    return izinli("national", "brand", "add", "-c", config, *WHO, "--user", USER, *files, *more)


def without_brands(config: Path) -> None:
    config.write_text(config.read_text().rpartition("[[national.brand]]")[0])


def test_brands_by_hand(config: Path) -> None:
    assert added(config).exit_code == 78, "it stands in the configuration"
    without_brands(config)
    listed = ("national", "brand", "list", "-c", config, "--json")
    assert json.loads(izinli(*listed).stdout)["brands"] == []
    assert (added(config, "--push-user", "iys").exit_code, added(config, "--brand", "7").exit_code) == (65, 65)
    assert izinli("national", "brand", "add", "-c", config, *WHO).exit_code == 65, "there is no login for it"
    assert added(config, "--iys-code", "700100", "--brand-code", "700101").exit_code == 0
    (one,) = json.loads(izinli(*listed).stdout)["brands"]
    assert (one["code"], one["iysCode"], one["brandCode"], one["user"]) == (BRAND, 700100, 700101, USER)
    assert PASSWORD.decode() not in izinli(*listed[:-1]).stdout
    (key,) = config.parent.rglob("provider.key")
    key.write_text("00" * 64)
    assert json.loads(izinli(*listed).stdout)["unreadable"] == [BRAND]
    assert izinli("national", "status", "-c", config).exit_code == 1
    remove = ("national", "brand", "remove", "-c", config, *WHO)
    assert [izinli(*remove).exit_code for _ in range(2)] == [0, 65]


def test_serve_keeps_step_by_itself_with_a_brand_that_comes_later(config: Path, national: There) -> None:
    without_brands(config)
    page = int(config.read_text().split('bind = "127.0.0.1:')[1].split('"')[0])
    command = [sys.executable, "-m", "gateway.cli", "serve", "-c", str(config), "--only", "registry"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            eventually(lambda: accepts(page), within=60, what="the registry")
            push = config.parent / "keys/push.pass"
            assert added(config, "--push-user", PUSHER.username, "--push-password-file", str(push)).exit_code == 0
            declared(config, 1, 2)
            eventually(lambda: found(config, 1)["outcome"] == "pass", within=90, what="the consent", every=0.1)
            assert national.holds(onay(1)) is Status.ONAY
            moved = row(2, "RET", minutes_ago(1), transaction="1" * 64)
            url, login = f"http://127.0.0.1:{page}/national/push/{BRAND}", (PUSHER.username, PUSHER.password.decode())
            answer = httpx.post(url, json={"list": [moved]}, auth=login, trust_env=False, timeout=60)
            assert answer.status_code == 200
            assert found(config, 2)["outcome"] == "block"
            national.record(ret(1, minutes_ago(0)))
            eventually(lambda: found(config, 1)["outcome"] == "block", within=90, what="the rejection", every=0.1)
            process.terminate()
            assert process.wait(60) == 0
        finally:
            process.kill()
