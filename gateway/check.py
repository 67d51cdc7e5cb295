"""What `check-config` finds beyond the file itself: addresses that are taken, keys that are missing."""

from __future__ import annotations

import socket
from pathlib import Path

from gateway import keys
from gateway.config import Bind, Config, ConfigError, load
from gateway.supervisor import CannotListen, listen, stop_listening
from gateway.toml import Lines, Problem


def problems(path: Path) -> list[Problem]:
    """Every problem of the configuration at `path`, in the order of its lines; empty: it can be served as it is."""
    try:
        config = load(path)
    except ConfigError as error:
        return error.problems
    return sorted([*_taken(config), *_keys(config)], key=lambda problem: problem.line)


def _taken(config: Config) -> list[Problem]:
    """Addresses that could not be listened on now."""
    lines = Lines(config.path.read_text(encoding="utf-8"))
    wanted: list[tuple[tuple[str | int, ...], Bind]] = [
        (("registry", "bind"), config.registry.bind),
        (("admin", "bind"), config.admin),
        *([(("registry", "admin"), config.registry.admin.bind)] if config.registry.admin is not None else []),
        *((("listener", at, "bind"), one.bind) for at, one in enumerate(config.listeners)),
    ]
    found: list[Problem] = []
    held: list[socket.socket] = []  # so that two keys with one address are found too
    for key, address in wanted:
        try:
            held.append(listen(address))
        except CannotListen as error:
            name = ".".join(part for part in key if isinstance(part, str))
            fix = "stop what listens there, or choose another port"
            found.append(Problem(lines.of(key), name, str(error), fix))
    for sock in held:
        stop_listening(sock)
    return found


def _keys(config: Config) -> list[Problem]:
    """Keys that are there but cannot be used; missing ones are made by whoever runs the registry."""
    if not keys.directory(config.data_dir).exists():
        return []
    try:
        keys.load(config.data_dir)
    except keys.KeyFault as error:
        return [Problem(0, "data_dir", str(error))]
    return []
