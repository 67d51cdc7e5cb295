"""A refusal by SMS: recorded before the SMSC hears so, passed on once, confirmed once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filters.gsm import pack
from filters.model import Brand, Stream
from filters.notice import CONFIRMATION_TEMPLATE
from gateway import limits
from gateway.config import Address, Config, Match, Rule, Upstream
from gateway.demo.smsc import Smsc
from gateway.metrics import exposition
from gateway.registry_client import RegistryClient
from gateway.smpp import mo, spelling
from gateway.smpp.handsets import Handsets
from gateway.smpp.handsets_sqlite import FILE, SqliteStore
from gateway.smpp.mo import Refusals
from tests.conftest import eventually_async
from tests.gateway.smpp.registry import SECRET, Registry, serving
from tests.gateway.smpp.support import (
    BIND_RX,
    BIND_TX,
    BRAND,
    CANONICAL,
    COMMERCIAL,
    DATA,
    DELIVER,
    NUMBER,
    RESP,
    STREAMS,
    Client,
    House,
    Pdu,
    account,
    house,
    pdu,
    smsc,
    submit_body,
    tlv,
)

ORNEK = replace(BRAND, short_names=("ORNEK",), mo_confirmation=CONFIRMATION_TEMPLATE)
MODA = Brand(100002, "Moda Evi", "Moda Evi A.Ş.", "0123456789000015", 100002, mo_confirmation="{brand}: tamam")
ROK, SYSERR, RX_T_APPN, RX_R_APPN = 0, 8, 0x64, 0x66
SHORT_CODE = b"3525"
CONFIRMED = "Ornek Market: Ret talebiniz alindi. Bundan sonra size ticari SMS gonderilmeyecektir."
MODA_STREAM = Stream("moda", MODA, COMMERCIAL.kind, COMMERCIAL.recipient_type, "smsc")


def message(text: bytes = b"ret", **fields: object) -> bytes:
    """A deliver_sm's body: from a handset to a short code."""
    body = submit_body(text, dest=SHORT_CODE, source=NUMBER, **fields)  # type: ignore[arg-type]
    return body.replace(b"\0\5\0" + NUMBER, b"\0\1\1" + NUMBER, 1)


def data_message(text: bytes = b"ret", *, coding: int = 0, esm: int = 0) -> bytes:
    """A data_sm's body (§4.7.1)."""
    return b"\0\1\1" + NUMBER + b"\0\0\1" + SHORT_CODE + b"\0" + bytes((esm, 0, coding)) + tlv(0x424, text)


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with serving(tmp_path / "registry") as one:
        yield one


@dataclass
class Scene:
    """A client and a handset, with the door between them."""

    house: House
    smsc: Smsc
    client: Client
    registry: Registry

    @property
    def mo(self) -> dict[str, int]:
        return {result: n for result, n in self.house.metrics.mo.items() if n}

    def say(self, body: bytes | None = None, command: int = DELIVER, *, session: int = 0) -> int:
        """The SMSC hands a handset's message over."""
        return self.smsc.sessions[session].ask(command, message() if body is None else body)

    async def passed_on(self, body: bytes, command: int = DELIVER, *, status: int = ROK) -> None:
        """The client gets it as it came, and answers."""
        heard = await self.client.hear()
        assert (heard.command, heard.body) == (command, body)
        self.answer(heard, status)

    def answer(self, heard: Pdu, status: int = ROK) -> None:
        """The client's."""
        self.client.writer.write(pdu(heard.command | RESP, heard.sequence, b"\0", status))

    async def answered(self, sequence: int, status: int = ROK, command: int = DELIVER) -> None:
        """The SMSC has heard of it."""
        await eventually_async(
            lambda: any(one[2] == sequence for one in self.smsc.answered), within=90, what="an answer"
        )
        assert [one for one in self.smsc.answered if one[2] == sequence] == [(command | RESP, status, sequence)]

    async def confirmed(self, count: int = 1) -> list[str]:
        """The texts that the handset got."""
        done = self.house.metrics.mo_confirmations
        await eventually_async(lambda: sum(done.values()) == count, within=90, what="a confirmation")
        return [one.text for one in self.smsc.messages if one.dest == NUMBER.decode() and one.source == "3525"]


