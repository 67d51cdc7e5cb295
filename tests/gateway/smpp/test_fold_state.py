"""What receipts change in what is known of a message: in any order, however often, they come to the same."""

from __future__ import annotations

from itertools import permutations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import limits
from gateway.smpp.fold_state import NOBODY, OURSELVES, Fate, Fold, decode, encode, merge, over, worst
from gateway.smpp.receipt_pdu import Said

ORDER = (2, 7, 4, 3, 5, 8)
"""DELIVRD, UNKNOWN, DELETED, EXPIRED, UNDELIV, REJECTD: each worse than the one before."""
FINAL = st.sampled_from(ORDER)


def message(parts: int = 2, asked: int = 1, told: bytes = b"1000001") -> Fold:
    return Fold(told, asked, bytes(parts))


def after(fold: Fold, *receipts: tuple[int, int]) -> tuple[Fold, list[Fate]]:
    """`receipts`: part and state, in the order in which they come."""
    fates = []
    for part, state in receipts:
        said = Said(state, b"%03d" % state, b"", b"26112514%02d" % part, b"26112515%02d" % part)
        fold, fate = merge(fold, part, said, b"1000001", b"sealed")
        fates.append(fate)
    return fold, fates


@given(st.lists(FINAL, min_size=2, max_size=4), st.data())
def test_in_any_order_the_last_carries_the_worst(states: list[int], data: st.DataObject) -> None:
    receipts = data.draw(st.permutations(list(enumerate(states))))
    fold, fates = after(message(len(states)), *receipts)
    assert fates == [Fate.KEPT] * (len(states) - 1) + [Fate.SENT]
    said = worst(fold)
    assert said.state == max(states, key=ORDER.index)
    assert said.error == b"%03d" % said.state
    assert (said.submitted, said.done) == (b"2611251400", b"26112515%02d" % (len(states) - 1))


@given(st.lists(st.tuples(st.integers(0, 2), FINAL), max_size=12))
def test_whatever_comes_again_only_the_one_that_carries_it_is_sent(receipts: list[tuple[int, int]]) -> None:
    fold, fates = after(message(3), *receipts)
    sent = {part for (part, _), fate in zip(receipts, fates, strict=True) if fate is Fate.SENT}
    assert len(sent) <= 1
    assert sent <= {fold.carrier}
    assert (fold.carrier == NOBODY) == (0 in fold.states)
    assert decode(encode(fold)) == fold


@pytest.mark.parametrize("order", list(permutations((0, 1))))
def test_failures_alone(order: tuple[int, int]) -> None:
    fold, fates = after(message(asked=2), (order[0], 3), (order[1], 5))
    assert fates == [Fate.SENT, Fate.KEPT]
    assert fold.carrier == order[0]


def test_an_unasked_success_is_no_failure() -> None:
    assert after(message(asked=2), (0, 2))[1] == [Fate.KEPT]


def test_before_its_id_is_told_nothing_is_sent_and_nothing_lost() -> None:
    fold, fates = after(message(told=b""), (1, 8))
    assert fates == [Fate.KEPT]
    fold, fates = after(msgspec.structs.replace(fold, told=b"1000001"), (0, 2))
    assert fates == [Fate.SENT]
    assert worst(fold).state == 8


def test_when_it_is_over_or_ours_nothing_is_sent() -> None:
    fold, _ = after(message(), (0, 2))
    ours = msgspec.structs.replace(fold, carrier=OURSELVES)
    assert after(ours, (1, 2))[1] == [Fate.KEPT]
    done = over(fold)
    assert after(done, (0, 2), (1, 5)) == (done, [Fate.KEPT] * 2)
    assert done.sealed == b""


def test_the_id_is_spelled_as_in_its_own_receipt() -> None:
    fold, _ = merge(message(told=b"F4241"), 1, Said(2), b"1000002", b"")
    assert fold.id_for_client == b"F4241"
    fold, _ = merge(fold, 0, Said(2), b"1000001", b"")
    assert fold.id_for_client == b"1000001"


def test_i7_the_longest_fits_a_value() -> None:
    fold = Fold(b"a" * 64, 1, bytes(4), b"r" * 8)
    said = Said(8, b"e" * 100, b"net", b"1" * 100, b"2" * 100)
    for part in range(4):
        fold, _ = merge(fold, part, said, b"b" * 64, b"s" * (46 + 16))
    value = encode(fold)
    assert len(value) <= limits.SMPP_IDS_VALUE_OCTETS_MAX
    known = decode(value)
    assert known is not None
    assert (known.told, known.states) == (b"a" * 64, b"\x08" * 4)


@pytest.mark.parametrize("value", [None, b"", b"-", b"\xc0", msgspec.msgpack.encode({"told": b"x"})])
def test_what_is_no_fold(value: bytes | None) -> None:
    assert decode(value) is None
