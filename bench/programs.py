"""The programs of the tables: who stands in the middle, and who stands at both ends."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.process import Missing, Program, free_port, run, which

LOAD_S_MAX = 120.0  # the generator itself gives up after ten silent seconds; this is for one that crawls
SINK_CONNECTIONS_MAX = 512  # smtp-sink's own default of 256 leaves excess connections waiting in the kernel

HAPROXY = """\
global
  nbthread 1
  maxconn 4096
defaults
  mode tcp
  timeout connect 5s
  timeout client 60s
  timeout server 60s
listen pass_through
  bind 127.0.0.1:{port}
  server next_hop 127.0.0.1:{next_hop}
"""

# Postfix as it is configured when installed, with the one option. No maps, no milters, nothing checked beyond "may this
# client relay", nothing changed but the Received line.
POSTFIX_MAIN = """\
compatibility_level = 3.6
queue_directory = {directory}/spool
data_directory = {directory}/data
myhostname = proxy.example.test
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
alias_maps =
"""

POSTFIX_MASTER = """\
127.0.0.1:{port} inet n - n - 100 smtpd
  -o smtpd_proxy_filter=127.0.0.1:{next_hop}
rewrite unix - - n - - trivial-rewrite
anvil unix - - n - 1 anvil
proxymap unix - - n - - proxymap
tlsmgr unix - - n 1000? 1 tlsmgr
"""

HARAKA_VERSION = "3.3"
HARAKA_HOME = Path(__file__).parents[1] / "build/haraka"
HARAKA_INSTALL_S_MAX = 180.0  # some fifty packages
# As `haraka -i` writes it, but for these: one plugin that takes every recipient, one that passes mail on.
HARAKA_FILES = {
    "config/smtp.ini": "[main]\nlisten=127.0.0.1:{port}\n",
    "config/smtp_forward.ini": "host=127.0.0.1\nport={next_hop}\n",
    "config/plugins": "anyone\nqueue/smtp_forward\n",
    "config/loglevel": "WARN\n",
    "plugins/anyone.js": "exports.hook_rcpt = (next) => next(OK)\n",
}


@contextmanager
def haproxy(directory: Path, next_hop: int) -> Iterator[Program]:
    """Plain TCP pass-through: the floor, what it costs that bytes come in and go out at all."""
    port = free_port()
    config = directory / f"haproxy-{port}.cfg"
    config.write_text(HAPROXY.format(port=port, next_hop=next_hop))
    program = Program("haproxy", "HAProxy", port, directory / "haproxy.log")
    program.start([which("haproxy"), "-db", "-f", str(config)])
    try:
        yield program
    finally:
        program.stop()


class _Postfix(Program):
    """Postfix detaches itself; its master is found by its pid file, and leads the session of its daemons."""

    def __init__(self, port: int, directory: Path) -> None:
        super().__init__("proxy_filter", "Postfix, proxy_filter", port, directory / "postfix.log")
        self._command = [which("postfix"), "-c", str(directory)]
        self._pid_file = directory / "spool/pid/master.pid"

    def begin(self) -> None:
        run([*self._command, "start"])
        self.wait_for_port()
        self.session = os.getsid(int(self._pid_file.read_text()))

    def stop(self) -> None:
        run([*self._command, "stop"])


@contextmanager
def postfix_proxy_filter(directory: Path, next_hop: int) -> Iterator[Program]:
    """A private Postfix whose smtpd passes each message to the sink before it answers the dot."""
    if os.geteuid() != 0:
        raise Missing("Postfix's master starts as root only")
    home = directory / "postfix"
    (home / "spool").mkdir(parents=True)
    port = free_port()
    (home / "main.cf").write_text(POSTFIX_MAIN.format(directory=home))
    (home / "master.cf").write_text(POSTFIX_MASTER.format(port=port, next_hop=next_hop))
    run(["install", "-d", "-o", "postfix", "-m", "700", str(home / "data")])
    program = _Postfix(port, home)
    program.begin()
    try:
        yield program
    finally:
        program.stop()


@contextmanager
def haraka(directory: Path, next_hop: int) -> Iterator[Program]:
    """Haraka's smtp_forward: it too passes each message on before it answers the dot. Checks and changes nothing."""
    script = str(_haraka_installed())
    home = directory / "haraka"
    port = free_port()
    run([which("node"), script, "-i", str(home)])
    for name, content in HARAKA_FILES.items():
        (home / name).write_text(content.format(port=port, next_hop=next_hop))
    program = Program("haraka", f"Haraka {HARAKA_VERSION} smtp_forward", port, directory / "haraka.log")
    program.start([which("node"), script, "-c", str(home)])
    try:
        yield program
    finally:
        program.stop()


def _haraka_installed() -> Path:
    """The script that starts it; the first time it is fetched. Raises Missing."""
    script = HARAKA_HOME / "node_modules/Haraka/bin/haraka"
    if not script.exists():
        options = ["--loglevel=error", "--no-audit", "--no-fund", "--ignore-scripts", "--omit=optional"]
        where = ["--prefix", str(HARAKA_HOME), f"Haraka@{HARAKA_VERSION}"]
        try:
            run([which("npm"), "install", *options, *where], seconds_max=HARAKA_INSTALL_S_MAX)
        except (RuntimeError, subprocess.TimeoutExpired) as why:
            shutil.rmtree(HARAKA_HOME, ignore_errors=True)
            raise Missing("npm could not install it") from why
    return script


