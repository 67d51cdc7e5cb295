"""A private Exim: its own configuration, spool and log below one directory, on a free port of 127.0.0.1.

Its binary is the one that scripts/foreign.sh unpacks: Debian lets only one mail server be installed.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

from tests.conftest import accepts, eventually, free_port, require_root, unavailable

PROGRAM = Path(__file__).resolve().parents[2] / "build/exim/usr/sbin/exim4"

CONFIG = """\
exim_path = {program}
primary_hostname = exim.example.test
spool_directory = {directory}/spool
log_file_path = {directory}/%slog
pid_file_path = {directory}/exim.pid
local_interfaces = 127.0.0.1
daemon_smtp_ports = {port}
domainlist everybody = *
acl_smtp_rcpt = acl_rcpt
tls_advertise_hosts =
keep_environment =
disable_ipv6 = true
deliver_drop_privilege = true
queue_run_max = 2

begin acl
acl_rcpt:
  accept hosts = 127.0.0.1

begin routers
izinli:
  driver = manualroute
  domains = +everybody
  route_list = * 127.0.0.1
  self = send
  transport = izinli

begin transports
izinli:
  driver = smtp
  port = {relay_to}
  hosts_avoid_tls = *

begin retry
* * F,1h,1s
"""


class Exim:
    """One instance that relays everything to `relay_to`, a port of 127.0.0.1, and looks at its queue each second."""

    def __init__(self, *, relay_to: int) -> None:
        require_root("a private Exim")
        if not PROGRAM.exists():
            unavailable("Exim is not unpacked (sh scripts/foreign.sh)")
        self.port = free_port()
        self._directory = Path(tempfile.mkdtemp(prefix="izinli-exim-"))
        self._config = self._directory / "exim.conf"
        self._daemon: subprocess.Popen[bytes] | None = None
        text = CONFIG.format(program=PROGRAM, directory=self._directory, port=self.port, relay_to=relay_to)
        self._config.write_text(text)
        subprocess.run(["chown", "-R", "Debian-exim", str(self._directory)], check=True)
        subprocess.run(["chown", "root", str(self._config)], check=True)  # or Exim does not read it
        self._directory.chmod(0o755)

    def __enter__(self) -> Exim:
        command = [str(PROGRAM), "-C", str(self._config), "-bdf", "-q1s"]
        self._daemon = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        try:
            eventually(lambda: accepts(self.port), within=60, what="Exim accepting connections")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._daemon is not None:
            self._daemon.terminate()
            self._daemon.wait()
        eventually(self._has_left, within=60, what="Exim's deliveries ending")
        shutil.rmtree(self._directory)

    def queued(self) -> list[str]:
        """Ids of what it still holds."""
        return sorted(path.name[:-2] for path in (self._directory / "spool/input").rglob("*-H"))

    def log(self) -> str:
        path = self._directory / "mainlog"
        return path.read_text() if path.exists() else ""

    def logs(self, pattern: str) -> bool:
        return re.search(pattern, self.log()) is not None

    def _has_left(self) -> bool:
        """No process of it still writes below its directory."""
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):  # it ended meanwhile
                if bytes(self._config) in path.read_bytes():
                    return False
        return True
