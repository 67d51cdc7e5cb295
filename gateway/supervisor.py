"""The parent: opens the sockets, keeps the children running, passes signals on. It has no loop and no traffic.

    izinli serve ─┬─ registry        the control plane
                  ├─ worker-0 … n    the doors
                  ├─ filter          keeps the snapshot of a shared index (gateway/keeper.py)
                  └─ admin           /metrics /livez /readyz

A child that dies is started again, later each time it dies young; its siblings and the sockets' queues notice nothing.
SIGTERM drains: the doors first, the rest when they are closed. A second SIGTERM ends everything at once.
"""

from __future__ import annotations

import errno
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from gateway import admin, keeper, limits, log, worker
from gateway.config import Bind, Config, UnixAddress
from gateway.keys import Keys

EX_TEMPFAIL: Final = 75
EX_CONFIG: Final = 78
_SIGNALS: Final = frozenset({signal.SIGCHLD, signal.SIGTERM, signal.SIGINT})
_UNIX_MODE: Final = 0o660
_YOUNG_S: Final = 60.0  # a child that lived longer starts again at once


class CannotListen(Exception):
    """An address is taken or not ours; the text says which."""


@dataclass
class Child:
    """One process to keep running. `first`: told to stop before the others."""

    name: str
    target: Callable[[], None]
    first: bool = False
    pid: int = 0  # 0: not running
    started_at: float = 0.0
    start_at: float = 0.0
    backoff_s: float = limits.RESTART_S_MIN


def listen(address: Bind) -> socket.socket:
    """A listening socket that children inherit. Raises CannotListen."""
    if isinstance(address, UnixAddress):
        return _listen_unix(address)
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
        sock.listen(1024)
    except OSError as error:
        sock.close()
        raise CannotListen(f"cannot listen on {address}: {error.strerror or error}") from error
    return sock


def _listen_unix(address: UnixAddress) -> socket.socket:
    """A socket file for its owner and group. One that nobody listens on is left of a crash, and replaced."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    path = str(address.path)
    try:
        if address.path.is_socket():
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
                probe.setblocking(False)
                if probe.connect_ex(path) == errno.ECONNREFUSED:
                    address.path.unlink()
        sock.bind(path)
        address.path.chmod(_UNIX_MODE)  # before anybody can connect
        sock.listen(1024)
    except OSError as error:
        sock.close()
        raise CannotListen(f"cannot listen on {address}: {error.strerror or error}") from error
    return sock


def stop_listening(sock: socket.socket) -> None:
    """Close what `listen` gave; a socket file goes too."""
    if sock.family == socket.AF_UNIX:
        with suppress(FileNotFoundError):
            os.unlink(sock.getsockname())
    sock.close()


def serve(config: Config, keys: Keys, *, gateway: bool, registry: Callable[[socket.socket], None] | None) -> int:
    """Run the planes asked for until SIGTERM; the exit code. `registry` serves on the socket it is given."""
    log.configure("supervisor")
    if gateway and worker.has_other_key(config, keys):
        fix = "use the keys of its registry (data_dir/keys), or write it anew with: izinli index rebuild"
        log.logger.error("the consent index was written with another fingerprint key", fix=fix)
        return EX_CONFIG
    try:
        children, sockets = _children(config, keys, gateway=gateway, registry=registry)
    except CannotListen as error:
        log.logger.error(str(error))
        return EX_TEMPFAIL
    return _Supervisor(children, sockets).run()


def _children(
    config: Config, keys: Keys, *, gateway: bool, registry: Callable[[socket.socket], None] | None
) -> tuple[list[Child], list[socket.socket]]:
    children: list[Child] = []
    sockets: list[socket.socket] = []
    if registry is not None:
        page = listen(config.registry.bind)
        sockets.append(page)
        children.append(Child("registry", lambda: registry(page)))
        log.logger.info("listening", what="registry", address=str(config.registry.bind))
    if gateway:
        doors = {listener.bind: listen(listener.bind) for listener in config.listeners}
        desk = listen(config.admin)
        sockets += [*doors.values(), desk]
        pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(config.workers)]
        children += [_worker(config, keys, number, doors, pair[0]) for number, pair in enumerate(pairs)]
        if config.index.filter:
            children.append(Child("filter", lambda: keeper.run(config, keys)))
        children.append(Child("admin", lambda: admin.run(desk, [pair[1] for pair in pairs])))
        for listener in config.listeners:
            log.logger.info("listening", what=listener.protocol, address=str(listener.bind))
        log.logger.info("listening", what="admin", address=str(config.admin))
    observed = [rule.stream.name for rule in config.rules if rule.stream.observe]
    if observed and gateway:
        log.logger.warning("mode observe: these streams pass messages without consent", streams=observed)
    return children, sockets


def _worker(
    config: Config, keys: Keys, number: int, doors: Mapping[Bind, socket.socket], status: socket.socket
) -> Child:
    return Child(f"worker-{number}", lambda: worker.run(config, keys, number, doors, status), first=True)


class _Supervisor:
    """The life of the children."""

    def __init__(self, children: Sequence[Child], sockets: Sequence[socket.socket]) -> None:
        self._children = children
        self._sockets = sockets
        self._stopping = False

    def run(self) -> int:
        """Until all children are gone."""
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        while True:
            if not self._stopping:
                self._start()
            received = signal.sigtimedwait(_SIGNALS, limits.RESTART_S_MIN)
            if received is not None and received.si_signo != signal.SIGCHLD:
                self._stop()
            self._reap()
            if self._stopping and not any(child.pid for child in self._children):
                return 0

    def _start(self) -> None:
        now = time.monotonic()
        for child in self._children:
            if not child.pid and child.start_at <= now:
                child.started_at = now
                child.pid = os.fork()
                if not child.pid:
                    _become(child)

    def _stop(self) -> None:
        """The doors first; the second time everything, without mercy."""
        if self._stopping:
            self._kill(signal.SIGKILL)
            return
        self._stopping = True
        for sock in self._sockets:
            stop_listening(sock)
        doors = [child for child in self._children if child.first and child.pid]
        self._kill(signal.SIGTERM, doors or self._children)

    def _reap(self) -> None:
        now = time.monotonic()
        for child in self._children:
            if not child.pid:
                continue
            pid, status = os.waitpid(child.pid, os.WNOHANG)
            if not pid:
                continue
            child.pid = 0
            if self._stopping:
                if not any(other.pid for other in self._children if other.first):
                    self._kill(signal.SIGTERM)
                continue
            young = now - child.started_at < _YOUNG_S
            child.backoff_s = min(child.backoff_s * 2, limits.RESTART_S_MAX) if young else limits.RESTART_S_MIN
            child.start_at = now + child.backoff_s
            code = os.waitstatus_to_exitcode(status)
            log.logger.error("child ended", child=child.name, code=code, again_in_s=child.backoff_s)

    def _kill(self, number: signal.Signals, children: Sequence[Child] | None = None) -> None:
        for child in self._children if children is None else children:
            if child.pid:
                os.kill(child.pid, number)


def _become(child: Child) -> None:
    """Inside the fork: be the child, and never come back."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    child.target()
    sys.exit(0)