@asynccontextmanager
async def scene(
    registry: Registry,
    directory: Path,
    *brands: Brand,
    bind: int = 9,
    url: str = "",
    packed: bool = False,
    **options: object,
) -> AsyncIterator[Scene]:
    """The account speaks for `brands`; `options` are its own."""
    one = account(**options)
    hosts = (Address("127.0.0.1", 1),)
    streams = {brand.code: replace(COMMERCIAL, name=f"stream-{brand.code}", brand=brand) for brand in brands}
    config = SimpleNamespace(
        accounts={one.system_id: one},
        upstreams={"smsc": Upstream("smsc", "smpp", hosts, packed=packed)},
        brands={brand.code: brand for brand in brands},
        rules=tuple(Rule(Match(account=one.system_id), stream) for stream in streams.values()),
    )
    async with smsc() as peer, house(peer.port) as at:
        handsets = Handsets(SqliteStore(directory / FILE), key=b"k" * 32)
        client = RegistryClient(url or registry.url, SECRET)
        refusals = Refusals(cast(Config, config), handsets, client, at.door.pipeline, at.metrics)
        at.door.refusals = refusals
        try:
            async with at.client(bind=bind) as bound:
                yield Scene(at, peer, bound, registry)
        finally:
            await refusals.close()


async def test_i5_it_is_recorded_then_passed_on_then_answered(registry: Registry, tmp_path: Path) -> None:
    async with scene(registry, tmp_path, ORNEK) as at:
        sequence = at.say()
        heard = await at.client.hear()
        assert registry.rejected() == [(ORNEK.code, CANONICAL.decode())], "before anybody hears of it"
        assert at.smsc.answered == []
        assert heard.body == message()
        at.answer(heard)
        await at.answered(sequence)
        assert at.mo == {"recorded": 1}


async def test_the_handset_is_told_once_and_the_client_hears_nothing_of_it(registry: Registry, tmp_path: Path) -> None:
    async with scene(registry, tmp_path, ORNEK) as at:
        for _ in range(2):
            sequence = at.say()
            await at.passed_on(message())
            await at.answered(sequence)
        assert await at.confirmed() == [CONFIRMED]
        (told,) = at.smsc.messages
        assert (told.registered_delivery, told.data_coding, told.esm_class) == (0, 0, 0)
        assert told.body.startswith(b"\0\1\1" + SHORT_CODE + b"\0\1\1" + NUMBER + b"\0")
        assert at.house.metrics.mo_confirmations == {"sent": 1, "failed": 0}
        told_to_prometheus = exposition([at.house.metrics.snapshot()], expected=1).decode()
        for line in (
            'mo_total{result="recorded"} 2.0',
            'mo_total{result="failed"} 0.0',
            'mo_confirmations_total{result="sent"} 1.0',
        ):
            assert f"izinli_{line}" in told_to_prometheus
        assert (await at.client.say(source=b"OTP")).body.startswith(b"1000002\0"), "the next thing that it hears"


async def test_a_brand_may_say_nothing(registry: Registry, tmp_path: Path) -> None:
    async with scene(registry, tmp_path, replace(ORNEK, mo_confirmation="")) as at:
        sequence = at.say()
        await at.passed_on(message())
        await at.answered(sequence)
        assert (await at.client.say(source=b"OTP")).status == ROK
        assert [one.text for one in at.smsc.messages] == ["Merhaba"]


