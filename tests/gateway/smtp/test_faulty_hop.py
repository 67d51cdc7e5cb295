"""Every fault of a next hop at every step, seen from the client: a defined answer in time, and all in order afterwards.

What the next hop refuses in good order is passed on. Everything else is temporary; and where no message was under way
yet, or a fresh connection can do without the step, it costs nothing.
"""

from __future__ import annotations

import re
import ssl
from pathlib import Path
from typing import Any

import pytest

from gateway import limits
from tests.certificates import make_authority
from tests.conftest import eventually_async
from tests.gateway.smtp.hop import DRIP, HALF, HANG, HANG_UP, Hop
from tests.gateway.smtp.support import Client, House, house

pytestmark = pytest.mark.slow

SENDER = b"a@receipts.example.test"
FAULTS = {
    "close": HANG_UP,
    "4xx": b"450 4.2.1 not now\r\n",
    "5xx": b"550 5.7.9 never\r\n",
    "421": b"421 4.3.2 going down\r\n",
    "garbage": b"\x16\x03hello\r\n",
    "flood": b"250-" + b"x" * 10_000_000,
    "silence": HANG,
    "half a reply": HALF,
    "slow octets": DRIP,
}
GREETING = ("CONNECT", "EHLO", "STARTTLS", "AUTH")
MESSAGE = ("MAIL", "RCPT", "DATA", "DOT")
BESIDE = ("RSET", "QUIT")


def expected(step: str, fault: str) -> int:
    """What the client hears."""
    if step in BESIDE or (step == "EHLO" and fault == "5xx"):  # HELO is left, RFC 5321 §4.1.1.1
        return 250
    passed_on = {"4xx": 450, "5xx": 550} if step in MESSAGE else {}
    return passed_on.get(fault, 451)


def text(number: int) -> bytes:
    """A message like no other, so that none is taken for a retry."""
    return b"Subject: %d\r\n\r\nbody\r\n" % number


def secured(directory: Path) -> tuple[Hop, dict[str, Any]]:
    """A next hop that wants TLS and a login, and the keys to it."""
    authority = make_authority(directory / "authority")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("hop.example.test"))
    (directory / "hop.pass").write_text("not a secret\n")
    keys = {"tls": "verify", "ca_file": authority.ca_file, "user": "izinli", "password_file": directory / "hop.pass"}
    return Hop(tls=context, secured=[b"PIPELINING", b"AUTH PLAIN"]), keys


async def send(client: Client, number: int) -> int:
    code, said = await client.send(text(number), b"b@example.test", sender=SENDER)
    assert re.match(rb"%d\.\d+\.\d+ [ -~]+$" % (code // 100), said)
    return code


async def prepare(step: str, hop: Hop, client: Client) -> None:
    """What has to happen before the step is reached."""
    if step == "RSET":
        hop.script = {"MAIL": [b"450 4.2.1 not now\r\n"], "DATA": [b"503 5.5.1 no recipients\r\n"]}
        assert await send(client, 0) == 450


@pytest.mark.parametrize("fault", list(FAULTS))
@pytest.mark.parametrize("step", [*GREETING, *MESSAGE, *BESIDE])
async def test_i4_a_fault_at_a_step(tmp_path: Path, step: str, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    hop, keys = secured(tmp_path) if step in ("STARTTLS", "AUTH") else (Hop(), {})
    hop.always[step[:4] if step == "STARTTLS" else step] = FAULTS[fault]
    if step == "QUIT":
        keys["messages_per_connection"] = 1
    monkeypatch.setattr(limits, "SMTP_RECONNECT_S", 0.05)
    monkeypatch.setattr(limits, "SMTP_BACKOFF_S_MAX", 0.05)
    with monkeypatch.context() as patience:
        patience.setattr(limits, "SMTP_SWEEP_S", 0.02)
        bound = "SMTP_CONNECT_S" if step in GREETING else "SMTP_DELIVERY_S" if step == "DOT" else ""
        patience.setattr(limits, bound or "SMTP_NEXT_HOP_COMMAND_S", 1.0)
        async with hop, house(tmp_path, hop.port, hop=keys) as gate, gate.client() as client:
            await prepare(step, hop, client)
            assert await send(client, 1) == expected(step, fault)
            patience.undo()
            hop.always.clear()
            await in_order_again(gate, client)
            delivered = [one.wire for one in hop.received]
            if step != "DOT":  # else who has the message is the next hop's to know
                assert sum(one.endswith(text(1)) for one in delivered) == (expected(step, fault) == 250)
            assert sum(one.endswith(text(2)) for one in delivered) == 1


async def in_order_again(gate: House, client: Client) -> None:
    """The same client's next message gets through, and nothing is left of the fault."""

    async def taken() -> bool:
        return await send(client, 2) == 250

    await eventually_async(taken, within=60, what="the next message")
    assert gate.door.transit == 0
    assert gate.metrics.protocol_errors[("smtp", "internal")] == 0
