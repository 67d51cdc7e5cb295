"""The gateway's own row: a configuration, a Redis index with one consent in it, `izinli serve`, and a proof it works.

The consent goes in the way an operator's would (`izinli import`), the message must come out with its reject link: a
gateway that lets everything pass untouched would be fast, and measured for nothing.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench import messages, programs, smpp_wire
from bench.process import START_S_MAX, Program, free_port, run, which
from bench.smpp_load import HUNDRED

BRAND = 100001
SYSTEM_ID = "marka"
PASSWORD = "ornek123"  # SMPP 3.4 §5.2.2 leaves eight characters for it
LOGIN = (SYSTEM_ID, PASSWORD)
WINDOW_MAX = 1000  # of a bind; above it the gateway would hold the generator back
BINDS_MAX = 200
MSISDN = "+905550000001"
LINK_BASE = "https://ret.example.test"
LINK = f"{LINK_BASE}/r/".encode()

CONFIGURATION = """\
data_dir = "data"
workers = 1
[index]
url = "redis://127.0.0.1:{redis}/0"
age_max_s = 86400  # no registry runs beside it to say that the index is current
[registry]
bind = "127.0.0.1:{registry}"
ledger = "sqlite"
public_url = "{link_base}"
[admin]
bind = "127.0.0.1:{admin}"
[[listener]]
protocol = "smtp"
bind = "127.0.0.1:{smtp}"
allow = ["127.0.0.0/8"]
[[listener]]
protocol = "smpp"
bind = "127.0.0.1:{smpp}"
allow = ["127.0.0.0/8"]
[upstream.relay]
protocol = "smtp"
hosts = ["127.0.0.1:{next_hop}"]
[upstream.smsc]
protocol = "smpp"
hosts = ["127.0.0.1:{smsc}"]
[[account]]
system_id = "{system_id}"
password_file = "keys/esme.pass"
upstream_system_id = "izinli"
upstream_password_file = "keys/smsc.pass"
window = {window}
binds_max = {binds}
[[brand]]
code = {brand}
name = "Örnek Market"
title = "Örnek Market Ticaret A.Ş."
mersis = "0123456789000015"
iys_code = {brand}
{dkim}[[stream]]
match = {{ mail_from_domain = "kampanya.example.com.tr" }}
brand = {brand}
kind = "commercial"
recipient_type = "BIREYSEL"
upstream = "relay"
[[stream]]
match = {{ account = "{system_id}" }}
brand = {brand}
kind = "commercial"
recipient_type = "BIREYSEL"
upstream = "smsc"
"""

DKIM = 'dkim = { domain = "kampanya.example.com.tr", selector = "bench", key_file = "keys/dkim.pem" }\n'

# smtp-source writes a number before the address when a message has several recipients.
RECIPIENTS = [
    messages.RECIPIENT,
    *(f"{number}{messages.RECIPIENT}" for number in range(1, messages.RECIPIENTS_MAX + 1)),
]
CONSENTS = "recipient,type,status,source,recipientType,consentDate\n" + "".join(
    f"{recipient},{channel},ONAY,HS_WEB,BIREYSEL,2026-01-05 10:00:00\n"
    for recipient, channel in [*((address, "EPOSTA") for address in RECIPIENTS), (MSISDN, "MESAJ")]
)


@contextmanager
def gateway(
    directory: Path,
    *,
    protocol: str,
    next_hop: int,
    core: int | None = None,
    profile: Path | None = None,
    signing: bool = False,
) -> Iterator[Program]:
    """`izinli serve --only gateway`, its `protocol` door ("smtp" or "smpp") leading to `next_hop`.

    `core` pins it to one processor; with `profile` it runs under the sampler, which writes there when it stops;
    `signing`: each mail gets a DKIM signature (RSA, 2048 bits).
    """
    key, name = ("izinli_signing", "izinli, signing (RSA-2048)") if signing else ("izinli", "izinli")
    home = directory / f"{key}-{protocol}"
    (home / "keys").mkdir(parents=True)
    with programs.redis(home) as index:
        ports = {"smtp": free_port(), "smpp": free_port()}
        config = home / "izinli.toml"
        config.write_text(
            CONFIGURATION.format(
                **ports,
                redis=index.port,
                registry=free_port(),
                admin=free_port(),
                next_hop=next_hop,
                smsc=next_hop,
                link_base=LINK_BASE,
                system_id=SYSTEM_ID,
                brand=BRAND,
                window=WINDOW_MAX,
                binds=BINDS_MAX,
                dkim=DKIM if signing else "",
            )
        )
        for password in ("esme", "smsc"):
            (home / f"keys/{password}.pass").write_text(PASSWORD + "\n")
        (home / "consents.csv").write_text(CONSENTS)
        izinli = which(str(Path(sys.executable).with_name("izinli")))
        if signing:
            named = ["--domain", "kampanya.example.com.tr", "--selector", "bench"]
            run([izinli, "dkim-key", *named, "--out", str(home / "keys/dkim.pem")])
        run([izinli, "import", "-c", str(config), "--brand", str(BRAND), str(home / "consents.csv")])
        pinned = [which("taskset"), "-c", str(core)] if core is not None else []
        command = [sys.executable, "-m", "bench.profiled", str(profile)] if profile else [izinli]
        program = Program(key, name, ports[protocol], home / "izinli.log")
        program.helper = index
        try:
            program.start([*pinned, *command, "serve", "-c", str(config), "--only", "gateway"])
            yield program
        finally:
            program.stop()


def prove_notice(directory: Path, program: Program, next_hop: int, file: Path) -> None:
    """One message must arrive at the next hop with a reject link in it; otherwise nothing here is worth measuring."""
    seen = directory / f"seen-{program.key}"
    seen.mkdir()
    seen.chmod(0o777)  # smtp-sink writes as somebody else
    dump = seen / file.name
    ends = ["-f", messages.SENDER, "-t", messages.RECIPIENT, "-F", str(file)]
    with programs.smtp_sink(directory, next_hop, dump=dump):
        deadline = time.monotonic() + START_S_MAX  # until it has found its next hop, it answers "later"
        while True:
            try:
                run([which("smtp-source"), "-4", *ends, f"127.0.0.1:{program.port}"])
                break
            except RuntimeError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
    if LINK not in re.sub(rb"=\r?\n", b"", dump.read_bytes()):
        raise RuntimeError(f"the gateway passed {file.name} without a reject link")


def prove_sms_notice(directory: Path, program: Program, next_hop: int) -> None:
    """A submit_sm must arrive with a reject link in it, and as one: two parts would be twice the work of the others."""
    seen = _seen(directory, program, next_hop, count=1)
    if LINK not in seen[0]:
        raise RuntimeError("the gateway passed a submit_sm without a reject link")
    if len(seen) > 1:
        raise RuntimeError("the gateway made more than one submit_sm of one")


def prove_long_notice(directory: Path, program: Program, next_hop: int) -> None:
    """One long message among short ones must get one reject link, as each of the others."""
    seen = _seen(directory, program, next_hop, count=HUNDRED + 1, long=1)
    if sum(LINK in pdu for pdu in seen) != HUNDRED:
        raise RuntimeError("the gateway passed a long message without a reject link, or with more than one")


def _seen(directory: Path, program: Program, next_hop: int, *, count: int, long: int = 0) -> list[bytes]:
    """The submit_sm that arrive at the next hop when `count` are sent on one bind."""
    dump = directory / "submit_sm.seen"
    with programs.smpp_sink(directory, next_hop, dump=dump):
        deadline = time.monotonic() + START_S_MAX  # until it has found its next hop, it refuses the bind
        while True:
            dump.write_bytes(b"")
            try:
                programs.smpp_load(program.port, login=LOGIN, binds=1, window=count, count=count, long=long)
                break
            except RuntimeError as why:
                if time.monotonic() > deadline:
                    raise RuntimeError(f"{why}\n{program.log_tail()}") from why
                time.sleep(0.2)
    octets = bytearray(dump.read_bytes())
    return [bytes(octets[at : at + length]) for at, length, *_ in smpp_wire.walk(octets, len(octets))]
