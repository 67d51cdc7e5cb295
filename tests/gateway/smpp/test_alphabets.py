"""What an account means by a data_coding: what is counted, and what is refused."""

from __future__ import annotations

import pytest

from filters.model import Reason
from filters.sms import Alphabet, alphabets
from tests.gateway.smpp.support import house, notice_of, smsc

ROK, SUBMITFAIL = 0, 0x45
LATIN5_FIRST = alphabets({0: Alphabet.OCTET})
LATIN_IN_SEPTETS = alphabets({3: Alphabet.SEPTET})
PACKED = alphabets({}, septets=False)


@pytest.mark.parametrize(
    ("table", "coding", "room"),
    [
        (alphabets({}), 0, 160),
        (LATIN5_FIRST, 0, 140),
        (alphabets({}), 3, 140),
        (LATIN_IN_SEPTETS, 3, 160),
    ],
)
async def test_what_fits_one_segment(table: tuple[Alphabet | None, ...], coding: int, room: int) -> None:
    free = room - len(notice_of()) - 5
    async with smsc() as centre, house(centre.port, alphabets=table) as gate, gate.client() as client:
        assert (await client.say(b"a" * free, coding=coding)).status == ROK
        assert len(centre.messages) == 1
        assert (await client.say(b"a" * (free + 1), coding=coding)).status == ROK
        assert len(centre.messages) == 3


async def test_i6_latin5_under_the_default_coding_arrives_as_it_was_sent() -> None:
    words = "Şişli'de %20 indirim: çğıöşü ÇĞİÖŞÜ"
    async with smsc() as centre, house(centre.port, alphabets=LATIN5_FIRST) as gate, gate.client() as client:
        assert (await client.say(words.encode("iso8859-9"))).status == ROK
        assert centre.messages[0].user_data.decode("iso8859-9") == words + notice_of()


async def test_an_octet_that_is_no_escape_may_stand_at_the_end() -> None:
    async with smsc() as centre, house(centre.port, alphabets=LATIN5_FIRST) as gate, gate.client() as client:
        assert (await client.say(b"abc\x1b")).status == ROK
        assert centre.messages[0].user_data == b"abc\x1b" + notice_of().encode()


async def test_packed_septets_are_refused_and_ucs2_is_not() -> None:
    async with smsc() as centre, house(centre.port, alphabets=PACKED) as gate, gate.client() as client:
        assert (await client.say(bytes.fromhex("cdb23c1d8e03"))).status == SUBMITFAIL
        assert gate.judge.refused == [Reason.UNFIT]
        assert (await client.say(b"Kod", source=b"OTP")).status == ROK
        assert (await client.say("Merhaba".encode("utf-16-be"), coding=8)).status == ROK
        assert centre.take_texts() == ["Kod", "Merhaba" + notice_of()]