@pytest.mark.parametrize(
    "body",
    [
        message("ÇIK".encode("utf-16-be"), coding=8),
        message(bytes.fromhex("03240101") + b"\x1bIptal", esm=0x40),
        message(b"\xddPTAL", coding=3),
        message(bytes.fromhex("0500030a0201") + b"ret ", esm=0x40),
        message(b"", tlvs=tlv(0x424, b"Ret Ornek")),
        message(b"STOP ALL"),
    ],
    ids=["UCS-2", "Turkish single shift", "Latin-5", "part 1 of 2", "message_payload", "all"],
)
async def test_spellings_and_alphabets(registry: Registry, tmp_path: Path, body: bytes) -> None:
    async with scene(registry, tmp_path, ORNEK) as at:
        sequence = at.say(body)
        await at.passed_on(body)
        await at.answered(sequence)
        assert registry.rejected() == [(ORNEK.code, CANONICAL.decode())]


async def test_a_data_sm_is_heard_too(registry: Registry, tmp_path: Path) -> None:
    async with scene(registry, tmp_path, ORNEK) as at:
        sequence = at.say(data_message(), DATA)
        await at.passed_on(data_message(), DATA)
        await at.answered(sequence, command=DATA)
        assert registry.rejected() == [(ORNEK.code, CANONICAL.decode())]


async def test_packed_septets_both_ways(registry: Registry, tmp_path: Path) -> None:
    async with scene(registry, tmp_path, ORNEK, packed=True) as at:
        body = message(pack(b"RET ORNEK"))
        sequence = at.say(body)
        await at.passed_on(body)
        await at.answered(sequence)
        await at.confirmed()
        (told,) = at.smsc.messages
        assert told.user_data == pack(CONFIRMED.encode())


@pytest.mark.parametrize(
    ("body", "counted"),
    [
        (message(b"Siparisim nerede?"), {"none": 1}),
        (message("lütfen mesaj atmayın".encode("utf-16-be"), coding=8), {"review": 1}),
        (message(b"id:1 stat:DELIVRD text:RET", esm=0x04), {}),
        (message(b"RET", esm=0x10), {}),
        (message(b"RET", coding=4), {}),
        (message(b"RET", coding=0xF2), {}),
        (message(bytes.fromhex("06050415810000") + b"RET", esm=0x40), {}),
        (message(bytes.fromhex("0500030a0202") + b"RET", esm=0x40), {}),
        (message(b"RET", tlvs=tlv(0x20B, b"\x15\x81")), {}),
        (message().replace(NUMBER, b"ORNEKMARKET"), {}),
        (b"\0\1", {}),
    ],
    ids=[
        *("a question", "for a person", "a receipt", "an acknowledgement", "binary", "class 2"),
        *("to a port", "part 2 of 2", "to a port, by TLV", "from a name", "malformed"),
    ],
)
async def test_whatever_is_none_passes_as_it_came(
    registry: Registry, tmp_path: Path, body: bytes, counted: dict[str, int]
) -> None:
    async with scene(registry, tmp_path, ORNEK) as at:
        sequence = at.say(body)
        await at.passed_on(body)
        await at.answered(sequence)
        assert registry.rejected() == []
        assert at.mo == counted
        assert at.smsc.messages == []


# whom it means


async def refuse(at: Scene, text: bytes) -> list[int]:
    """The brands that a message refused, in their order."""
    before = len(at.registry.rejected())
    sequence = at.say(message(text))
    await at.passed_on(message(text))
    await at.answered(sequence)
    return [brand for brand, _ in at.registry.rejected()[before:]]


async def test_the_brand_that_is_named(registry: Registry, tmp_path: Path) -> None:
    async with scene(registry, tmp_path, ORNEK, MODA) as at:
        assert await refuse(at, b"RET ORNEK") == [ORNEK.code]
        assert await refuse(at, b"moda evi ret") == [MODA.code]


@pytest.mark.parametrize("text", [b"RET 100002", b"100002 iptal", b"ret100002", b"dur 100002"])
async def test_the_brand_whose_number_is_given(registry: Registry, tmp_path: Path, text: bytes) -> None:
    async with scene(registry, tmp_path, ORNEK, MODA) as at:
        assert await refuse(at, text) == [MODA.code]


