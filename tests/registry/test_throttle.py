"""Bad tokens are counted per client, with time passed in."""

from __future__ import annotations

import pytest

from registry.throttle import Throttle, network


def test_a_burst_is_free_and_then_one_waits() -> None:
    throttle = Throttle(burst=3, per_second=0.5)
    for _ in range(3):
        assert throttle.wait_s("192.0.2.1", 100.0) == 0
        throttle.charge("192.0.2.1", 100.0)
    assert throttle.wait_s("192.0.2.1", 100.0) == 2
    assert throttle.wait_s("192.0.2.1", 101.0) == 1
    assert throttle.wait_s("192.0.2.1", 102.0) == 0
    assert throttle.wait_s("192.0.2.2", 100.0) == 0


def test_time_heals_and_nobody_saves_up() -> None:
    throttle = Throttle(burst=2, per_second=1.0)
    throttle.charge("192.0.2.1", 0.0)
    for _ in range(2):
        assert throttle.wait_s("192.0.2.1", 1000.0) == 0
        throttle.charge("192.0.2.1", 1000.0)
    assert throttle.wait_s("192.0.2.1", 1000.0) == 1


def test_i7_the_table_is_bounded_and_forgets_the_longest_unseen() -> None:
    throttle = Throttle(burst=1, per_second=0.001, clients_max=2)
    for client in ("a", "b", "a", "c"):
        throttle.charge(client, 0.0)
    assert throttle.wait_s("b", 0.0) == 0
    assert throttle.wait_s("a", 0.0) > 0
    assert throttle.wait_s("c", 0.0) > 0


@pytest.mark.parametrize(
    ("client", "counted"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:0db8:0001:0002"),
        ("2001:db8:1:2::9", "2001:0db8:0001:0002"),
        ("fe80::1%eth0", "fe80:0000:0000:0000"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("", ""),
    ],
)
def test_what_counts_as_one_client(client: str, counted: str) -> None:
    assert network(client) == counted
