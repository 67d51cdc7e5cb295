"""Which part belongs to which long message."""

from __future__ import annotations

import pytest

from gateway import limits
from gateway.smpp.parts import Group, Groups, Key, Phase

KEY: Key = (0, 7, 3, "campaign", b"addresses")


class Waiting:
    def __init__(self) -> None:
        self.went_on = 0

    def go_on(self) -> None:
        self.went_on += 1


def begun(groups: Groups, phase: Phase = Phase.OPEN, now: float = 0.0) -> Group:
    assert groups.find(KEY, 1, b"one", now) is None
    group = groups.begin(KEY, 1, b"one", now)
    assert group is not None
    group.settle(phase)
    return group


def test_parts_in_any_order_are_one_message() -> None:
    groups = Groups()
    group = begun(groups)
    assert groups.find(KEY, 3, b"three", 1.0) is group
    assert groups.find(KEY, 2, b"two", 2.0) is group
    assert not group.complete
    group.accepted |= {1, 2, 3}
    assert group.complete


def test_another_address_reference_or_total_is_another_message() -> None:
    groups = Groups()
    begun(groups)
    for other in ((8, 7, 3), (0, 8, 3), (0, 7, 4)):
        assert groups.find((*other, "campaign", b"addresses"), 2, b"two", 0.0) is None
    assert groups.find((0, 7, 3, "other", b"addresses"), 2, b"two", 0.0) is None
    assert groups.find((0, 7, 3, "campaign", b"others"), 2, b"two", 0.0) is None


def test_the_same_octets_again_are_the_same_message() -> None:
    groups = Groups()
    group = begun(groups)
    assert groups.find(KEY, 1, b"one", 1.0) is group


def test_i3_other_octets_in_a_place_that_was_taken_are_a_new_message() -> None:
    groups = Groups()
    begun(groups)
    assert groups.find(KEY, 1, b"uno", 1.0) is None
    assert groups.find(KEY, 2, b"two", 1.0) is None


def test_a_blocked_message_that_is_sent_again_is_judged_again() -> None:
    groups = Groups()
    group = begun(groups, Phase.BLOCKED)
    assert groups.find(KEY, 2, b"two", 1.0) is group
    assert groups.find(KEY, 1, b"one", 1.0) is None


def test_i5_a_verdict_does_not_live_for_ever() -> None:
    groups = Groups()
    begun(groups)
    assert groups.find(KEY, 2, b"two", limits.SMPP_GROUP_S + 1) is None
    group = begun(groups, now=1000.0)
    now = 1000.0
    while now + 50 <= 1000.0 + limits.SMPP_GROUP_S_MAX:
        now += 50
        assert groups.find(KEY, 2, b"two", now) is group
    assert groups.find(KEY, 2, b"two", now + 50) is None


def test_a_dropped_message_is_forgotten_but_not_its_successor() -> None:
    groups = Groups()
    first = begun(groups)
    groups.drop(first)
    second = begun(groups)
    groups.drop(first)
    assert groups.find(KEY, 2, b"two", 0.0) is second


def test_i7_the_table_has_a_bound_and_is_swept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SMPP_GROUPS_MAX", 2)
    groups = Groups()
    keys: list[Key] = [(0, n, 3, "campaign", b"addresses") for n in range(3)]
    assert [groups.begin(key, 1, b"one", float(n)) is None for n, key in enumerate(keys)] == [False, False, True]
    groups.expire(limits.SMPP_GROUP_S)
    assert len(groups) == 2
    groups.find(keys[0], 2, b"two", 10.0)  # heard of last
    groups.expire(limits.SMPP_GROUP_S + 5)
    assert len(groups) == 1
    assert groups.find(keys[0], 2, b"two", 11.0) is not None


def test_who_waits_goes_on_once() -> None:
    group, waiting = Group(KEY, 0.0), Waiting()
    group.waiting.append(waiting)  # type: ignore[arg-type]
    group.settle(Phase.OPEN, extra=2)
    group.settle(Phase.OPEN, extra=2)
    assert (waiting.went_on, group.extra) == (1, 2)