async def test_nobody_named_and_nothing_known_means_all(registry: Registry, tmp_path: Path) -> None:
    async with scene(registry, tmp_path, ORNEK, MODA) as at:
        assert await refuse(at, b"RET") == [ORNEK.code, MODA.code]
        assert sorted(await at.confirmed(2)) == ["Moda Evi: tamam", CONFIRMED]


@pytest.mark.parametrize(
    ("sources", "ambiguous", "text", "expected"),
    [
        ([b"ORNEK"], "latest", b"ret", [ORNEK.code]),
        ([b"MODA"], "latest", b"ret", [MODA.code]),
        ([b"MODA"], "latest", b"ret mdoa", [MODA.code]),
        ([b"MODA"], "latest", b"ret hepsi", [ORNEK.code, MODA.code]),
        ([b"MODA", b"ORNEK"], "all", b"ret", [ORNEK.code, MODA.code]),
        ([b"OTP"], "latest", b"ret", [ORNEK.code, MODA.code]),
    ],
)
async def test_nobody_named_means_who_wrote_last(
    registry: Registry,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    sources: list[bytes],
    ambiguous: str,
    text: bytes,
    expected: list[int],
) -> None:
    monkeypatch.setitem(STREAMS, b"MODA", MODA_STREAM)
    # The house has an account of its own; the scene's options are those that refusals go by.
    async with scene(registry, tmp_path, ORNEK, MODA, mo_ambiguous=ambiguous) as at:
        for source in sources:
            assert (await at.client.say(source=source)).status == ROK
        assert sorted(await refuse(at, text)) == expected


async def test_i4_a_memory_that_cannot_be_read_defers(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"no database" * 100)
    async with scene(registry, tmp_path, ORNEK, MODA) as at:
        await at.answered(at.say(message(b"RET")), RX_T_APPN)
        assert registry.rejected() == []
        assert at.mo == {"failed": 1}
        assert await refuse(at, b"RET ORNEK") == [ORNEK.code], "whoever is named needs no memory"


# faults


async def test_i5_without_the_registry_nothing_is_acknowledged_and_a_retry_succeeds(
    registry: Registry, tmp_path: Path
) -> None:
    async with scene(registry, tmp_path, ORNEK) as at:
        registry.stop()
        await at.answered(at.say(), RX_T_APPN)
        assert at.mo == {"failed": 1}
        registry.start()
        sequence = at.say()
        await at.passed_on(message())
        await at.answered(sequence)
        assert registry.rejected() == [(ORNEK.code, CANONICAL.decode())]
        assert await at.confirmed() == [CONFIRMED]


