"""What the commands print, and how they end."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from gateway.passwords import Hash
from tests.conftest import RedisServer, require, running
from tests.gateway.command import BRAND, HEADER, config, izinli, use_index

__all__ = ["config"]  # a fixture


def test_init_says_what_it_wrote_and_refuses_to_do_it_twice(config: Path) -> None:
    again = izinli("init", config.parent)
    assert again.returncode == 73
    assert "exists already" in again.stderr


def test_check_config_reports_everything_and_exits_78(config: Path) -> None:
    text = config.read_text().replace("workers = 1", "wrokers = 1").replace('upstream = "relay"', 'upstream = "realy"')
    config.write_text(text)
    done = izinli("check-config", "-c", config)
    assert done.returncode == 78
    assert "did you mean 'workers'?" in done.stderr
    assert done.stderr.count("did you mean 'relay'?") == 2
    assert str(config) in done.stderr


@pytest.mark.parametrize("command", [["serve"], ["lookup", *BRAND, "--channel", "MESAJ", "05550000001"]])
def test_a_faulty_configuration_stops_every_command(config: Path, command: list[str]) -> None:
    config.write_text("nonsense = 1\n")
    done = izinli(command[0], "-c", config, *command[1:])
    assert done.returncode == 78
    assert "nonsense" in done.stderr


def test_import_and_lookup(config: Path, tmp_path: Path) -> None:
    consents = tmp_path / "consents.csv"
    good = "+905550000001,MESAJ,ONAY,HS_WEB,BIREYSEL,2026-01-05 10:00:00\n"
    consents.write_text(HEADER + good + "nobody,MESAJ,ONAY,HS_WEB,BIREYSEL,2026-01-05 10:00:00\n")
    first = izinli("import", "-c", config, *BRAND, "--json", consents)
    assert first.returncode == 65, "a line was rejected"
    told = json.loads(first.stdout)
    assert (told["lines"], told["recorded"], told["rejected"]) == (2, 1, 1)
    rejected = Path(told["reject_path"]).read_text()
    assert '\n3,"H121",' in rejected
    assert json.loads(izinli("import", "-c", config, *BRAND, "--json", consents).stdout)["unchanged"] == 1
    asked = ["lookup", "-c", config, *BRAND, "--channel", "mesaj", "--json"]
    found = json.loads(izinli(*asked, "0555 000 00 01").stdout)
    assert (found["canonical"], found["outcome"], found["reason"]) == ("+905550000001", "pass", "consent")
    assert json.loads(izinli(*asked, "05550000002").stdout)["reason"] == "no_consent"
    assert json.loads(izinli(*asked, "١٢٣").stdout)["reason"] == "bad_address"
    assert "equal" in izinli("index", "verify", "-c", config).stdout
    assert izinli("index", "rebuild", "-c", config).returncode == 0
    assert json.loads(izinli("index", "status", "-c", config, "--json").stdout)["count"] == 1


def test_a_dry_run_and_an_export(config: Path, tmp_path: Path) -> None:
    consents, out = tmp_path / "consents.csv", tmp_path / "out.csv"
    good = "+905550000001,MESAJ,ONAY,HS_WEB,BIREYSEL,2026-01-05 10:00:00\n"
    consents.write_text(HEADER + good + "nobody,MESAJ,ONAY,HS_WEB,BIREYSEL,2026-01-05 10:00:00\n")
    dry = izinli("import", "-c", config, *BRAND, "--dry-run", consents)
    assert dry.returncode == 65, "a line would be rejected"
    assert "dry run, nothing is recorded: 2 lines: 1 recorded, 0 unchanged, 1 rejected" in dry.stdout
    assert "H121  not a valid telephone number" in dry.stdout
    assert json.loads(izinli("import", "-c", config, *BRAND, "--json", consents).stdout)["recorded"] == 1
    done = izinli("export", "-c", config, *BRAND, out)
    assert (done.returncode, out.read_text(), out.stat().st_mode & 0o777) == (0, HEADER + good, 0o600)
    again = izinli("export", "-c", config, *BRAND, out)
    assert (again.returncode, "File exists" in again.stderr) == (73, True), "what is there stays"
    assert izinli("export", "-c", config, *BRAND, "-").stdout == HEADER + good
    consents.write_text(HEADER + good.replace("ONAY", "RET"))
    assert "1  of these are refusals" in izinli("import", "-c", config, *BRAND, "--declare", consents).stdout


@pytest.mark.interop
def test_both_planes_log_in_at_redis_with_the_password_of_a_file(config: Path, tmp_path: Path) -> None:
    secret = "p@ss:w/%örd"
    directory = tmp_path / "redis"
    directory.mkdir()
    rights = [f"user izinli on >{secret} ~* +@all", "user default off"]
    with running(RedisServer(require("redis-server"), directory, acl=rights)) as server:
        use_index(config, f"redis://izinli@{server.address}/0?password_file=keys/redis.pass")
        (config.parent / "keys/redis.pass").write_text(f"{secret}\n")
        built = izinli("index", "rebuild", "-c", config)
        assert built.returncode == 0, built.stderr
        asked = izinli("lookup", "-c", config, *BRAND, "--channel", "MESAJ", "--json", "05550000002")
        assert json.loads(asked.stdout)["reason"] == "no_consent", asked.stderr


@pytest.mark.parametrize("form", ["sqlite", pytest.param("redis", marks=pytest.mark.interop)])
def test_an_index_of_another_key_is_no_index_to_serve_with(
    config: Path, form: str, request: pytest.FixtureRequest
) -> None:
    """All of it would read as "not listed": every consent would be refused, for good."""
    if form == "redis":
        server: RedisServer = request.getfixturevalue("redis_server")
        use_index(config, server.url)
    assert izinli("index", "rebuild", "-c", config).returncode == 0
    (config.parent / "izinli-data/keys/fingerprint.key").write_text("ab" * 32)
    done = izinli("serve", "-c", config, "--only", "gateway")
    assert done.returncode == 78
    assert "another fingerprint key" in done.stderr
    assert "izinli index rebuild" in done.stderr


def test_lookup_before_anything_was_imported_cannot_tell(config: Path) -> None:
    done = izinli("lookup", "-c", config, *BRAND, "--channel", "EPOSTA", "a@example.com.tr")
    assert "defer (index_down)" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--brand", "7", "x.csv"], "known: 100001"),
        ([*BRAND, "gone.csv"], "gone.csv"),
    ],
)
def test_a_mistake_in_an_import_is_named(config: Path, arguments: list[str], told: str) -> None:
    done = izinli("import", "-c", config, *arguments)
    assert done.returncode in (69, 78)
    assert told in done.stderr


def test_a_file_without_the_columns_is_refused_as_a_whole(config: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.csv"
    wrong.write_text("telefon,durum\n05550000001,ONAY\n")
    done = izinli("import", "-c", config, *BRAND, wrong)
    assert done.returncode == 65
    assert "telefon" in done.stderr or "recipient" in done.stderr


def test_a_password_becomes_a_hash_and_is_never_an_argument() -> None:
    command = [sys.executable, "-m", "gateway.cli", "password"]

    def run(given: bytes) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(command, input=given, capture_output=True, timeout=60, check=False)

    done = run("parola çok uzun\n".encode())
    assert done.returncode == 0, done.stderr
    assert Hash.parse(done.stdout.decode().strip()).matches("parola çok uzun".encode())
    for bad in (b"", b"\n", b"x" * 129, b"a\0b\n"):
        refused = run(bad)
        assert (refused.returncode, refused.stdout) == (65, b"")


def test_a_password_that_is_typed_is_not_shown() -> None:
    """At a terminal of its own."""
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "gateway.cli", "password"]
    process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
    os.close(slave)
    shown = b""
    for prompt in (b"Password: ", b"Again: "):
        while not shown.endswith(prompt):
            shown += os.read(master, 1000)
        os.write(master, b"gizli-parola\n")
    with suppress(OSError):  # a terminal's end is EIO
        while octets := os.read(master, 1000):
            shown += octets
    os.close(master)
    assert process.wait(60) == 0
    assert b"gizli" not in shown
    assert Hash.parse(shown.split()[-1].decode()).matches(b"gizli-parola")
