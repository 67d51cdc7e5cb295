"""Promise I3 for reject links: a token says what it was minted for, or nothing."""

from __future__ import annotations

from hashlib import sha256

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from filters.address import canonical_email, canonical_msisdn
from filters.link import BRAND_MAX, KEY_IDS, TOKEN_LENGTH_MAX, LinkMinter, Reject
from filters.model import Channel, RecipientType

STEADY = settings(derandomize=True, deadline=None, max_examples=100)

MASTERS = st.integers(0, 1 << 16).map(lambda number: sha256(b"%d" % number).digest())
MOBILES = st.integers(0, 10**9 - 1).map(lambda number: b"+905%09d" % number)
NUMBERS = st.integers(10**7, 10**15 - 1).map(lambda number: b"+%d" % number).filter(canonical_msisdn)
LOCALS = st.text("abcdefgxyz0189._+-", min_size=1, max_size=64).map(str.encode)
MAILS = st.tuples(
    LOCALS, st.sampled_from([b"x.test", b"example.com.tr", b"b" * 63 + b".test", b"ab.example.test"])
).map(b"@".join)
TELEPHONE = st.tuples(st.sampled_from([Channel.ARAMA, Channel.MESAJ]), st.one_of(MOBILES, NUMBERS))
REJECTS = st.builds(
    lambda brand, recipient_type, who: Reject(brand, who[0], recipient_type, who[1]),
    st.one_of(st.sampled_from([0, 1, 100001, BRAND_MAX]), st.integers(0, BRAND_MAX)),
    st.sampled_from(RecipientType),
    st.one_of(TELEPHONE, TELEPHONE, st.tuples(st.just(Channel.EPOSTA), MAILS)),
)


def mint(minter: LinkMinter, reject: Reject) -> bytes:
    return minter.mint(reject.brand, reject.channel, reject.recipient_type, reject.recipient)


MINTER = LinkMinter({0: bytes(32), 6: bytes(range(32))}, 6)


@STEADY
@given(MASTERS, st.sampled_from(KEY_IDS), REJECTS)
def test_i3_a_token_reads_as_what_it_was_minted_for(master: bytes, key_id: int, reject: Reject) -> None:
    minter = LinkMinter({key_id: master}, key_id)
    token = mint(minter, reject)
    assert minter.read(token) == reject
    assert len(token) <= TOKEN_LENGTH_MAX
    assert token.replace(b"-", b"").replace(b"_", b"").isalnum()
    canonical = canonical_email if reject.channel is Channel.EPOSTA else canonical_msisdn
    assert canonical(reject.recipient) == reject.recipient


@STEADY
@given(st.lists(REJECTS, min_size=2, max_size=6))
def test_i3_different_rejects_have_different_tokens(rejects: list[Reject]) -> None:
    assert len({mint(MINTER, reject) for reject in rejects}) == len(set(rejects))


@STEADY
@given(REJECTS, st.data())
def test_i3_a_token_with_a_bit_turned_reads_none(reject: Reject, data: st.DataObject) -> None:
    token = mint(MINTER, reject)
    at = data.draw(st.one_of(st.integers(0, len(token) - 1), st.sampled_from([0, len(token) - 1])))
    changed = bytearray(token)
    changed[at] ^= 1 << data.draw(st.integers(0, 7))
    assert MINTER.read(bytes(changed)) is None


@STEADY
@given(REJECTS, st.data())
def test_i3_a_part_of_a_token_reads_none(reject: Reject, data: st.DataObject) -> None:
    token = mint(MINTER, reject)
    begin = data.draw(st.integers(0, len(token)))
    end = data.draw(st.integers(begin, len(token)))
    assume(end - begin < len(token))
    assert MINTER.read(token[begin:end]) is None


@STEADY
@given(REJECTS, REJECTS, st.data())
def test_i3_two_tokens_put_together_read_none(one: Reject, other: Reject, data: st.DataObject) -> None:
    """The beginning of one and the end of another, of any length."""
    first, second = mint(MINTER, one), mint(MINTER, other)
    spliced = first[: data.draw(st.integers(0, len(first)))] + second[data.draw(st.integers(0, len(second))) :]
    assume(spliced not in (first, second))
    assert MINTER.read(spliced) is None


@STEADY
@given(
    st.one_of(
        st.binary(max_size=60),
        st.text("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_", max_size=400).map(str.encode),
        st.text("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", min_size=18, max_size=18).map(
            str.encode
        ),
        st.text("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", min_size=23, max_size=23).map(
            str.encode
        ),
    )
)
def test_i3_octets_that_are_no_token_read_none(octets: bytes) -> None:
    assert MINTER.read(octets) is None


@STEADY
@given(MASTERS, MASTERS, REJECTS)
def test_i3_a_token_of_another_house_reads_none(ours: bytes, theirs: bytes, reject: Reject) -> None:
    assume(ours != theirs)
    assert LinkMinter({0: ours, 1: theirs}, 0).read(mint(LinkMinter({0: theirs}, 0), reject)) is None


@STEADY
@given(st.dictionaries(st.sampled_from(KEY_IDS), MASTERS, min_size=1), REJECTS, st.data())
def test_every_key_goes_on_reading_whichever_mints(keys: dict[int, bytes], reject: Reject, data: st.DataObject) -> None:
    before, after = (data.draw(st.sampled_from(sorted(keys))) for _ in range(2))
    assert LinkMinter(keys, after).read(mint(LinkMinter(keys, before), reject)) == reject


@STEADY
@given(
    st.integers(), st.sampled_from(Channel), st.sampled_from(RecipientType), st.one_of(st.binary(max_size=30), MOBILES)
)
def test_i3_what_can_be_minted_at_all_reads_as_the_same(
    brand: int, channel: Channel, recipient_type: RecipientType, recipient: bytes
) -> None:
    """ValueError or the truth; nothing is cut to fit, whatever a caller passes."""
    try:
        token = MINTER.mint(brand, channel, recipient_type, recipient)
    except ValueError:
        return
    assert MINTER.read(token) == Reject(brand, channel, recipient_type, recipient)
