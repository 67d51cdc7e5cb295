"""`izinli api-user`: who is let in, told, and taken away; and the keys of the configuration that belong to it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from gateway.cli import app
from gateway.config import ConfigError, load
from gateway.config.api import Api
from gateway.init import init
from tests.gateway.command import BRAND

NAME = "api@firma.test"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    init(tmp_path / "home")
    return tmp_path / "home/izinli.toml"


def izinli(*arguments: str | Path) -> Result:
    """In this process: what is asked here does not depend on how one ends."""
    return CliRunner().invoke(app, [*map(str, arguments)])


@pytest.fixture
def password(tmp_path: Path) -> Path:
    path = tmp_path / "api.pass"
    path.write_text("a password of these tests\n")
    return path


def users(config: Path) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(izinli("api-user", "list", "-c", config, "--json").stdout)["users"]
    return found


def test_a_user_is_added_told_and_removed(config: Path, password: Path) -> None:
    code = BRAND[1]
    added = izinli("api-user", "add", "-c", config, NAME, *BRAND, "--password-file", password)
    assert added.exit_code == 0
    assert "api = true" in added.stderr, "that the API is not served yet is no secret"
    assert users(config) == [{"name": NAME, "brands": {code: "write"}}]
    assert "password of these tests" not in added.stdout + added.stderr
    again = izinli("api-user", "add", "-c", config, NAME, *BRAND, "--password-file", password)
    assert (again.exit_code, "already" in again.stderr) == (65, True)
    assert NAME in izinli("api-user", "list", "-c", config).stdout
    assert izinli("api-user", "remove", "-c", config, NAME).exit_code == 0
    assert users(config) == []
    assert izinli("api-user", "remove", "-c", config, NAME).exit_code == 65


def test_a_brand_may_be_for_reading_alone(config: Path, password: Path) -> None:
    config.write_text(config.read_text().replace("[registry]", "[registry]\napi = true", 1))
    reading = f"{BRAND[1]}:read"
    added = izinli("api-user", "add", "-c", config, NAME, "--brand", reading, "--password-file", password)
    assert (added.exit_code, added.stderr) == (0, "")
    assert users(config) == [{"name": NAME, "brands": {BRAND[1]: "read"}}]


@pytest.mark.parametrize(
    ("name", "brand", "code"),
    [("a b", BRAND[1], 65), ("", BRAND[1], 65), (NAME, "x", 65), (NAME, "99", 78), (NAME, "²", 65)],
)
def test_what_cannot_be_is_said(config: Path, password: Path, name: str, brand: str, code: int) -> None:
    done = izinli("api-user", "add", "-c", config, name, "--brand", brand, "--password-file", password)
    assert done.exit_code == code
    assert users(config) == []


def test_a_password_file_that_is_none_is_said(config: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.write_text("\n")
    for path in (empty, tmp_path / "nowhere"):
        done = izinli("api-user", "add", "-c", config, NAME, *BRAND, "--password-file", path)
        assert done.exit_code == 65
        assert path.name in done.stderr


def test_the_keys_of_the_api(config: Path) -> None:
    assert load(config).registry.api == Api(served=False)
    text = config.read_text()
    keys = "api = true\napi_per_second = 0\napi_tokens_per_hour = 5\napi_status_per_hour = 0\napi_history_per_hour = 7"
    config.write_text(text.replace("[registry]", f"[registry]\n{keys}", 1))
    assert load(config).registry.api == Api(True, 0, 5, 0, 7)
    config.write_text(text.replace("[registry]", '[registry]\napi = "yes"\napi_per_second = -1', 1))
    with pytest.raises(ConfigError) as raised:
        load(config)
    assert [problem.key for problem in raised.value.problems] == ["registry.api", "registry.api_per_second"]
