"""The reject token: what it says, what it refuses to say, keys that come and go."""

from __future__ import annotations

import pytest

from filters import link
from filters.link import (
    BRAND_MAX,
    KEY_IDS,
    MASTER_KEY_BYTES,
    MOBILE_TOKEN_LENGTH,
    NUMBER_TOKEN_LENGTH,
    TOKEN_LENGTH_MAX,
    LinkMinter,
    Reject,
)
from filters.model import Channel, RecipientType
from filters.notice import INVARIANT
from filters.sms import Alphabet

OLD, NEW = bytes(range(32)), bytes(range(32, 64))
BIREYSEL, TACIR = RecipientType
ARAMA, MESAJ, EPOSTA = Channel
MOBILE, FIXED, FOREIGN, MAIL = b"+905550000001", b"+902120000001", b"+4915550000001", b"ayse@example.com.tr"
LONGEST_MAIL = b"a" * 64 + b"@" + b".".join([b"b" * 63] * 3 + [b"c" * 8])
WHOM = [
    *((ARAMA, MOBILE), (MESAJ, MOBILE), (ARAMA, FIXED), (MESAJ, FOREIGN)),
    *((EPOSTA, MAIL), (EPOSTA, b"a" + MAIL), (EPOSTA, b"ab" + MAIL), (EPOSTA, LONGEST_MAIL)),  # all ends of base64
]


@pytest.fixture
def minter() -> LinkMinter:
    return LinkMinter({0: OLD}, 0)


@pytest.mark.parametrize("recipient_type", RecipientType)
@pytest.mark.parametrize("brand", [0, 1, 100001, BRAND_MAX])
@pytest.mark.parametrize(("channel", "recipient"), WHOM)
def test_i3_a_token_says_what_it_was_minted_for(
    minter: LinkMinter, brand: int, channel: Channel, recipient_type: RecipientType, recipient: bytes
) -> None:
    token = minter.mint(brand, channel, recipient_type, recipient)
    assert minter.read(token) == Reject(brand, channel, recipient_type, recipient)


@pytest.mark.parametrize("recipient", [b"+905000000000", b"+905999999999"])
def test_the_first_and_last_mobile_number(minter: LinkMinter, recipient: bytes) -> None:
    token = minter.mint(BRAND_MAX, MESAJ, TACIR, recipient)
    assert len(token) == MOBILE_TOKEN_LENGTH
    assert minter.read(token) == Reject(BRAND_MAX, MESAJ, TACIR, recipient)


@pytest.mark.parametrize("recipient", [b"+10000000", b"+999999999999999"])
def test_the_shortest_and_longest_number(minter: LinkMinter, recipient: bytes) -> None:
    token = minter.mint(BRAND_MAX, ARAMA, TACIR, recipient)
    assert len(token) == NUMBER_TOKEN_LENGTH
    assert minter.read(token) == Reject(BRAND_MAX, ARAMA, TACIR, recipient)


@pytest.mark.parametrize("key_id", KEY_IDS)
def test_a_token_for_a_number_has_one_length_and_the_same_code_in_all_alphabets(key_id: int) -> None:
    minter = LinkMinter({key_id: OLD}, key_id)
    for number in range(200):
        mobile = minter.mint(1, MESAJ, BIREYSEL, b"+90555%07d" % number)
        foreign = minter.mint(1, MESAJ, BIREYSEL, b"+49155%07d" % number)
        assert (len(mobile), len(foreign)) == (MOBILE_TOKEN_LENGTH, NUMBER_TOKEN_LENGTH)
        assert set(mobile + foreign) <= INVARIANT
        assert (mobile + foreign).isalnum()
        assert Alphabet.UCS2.encode(mobile)[1::2] == mobile


def test_a_token_of_the_longest_address_is_the_longest_token(minter: LinkMinter) -> None:
    assert len(LONGEST_MAIL) == 265
    assert len(minter.mint(BRAND_MAX, EPOSTA, TACIR, LONGEST_MAIL)) == TOKEN_LENGTH_MAX


