"""The demonstration's house: the sample configuration on free ports, both planes as processes of their own, and peers.

It is what `izinli init` writes and `izinli serve` runs; nothing is built in that an operator would not have.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final
from urllib.error import URLError
from urllib.request import urlopen

from gateway.config import Config, load
from gateway.demo.messages import BRAND, CONSENTS
from gateway.init import CONFIG_FILE, init

START_S: Final = 90.0  # both planes are up in two; a busy machine may take much longer
_PORT_RANGE: Final = (15_000, 32_000)  # ephemeral ports begin at 32,768
_PORTS: Final = ("8080", "9090", "2525", "2775", "2526", "2776")  # of the sample


class DemoFault(Exception):
    """The demonstration cannot go on; the text says why."""


class House:
    """`directory` takes configuration, data and logs; `edits` are replacements in `text`, or else in the sample."""

    def __init__(self, directory: Path, edits: Sequence[tuple[str, str]] = (), text: str = "") -> None:
        self.directory = directory
        self._planes: dict[str, subprocess.Popen[bytes]] = {}
        init(directory)
        file = directory / CONFIG_FILE
        text = text or file.read_text(encoding="utf-8")
        for old, new in edits:
            text = text.replace(old, new)
        free = dict(zip(_PORTS, free_ports(len(_PORTS)), strict=True))
        text = re.sub(r"(?<=127\.0\.0\.1:)\d+\b", lambda port: str(free.get(port[0], port[0])), text)
        file.write_text(text, encoding="utf-8")
        self.config: Config = load(file)

    @property
    def index_file(self) -> Path:
        return self.config.data_dir / "index.sqlite"

    def import_consents(self) -> None:
        """Load the dozen invented consents, as an operator would."""
        consents = self.directory / "consents.csv"
        consents.write_text(CONSENTS, encoding="utf-8")
        command = self.command("import", "--brand", str(BRAND), str(consents))
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise DemoFault(f"izinli import: {done.stderr or done.stdout}")

    def start(self, plane: str) -> None:
        """Start the "gateway" or the "registry"."""
        with (self.directory / f"{plane}.log").open("ab") as log:
            command = self.command("serve", "--only", plane)
            self._planes[plane] = subprocess.Popen(command, stdout=log, stderr=log)

    def stop(self, plane: str) -> None:
        """SIGTERM, and wait until it has drained."""
        process = self._planes.pop(plane, None)
        if process is not None:
            process.send_signal(signal.SIGTERM)
            process.wait()

    def pid(self, plane: str) -> int:
        """Of its supervisor."""
        return self._planes[plane].pid

    def url(self, plane: str) -> str:
        """Where a plane says how it is."""
        return f"http://{self.config.admin if plane == 'gateway' else self.config.registry.bind}"

    async def ready(self, plane: str) -> None:
        """Wait until a plane says that it is."""
        deadline = time.monotonic() + START_S
        while not await asyncio.to_thread(_says_ok, f"{self.url(plane)}/readyz"):
            process = self._planes[plane]
            if process.poll() is not None or time.monotonic() > deadline:
                raise DemoFault(f"the {plane} did not start:\n{(self.directory / f'{plane}.log').read_text()}")
            await asyncio.sleep(0.05)

    def decisions(self) -> list[dict[str, Any]]:
        """The journal, oldest first."""
        files = sorted((self.config.data_dir / "journal").glob("*.ndjson"))
        return [json.loads(line) for file in files for line in file.read_bytes().splitlines()]

    @contextmanager
    def without_index(self) -> Iterator[None]:
        """The index is stopped: nobody writes it any more, and it is not there to be read."""
        self.stop("registry")
        aside = list(self.index_file.parent.glob("index.sqlite*"))
        for path in aside:
            path.rename(path.with_name(f"aside-{path.name}"))
        yield
        for path in aside:
            path.with_name(f"aside-{path.name}").rename(path)
        self.start("registry")

    def close(self) -> None:
        for plane in list(self._planes):
            self.stop(plane)

    def command(self, name: str, *arguments: str) -> Sequence[str | os.PathLike[str]]:
        """`izinli NAME` with this house's configuration."""
        return [sys.executable, "-m", "gateway.cli", name, "-c", self.config.path, *arguments]


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens on, below those the system gives to outgoing connections."""
    found: list[int] = []
    while len(found) < count:
        port = random.randrange(*_PORT_RANGE)
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            if port not in found:
                found.append(port)
    return found


def _says_ok(url: str) -> bool:
    try:
        with urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False
