"""The command line as somebody types it: each in a process of its own, because that is how exit codes are made."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.forked import izinli

__all__ = ["BRAND", "HEADER", "config", "izinli", "use_index"]

BRAND = ("--brand", "100001")
HEADER = "recipient,type,status,source,recipientType,consentDate\n"


def use_index(config: Path, url: str) -> None:
    text = config.read_text()
    assert 'url = "sqlite"' in text
    config.write_text(text.replace('url = "sqlite"', f'url = "{url}"'))


@pytest.fixture
def config(tmp_path: Path) -> Path:
    done = izinli("init", tmp_path / "home")
    assert done.returncode == 0, done.stderr
    return tmp_path / "home/izinli.toml"