def test_the_same_recipient_has_the_same_link_in_every_message(minter: LinkMinter) -> None:
    again = LinkMinter({0: OLD}, 0)
    for channel, recipient in WHOM:
        assert minter.mint(1, channel, TACIR, recipient) == again.mint(1, channel, TACIR, recipient)


def test_i9_nothing_of_the_recipient_stands_in_the_token(minter: LinkMinter) -> None:
    """Neighbours share no more than chance gives: the key id in front, then nothing."""
    tokens = [minter.mint(1, MESAJ, BIREYSEL, b"+90555%07d" % number) for number in range(64)]
    assert len({token[:6] for token in tokens}) == len({token[-6:] for token in tokens}) == len(tokens)
    mails = [minter.mint(1, EPOSTA, BIREYSEL, b"%02d@example.com.tr" % number) for number in range(64)]
    assert len({token[1:7] for token in mails}) == len({token[-6:] for token in mails}) == len(mails)


class TestPayload:
    @pytest.mark.parametrize("brand", [-1, BRAND_MAX + 1, 1 << 40, 1 << 100])
    @pytest.mark.parametrize(("channel", "recipient"), WHOM)
    def test_i3_a_brand_that_does_not_fit_is_refused_and_not_cut(
        self, minter: LinkMinter, brand: int, channel: Channel, recipient: bytes
    ) -> None:
        with pytest.raises(ValueError, match=rf"brand {brand} does not fit a reject link \(0 to 2147483647\)"):
            minter.mint(brand, channel, BIREYSEL, recipient)

    @pytest.mark.parametrize(
        "recipient",
        [
            b"+9999999999999999",  # 16 digits: would spill over into the channel
            b"+05550000001",  # the zero would be lost, and another number refuse
            b"05550000001",
            b"+905_5000_001",
            b"+905 50000001",
            b"+90555000000x",
            b"+",
            b"",
            MAIL,
        ],
    )
    def test_i3_a_number_that_is_not_canonical_is_refused_without_naming_it(
        self, minter: LinkMinter, recipient: bytes
    ) -> None:
        with pytest.raises(ValueError, match="canonical") as caught:
            minter.mint(1, ARAMA, BIREYSEL, recipient)
        assert not recipient or recipient.decode() not in str(caught.value)

    def test_an_address_longer_than_any_canonical_one_is_refused(self, minter: LinkMinter) -> None:
        with pytest.raises(ValueError, match="canonical"):
            minter.mint(1, EPOSTA, BIREYSEL, b"a" + LONGEST_MAIL)

    @pytest.mark.parametrize("digits", [999_999_999 + 1, (1 << 30) - 1])
    def test_i3_an_authentic_mobile_token_with_ten_digits_reads_none(self, minter: LinkMinter, digits: int) -> None:
        """Nobody mints it, but whoever guesses a tag draws the payload at random."""
        sealed = minter._current.mobile.seal((1 << 3 | 1) << 30 | digits)
        assert minter.read(link._to_base62(sealed, MOBILE_TOKEN_LENGTH)) is None

    @pytest.mark.parametrize("number", [0, 1_234_567, 10**15, (1 << 50) - 1])
    def test_i3_an_authentic_token_whose_number_is_none_reads_none(self, minter: LinkMinter, number: int) -> None:
        sealed = minter._current.number.seal((1 << 3 | 1) << 50 | number)
        assert minter.read(link._to_base62(sealed, NUMBER_TOKEN_LENGTH)) is None

    @pytest.mark.parametrize("channel_number", [2, 3])
    def test_i3_an_authentic_number_token_of_no_telephone_channel_reads_none(
        self, minter: LinkMinter, channel_number: int
    ) -> None:
        who = 1 << 3 | channel_number
        mobile = minter._current.mobile.seal(who << 30 | 550_000_001)
        number = minter._current.number.seal(who << 50 | 4_915_550_000_001)
        assert minter.read(link._to_base62(mobile, MOBILE_TOKEN_LENGTH)) is None
        assert minter.read(link._to_base62(number, NUMBER_TOKEN_LENGTH)) is None

    def test_a_mobile_in_a_long_token_is_a_second_spelling_and_reads_none(self, minter: LinkMinter) -> None:
        sealed = minter._current.number.seal((1 << 3 | 1) << 50 | 905_550_000_001)
        assert minter.read(link._to_base62(sealed, NUMBER_TOKEN_LENGTH)) is None


