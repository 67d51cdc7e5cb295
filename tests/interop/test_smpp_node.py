"""node-smpp as the client and as the SMSC: what both ends of a Node platform see of izinli."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway import limits
from gateway.demo.smsc import Smsc
from tests.certificates import make_authority
from tests.conftest import eventually_async
from tests.gateway.smpp.support import (
    BLOCKED,
    CANONICAL,
    DEFERRED,
    LOGIN,
    UPSTREAM_LOGIN,
    House,
    house,
    notice_of,
    smsc,
)
from tests.interop.smpp_node import Fields, Node, node

pytestmark = pytest.mark.interop

ROK, INVCMDID, SYSERR, INVPASWD, SUBMITFAIL, THROTTLED = 0, 3, 8, 0x0E, 0x45, 0x58
NUMBER = CANONICAL.decode().lstrip("+")
TURKISH = "Çok güzel bir akşam, ığdır'da çay içiyoruz 😀"


async def bind(client: Node, kind: str = "transceiver", password: str = LOGIN[1]) -> Fields:
    return await client.ask(f"bind_{kind}", system_id=LOGIN[0], password=password)


async def submit(client: Node, text: object, **fields: object) -> Fields:
    values: Fields = {
        "source_addr_ton": 5,
        "source_addr": "ORNEK",
        "dest_addr_ton": 1,
        "dest_addr_npi": 1,
        "destination_addr": NUMBER,
        "short_message": text,
    }
    return await client.ask("submit_sm", **(values | fields))


def text_of(pdu: Fields) -> str:
    """As node-smpp decoded it."""
    message = pdu["short_message"]["message"]
    assert isinstance(message, str)
    return message


@pytest.fixture
async def centre() -> AsyncIterator[Smsc]:
    async with smsc() as one:
        yield one


@pytest.fixture
async def gate(centre: Smsc) -> AsyncIterator[House]:
    async with house(centre.port) as one:
        yield one


# the client


async def test_three_kinds_of_bind_enquire_link_and_unbind(centre: Smsc, gate: House) -> None:
    for n, kind in enumerate(("transmitter", "receiver", "transceiver"), start=1):
        async with node("client", gate.port) as client:
            answer = await bind(client, kind)
            assert (answer["command_status"], answer["system_id"]) == (ROK, "smsc")
            assert (await client.ask("enquire_link"))["command_status"] == ROK
            assert (await client.ask("unbind"))["command_status"] == ROK
            await client.seen("close")
        await eventually_async(lambda: centre.unbound == n, within=90)  # noqa: B023


async def test_a_wrong_password(gate: House) -> None:
    async with node("client", gate.port) as client:
        assert (await bind(client, password="falsch"))["command_status"] == INVPASWD
        await client.seen("close")


@pytest.mark.parametrize(
    ("words", "fields"),
    [
        ("Kampanya: %20 indirim @ Örnek {bugün} 5€", {"data_coding": 0}),
        (TURKISH, {"data_coding": 8}),
        ("Örnek çay", {"data_coding": 3}),
    ],
)
async def test_texts_go_on_with_their_notice(centre: Smsc, gate: House, words: str, fields: Fields) -> None:
    async with node("client", gate.port) as client:
        await bind(client)
        answer = await submit(client, words, **fields)
        assert answer["command_status"] == ROK
        assert centre.take_texts() == [words + notice_of()]
        assert answer["message_id"] in [one.message_id for one in centre.messages]


async def test_what_is_refused_and_what_is_to_come_again(centre: Smsc, gate: House) -> None:
    async with node("client", gate.port) as client:
        await bind(client)
        for verdict, status in ((BLOCKED, SUBMITFAIL), (DEFERRED, THROTTLED)):
            gate.judge.verdicts[CANONICAL] = verdict
            assert (await submit(client, "Merhaba"))["command_status"] == status
        assert centre.messages == []


async def test_receipts_and_messages_of_citizens(centre: Smsc, gate: House) -> None:
    async with node("client", gate.port) as client:
        await bind(client)
        answer = await submit(client, "Merhaba", registered_delivery=1)
        (receipt,) = await client.seen("deliver_sm")
        assert receipt["receipted_message_id"] == answer["message_id"]
        assert (receipt["esm_class"], receipt["message_state"]) == (4, 2)
        await client.set(statuses=[0x64])
        centre.send(UPSTREAM_LOGIN[0], NUMBER, "3338", "Çay içelim".encode("utf-16-be"), data_coding=8)
        _, message = await client.seen("deliver_sm", 2)
        assert (text_of(message), message["source_addr"]) == ("Çay içelim", NUMBER)
        await eventually_async(lambda: [status for _, status, _ in centre.answered] == [ROK, 0x64])


async def test_other_requests(centre: Smsc, gate: House) -> None:
    other = "905550000002"
    gate.judge.verdicts[b"+" + other.encode()] = BLOCKED
    to = {"source_addr_ton": 5, "source_addr": "ORNEK", "dest_addr_ton": 1, "destination_addr": NUMBER}
    async with node("client", gate.port) as client:
        await bind(client)
        data = await client.ask("data_sm", **to, message_payload="Merhaba")
        assert (data["command"], data["command_status"]) == ("data_sm_resp", ROK)
        addresses = [{"dest_addr_ton": 1, "dest_addr_npi": 1, "destination_addr": one} for one in (NUMBER, other)]
        multi = await client.ask(
            "submit_multi", source_addr_ton=5, source_addr="ORNEK", dest_address=addresses, short_message="Merhaba"
        )
        assert (multi["command"], multi["command_status"]) == ("submit_multi_resp", ROK)
        (refused,) = multi["unsuccess_sme"]
        assert (refused["destination_addr"], refused["error_status_code"]) == (other, SUBMITFAIL)
        assert centre.take_texts() == ["Merhaba" + notice_of()] * 2
        found = await client.ask("query_sm", message_id=data["message_id"])
        assert (found["message_id"], found["message_state"]) == (data["message_id"], 2)
        assert (await client.ask("cancel_sm", message_id=data["message_id"]))["command_status"] == ROK
        assert (await client.ask("broadcast_sm"))["command"] == "generic_nack"


# the SMSC


async def test_node_at_both_ends() -> None:
    async with (
        node("server") as centre,
        house(centre.port) as gate,
        node("client", gate.port) as client,
    ):
        await centre.set(password=UPSTREAM_LOGIN[1])
        for kind in ("transmitter", "receiver", "transceiver"):
            async with node("client", gate.port) as one:
                assert (await bind(one, kind))["system_id"] == "node-smpp"
                assert (await one.ask("unbind"))["command_status"] == ROK
        assert [one["system_id"] for name in ("transmitter", "receiver") for one in centre.of(f"bind_{name}")] == [
            UPSTREAM_LOGIN[0]
        ] * 2
        await centre.seen("unbind", 3)
        await bind(client)
        for words, fields in (("Merhaba @ 5€", {}), (TURKISH[:20], {"data_coding": 8})):
            answer = await submit(client, words, registered_delivery=1, **fields)
            assert answer["command_status"] == ROK
        found = await centre.seen("submit_sm", 3)
        assert text_of(found[0]) == "Merhaba @ 5€" + notice_of()
        parts = sorted(found[1:], key=lambda one: str(one["short_message"]["udh"]))
        assert "".join(map(text_of, parts)) == TURKISH[:20] + notice_of()
        receipts = await client.seen("deliver_sm", 2)
        assert answer["message_id"] == receipts[1]["receipted_message_id"]
        answers = await centre.seen("deliver_sm_resp", 2)
        assert {one["command_status"] for one in answers} == {ROK}
        await centre.set(statuses=[SYSERR, THROTTLED, 0x400])
        heard = [(await submit(client, "Merhaba"))["command_status"] for _ in range(3)]
        assert heard == [SYSERR, THROTTLED, 0x400]


async def test_an_smsc_that_is_asked_whether_it_is_there_and_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SMPP_SWEEP_S", 0.05)
    monkeypatch.setattr(limits, "SMPP_ENQUIRE_LINK_S", 0.1)
    monkeypatch.setattr(limits, "SMPP_RECONNECT_S_MIN", 0.02)
    monkeypatch.setattr(limits, "SMPP_RECONNECT_S_MAX", 0.1)
    async with node("server") as centre, house(centre.port) as gate, node("client", gate.port) as client:
        await bind(client)
        await centre.seen("enquire_link", 2)
        await client.seen("enquire_link", 2)
        assert (await centre.ask("unbind"))["command_status"] == ROK
        await centre.seen("bind_transceiver", 2)
        await eventually_async(lambda: gate.metrics.upstream_up["smsc"] == 1)
        assert (await submit(client, "Merhaba"))["command_status"] == ROK


async def test_tls_at_both_ends(tmp_path: Path) -> None:
    authority = make_authority(tmp_path)
    listener = {"tls": "implicit", "certificate": authority.issue("gate.example.test")}
    trust = {"tls": "verify", "ca_file": authority.ca_file}
    async with (
        node("server", *authority.issue("smsc.example.test")) as centre,
        house(centre.port, listener=listener, upstream=trust) as gate,
        node("client", gate.port, authority.ca_file) as client,
    ):
        assert (await bind(client))["command_status"] == ROK
        assert (await submit(client, TURKISH[:20], data_coding=8, registered_delivery=1))["command_status"] == ROK
        await client.seen("deliver_sm")
        assert (await client.ask("unbind"))["command_status"] == ROK
        await centre.seen("unbind")
