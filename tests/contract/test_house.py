"""The house rules that a machine can read. A rule nobody checks is a wish."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.sources import ROOT, sources

SHIPPED = ("filters", "gateway", "registry")
FILE_LINES_MAX = 500
FUNCTION_LINES_MAX = 70
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b|NotImplementedError")


def functions(path: Path) -> Iterator[tuple[str, int, int]]:
    """(name, first line, number of lines) of each function; decorators do not count, the docstring does."""
    for node in ast.walk(ast.parse(path.read_bytes(), str(path))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            yield node.name, node.lineno, node.end_lineno - node.lineno + 1


def test_no_file_is_longer_than_a_reader_can_hold() -> None:
    lengths = {path: len(path.read_text().splitlines()) for path in sources(*SHIPPED, "bench", "tests")}
    assert [f"{path.relative_to(ROOT)}: {n} lines" for path, n in lengths.items() if n > FILE_LINES_MAX] == []


def test_no_function_is_longer_than_a_screen() -> None:
    offenders = [
        f"{path.relative_to(ROOT)}:{line} {name}: {length} lines"
        for path in sources(*SHIPPED, "bench")
        for name, line, length in functions(path)
        if length > FUNCTION_LINES_MAX
    ]
    assert offenders == []


def test_nothing_ships_unfinished() -> None:
    marks = [
        f"{path.relative_to(ROOT)}:{number} {line.strip()}"
        for path in sources(*SHIPPED, "bench")
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if UNFINISHED.search(line)
    ]
    assert marks == []


def test_every_module_says_what_it_is() -> None:
    """The first thing a reader wants; an empty `__init__.py` marks a package and says nothing else."""
    silent = [
        str(path.relative_to(ROOT))
        for path in sources(*SHIPPED, "bench")
        if (tree := ast.parse(path.read_bytes())).body and ast.get_docstring(tree) is None
    ]
    assert silent == []


@pytest.mark.parametrize("script", [*sorted((ROOT / "scripts").glob("*.sh")), ROOT / ".ci/run"], ids=lambda p: p.name)
def test_scripts_stop_at_the_first_error(script: Path) -> None:
    text = script.read_text()
    assert text.startswith("#!/bin/sh\n")
    assert re.search(r"^set -eu$", text, re.MULTILINE)
