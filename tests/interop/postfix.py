"""A private Postfix: its own configuration, queue, data and log below one directory, on a free port of 127.0.0.1.

Only what relaying needs is in its master.cf. It runs as root because `master` insists; nothing of the machine's own
Postfix is read or written.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.conftest import accepts, eventually, free_port, require, require_root

MASTER_CF = """\
127.0.0.1:{port} inet n - n - - smtpd
cleanup   unix  n - n -   0 cleanup
qmgr      unix  n - n 300 1 qmgr
rewrite   unix  - - n -   - trivial-rewrite
bounce    unix  - - n -   0 bounce
defer     unix  - - n -   0 bounce
trace     unix  - - n -   0 bounce
relay     unix  - - n -   - smtp
smtp      unix  - - n -   - smtp
error     unix  - - n -   - error
retry     unix  - - n -   - error
discard   unix  - - n -   - discard
anvil     unix  - - n -   1 anvil
tlsmgr    unix  - - n 1000? 1 tlsmgr
scache    unix  - - n -   1 scache
postlog   unix-dgram n - n - 1 postlogd
"""

DEFAULTS = {
    "compatibility_level": "3.6",
    "myhostname": "mta.example.test",
    "mydestination": "",
    "mynetworks": "127.0.0.0/8",
    "inet_interfaces": "127.0.0.1",
    "inet_protocols": "ipv4",
    "smtpd_relay_restrictions": "permit_mynetworks, reject",
    "alias_maps": "",
    "alias_database": "",
    "local_recipient_maps": "",
    "smtputf8_enable": "yes",
    "smtp_host_lookup": "native",
    "disable_dns_lookups": "yes",
    "smtp_tls_security_level": "none",
    "smtpd_tls_security_level": "none",
    "in_flow_delay": "0",
    "smtp_connect_timeout": "5s",
    # A deferred message is tried again soon: a test waits for it. Not sooner: a file whose time is within a second is
    # taken up while its delivery agent still holds it, and then lies for more than a minute (qmgr_active_feed).
    "queue_run_delay": "1s",
    "minimal_backoff_time": "3s",
    "maximal_backoff_time": "3s",
    "transport_retry_time": "1s",
}


class Postfix:
    """One instance. `settings` are main.cf parameters; `relay_to` a port of 127.0.0.1; `master` more of master.cf.

    Its directory is not below pytest's, which only their owner may enter: Postfix's daemons run as `postfix`.
    """

    def __init__(self, *, relay_to: int | None = None, master: str = "", **settings: str) -> None:
        require_root("a private Postfix")
        self._program = require("postfix")
        directory = Path(tempfile.mkdtemp(prefix="izinli-postfix-"))
        self.directory = directory
        self.port = free_port()
        self.log_path = directory / "mail.log"
        self._config = directory / "config"
        parameters = {
            **DEFAULTS,
            "queue_directory": str(directory / "queue"),
            "data_directory": str(directory / "data"),
            "maillog_file": str(self.log_path),
            "maillog_file_prefixes": str(directory),
            **({"relayhost": f"[127.0.0.1]:{relay_to}"} if relay_to else {}),
            **settings,
        }
        for name in ("config", "queue", "data"):
            (directory / name).mkdir(parents=True)
        directory.chmod(0o755)
        subprocess.run(["chown", "postfix", str(directory / "data")], check=True)
        (self._config / "main.cf").write_text("".join(f"{key} = {value}\n" for key, value in parameters.items()))
        (self._config / "master.cf").write_text(MASTER_CF.format(port=self.port) + master)

    def start(self) -> None:
        self._run(self._program, "-c", str(self._config), "start")
        eventually(lambda: accepts(self.port), what="Postfix accepting connections")

    def stop(self) -> None:
        """Harmless when it is stopped already; the queue stays."""
        subprocess.run([self._program, "-c", str(self._config), "stop"], capture_output=True, check=False)

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.directory)

    def __enter__(self) -> Postfix:
        try:
            self.start()
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def flush(self) -> None:
        """Try everything in the queue now."""
        self._run(require("postqueue"), "-c", str(self._config), "-f")

    def queued(self) -> list[str]:
        """Queue ids of what it still holds, deferred or under way.

        A file is renamed from one place to another meanwhile, and must not be missed: the places are looked at in the
        order of its way, and where it goes back to once more.
        """
        places = ("maildrop", "hold", "incoming", "deferred", "active", "deferred")
        return sorted(
            {path.name for place in places for path in (self.directory / "queue" / place).rglob("*") if path.is_file()}
        )

    def log(self) -> str:
        return self.log_path.read_text() if self.log_path.exists() else ""

    def envelope(self, queue_id: str) -> str:
        """The envelope records of a queued message, as `postcat -e` prints them."""
        return self._run(require("postcat"), "-c", str(self._config), "-e", "-q", queue_id)

    def _run(self, *command: str) -> str:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}\n{self.log()}"
        return done.stdout
