"""All brands that a registry knows: those of its configuration and those that were approved, also while it runs.

What was approved is written to `data_dir/brands.json` (`filters.brand_file`) for gateways; each registry writes the
file of its own machine.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from filters import brand_file
from filters.model import Brand
from registry.providers.store import Providers

_MODE: Final = 0o644  # titles and numbers that stand in every message


class BrandBook(Mapping[int, Brand]):
    """Brands by code. `refresh` is for one thread; reading is for all."""

    def __init__(self, configured: Mapping[int, Brand], providers: Providers, data_dir: Path) -> None:
        self._configured = dict(configured)
        self._providers = providers
        self._path = data_dir / brand_file.NAME
        self._all = self._configured

    def refresh(self) -> None:
        """Take in what was approved since. Raises SQLAlchemyError or OSError."""
        version, approved = self._providers.brands()
        self._all = {**approved, **self._configured}
        if approved:
            _write(self._path, brand_file.write(version, approved.values()))

    def __getitem__(self, code: int) -> Brand:
        return self._all[code]

    def __iter__(self) -> Iterator[int]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)


def _write(path: Path, text: str) -> None:
    """Whole or not at all, and only what is new."""
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return
    descriptor, name = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, _MODE)
        os.rename(name, path)
    except BaseException:
        os.unlink(name)
        raise
