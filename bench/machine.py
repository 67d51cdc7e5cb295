"""What the figures were measured on: enough to repeat them, nothing that names the machine."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import timeit
from contextlib import suppress
from pathlib import Path

from bench.process import Missing, run, which

VERSION_COMMANDS = {
    "haproxy": ["haproxy", "-v"],
    "postfix": ["postconf", "-dh", "mail_version"],
    "redis": ["redis-server", "--version"],
}
CALIBRATION_RUNS = 200_000
LIBRARIES = (
    *("izinli", "aiosmtpd", "smpplib", "uvloop", "redis", "hiredis", "cryptography"),
    *("fastapi", "starlette", "uvicorn", "sqlalchemy", "psycopg"),
)


class _Counter:
    __slots__ = ("total",)

    def __init__(self) -> None:
        self.total = 0

    def add(self, value: int) -> int:
        self.total += value
        return self.total


def _calibration() -> None:
    _counter.add(1)
    _lines[_counter.total & 255] = b"%d %b" % (_counter.total, b"abc")


_counter = _Counter()
_lines: dict[int, bytes] = {}


def facts() -> dict[str, object]:
    """Processor, cores, memory, kernel, Python, and the versions of what runs."""
    memory_kb = int(re.findall(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())[0])
    return {
        "cpu": cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory_kb / 2**20),
        "kernel": platform.release(),
        "system": platform.freedesktop_os_release().get("PRETTY_NAME", platform.system()),
        "python": platform.python_version(),
        "interpreter_ns": interpreter_ns(),
        "versions": _versions(),
    }


def cpu_model() -> str:
    found = re.findall(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return str(found[0]) if found else platform.machine()


def interpreter_ns() -> int:
    """How fast this interpreter is, in ns: a method call, a dictionary entry and a formatted line.

    The same version of Python differs by a factor of two between a distribution's build and one compiled without
    optimisation, and the gateway's figures with it; HAProxy's do not.
    """
    return round(min(timeit.repeat(_calibration, number=CALIBRATION_RUNS, repeat=7)) / CALIBRATION_RUNS * 1e9)


def load_average() -> float:
    """The last minute's: above the number of cores, others were working here too and the figures say less."""
    return os.getloadavg()[0]


def slug() -> str:
    """A file name for results of this kind of machine: processor and cores."""
    return re.sub(r"[^a-z0-9]+", "-", f"{cpu_model()} {len(os.sched_getaffinity(0))} cores".lower()).strip("-")


def _versions() -> dict[str, str]:
    versions = {}
    for name, (program, *arguments) in VERSION_COMMANDS.items():
        with suppress(Missing):
            printed = run([which(program), *arguments])
            versions[name] = re.findall(r"\d+\.\d+(?:\.\d+)*", printed)[0]
    for library in LIBRARIES:
        with suppress(importlib.metadata.PackageNotFoundError):
            versions[library] = importlib.metadata.version(library)
    return versions