@contextmanager
def smtp_rote(directory: Path, next_hop: int) -> Iterator[Program]:
    """The reads and writes of the gateway on uvloop, and no work between them: the floor of a gateway in Python."""
    home = directory / "rote"
    home.mkdir()
    with redis(home) as index:
        port = free_port()
        program = Program("rote", "uvloop, by rote", port, home / "rote.log")
        program.helper = index
        ends = ["--port", str(port), "--next-hop", str(next_hop), "--index", str(index.port)]
        try:
            program.start([sys.executable, "-m", "bench.smtp_rote", *ends])
            yield program
        finally:
            program.stop()


@contextmanager
def aiosmtpd_sink(directory: Path) -> Iterator[Program]:
    """aiosmtpd as it is, throwing messages away: no next hop, so a floor for a server built on it, not a proxy."""
    port = free_port()
    program = Program("aiosmtpd", "aiosmtpd, as a sink", port, directory / "aiosmtpd.log")
    where = f"127.0.0.1:{port}"
    program.start([sys.executable, "-m", "aiosmtpd", "-n", "-l", where, "-c", "aiosmtpd.handlers.Sink"])
    try:
        yield program
    finally:
        program.stop()


@contextmanager
def redis(directory: Path) -> Iterator[Program]:
    """The consent index of the gateway's row; nothing on disk."""
    port = free_port()
    program = Program("redis", "Redis (the index)", port, directory / "redis.log")
    options = ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", str(directory)]
    program.start([which("redis-server"), "--port", str(port), *options])
    try:
        yield program
    finally:
        program.stop()


@contextmanager
def smtp_sink(directory: Path, port: int, *, dump: Path | None = None) -> Iterator[Program]:
    """Postfix's smtp-sink: accepts and throws away, or writes what it got to the file `dump`."""
    program = Program("sink", "smtp-sink", port, directory / "smtp-sink.log")
    user = ["-u", "nobody"] if os.geteuid() == 0 else []
    keep = ["-D", str(dump)] if dump else []
    where = [f"127.0.0.1:{port}", str(SINK_CONNECTIONS_MAX)]
    program.start([which("smtp-sink"), *user, *keep, "-4", "-m", str(SINK_CONNECTIONS_MAX), *where])
    try:
        yield program
    finally:
        program.stop()


@contextmanager
def smpp_naive(directory: Path, next_hop: int) -> Iterator[Program]:
    """The proxy one writes by hand: asyncio streams, smpplib for each PDU, nothing checked."""
    port = free_port()
    program = Program("naive", "asyncio + smpplib, by hand", port, directory / "smpp-naive.log")
    program.start([sys.executable, "-m", "bench.smpp_naive", "--port", str(port), "--next-hop", str(next_hop)])
    try:
        yield program
    finally:
        program.stop()


@contextmanager
def smpp_rote(directory: Path, next_hop: int) -> Iterator[Program]:
    """The reads and writes of the gateway on uvloop, and no work between them: the floor of a gateway in Python."""
    home = directory / "rote-smpp"
    home.mkdir()
    with redis(home) as index:
        port = free_port()
        program = Program("rote", "uvloop, by rote", port, home / "rote.log")
        program.helper = index
        ends = ["--port", str(port), "--next-hop", str(next_hop), "--index", str(index.port)]
        try:
            program.start([sys.executable, "-m", "bench.smpp_rote", *ends, "--journal", str(home / "journal")])
            yield program
        finally:
            program.stop()


@contextmanager
def smpp_sink(directory: Path, port: int, *, delay_ms: int = 0, dump: Path | None = None) -> Iterator[Program]:
    """The SMSC at the end: accepts and throws away, or writes what it got to the file `dump`."""
    program = Program("sink", "smpp_sink", port, directory / "smpp-sink.log")
    options = ["--delay-ms", str(delay_ms), *(["--dump", str(dump)] if dump else [])]
    program.start([sys.executable, "-m", "bench.smpp_sink", "--port", str(port), *options])
    try:
        yield program
    finally:
        program.stop()


@dataclass(frozen=True, slots=True)
class Loaded:
    """What the generator saw: submit_sm, seconds from the first to the last answer, seconds to an answer."""

    messages: int
    seconds: float
    p50_s: float
    p99_s: float


def smpp_load(
    port: int, *, login: tuple[str, str], binds: int, window: int, count: int, receipts: bool = False, long: int = 0
) -> Loaded:
    """Send `count` submit_sm, `long` messages in a hundred in two parts. RuntimeError unless all were taken.

    `receipts`: each asks for a receipt, and the run ends when all of them came.
    """
    system_id, password = login
    ends = ["--port", str(port), "--system-id", system_id, "--password", password]
    amount = ["--binds", str(binds), "--window", str(window), "--count", str(count)]
    kind = [*(["--receipts"] if receipts else []), *(["--long", str(long)] if long else [])]
    printed = run([sys.executable, "-m", "bench.smpp_load", *ends, *amount, *kind], seconds_max=LOAD_S_MAX)
    found = json.loads(printed)
    return Loaded(*(found[key] for key in ("messages", "seconds", "p50_s", "p99_s")))
