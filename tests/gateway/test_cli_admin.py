"""`izinli admin …`: what is shown once, what is refused, and who is said to have done it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway import keys
from gateway.cli import app
from gateway.cli_common import settings_of
from gateway.config import Config, load
from gateway.init import CONFIG_FILE, init
from registry.admins import audit, totp
from registry.admins.logins import Logins
from registry.admins.store import Admins
from registry.providers.vault import Vault
from registry.service import open_ledger
from tests.registry.providers.support import Clock

PASSWORD = "doğru at pil zımba"


@pytest.fixture
def home(tmp_path: Path) -> Config:
    init(tmp_path)
    (tmp_path / "ayse.pass").write_text(PASSWORD + "\n")
    return load(tmp_path / CONFIG_FILE)


def run(home: Config, command: str, *arguments: str, code: int = 0) -> str:
    """What a command prints."""
    done = CliRunner().invoke(app, ["admin", command, "-c", str(home.path), *arguments])
    assert done.exit_code == code, done.output
    return done.output


def shown(printed: str, what: str) -> str:
    found = re.search(rf"^  {what} +(\S+)$", printed, re.MULTILINE)
    assert found is not None, printed
    return found[1]


def enters(home: Config, name: str, password: str, code: str) -> bool:
    secrets = keys.load(home.data_dir)
    with open_ledger(settings_of(home, secrets)) as ledger:
        logins = Logins(Admins(ledger.engine, Vault(secrets.provider)))
        return logins.enter(name, password, code, Clock()(), "192.0.2.1") is not None


def code_of(printed: str, steps: int = 0) -> str:
    return totp.code_of(shown(printed, "secret"), totp.step_at(Clock()()) + steps)


def test_an_admin_from_the_first_day_to_the_last(home: Config) -> None:
    added = run(home, "add", "ayse", "--role", "operator", "--password-file", str(home.path.parent / "ayse.pass"))
    assert PASSWORD not in added
    assert "  password " not in added, "who wrote the file knows it"
    assert f"secret={shown(added, 'secret')}" in shown(added, "authenticator")
    assert len(re.findall(r"\b\w{4}-\w{4}-\w{4}\b", added)) == totp.RECOVERY_CODES
    assert 'admin = "127.0.0.1:8081"' in added, "there is no page yet"
    assert enters(home, "ayse", PASSWORD, code_of(added))

    made = run(home, "add", "mehmet", "--role", "auditor")
    assert enters(home, "mehmet", shown(made, "password"), shown(made, "recovery codes"))
    run(home, "add", "mehmet", "--role", "operator", code=65)

    run(home, "disable", "ayse")
    assert not enters(home, "ayse", PASSWORD, code_of(added, 1))
    run(home, "enable", "ayse")
    reset = run(home, "reset", "ayse")
    assert not enters(home, "ayse", PASSWORD, code_of(added, 1))
    assert enters(home, "ayse", PASSWORD, code_of(reset))
    told = {one["name"]: one for one in json.loads(run(home, "list", "--json"))["admins"]}
    assert (told["ayse"]["role"], told["ayse"]["disabled"], told["ayse"]["recovery_codes"]) == ("operator", False, 10)
    assert (told["mehmet"]["role"], told["mehmet"]["recovery_codes"]) == ("auditor", 9)
    assert "mehmet" in run(home, "list")
    run(home, "remove", "mehmet")
    with open_ledger(settings_of(home, keys.load(home.data_dir))) as ledger:
        rows = [row for row in audit.newest(ledger.engine, 0, 100) if row.action.startswith("admin-")]
    assert [(row.action, row.subject) for row in reversed(rows)] == [
        ("admin-add", "ayse"),
        ("admin-add", "mehmet"),
        ("admin-disable", "ayse"),
        ("admin-enable", "ayse"),
        ("admin-reset", "ayse"),
        ("admin-remove", "mehmet"),
    ]
    assert all(row.actor.startswith("user ") for row in rows)


def test_what_cannot_be_done_is_said(home: Config) -> None:
    short = home.path.parent / "short.pass"
    short.write_text("elf\n")
    assert "12 octets or more" in run(home, "add", "ayse", "--role", "operator", "--password-file", str(short), code=65)
    missing = str(home.path.parent / "missing.pass")
    assert "missing.pass" in run(home, "add", "ayse", "--role", "operator", "--password-file", missing, code=65)
    assert "a name has" in run(home, "add", "Ayşe", "--role", "operator", code=65)
    assert "others than its owner have access" in run(
        home, "add", "ayse", "--role", "operator", "--password-file", str(short), code=65
    )
    short.chmod(0o600)
    assert "others" not in run(home, "add", "ayse", "--role", "operator", "--password-file", str(short), code=65)
    for command in ("reset", "disable", "enable", "remove"):
        assert "there is no admin ayse" in run(home, command, "ayse", code=65)
    assert run(home, "list") == ""


def test_no_key_is_made_that_the_pages_do_not_have(home: Config) -> None:
    """A second machine without keys/provider.key would seal what nobody can log in with."""
    key = keys.directory(home.data_dir) / keys.PROVIDER_FILE
    key.unlink()
    assert "keys/provider.key is missing" in run(home, "add", "ayse", "--role", "operator", code=78)
    assert not key.exists()
