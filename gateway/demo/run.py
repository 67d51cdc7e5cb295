"""`izinli demo`: the whole main job on this machine, in the order a newcomer would ask about it.

Mail and SMS go through real sockets to a capture next hop and a small SMSC; some pass, some are refused; a reject link
is used and the same message is refused; the index is stopped and a message is deferred, and passes when it is back; an
SMS is answered with RET and refused from then on.
"""

from __future__ import annotations

import asyncio
import json
import re
import signal
import smtplib
import sys
import tempfile
import urllib.request
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, TypeVar

from filters.model import Kind, Outcome
from gateway.config import Address
from gateway.demo import messages
from gateway.demo.esme import Esme
from gateway.demo.house import DemoFault, House
from gateway.demo.messages import Mail, Sms
from gateway.demo.reading import mail_before, readable
from gateway.demo.show import Show
from gateway.demo.sink import Sink
from gateway.demo.smsc import Smsc

T = TypeVar("T")

LINK: Final = re.compile(r"http://[^\s<>\"]+/r/[A-Za-z0-9_-]+")
PROVE_S: Final = 10.0  # what was sent must have arrived by then; on loopback it takes milliseconds


@dataclass(frozen=True, slots=True)
class Row:
    """One message and what became of it: a line of the table and of `--json`."""

    protocol: str
    stream: str
    recipient: str
    kind: str
    expected: str
    outcome: str
    reason: str
    answer: str
    before: str
    after: str

    @property
    def ok(self) -> bool:
        """The outcome was the expected one, and what should have gone on did so, or did not."""
        return self.outcome == self.expected and bool(self.after) == (self.outcome == Outcome.PASS)


def run(*, as_json: bool, keep_serving: bool) -> int:
    """Run the demonstration; the exit code is 0 only if every outcome was the expected one."""
    with tempfile.TemporaryDirectory(prefix="izinli-demo-") as name:
        show = Show(quiet=as_json)
        try:
            rows = asyncio.run(_Demo(House(Path(name)), show).run(keep_serving=keep_serving))
        except DemoFault as fault:
            print(f"izinli demo: {fault}", file=sys.stderr)
            return 1
    ok = all(row.ok for row in rows)
    if as_json:
        print(json.dumps({"messages": [asdict(row) for row in rows], "ok": ok}, ensure_ascii=False, indent=1))
    return 0 if ok else 1


