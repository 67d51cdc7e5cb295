"""TLS towards the SMSC, and an SMSC that says “slower”."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest

from gateway import limits
from gateway.tls import server_context
from tests.certificates import Authority, make_authority
from tests.conftest import eventually_async
from tests.gateway.smpp.support import NACK, SUBMIT, UPSTREAM_LOGIN, house, notice_of, pdu, smsc

ROK, SYSERR, MSGQFUL, THROTTLED = 0, 8, 0x14, 0x58


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SMPP_RECONNECT_S_MIN", 0.02)
    monkeypatch.setattr(limits, "SMPP_RECONNECT_S_MAX", 0.1)
    monkeypatch.setattr(limits, "SMPP_SWEEP_S", 0.02)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def tls(authority: Authority) -> ssl.SSLContext:
    return server_context(*authority.issue("smsc.example.test"))


# TLS


@pytest.mark.parametrize("name", ["", "smsc.example.test"])
async def test_a_verified_smsc(authority: Authority, tls: ssl.SSLContext, name: str) -> None:
    trust = {"tls": "verify", "ca_file": authority.ca_file, "tls_name": name}
    async with smsc(tls) as centre, house(centre.port, upstream=trust) as gate, gate.client() as client:
        for _ in range(100):
            client.submit()
        assert [(await client.hear()).status for _ in range(100)] == [ROK] * 100
        assert centre.take_texts() == ["Merhaba" + notice_of()] * 100
        centre.cut()
        await eventually_async(lambda: gate.errors("smsc_lost") == 1 and gate.metrics.upstream_up["smsc"] == 1)
        assert (await client.say()).status == ROK


async def test_an_encrypted_smsc_that_nobody_vouches_for(tls: ssl.SSLContext) -> None:
    async with smsc(tls) as centre, house(centre.port, upstream={"tls": "encrypt"}) as gate, gate.client() as client:
        assert (await client.say()).status == ROK


async def test_a_certificate_of_another_is_none(authority: Authority, tls: ssl.SSLContext) -> None:
    trust = {"tls": "verify", "ca_file": authority.ca_file, "tls_name": "other.example.test"}
    async with smsc(tls) as centre, house(centre.port, upstream=trust) as gate, gate.client(bind=None) as client:
        assert (await client.bind()).status == SYSERR
        assert gate.errors("smsc_certificate") == 1
        assert centre.sessions == []


async def test_a_certificate_of_a_stranger_is_none(tls: ssl.SSLContext, tmp_path: Path) -> None:
    trust = {"tls": "verify", "ca_file": make_authority(tmp_path / "other").ca_file}
    async with smsc(tls) as centre, house(centre.port, upstream=trust) as gate, gate.client(bind=None) as client:
        assert (await client.bind()).status == SYSERR
        assert gate.errors("smsc_certificate") == 1


async def test_no_password_goes_to_an_smsc_without_tls() -> None:
    seen = bytearray()

    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.extend(await reader.read(10_000))
        writer.write(pdu(NACK, 1, status=3))
        writer.close()

    server = await asyncio.start_server(plain, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, house(port, upstream={"tls": "encrypt"}) as gate, gate.client(bind=None) as client:
        assert (await client.bind()).status == SYSERR
        assert gate.errors("smsc_tls") + gate.errors("smsc_unreachable") == 1
        assert seen.startswith(b"\x16\x03"), "a handshake"
        assert UPSTREAM_LOGIN[1].encode() not in seen


# an SMSC that is too slow


@pytest.mark.parametrize("status", [THROTTLED, MSGQFUL])
async def test_a_complaint_is_passed_down_and_heard(status: int) -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        centre.behaviour.holding = True
        for n in range(20):
            client.submit(dest=b"9055500000%02d" % n)
        await eventually_async(lambda: len(centre.messages) == 20)
        centre.behaviour.statuses.append(status)
        refused = client.submit(dest=b"905550000099")
        await eventually_async(lambda: len(centre.held) == 21)
        centre.release(backwards=True)
        heard = [await client.hear() for _ in range(21)]
        assert {one.sequence: one.status for one in heard if one.status} == {refused: status}
        assert gate.errors("smsc_throttled") == 1
        # 20 were unanswered beside it: 10 may be, and one more for the twenty good answers.
        sequences = [client.submit(dest=b"9055500001%02d" % n) for n in range(30)]
        await eventually_async(lambda: len(centre.held) == 11)
        heard = []
        while len(heard) < 30:
            assert len(centre.held) <= 15
            centre.release()
            heard.append((await client.hear()).sequence)
        assert heard == sequences
        assert [one.dest for one in centre.messages[-30:]] == [f"9055500001{n:02}" for n in range(30)]


async def test_i2_what_waits_for_room_was_never_sent_and_may_come_again() -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        centre.behaviour.statuses.append(THROTTLED)
        assert (await client.say()).status == THROTTLED
        centre.behaviour.silent = True
        for _ in range(5):
            client.submit()
        await eventually_async(lambda: len(centre.messages) == 1)
        await eventually_async(lambda: len(gate.judge.asked) == 6)
        centre.cut()
        assert [(await client.hear()).status for _ in range(5)] == [SYSERR] * 5
        assert len(centre.messages) == 1


async def test_i7_nothing_waits_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        centre.behaviour.statuses.append(THROTTLED)
        assert (await client.say()).status == THROTTLED
        centre.behaviour.silent = True
        monkeypatch.setattr(limits, "SMPP_RESPONSE_S", 0.3)
        sequences = [client.submit() for _ in range(3)]
        heard = {one.sequence: one.status for one in [await client.hear() for _ in range(3)]}
        assert heard[sequences[0]] == SYSERR  # sent, and unanswered
        assert set(heard.values()) <= {SYSERR, THROTTLED}
        monkeypatch.setattr(limits, "SMPP_RESPONSE_S", 60.0)
        centre.behaviour.silent = False
        assert (await client.say()).status == ROK


async def test_an_smsc_that_was_too_slow_is_still_when_it_comes_back() -> None:
    async with smsc() as centre, house(centre.port) as gate, gate.client() as client:
        centre.behaviour.statuses.append(THROTTLED)
        assert (await client.say()).status == THROTTLED
        centre.cut()
        await eventually_async(lambda: gate.errors("smsc_lost") == 1 and gate.metrics.upstream_up["smsc"] == 1)
        centre.behaviour.holding = True
        client.ask(SUBMIT, b"")  # malformed: answered here, so what came before it was acted on
        for _ in range(3):
            client.submit()
        await eventually_async(lambda: len(gate.judge.asked) == 4)
        await eventually_async(lambda: len(centre.held) == 1)
        assert len(centre.messages) == 1
