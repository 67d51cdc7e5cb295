"""What waits to be sent is sent once more after whatever went wrong, and by one process at a time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from itertools import pairwise

import pytest
from sqlalchemy import func, select

from gateway.demo.sink import Sink, Stage
from gateway.demo.smsc import Smsc
from registry import limits
from registry.ledger import Ledger
from registry.providers import doors
from registry.providers.doors import MailDoor, SmsDoor
from registry.providers.letters import Letter
from registry.providers.outbox import CannotSend, NeverSend, Outbox
from registry.providers.states import Way
from registry.providers.tables import provider_outbox
from tests.conftest import free_port
from tests.registry.providers.support import EMAIL, MOBILE, Office

MAIL = Letter(EMAIL, "Başvurunuzu onaylayın", "Bağlantı: https://ret.example.com.tr/providers/confirm/x\n")
SMS = Letter(MOBILE, "", "Basvuru onay kodunuz: 555123")


class Killed(BaseException):
    """The process ends here."""


def waiting(ledger: Ledger) -> int:
    with ledger.engine.connect() as connection:
        return int(connection.execute(select(func.count()).select_from(provider_outbox)).scalar_one())


def outbox(office: Office, ledger: Ledger, send: Callable[[Letter], None]) -> Outbox:
    return Outbox(ledger.engine, office.vault, {Way.MOBILE: send})


def test_who_is_killed_while_sending_leaves_it_to_the_next(ledger: Ledger) -> None:
    office = Office(ledger.engine, frozenset({Way.MOBILE}))
    office.apply()

    def die(_letter: Letter) -> None:
        raise Killed

    with pytest.raises(Killed):
        outbox(office, ledger, die).tick(office.clock())
    assert waiting(ledger) == 1
    office.outbox.tick(office.clock())
    assert office.sent == [], "somebody may be at it"
    office.clock.forward(limits.OUTBOX_LEASE_SECONDS)
    office.outbox.tick(office.clock())
    assert (len(office.sent), waiting(ledger)) == (1, 0)


def test_what_could_not_be_sent_is_tried_later_each_time(ledger: Ledger) -> None:
    office = Office(ledger.engine, frozenset({Way.MOBILE}))
    office.apply()
    tried: list[float] = []

    def refuse(_letter: Letter) -> None:
        tried.append(office.clock().timestamp())
        raise CannotSend("451")

    box = outbox(office, ledger, refuse)
    for _ in range(limits.PROOF_CODE_SECONDS + 1):
        box.tick(office.clock())
        office.clock.forward(1)
    waits = [int(later - earlier) for earlier, later in pairwise(tried)]
    assert waits[:4] == [5, 10, 20, 40]
    assert max(waits) <= limits.OUTBOX_BACKOFF_SECONDS_MAX
    office.clock.forward(limits.OUTBOX_BACKOFF_SECONDS_MAX)
    box.tick(office.clock())
    assert waiting(ledger) == 0, "the code is too old for anybody"


def test_what_will_never_be_taken_is_dropped(ledger: Ledger) -> None:
    office = Office(ledger.engine, frozenset({Way.MOBILE}))
    office.apply()

    def never(_letter: Letter) -> None:
        raise NeverSend("550")

    outbox(office, ledger, never).tick(office.clock())
    assert waiting(ledger) == 0


def test_two_registries_send_a_letter_once(ledger: Ledger) -> None:
    office = Office(ledger.engine, frozenset({Way.MOBILE}))
    for index in range(5):
        office.apply(mobile=f"+90555000010{index}")
    both = [threading.Thread(target=office.outbox.tick, args=(office.clock(),)) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert len({letter.recipient for _, letter in office.sent}) == len(office.sent) == 5


async def test_a_mail_is_taken_or_the_reason_is_told_without_the_address() -> None:
    async with Sink() as sink:
        door = MailDoor("127.0.0.1", sink.port, "basvuru@bilgi.example.com.tr")
        await asyncio.to_thread(door.send, MAIL)
        (one,) = sink.messages
        assert (one.mail_from, one.rcpt_to) == (door.sender, (EMAIL,))
        assert one.header(b"Auto-Submitted") == b"auto-generated"
        assert all(len(line) < 999 and line.isascii() for line in one.content.split(b"\r\n"))
        for stage, answer, kind in (
            (Stage.RCPT, f"550 5.1.1 no_consent: {EMAIL}", NeverSend),
            (Stage.RCPT, "451 4.4.3 later", CannotSend),
            (Stage.MAIL, "550 5.7.1 no_stream: x", NeverSend),
            (Stage.END, "452 4.3.1 full", CannotSend),
            (Stage.CONNECT, "", CannotSend),
        ):
            sink.answers = {stage: answer}
            with pytest.raises(CannotSend) as caught:
                await asyncio.to_thread(door.send, MAIL)
            assert type(caught.value) is kind, stage
            assert EMAIL not in str(caught.value)
    with pytest.raises(CannotSend):
        await asyncio.to_thread(door.send, MAIL)


async def test_an_sms_is_taken_or_the_status_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doors, "OUTBOX_WAIT_SECONDS", 30.0)
    async with Smsc({"izinli": "geheim"}) as smsc:
        door = SmsDoor("127.0.0.1", smsc.port, "izinli", "geheim", "BASVURU")
        assert "geheim" not in repr(door)
        await asyncio.to_thread(door.send, SMS)
        assert (smsc.messages[0].dest, smsc.take_texts()) == (MOBILE.removeprefix("+"), [SMS.text])
        for status, kind in ((0x58, CannotSend), (0x45, NeverSend)):
            smsc.behaviour.statuses.append(status)
            with pytest.raises(CannotSend) as caught:
                await asyncio.to_thread(door.send, SMS)
            assert type(caught.value) is kind
            assert MOBILE[1:] not in str(caught.value)
        with pytest.raises(CannotSend):
            await asyncio.to_thread(SmsDoor("127.0.0.1", smsc.port, "izinli", "falsch", "BASVURU").send, SMS)
    with pytest.raises(CannotSend):
        await asyncio.to_thread(SmsDoor("127.0.0.1", free_port(), "izinli", "geheim", "BASVURU").send, SMS)