class _Demo:
    """The story, and the peers it needs."""

    def __init__(self, house: House, show: Show) -> None:
        self._house = house
        self._show = show
        hops = house.config.upstreams
        self._sink = Sink(hops["relay"].tcp_hosts[0].port)
        account = next(iter(house.config.accounts.values()))
        login = (account.upstream_system_id.decode(), account.upstream_password.decode())
        self._smsc_login = login[0]
        self._smsc = Smsc({login[0]: login[1]}, hops["smsc"].tcp_hosts[0].port)
        doors = {
            listener.protocol: listener.bind
            for listener in house.config.listeners
            if isinstance(listener.bind, Address)
        }
        self._smtp, self._smpp = doors["smtp"], doors["smpp"]
        self._esme = Esme(self._smpp, account.system_id.decode(), account.password.decode())
        self._rows: list[Row] = []

    async def run(self, *, keep_serving: bool) -> list[Row]:
        house, show = self._house, self._show
        try:
            show.note("Starting a capture next hop, a small SMSC, registry and gateway; importing twelve consents …")
            await asyncio.gather(self._sink.start(), self._smsc.start(), asyncio.to_thread(house.import_consents))
            for plane in ("registry", "gateway"):
                house.start(plane)
            await asyncio.gather(house.ready("registry"), house.ready("gateway"))
            await asyncio.to_thread(self._esme.bind)
            await self._story()
            if keep_serving:
                await self._serve()
        finally:
            await asyncio.to_thread(self._esme.close)
            await asyncio.to_thread(house.close)
            await asyncio.gather(self._sink.stop(), self._smsc.stop())
        show.verdict([(row, row.ok) for row in self._rows])
        return self._rows

    async def _story(self) -> None:
        campaign, receipts = (Kind.COMMERCIAL, "kampanya"), (Kind.INFORMATIONAL, "bilgilendirme")
        sms, otp = (Kind.COMMERCIAL, "sms-kampanya"), (Kind.INFORMATIONAL, "sms-otp")
        ayse = Mail("ayse.yilmaz@example.com.tr", campaign[1], campaign[0], Outcome.PASS)
        number = Sms("+905550000001", sms[1], sms[0], Outcome.PASS)
        self._show.chapter("Mail, through SMTP")
        await self._mail(ayse)
        designed = {"text": messages.HTML_TEXT, "html": messages.HTML, "encoding": "quoted-printable"}
        await self._mail(Mail("mehmet.kaya@example.com.tr", campaign[1], campaign[0], Outcome.PASS, **designed))
        await self._mail(Mail("fatma.arslan@example.com.tr", campaign[1], campaign[0], Outcome.BLOCK))
        order = {"sender": messages.RECEIPTS_SENDER, "text": messages.ORDER_TEXT}
        await self._mail(Mail("fatma.arslan@example.com.tr", receipts[1], receipts[0], Outcome.PASS, **order))
        self._show.chapter("SMS, through SMPP")
        await self._sms(number)
        words = {"text": messages.UCS2_TEXT, "ucs2": True}
        await self._sms(Sms("+905550000002", sms[1], sms[0], Outcome.PASS, **words))  # type: ignore[arg-type]
        await self._sms(Sms("+905550000009", sms[1], sms[0], Outcome.BLOCK))
        code = {"source": messages.OTP_SOURCE, "text": messages.OTP_TEXT}
        await self._sms(Sms("+905550000009", otp[1], otp[0], Outcome.PASS, **code))  # type: ignore[arg-type]
        self._show.chapter("A citizen uses the reject link of the first mail, and it is sent again")
        await self._reject(self._rows[0])
        await self._mail(Mail(ayse.recipient, ayse.stream, ayse.kind, Outcome.BLOCK))
        self._show.chapter("The index is stopped: nobody can tell, so the sender keeps the message")
        with self._house.without_index():
            await self._mail(Mail("zeynep.demir@example.com.tr", campaign[1], campaign[0], Outcome.DEFER))
            await self._sms(Sms(number.recipient, sms[1], sms[0], Outcome.DEFER))
        self._show.chapter("The index is back, and the sender tries again")
        await asyncio.gather(self._house.ready("registry"), self._house.ready("gateway"))
        await self._mail(Mail("zeynep.demir@example.com.tr", campaign[1], campaign[0], Outcome.PASS))
        await self._sms(number)
        self._show.chapter("A citizen answers the SMS with RET, and it is sent again")
        await self._answer(number.recipient, "Ret örnek market")
        await self._sms(Sms(number.recipient, sms[1], sms[0], Outcome.BLOCK))

    async def _mail(self, mail: Mail) -> None:
        content = mail.content()
        code, answer = await asyncio.to_thread(self._relay, mail, content)
        outcome = {2: Outcome.PASS, 4: Outcome.DEFER}.get(code // 100, Outcome.BLOCK)
        passed = outcome is Outcome.PASS
        after = await self._caught(lambda: self._sink.messages, readable) if passed else ""
        self._note("smtp", mail, outcome, f"{code} {answer}", mail_before(content), after)

    async def _sms(self, sms: Sms) -> None:
        status, answer = await asyncio.to_thread(self._esme.submit, sms)
        outcome = {0: Outcome.PASS, 0x58: Outcome.DEFER}.get(status, Outcome.BLOCK)
        passed = outcome is Outcome.PASS
        after = await self._caught(self._smsc.take_texts, lambda texts: texts) if passed else ""
        self._note("smpp", sms, outcome, answer, sms.text, after)

    async def _caught(self, look: Callable[[], list[T]], tell: Callable[[T], str]) -> str:
        """What arrived since the last look, once something has."""
        async with asyncio.timeout(PROVE_S):
            while not (arrived := look()):
                await asyncio.sleep(0.01)
        told = "\n".join(tell(one) for one in arrived)
        self._sink.messages.clear()
        return told

    def _note(self, protocol: str, sent: Mail | Sms, outcome: Outcome, answer: str, before: str, after: str) -> None:
        decision = self._house.decisions()[-1]
        row = Row(
            protocol,
            sent.stream,
            sent.recipient,
            sent.kind.value,
            sent.expected.value,
            outcome.value,
            decision["reason"],
            answer,
            before,
            after,
        )
        self._rows.append(row)
        self._show.message(row, ok=row.ok)

    def _relay(self, mail: Mail, content: bytes) -> tuple[int, str]:
        """The answer to the first command that is refused, else to the final dot."""
        with smtplib.SMTP(*self._smtp, timeout=20, local_hostname="demo.example.test") as client:
            client.ehlo()
            steps: list[Callable[[], tuple[int, bytes]]] = [
                lambda: client.mail(mail.sender, ["BODY=8BITMIME"]),
                lambda: client.rcpt(mail.recipient),
                lambda: client.data(content),
            ]
            for step in steps:
                code, answer = step()
                if code >= 400:
                    break
            return code, answer.decode()

    async def _reject(self, row: Row) -> None:
        """Press the button of the page behind a message's link."""
        found = LINK.search(row.after)
        if found is None:
            raise DemoFault("the message that passed holds no reject link")
        request = urllib.request.Request(found[0], data=b"List-Unsubscribe=One-Click", method="POST")
        status = await asyncio.to_thread(lambda: urllib.request.urlopen(request, timeout=20).status)
        self._show.note(f"POST {found[0][:46]}…  →  {status}")

    async def _answer(self, recipient: str, text: str) -> None:
        """Send an SMS from a handset to the platform's short code, and wait for what the handset is told."""
        sender, octets = recipient.lstrip("+"), text.encode("utf-16-be")
        self._smsc.send(self._smsc_login, sender, messages.SHORT_CODE, octets, data_coding=messages.UCS2)
        await asyncio.to_thread(self._esme.take_one)
        told = await self._caught(self._smsc.take_texts, lambda texts: texts)
        self._show.note(f"{recipient} writes “{text}”  →  {told}")

    async def _serve(self) -> None:
        """Stay up until Ctrl-C."""
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        account = next(iter(self._house.config.accounts.values()))
        self._show.addresses(self._house.config, account.password.decode())
        await stop.wait()
