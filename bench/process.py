"""Start a program, know its CPU time, stop it.

CPU time is read from the program itself, `/proc/<pid>/stat`, summed over its session: every program is started as
the leader of a session of its own, so what it forks (Postfix's daemons, a supervisor's workers) is counted and
nothing else is. The kernel gives it in ticks of 10 ms; runs are long enough for that.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from gateway.demo.house import free_ports

TICK_S = 1 / os.sysconf("SC_CLK_TCK")
PAGE_OCTETS = os.sysconf("SC_PAGE_SIZE")
SEARCH_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
START_S_MAX = 20.0  # the slowest to start is the gateway with a Redis index; more than this is a failure
STOP_S_MAX = 10.0  # then it is killed: nothing is lost in a benchmark


class Missing(Exception):
    """A program that a row of a table needs is not here; the row is left out and says so."""


def which(program: str) -> str:
    found = shutil.which(program, path=SEARCH_PATH)
    if found is None:
        raise Missing(f"{Path(program).name} is not installed")
    return found


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on, and that no outgoing connection is given meanwhile."""
    return free_ports(1)[0]


def cpu_seconds(session: int) -> float:
    """User and system time, in seconds, of all processes of a session and of their children that have ended."""
    ticks = 0
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with suppress(FileNotFoundError, ProcessLookupError):  # it ended while we looked
            # after "pid (name) ": state ppid pgrp session …; utime stime cutime cstime are the 12th to the 15th
            fields = (entry / "stat").read_bytes().rpartition(b")")[2].split()
            if int(fields[3]) == session:
                ticks += sum(map(int, fields[11:15]))
    return ticks * TICK_S


def resident_octets(session: int) -> dict[int, int]:
    """What each process of a session has in memory (VmRSS), by its process id."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with suppress(FileNotFoundError, ProcessLookupError):
            fields = (entry / "stat").read_bytes().rpartition(b")")[2].split()
            if int(fields[3]) == session:
                found[int(entry.name)] = int((entry / "statm").read_bytes().split()[1]) * PAGE_OCTETS
    return found


@dataclass(frozen=True, slots=True)
class Absent:
    """A row that cannot be measured here, and why."""

    key: str
    name: str
    why: str


class Program:
    """A running program: its key and name in the tables, its port, the session its CPU time is summed over.

    `helper` is a second program whose CPU time is shown apart (the gateway's Redis).
    """

    helper: Program | None = None

    def __init__(self, key: str, name: str, port: int, log: Path) -> None:
        self.key = key
        self.name = name
        self.port = port
        self.session = 0
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, arguments: Sequence[str], environment: Mapping[str, str] | None = None) -> Program:
        """Run it in the foreground and wait until its port accepts."""
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, env=environment
            )
        self.session = self._process.pid
        self.wait_for_port()
        return self

    def wait_for_port(self) -> None:
        deadline = time.monotonic() + START_S_MAX
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return
            if self._process is not None and self._process.poll() is not None:
                raise RuntimeError(f"{self.name} ended with {self._process.returncode}:\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} does not listen after {START_S_MAX:g} s:\n{self.log_tail()}")
            time.sleep(0.02)

    def log_tail(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-20:])

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def cpu(self) -> float:
        return cpu_seconds(self.session)

    def stop(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_S_MAX)
        except subprocess.TimeoutExpired:
            os.killpg(self.session, signal.SIGKILL)
            self._process.wait()
        self._process = None


def run(arguments: Sequence[str], *, seconds_max: float = 60.0) -> str:
    """Run a program to its end and return what it printed; its failure is ours, with its own words."""
    done = subprocess.run(
        arguments, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds_max, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout
