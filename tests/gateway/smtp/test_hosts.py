"""The hosts of a next hop: chance by weight, and who stays out for how long."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from gateway import limits
from gateway.config import Address
from gateway.smtp.client import Extensions
from gateway.smtp.hosts import Host, Hosts


def hosts(*weights: int) -> Hosts:
    addresses = [Address("192.0.2.1", 1 + number) for number in range(len(weights))]
    return Hosts(addresses, weights, chance=Random(1))


def fail(known: Hosts, host: Host, now: float, *, began: float | None = None) -> float:
    """Fail now; for how long it stays out."""
    host.failed(now if began is None else began, now, "unreachable", known.chance)
    return host.retry_at - now


def test_chance_decides_by_weight_among_the_healthy() -> None:
    known = hosts(6, 3, 1)
    first = Counter(str(known.order()[0]) for _ in range(10_000))
    shares = [first[str(host)] / 10_000 for host in known.all]
    assert shares == pytest.approx([0.6, 0.3, 0.1], abs=0.03)
    assert {str(host) for host in known.order()} == {str(host) for host in known.all}, "the others follow"


def test_without_weights_all_are_equal() -> None:
    assert [host.weight for host in Hosts([Address("192.0.2.1", 25), Address("192.0.2.2", 25)]).all] == [1, 1]


def test_a_failing_host_is_left_out_while_another_is_healthy() -> None:
    known = hosts(1000, 1)
    fail(known, known.all[0], 0.0)
    assert [known.order() for _ in range(50)] == [[known.all[1]]] * 50


def test_it_stays_out_longer_each_time_within_bounds_and_never_the_same() -> None:
    known = hosts(1)
    delays = [fail(known, known.all[0], 1000.0 * number) for number in range(1, 12)]
    for failures, delay in enumerate(delays):
        full = min(limits.SMTP_BACKOFF_S_MIN * 2**failures, limits.SMTP_BACKOFF_S_MAX)
        assert full / 2 <= delay <= full
    assert len(set(delays[-5:])) == 5, "jitter"


def test_attempts_side_by_side_are_one_failure() -> None:
    known = hosts(1)
    for _ in range(20):
        fail(known, known.all[0], 7.0, began=5.0)
    assert known.all[0].failures == 1


def test_a_greeting_makes_it_healthy_and_a_message_makes_it_forgiven() -> None:
    known = hosts(1)
    (host,) = known.all
    fail(known, host, 1.0)
    fail(known, host, 2.0)
    host.greeted(Extensions())
    assert (known.up, known.healthy, host.failures) == (True, True, 2)
    fail(known, host, 3.0)
    assert (known.up, known.healthy, host.failures) == (False, False, 3)
    host.worked()
    assert (known.up, known.healthy, host.failures) == (True, True, 0)


def test_if_all_fail_the_one_to_be_looked_at_soonest_is_tried() -> None:
    known = hosts(1, 1, 1)
    for number, host in enumerate(known.all):
        fail(known, host, 100.0 - 10 * number)
    assert known.order() == [known.all[2]]


def test_a_failing_host_is_due_once_when_its_time_is_over() -> None:
    known = hosts(1, 1)
    assert known.due(1e9) is None, "who never failed needs no look"
    delay = fail(known, known.all[1], 100.0)
    assert known.due(100.0 + delay / 2) is None
    assert known.due(100.0 + delay) is known.all[1]
    assert known.due(100.0 + delay) is None, "one look at a time"


def test_what_all_known_hosts_can_take() -> None:
    known = hosts(1, 1, 1)
    assert known.extensions is None
    known.all[0].greeted(Extensions(pipelining=True, dsn=True, size=1000))
    assert known.extensions == Extensions(pipelining=True, dsn=True, size=1000)
    known.all[1].greeted(Extensions(pipelining=True, smtputf8=True, size=500))
    assert known.extensions == Extensions(pipelining=True, size=500)