async def test_i5_a_registry_that_cannot_be_sure_is_no_record(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from registry.index.interface import IndexDown

    def down(_facts: object) -> None:
        raise IndexDown("it does not answer")

    async with scene(registry, tmp_path, ORNEK) as at:
        with monkeypatch.context() as broken:
            broken.setattr(registry.writer, "put", down)
            await at.answered(at.say(), RX_T_APPN)
        assert at.mo == {"failed": 1}
        assert at.smsc.messages == [], "nobody is told"


async def test_i4_our_own_fault_is_temporary(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scene(registry, tmp_path, ORNEK) as at:
        with monkeypatch.context() as broken:
            broken.setattr(RegistryClient, "reject", None)
            await at.answered(at.say(), RX_T_APPN)
        sequence = at.say()
        await at.passed_on(message())
        await at.answered(sequence)
        assert at.mo == {"failed": 1, "recorded": 1}


async def test_i7_too_many_at_once_come_again(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MO_WAITING_MAX", 1)
    silent = await asyncio.start_server(lambda reader, writer: reader.read(), "127.0.0.1", 0)
    async with silent:
        url = f"http://127.0.0.1:{silent.sockets[0].getsockname()[1]}"
        async with scene(registry, tmp_path, ORNEK, url=url) as at:
            at.say()
            await at.answered(at.say(), RX_T_APPN)
            assert at.mo == {"failed": 1}
            assert await at.client.converse(0x15) is not None, "the client is served meanwhile"


async def test_i7_a_registry_that_does_not_answer_is_given_up(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MO_RECORD_S", 0.1)
    silent = await asyncio.start_server(lambda reader, writer: reader.read(), "127.0.0.1", 0)
    async with silent:
        url = f"http://127.0.0.1:{silent.sockets[0].getsockname()[1]}"
        async with scene(registry, tmp_path, ORNEK, url=url) as at:
            await at.answered(at.say(), RX_T_APPN)


async def test_the_clients_refusal_is_the_smscs_answer(registry: Registry, tmp_path: Path) -> None:
    async with scene(registry, tmp_path, ORNEK) as at:
        sequence = at.say()
        await at.passed_on(message(), status=RX_R_APPN)
        await at.answered(sequence, RX_R_APPN)
        assert registry.rejected() == [(ORNEK.code, CANONICAL.decode())]


async def test_i3_an_smsc_that_went_away_meanwhile_gets_no_answer_of_anothers(
    registry: Registry, tmp_path: Path
) -> None:
    """Its next socket counts from one again."""
    waiting = asyncio.Event()
    at_work = asyncio.Event()

    async def slow(self: RegistryClient, *_: object) -> None:
        at_work.set()
        await waiting.wait()

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(RegistryClient, "reject", slow)
        async with scene(registry, tmp_path, ORNEK) as at:
            at.say()
            await asyncio.wait_for(at_work.wait(), 30)
            at.smsc.cut()
            await eventually_async(lambda: at.house.errors("smsc_lost") == 1, within=90, what="the loss")
            await eventually_async(lambda: bool(at.smsc.sessions), within=90, what="the link is back")
            waiting.set()
            await eventually_async(lambda: at.mo == {"recorded": 1}, within=90, what="the record")
            assert (await at.client.say(source=b"OTP")).status in (ROK, SYSERR)
            assert at.smsc.answered == []


async def test_a_receiver_confirms_over_the_transmitter_beside_it(registry: Registry, tmp_path: Path) -> None:
    async with scene(registry, tmp_path, ORNEK, bind=BIND_RX) as at:
        sequence = at.say()
        await at.passed_on(message())
        await at.answered(sequence)
        async with at.house.client(bind=BIND_TX):
            sequence = at.say()
            await at.passed_on(message())
            await at.answered(sequence)
            assert await at.confirmed() == [CONFIRMED], "now that there is one"


async def test_a_confirmation_that_the_smsc_refuses_is_counted(registry: Registry, tmp_path: Path) -> None:
    async with scene(registry, tmp_path, ORNEK) as at:
        at.smsc.behaviour.statuses.append(0x58)
        sequence = at.say()
        await at.passed_on(message())
        await at.answered(sequence)
        await at.confirmed()
        assert at.house.metrics.mo_confirmations == {"sent": 0, "failed": 1}


@given(st.binary(max_size=200), st.sampled_from([DELIVER, DATA]), st.booleans())
def test_no_octets_raise(body: bytes, command: int, packed: bool) -> None:
    delivery = spelling.read(command, body)
    found = None if isinstance(delivery, int) else mo.read(delivery, packed=packed)
    assert found is None or found.number.startswith(b"+")


@given(st.data(), st.booleans())
def test_no_damage_to_a_message_raises(data: st.DataObject, packed: bool) -> None:
    command, body = data.draw(st.sampled_from([(DELIVER, message()), (DATA, data_message())]))
    at = data.draw(st.integers(0, len(body)))
    damaged = body[:at] + data.draw(st.binary(max_size=4)) + body[at + data.draw(st.integers(0, 4)) :]
    delivery = spelling.read(command, damaged)
    if not isinstance(delivery, int):
        mo.read(delivery, packed=packed)
