"""The registry under load: its configuration, its caller's token, and the plain server beside it."""

from __future__ import annotations

import http.client
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from bench.process import Program, free_port, run, which

BRAND: Final = 100001
USER: Final = "bench@example.com.tr"
PASSWORD: Final = "ornek-parola-123"
CONSENTS: Final = f"/sps/{BRAND}/brands/{BRAND}/consents"
ANSWER_S_MAX: Final = 30.0

# A door for mail has to be there, but is not opened.
CONFIGURATION = """\
data_dir = "data"
[index]
url = "{index}"
[registry]
bind = "127.0.0.1:{port}"
ledger = "{ledger}"
public_url = "https://ret.example.test"
api = true
api_per_second = 0
api_tokens_per_hour = 0
api_status_per_hour = 0
api_history_per_hour = 0
[admin]
bind = "127.0.0.1:{admin}"
[[listener]]
protocol = "smtp"
bind = "127.0.0.1:{smtp}"
allow = ["127.0.0.0/8"]
[upstream.relay]
protocol = "smtp"
hosts = ["127.0.0.1:25"]
[[stream]]
match = {{ mail_from_domain = "kampanya.example.com.tr" }}
brand = {brand}
kind = "commercial"
recipient_type = "BIREYSEL"
upstream = "relay"
[[brand]]
code = {brand}
name = "Örnek Market"
title = "Örnek Market Ticaret A.Ş."
mersis = "0123456789000015"
iys_code = {brand}
"""


class Home:
    """A configuration with its data; `izinli` is run on it."""

    def __init__(self, directory: Path, *, ledger: str = "sqlite", index: str = "sqlite") -> None:
        directory.mkdir(parents=True)
        self.directory = directory
        self.data_dir = directory / "data"
        self.port = free_port()
        self._config = directory / "izinli.toml"
        said = {"index": index, "ledger": ledger, "port": self.port, "brand": BRAND}
        said |= {"admin": free_port(), "smtp": free_port()}
        self._config.write_text(CONFIGURATION.format(**said))

    def izinli(self, *names: str, options: Sequence[str] = ()) -> list[str]:
        """A command line: `izinli NAMES -c FILE OPTIONS`."""
        return [which(str(Path(sys.executable).with_name("izinli"))), *names, "-c", str(self._config), *options]

    def importing(self, file: Path) -> list[str]:
        """The command line that imports a file."""
        return self.izinli("import", options=["--brand", str(BRAND), str(file)])

    def let_in(self) -> None:
        """Add the user that a `Caller` is."""
        password = self.directory / "user.pass"
        password.write_text(PASSWORD + "\n")
        granted = ["--brand", str(BRAND), "--password-file", str(password)]
        run(self.izinli("api-user", "add", options=[USER, *granted]))


@contextmanager
def registry(home: Home, core: int, profile: Path | None = None) -> Iterator[Program]:
    """`izinli serve --only registry`, held to one processor; with `profile` under the sampler."""
    program = Program("izinli", "izinli", home.port, home.directory / "izinli.log")
    izinli, *arguments = home.izinli("serve", options=["--only", "registry"])
    command = [sys.executable, "-m", "bench.profiled", str(profile)] if profile else [izinli]
    try:
        program.start([which("taskset"), "-c", str(core), *command, *arguments])
        yield program
    finally:
        program.stop()


@contextmanager
def plain(directory: Path, core: int, *, known: int) -> Iterator[Program]:
    """The floor, held to the same processor, with so many consents from the beginning."""
    port = free_port()
    program = Program("plain", "FastAPI + SQLAlchemy, by hand", port, directory / "plain.log")
    database = directory / f"plain-{port}.sqlite"
    command = [sys.executable, "-m", "bench.registry_plain", str(database), str(port), str(known)]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    try:
        program.start([which("taskset"), "-c", str(core), *command], environment)
        yield program
    finally:
        program.stop()


class Caller:
    """One kept connection to the API, with a token."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_S_MAX)
        login = {"grant_type": "password", "username": USER, "password": PASSWORD}
        self.token = ""
        self.token = str(self.post("/oauth2/token", json.dumps(login).encode())["access_token"])

    def post(self, path: str, body: bytes) -> Any:
        """The answer's JSON. Raises RuntimeError when it is a refusal."""
        return self._ask("POST", path, body)

    def get(self, path: str) -> Any:
        """The answer's JSON. Raises RuntimeError when it is a refusal."""
        return self._ask("GET", path, None)

    def close(self) -> None:
        self._connection.close()

    def _ask(self, method: str, path: str, body: bytes | None) -> Any:
        headers = {"content-type": "application/json"}
        if self.token:
            headers["authorization"] = f"Bearer {self.token}"
        self._connection.request(method, path, body, headers)
        with self._connection.getresponse() as response:
            told = response.read()
        if response.status >= http.client.BAD_REQUEST:
            raise RuntimeError(f"{method} {path} was answered with {response.status}: {told[:300]!r}")
        return json.loads(told)
