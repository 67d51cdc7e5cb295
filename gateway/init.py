"""`izinli init DIR`: a configuration that works as it is, with secrets of its own."""

from __future__ import annotations

import os
import secrets
from importlib.resources import files
from pathlib import Path
from typing import Final

from gateway import keys
from gateway.config import load

CONFIG_FILE: Final = "izinli.toml"
PASSWORD_FILES: Final = ("keys/marka.pass", "keys/smsc.pass")
PASSWORD_CHARACTERS: Final = 8  # SMPP 3.4 §5.2.2 leaves no room for more


def init(directory: Path) -> list[Path]:
    """Write configuration, passwords and keys; returns what was written. Raises FileExistsError, and OSError."""
    config = directory / CONFIG_FILE
    if config.exists():
        raise FileExistsError(f"{config} exists already; nothing was changed")
    directory.mkdir(parents=True, exist_ok=True)
    written = [directory / name for name in PASSWORD_FILES]
    for path in written:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        _write(path, secrets.token_hex(PASSWORD_CHARACTERS // 2) + "\n", 0o600)
    _write(config, sample(), 0o644)
    return [config, *written, *keys.create_missing(load(config).data_dir)]


def sample() -> str:
    """The commented configuration that `init` writes."""
    return files("gateway").joinpath("sample.toml").read_text(encoding="utf-8")


def _write(path: Path, text: str, mode: int) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w", encoding="utf-8") as file:
        file.write(text)
