"""One Redis for one test: plain or TLS, with or without users and a memory of its own, and every fault of a process.

    server = RedisServer(require("redis-server"), directory, "--maxmemory", "10mb")
    server.start()
    server.cli("SET", "a", "1")

A server is ready when its log says so: a PING could be answered by somebody else's server on the same port, and not
every user may send one. `tests/redis_farm.py` puts several together.
"""

from __future__ import annotations

import secrets
import signal
import subprocess
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from gateway.demo.house import free_ports
from tests.certificates import Authority
from tests.waiting import eventually

START_S = 60.0
# What a farm asks is answered in a millisecond; this only ends a question to a server that hangs.
ANSWER_S = 10.0
PORTS_TRIES_MAX = 5
IN_USE = b"Failed listening on port"

# The user that the tests' own commands and replication log in as, wherever a test lays down users. In a file or on a
# command line of this machine, so another one in each run.
FARM_USER = "farm"
FARM_SECRET = secrets.token_hex(16)


class RedisServer:
    """A private Redis on a free port of 127.0.0.1.

    `options` are words of its command line, after (so: instead of) those that are given anyway. It forgets everything
    when it is started again, unless `keep`: then it loads its RDB, which is written at `SAVE` and by no timer. `acl`
    are lines of an ACL file (`user gateway on >secret ~izinli:* +@read`); the default user stays as open as it is
    unless a line changes it.
    """

    ready = b"Ready to accept connections"

    def __init__(
        self, program: str, directory: Path, *options: str, keep: bool = False, acl: Sequence[str] = ()
    ) -> None:
        self.directory = directory
        self.log_path = directory / "redis.log"
        self._program = program
        self._options = options
        self._keep = keep
        self._acl = acl
        self._process: subprocess.Popen[bytes] | None = None
        self._paused = False
        self._logged = 0  # octets of the log that stood there before this start
        self._started = False
        self.choose_ports()

    def choose_ports(self) -> None:
        """For the first start; afterwards its clients know them."""
        (self.port,) = free_ports(1)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def url_as(self, user: str, password: str) -> str:
        """The same for one of the users of `acl`."""
        return with_user(self.url, user, password)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.address} {'alive' if self.alive else 'not alive'}>"

    # its life

    def start(self) -> None:
        """Start, or start again on the same port."""
        self.launch()
        self.wait_ready()

    def launch(self) -> None:
        """The first half of `start`, for who starts several."""
        assert self._process is None
        if not self._keep:
            (self.directory / "dump.rdb").unlink(missing_ok=True)
        # Sentinel writes the roles that it gives into the configuration file, so there must be one.
        config = self.directory / "redis.conf"
        if not self._started:
            config.write_text(self.config())
            self._write_users()
        with self.log_path.open("ab") as log:
            self._logged = log.tell()
            self._process = subprocess.Popen(
                [self._program, str(config), *self.arguments()], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self._paused = False
        # Not even a fixture that never came to its end leaves a process behind.
        weakref.finalize(self, _kill, self._process)

    def wait_ready(self) -> None:
        """The second half: it listens and has loaded what it keeps."""
        for _ in range(PORTS_TRIES_MAX):
            eventually(lambda: self._is_ready() or self._died_over_a_port(), within=START_S, what=f"{self} being ready")
            if self._is_ready():
                self._started = True
                return
            self.stop()
            self.choose_ports()
            self.launch()
        raise AssertionError(f"no free port in {PORTS_TRIES_MAX} tries\n{self.log()}")

    def _is_ready(self) -> bool:
        return self.alive and self.ready in self._log_of_this_start()

    def _died_over_a_port(self) -> bool:
        """Another test took the port after it was chosen; once it is known to others, that is an error like any."""
        if self.alive:
            return False
        lost = not self._started and IN_USE in self._log_of_this_start()
        assert lost, f"{self} ended\n{self.log()}"
        return True

    def stop(self) -> None:
        """Kill it: its connections are reset, new ones are refused. Harmless when it is stopped already."""
        if self._process is not None:
            _kill(self._process)
            self._process = None

    def kill(self) -> None:
        """The fault: SIGKILL to a server that runs."""
        assert self._process is not None
        assert self._process.poll() is None, f"{self} was dead already\n{self.log()}"
        self.stop()

    def pause(self) -> None:
        """It accepts connections and answers nothing: the fault a deadline is for."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        self._paused = True

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)
        self._paused = False

    @property
    def alive(self) -> bool:
        """It runs and is not paused."""
        return self._process is not None and self._process.poll() is None and not self._paused

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def log(self) -> str:
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def _log_of_this_start(self) -> bytes:
        with self.log_path.open("rb") as log:
            log.seek(self._logged)
            return log.read()

    # how it is started

    def config(self) -> str:
        """The configuration file of the first start; the server itself may rewrite it."""
        return ""

    def arguments(self) -> list[str]:
        users = ["--masteruser", FARM_USER, "--masterauth", FARM_SECRET, "--aclfile", str(self._users_path)]
        nothing_kept = ["--save", "", "--appendonly", "no"]
        return [
            *self.listening(),
            "--dir",
            str(self.directory),
            *nothing_kept,
            *(users if self._acl else ()),
            *self._options,
        ]

    def listening(self) -> list[str]:
        return ["--bind", "127.0.0.1", "--port", str(self.port)]

    @property
    def _users_path(self) -> Path:
        return self.directory / "users.acl"

    def _write_users(self) -> None:
        if self._acl:
            farm = f"user {FARM_USER} on >{FARM_SECRET} ~* &* +@all"
            self._users_path.write_text("".join(f"{line}\n" for line in [*self._acl, farm]))
            self._users_path.chmod(0o600)

    # talking to it

    def client(self, **settings: Any) -> redis.Redis:
        """A redis-py client that may do everything and tries once; replies are bytes unless `settings` say no."""
        once = {"retry": Retry(NoBackoff(), 0), "socket_timeout": ANSWER_S}
        return redis.Redis(**{**self._connecting(), **once, **settings})

    def cli(self, *words: str | bytes | int) -> Any:
        """One command on a connection of its own: the reply as it came (RESP2), text decoded; an error is raised."""
        with self.client(protocol=2, decode_responses=True, single_connection_client=True) as client:
            connection = client.connection
            assert connection is not None
            connection.send_command(*words)
            return connection.read_response()

    def info(self, section: str) -> dict[str, str]:
        """`INFO section`, by field."""
        return fields(self.cli("INFO", section))

    def _connecting(self) -> dict[str, Any]:
        login = {"username": FARM_USER, "password": FARM_SECRET} if self._acl else {}
        return {"host": "127.0.0.1", "port": self.port, **login}


class RedisTls(RedisServer):
    """A Redis that speaks TLS only, with a certificate of `authority`; no client certificate is asked for."""

    def __init__(
        self,
        program: str,
        directory: Path,
        authority: Authority,
        *options: str,
        keep: bool = False,
        acl: Sequence[str] = (),
        expired: bool = False,
    ) -> None:
        super().__init__(program, directory, *options, keep=keep, acl=acl)
        self._authority = authority
        self._certificate, self._key = authority.issue("redis.example.test", expired=expired)

    @property
    def url(self) -> str:
        """Verified: against the authority, and for the address."""
        return f"{self.url_unknown}?ssl_ca_certs={quote(str(self._authority.ca_file))}"

    @property
    def url_unknown(self) -> str:
        """Without its authority: who verifies refuses it."""
        return f"rediss://127.0.0.1:{self.port}/0"

    def listening(self) -> list[str]:
        files = {"cert": self._certificate, "key": self._key, "ca-cert": self._authority.ca_file}
        return [
            *("--bind", "127.0.0.1", "--port", "0", "--tls-port", str(self.port), "--tls-auth-clients", "no"),
            *(word for name, path in files.items() for word in (f"--tls-{name}-file", str(path))),
        ]

    def _connecting(self) -> dict[str, Any]:
        return {**super()._connecting(), "ssl": True, "ssl_ca_certs": str(self._authority.ca_file)}


def fields(text: str) -> dict[str, str]:
    """`name:value` lines, as INFO and CLUSTER INFO answer."""
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)


def with_user(url: str, user: str, password: str) -> str:
    return url.replace("://", f"://{quote(user, safe='')}:{quote(password, safe='')}@", 1)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL ends a stopped process too."""
    process.kill()
    process.wait()
