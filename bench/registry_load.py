"""wrk as the load on an HTTP server, each request with a telephone number of its own where it is to have one."""

from __future__ import annotations

import json
import resource
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Final

from bench.measure import Sample
from bench.process import Program, run, which

CONNECTIONS: Final = 64
SCRIPT: Final = Path(__file__).with_suffix(".lua")
MARK: Final = "@" * 7
"""Where a request has it, wrk writes seven digits."""

BUSY_MAX: Final = 0.9  # of a core; above it wrk may be what is measured
NUMBERS_A_RUN: Final = 100_000  # that are set apart for it: more than any server here can take


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked again and again. `span`: of so many numbers, from 0 on, any; 0: each number once.

    `connections`: how many ask at once, each waiting for its answer.
    """

    path: str
    body: bytes
    span: int = 0
    connections: int = CONNECTIONS


class Wrk:
    """Callable with a number that says nothing (wrk is given seconds, not requests): a Sample."""

    def __init__(self, program: Program, load: Load, token: str, directory: Path, seconds: float) -> None:
        self._program = program
        self._span, self._connections = load.span, load.connections
        self._firsts = _firsts(load.span)
        self._file = directory / f"{program.key}-{abs(hash(load)):x}.http"
        self._file.write_bytes(request(load.path, load.body, program.port, token))
        self._seconds = max(1, round(seconds))

    def __call__(self, _count: int) -> Sample:
        """Raises RuntimeError when a request was refused, or when wrk had more to do than it can."""
        numbers = [str(self._file), str(next(self._firsts)), str(self._span)]
        options = ["-t", "1", "-c", str(self._connections), "-d", f"{self._seconds}s", "-s", str(SCRIPT)]
        cpu, wrk_cpu = self._program.cpu(), _children_cpu_s()
        printed = run([which("wrk"), *options, f"http://127.0.0.1:{self._program.port}", "--", *numbers])
        told, wrk_cpu = summary(printed), _children_cpu_s() - wrk_cpu
        seconds = told["duration_us"] / 1e6
        if told["refused"] or told["broken"] or not told["requests"]:
            raise RuntimeError(f"{self._program.name} did not answer all as it should: {told}")
        if wrk_cpu > BUSY_MAX * seconds:
            raise RuntimeError(f"wrk was busy for {wrk_cpu:.2f} of {seconds:.2f} s: it may be what was measured")
        spent = self._program.cpu() - cpu
        return Sample(told["requests"], seconds, spent, p50_s=told["p50_us"] / 1e6, p99_s=told["p99_us"] / 1e6)


def request(path: str, body: bytes, port: int, token: str) -> bytes:
    """A whole POST."""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {token}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def summary(printed: str) -> Mapping[str, Any]:
    """What the script wrote below wrk's own words."""
    line = next(line for line in reversed(printed.splitlines()) if line.startswith("{"))
    found: dict[str, Any] = json.loads(line)
    return found


def _firsts(span: int) -> Iterator[int]:
    """Where each run begins; without a span no two runs have a number in common."""
    return count(0, 0) if span else count(1_000_000, NUMBERS_A_RUN)


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