class TestForged:
    @pytest.mark.parametrize(("channel", "recipient"), WHOM)
    def test_i3_a_token_with_one_character_changed_reads_none(
        self, minter: LinkMinter, channel: Channel, recipient: bytes
    ) -> None:
        token = minter.mint(100001, channel, BIREYSEL, recipient)
        alphabet = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_+/= \xff"
        places = range(len(token)) if len(token) < 100 else (0, 1, 200, len(token) - 2, len(token) - 1)
        for at in places:
            for char in alphabet:
                changed = token[:at] + bytes((char,)) + token[at + 1 :]
                assert changed == token or minter.read(changed) is None

    @pytest.mark.parametrize(("channel", "recipient"), WHOM)
    def test_i3_a_token_cut_or_continued_reads_none(
        self, minter: LinkMinter, channel: Channel, recipient: bytes
    ) -> None:
        token = minter.mint(100001, channel, BIREYSEL, recipient)
        for at in range(len(token)):
            assert minter.read(token[:at]) is None
            assert minter.read(token[at + 1 :]) is None
        for more in (b"0", b"A", b"=", b"==", b"\n", b" ", token):
            assert minter.read(token + more) is None
            assert minter.read(more + token) is None

    @pytest.mark.parametrize(
        "token", [b"", b"0", b"\xff" * 18, b"z" * 18, b"z" * 23, b"9" * 36, b"A" * 500, b"0" * 381]
    )
    def test_what_was_never_a_token_reads_none(self, minter: LinkMinter, token: bytes) -> None:
        assert minter.read(token) is None

    def test_kinds_never_meet(self, minter: LinkMinter) -> None:
        """The same payload and tag under the keys of another kind is nothing."""
        sealed = minter._current.mobile.seal((1 << 3 | 1) << 30 | 550_000_001)
        assert minter._current.number.open(sealed) is None


class TestKeys:
    def test_an_old_key_goes_on_reading_when_a_new_one_mints(self) -> None:
        before, after = LinkMinter({0: OLD}, 0), LinkMinter({0: OLD, 1: NEW}, 1)
        for channel, recipient in WHOM:
            old, new = (minter.mint(5, channel, TACIR, recipient) for minter in (before, after))
            assert old != new
            assert after.read(old) == after.read(new) == Reject(5, channel, TACIR, recipient)
            assert before.read(new) is None

    def test_the_current_key_need_not_be_the_newest(self) -> None:
        minter = LinkMinter({7: NEW, 3: OLD}, 3)
        assert minter.mint(5, MESAJ, TACIR, MOBILE) == LinkMinter({3: OLD}, 3).mint(5, MESAJ, TACIR, MOBILE)

    def test_i3_another_key_under_the_same_id_reads_none(self) -> None:
        for channel, recipient in WHOM:
            assert LinkMinter({0: NEW}, 0).read(LinkMinter({0: OLD}, 0).mint(5, channel, TACIR, recipient)) is None

    def test_i3_a_token_that_names_another_key_reads_none(self) -> None:
        minter = LinkMinter({0: OLD, 1: NEW}, 0)
        token = minter.mint(5, EPOSTA, TACIR, MAIL)
        assert minter.read(b"1" + token[1:]) is None

    def test_keys_that_cannot_serve_are_refused(self) -> None:
        with pytest.raises(ValueError, match="link key 1 is not there"):
            LinkMinter({0: OLD}, 1)
        with pytest.raises(ValueError, match="0 to 7"):
            LinkMinter({0: OLD, 8: NEW}, 0)
        with pytest.raises(ValueError, match=f"{MASTER_KEY_BYTES} bytes, not 31"):
            LinkMinter({0: OLD, 1: NEW[:31]}, 0)
