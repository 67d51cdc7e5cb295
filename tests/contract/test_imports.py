"""The house has directions: who may import whom. Read from the source, so that a lazy import counts too."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.contract.sources import ROOT, sources

PLANES = ("filters", "gateway", "registry")
HOUSE = {*PLANES, "bench", "tests"}

# `filters` decides from what it is given: no I/O, no clock, no environment, no chance, no log.
PURE_THIRD_PARTY = {"bitarray", "cryptography", "idna", "pybloom_live"}
IMPURE = {
    *("asyncio", "concurrent", "logging", "multiprocessing", "os", "pathlib", "queue", "random", "sched"),
    *("secrets", "select", "selectors", "shutil", "signal", "socket", "socketserver", "sqlite3", "ssl", "subprocess"),
    *("tempfile", "threading", "time", "urllib", "uuid", "warnings"),
}
CLOCK_CALLS = {"now", "today", "utcnow"}
DOORS = {"open", "input", "print", "breakpoint"}  # built in, so no import gives them away

# The protocol cores are sans-I/O: bytes in, events and bytes out, time passed in.
CORES = (
    *("gateway/smpp/pdu.py", "gateway/smpp/session.py", "gateway/smpp/statuses.py", "gateway/smpp/parts.py"),
    *("gateway/smtp/session.py", "gateway/smtp/replies.py", "gateway/policy/protocol.py"),
    *("gateway/smtp/introduction.py", "gateway/smtp/events.py", "gateway/smtp/sasl.py", "gateway/smtp/xclient.py"),
    *("gateway/smpp/rate.py", "gateway/smpp/congestion.py", "gateway/smpp/times.py", "gateway/smpp/frames.py"),
    "gateway/proxied.py",
)
IO = {"asyncio", "socket", "ssl", "select", "selectors", "threading", "time", "uvloop"}

# The two planes meet in data. The command line starts both.
BOTH_PLANES = "cli"


def imported(path: Path) -> Iterator[tuple[str, int]]:
    """(absolute dotted name, line) of each import of a file, wherever in it the import stands."""
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    for node in ast.walk(ast.parse(path.read_bytes(), str(path))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            yield from ((f"{module}.{alias.name}", node.lineno) for alias in node.names)


def offences(paths: list[Path], allowed: Callable[[str], bool]) -> list[str]:
    """`file:line imports name` for each import whose top-level name the predicate `allowed` refuses."""
    assert paths, "no source was read: the check would pass for the wrong reason"
    return [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in paths
        for name, line in imported(path)
        if not allowed(name.partition(".")[0])
    ]


def test_filters_are_pure() -> None:
    pure = (sys.stdlib_module_names - IMPURE) | PURE_THIRD_PARTY | {"filters"}
    assert offences(sources("filters"), pure.__contains__) == []


def test_filters_ask_no_clock_and_open_no_file() -> None:
    calls = [node for path in sources("filters") for node in ast.walk(ast.parse(path.read_bytes(), str(path)))]
    methods = {node.func.attr for node in calls if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)}
    functions = {node.func.id for node in calls if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    assert methods & CLOCK_CALLS == set()
    assert functions & DOORS == set()


def test_gateway_does_not_know_the_registry() -> None:
    paths = [path for path in sources("gateway") if not path.name.startswith(BOTH_PLANES)]
    assert offences(paths, lambda name: name != "registry") == []


def test_registry_imports_filters_alone() -> None:
    assert offences(sources("registry"), lambda name: name not in HOUSE - {"registry", "filters"}) == []


def test_nobody_imports_tests_or_bench() -> None:
    assert offences(sources(*PLANES), lambda name: name not in {"tests", "bench"}) == []
    assert offences(sources("bench"), lambda name: name != "tests") == []


@pytest.mark.parametrize("core", CORES)
def test_protocol_core_does_no_io(core: str) -> None:
    assert offences([ROOT / core], lambda name: name not in IO) == []


def test_what_is_imported_is_declared() -> None:
    """A library that only comes along with another one may stop coming along."""
    declared = {
        re.sub(r"[-_.]+", "-", re.split(r"[\[<>=!~ ;]", line, maxsplit=1)[0]).lower()
        for line in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    }
    provides = importlib.metadata.packages_distributions()

    def known(name: str) -> bool:
        if name in sys.stdlib_module_names or name in HOUSE:
            return True
        return any(re.sub(r"[-_.]+", "-", item).lower() in declared for item in provides.get(name, []))

    assert offences(sources(*PLANES), known) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import registry", "registry"),
        ("def f():\n    from registry.ledger import Ledger", "registry.ledger.Ledger"),
        ("from . import pdu", "gateway.smpp.pdu"),
        ("from ..limits import X", "gateway.limits.X"),
    ],
)
def test_the_reader_sees_every_form_of_import(text: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_bytes", lambda _self: text.encode())
    assert [name for name, _ in imported(ROOT / "gateway/smpp/listener.py")] == [expected]
