"""The project's own source files, as the contract tests read them."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def sources(*directories: str) -> list[Path]:
    """Every Python file below these directories of the project."""
    found = [path for directory in directories for path in sorted((ROOT / directory).rglob("*.py"))]
    assert found, "no source was read: the check would pass for the wrong reason"
    return found
