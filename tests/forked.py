"""`izinli …` as a process of its own, without the second that each would need to import the program again.

    done = izinli("import", "-c", config, "--brand", 100001, "consents.csv")
    assert done.returncode == 0, done.stderr

A helper process imports everything once and forks for each command: the child has its own descriptors, environment and
directory, runs `gateway.cli.main` and ends as an interpreter ends, so output and exit status are those of a process
that was started afresh. That `python -m gateway.cli` starts is proven where a test says so by itself (`test_cli.py`,
`test_demo.py`, every `izinli serve`).
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parent.parent
WITHIN_S = 120.0  # only ends a command that hangs
REQUEST_OCTETS_MAX = 256 * 1024
STREAMS = 3
# What the commands would import themselves.
PRELOADED = (
    "gateway.evidence",
    "gateway.supervisor",
    "registry.evidence.check",
    "registry.importer",
    "registry.service",
)


class Forker:
    """The helper, seen from the tests. One command at a time."""

    def __init__(self) -> None:
        self._here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._here.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, REQUEST_OCTETS_MAX)
        self._turn = threading.Lock()
        with there:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.forked", str(there.fileno())],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[there.fileno()],
            )
        atexit.register(self.close)

    def close(self) -> None:
        """Its socket's end is the helper's end."""
        self._here.close()
        self._process.wait()

    def run(self, arguments: list[str]) -> subprocess.CompletedProcess[str]:
        """As `subprocess.run` with captured output, nothing to read and no shell. Raises TimeoutExpired."""
        request = json.dumps([arguments, os.getcwd(), dict(os.environ)]).encode()
        with (
            self._turn,
            open(os.devnull, "rb") as none,
            tempfile.TemporaryFile() as out,
            tempfile.TemporaryFile() as err,
        ):
            socket.send_fds(self._here, [request], [none.fileno(), out.fileno(), err.fileno()])
            self._here.settimeout(WITHIN_S)
            pid = int(self._here.recv(64))
            try:
                code = int(self._here.recv(64))
            except TimeoutError:
                os.kill(pid, signal.SIGKILL)
                self._here.recv(64)
                raise subprocess.TimeoutExpired(arguments, WITHIN_S, _text(out), _text(err)) from None
            return subprocess.CompletedProcess(arguments, code, _text(out), _text(err))


def _text(stream: IO[bytes]) -> str:
    stream.seek(0)
    return stream.read().decode()


_forker: Forker | None = None


def izinli(*arguments: str | Path | int) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    global _forker
    if _forker is None:
        _forker = Forker()
    return _forker.run([*map(str, arguments)])


def fork_for_each(requests: socket.socket) -> bool:
    """The helper's loop. True: this is a child, made ready to run a command; False: the tests have ended."""
    while True:
        request, streams, _, _ = socket.recv_fds(requests, REQUEST_OCTETS_MAX, STREAMS)
        if not request:
            return False
        pid = os.fork()
        if pid == 0:
            requests.close()
            arguments, directory, environment = json.loads(request)
            for number, stream in enumerate(streams):
                os.dup2(stream, number)
                os.close(stream)
            os.chdir(directory)
            os.environ.clear()
            os.environ.update(environment)
            sys.argv[1:] = arguments
            return True
        for stream in streams:
            os.close(stream)
        requests.send(str(pid).encode())
        _, status = os.waitpid(pid, 0)
        requests.send(str(os.waitstatus_to_exitcode(status)).encode())


if __name__ == "__main__":
    from gateway import cli

    for module in PRELOADED:
        importlib.import_module(module)
    gc.collect()
    gc.freeze()
    if fork_for_each(socket.socket(fileno=int(sys.argv[1]))):
        cli.main()
