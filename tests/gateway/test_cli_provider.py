"""`izinli provider …`: what operators decide, what is printed of it, and what a gateway makes of it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from gateway import keys
from gateway.cli import app
from gateway.cli_common import settings_of
from gateway.config import Config, ConfigError, load
from gateway.init import CONFIG_FILE, init
from registry.ledger import Ledger
from registry.national.access import Access
from registry.providers.vault import Vault
from registry.service import open_registry
from tests.registry.providers.support import EMAIL, TCKN, Office

STREAM = """
[[stream]]
name = "yeni"
match = { mail_from_domain = "kampanya.firma.example.com.tr" }
brand = 900000
upstream = "relay"
"""


@pytest.fixture
def home(tmp_path: Path) -> Config:
    """The sample configuration, and one application that nobody has proven anything of."""
    init(tmp_path)
    config = load(tmp_path / CONFIG_FILE)
    keys.create_missing(config.data_dir)
    secrets = keys.load(config.data_dir)
    with open_registry(settings_of(config, secrets)) as registry:
        office = Office(registry.ledger.engine, frozenset())
        office.vault = office.providers.vault = Vault(secrets.provider)
        office.apply()
    return config


def run(home: Config, command: str, *arguments: str, code: int = 0) -> str:
    """What a command prints."""
    done: Result = CliRunner().invoke(app, ["provider", command, "-c", str(home.path), *arguments])
    assert done.exit_code == code, done.output
    return done.output


def proven(home: Config) -> None:
    for way in ("mobile", "email"):
        run(home, "confirm", "1", way, "--reason", "called back")


def test_what_is_shown_says_who_decided_and_hides_the_national_number(home: Config) -> None:
    proven(home)
    shown = run(home, "show", "1")
    assert EMAIL in shown
    assert f"{'•' * 9}{TCKN[-2:]}" in shown
    assert TCKN not in shown
    assert re.search(r"confirm-mobile → applied, by user \S+: called back", shown)
    (one,) = json.loads(run(home, "list", "--json"))["providers"]
    assert (one["id"], one["state"], one["iysCode"]) == (1, "verified", None)
    assert run(home, "list", "--state", "approved") == ""


def test_an_approval_gives_brands_to_gateways_and_credentials_to_the_provider(home: Config) -> None:
    run(home, "approve", "1", code=65)
    proven(home)
    home.path.write_text(home.path.read_text() + STREAM)
    with pytest.raises(ConfigError) as caught:
        load(home.path)
    assert "nor was one approved" in str(caught.value.problems[0])
    home.path.write_text(home.path.read_text().replace(STREAM, ""))

    told = run(home, "approve", "1", "--reason", "in order")
    user, password = re.findall(r"API (?:user|password)\s+(\S+)", told)
    home.path.write_text(home.path.read_text() + STREAM)
    brand = load(home.path).brands[900_000]
    assert (brand.name, brand.title, brand.mersis) == ("Deneme Kahve", "Deneme Kahve Ticaret A.Ş.", "0123456789000015")
    secrets = keys.load(home.data_dir)
    ledger = Ledger.open("sqlite", home.data_dir, secrets.fingerprint)
    found = Access(ledger.engine).login(user)
    ledger.close()
    assert found is not None
    assert found[0].grants == {900_000: True, 900_001: True}
    assert found[1].matches(password.encode())
    assert "approve is for who is verified" in run(home, "approve", "1", code=65)


def test_an_approval_that_was_cut_short_is_finished(home: Config, tmp_path: Path) -> None:
    proven(home)
    taken = tmp_path / "taken"
    taken.write_text("x")
    run(home, "approve", "1", "--credentials-file", str(taken), code=73)
    first = run(home, "approve", "1")
    secrets = keys.load(home.data_dir)
    ledger = Ledger.open("sqlite", home.data_dir, secrets.fingerprint)
    user = re.findall(r"API user\s+(\S+)", first)[0]
    assert Access(ledger.engine).remove(user, Office(ledger.engine).clock())
    ledger.close()
    file = tmp_path / "credentials"
    run(home, "approve", "1", "--credentials-file", str(file))
    assert file.read_text().startswith(f"user = {user}\npassword = ")
    assert file.stat().st_mode & 0o777 == 0o600
    run(home, "approve", "1", "--credentials-file", str(tmp_path / "other"), code=65)
    assert not (tmp_path / "other").exists()
    assert taken.read_text() == "x"


def test_a_suspension_is_recorded_first_and_then_in_effect(home: Config) -> None:
    proven(home)
    run(home, "approve", "1")
    assert "recorded, but not in effect yet" in run(home, "suspend", "1", "--reason", "spam", code=75)
    looked = ["lookup", "-c", str(home.path), "--brand", "900000", "--channel", "MESAJ", "--json", "+905550000001"]
    CliRunner().invoke(app, ["index", "rebuild", "-c", str(home.path)])
    assert json.loads(CliRunner().invoke(app, looked).stdout)["reason"] == "suspended"
    assert "in effect" in run(home, "resume", "1", "--reason", "settled")
    assert json.loads(CliRunner().invoke(app, looked).stdout)["reason"] == "no_consent"
    assert "resume is for who is suspended" in run(home, "resume", "1", "--reason", "", code=65)
    assert "there is no provider 2" in run(home, "suspend", "2", "--reason", "x", code=65)


@pytest.mark.parametrize(
    ("line", "key", "words"),
    [
        ('mail_relay = "127.0.0.1:2525"', "mail_from", "is missing"),
        ('mail_relay = "x"\nmail_from = "a@example.com.tr"', "mail_relay", "not an address"),
        ('mail_relay = "127.0.0.1:2525"\nmail_from = "nobody"', "mail_from", "not a mail address"),
        ('smpp_relay = "127.0.0.1:2775"', "smpp_account", "is missing"),
        (
            'smpp_relay = "[::1]:2775"\nsmpp_account = "a"\nsmpp_password_file = "keys/marka.pass"\nsmpp_sender = "B"',
            "smpp_relay",
            "must be an IPv4 address",
        ),
        ('smpp_sender = "TOO LONG A NAME"', "smpp_sender", "1 to 11 ASCII characters"),
        ("onboarding_codes_from = 0", "onboarding_codes_from", "between 1 and"),
    ],
)
def test_what_is_wrong_with_the_configuration_of_onboarding_is_named(
    tmp_path: Path, line: str, key: str, words: str
) -> None:
    init(tmp_path)
    path = tmp_path / CONFIG_FILE
    text = path.read_text()
    assert text.count("\n[registry] ") == 1
    path.write_text(text.replace("\n[registry] ", f"\n[registry]\n{line}\n# "))
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert any(one.key == f"registry.{key}" and words in one.text for one in caught.value.problems)


def test_a_file_of_brands_that_was_touched_is_named(tmp_path: Path) -> None:
    init(tmp_path)
    path = tmp_path / CONFIG_FILE
    data = load(path).data_dir
    data.mkdir(exist_ok=True)
    for text in ("{", '{"format": 2}', '{"format": 1, "brands": [{"code": "1"}]}', "[]"):
        (data / "brands.json").write_text(text)
        with pytest.raises(ConfigError) as caught:
            load(path)
        assert "brands.json" in caught.value.problems[0].text
