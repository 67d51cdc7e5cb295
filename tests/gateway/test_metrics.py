"""The numbers: zero from the start, summed over workers, in a form that Prometheus' own parser reads."""

from __future__ import annotations

import json
from math import isnan

from prometheus_client.parser import text_string_to_metric_families

from filters.consent import outcome_of
from filters.model import Reason
from gateway.index.interface import Fault
from gateway.metrics import (
    DELIVERED_FAULTS,
    DELIVERED_OPERATIONS,
    ERROR_KINDS,
    FILTER_RESULTS,
    PROTOCOLS,
    SECONDS,
    Metrics,
    exposition,
)


def read(*workers: Metrics, expected: int = 2) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """(sample name, labels) -> value, after the way over JSON that a worker's answer takes."""
    snapshots = [json.loads(json.dumps(worker.snapshot())) for worker in workers]
    text = exposition(snapshots, expected=expected).decode()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def key(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return name, frozenset(labels.items())


def test_every_label_begins_at_zero() -> None:
    found = read(Metrics(["relay"]))
    for protocol in PROTOCOLS:
        assert found[key("izinli_sessions", protocol=protocol)] == 0
        for reason in Reason:
            labels = {"protocol": protocol, "outcome": outcome_of(reason).value, "reason": reason.value}
            assert found[key("izinli_messages_total", **labels)] == 0
        for kind in ERROR_KINDS[protocol]:
            assert found[key("izinli_protocol_errors_total", protocol=protocol, kind=kind)] == 0
    for fault in Fault:
        assert found[key("izinli_index_fault", fault=fault.value)] == 0
    for operation in DELIVERED_OPERATIONS:
        assert found[key("izinli_delivered_failures_total", operation=operation)] == 0
    for operation in DELIVERED_FAULTS:
        assert found[key("izinli_delivered_fault", operation=operation)] == 0
    assert found[key("izinli_fail_open_total")] == 0
    assert found[key("izinli_upstream_up", upstream="relay")] == 0
    for seal in ("signed", "encrypted"):
        assert found[key("izinli_header_only_total", seal=seal)] == 0


def test_hosts_of_a_next_hop() -> None:
    """There from the start; up where all workers say so, the rest summed."""
    one, other = Metrics(["relay"]), Metrics(["relay"])
    names = [("relay", "mx1.example.com.tr:25"), ("relay", "unix:/run/mx.sock")]
    numbers = [(one.host(*name), other.host(*name)) for name in names]
    labels = [{"upstream": upstream, "host": host} for upstream, host in names]
    found = read(one, other)
    for label in labels:
        assert found[key("izinli_upstream_host_up", **label)] == 0
        assert found[key("izinli_upstream_host_connections", **label)] == 0
        assert found[key("izinli_upstream_host_faults_total", **label)] == 0
    for at, (here, there) in enumerate(numbers):
        here.up, there.up = 1, at
        here.connections, there.connections, here.faults, there.faults = 3, 4, 1, at
    assert one.host(*names[0]) is numbers[0][0]
    found = read(one, other)
    assert [found[key("izinli_upstream_host_up", **label)] for label in labels] == [0, 1]
    assert [found[key("izinli_upstream_host_connections", **label)] for label in labels] == [7, 7]
    assert [found[key("izinli_upstream_host_faults_total", **label)] for label in labels] == [1, 2]


def test_workers_are_summed_and_states_are_the_worst() -> None:
    one, other = Metrics(["relay"]), Metrics(["relay"])
    for worker, age_s in ((one, 2.0), (other, 5.0)):
        worker.messages[("smtp", Reason.CONSENT)] += 3
        worker.upstream_seconds("relay", 0.002)
        worker.header_only["signed"] += 2
        worker.decision.observe(100.0, 2)
        worker.index_age_s = age_s
    one.index_up = one.upstream_up["relay"] = 1
    other.index_faults[Fault.UNVOUCHED] = 1
    other.delivered_faults["write"] = 1
    found = read(one, other)
    assert found[key("izinli_messages_total", protocol="smtp", outcome="pass", reason="consent")] == 6
    assert found[key("izinli_header_only_total", seal="signed")] == 4
    assert found[key("izinli_upstream_seconds_bucket", upstream="relay", le="0.001")] == 0
    assert found[key("izinli_upstream_seconds_bucket", upstream="relay", le="0.0025")] == 2
    assert found[key("izinli_decision_seconds_bucket", le=str(SECONDS[-1]))] == 0
    assert found[key("izinli_decision_seconds_count")] == 4
    assert found[key("izinli_decision_seconds_sum")] == 400
    assert found[key("izinli_index_age_seconds")] == 5
    assert found[key("izinli_index_fault", fault="unvouched")] == 1
    assert found[key("izinli_index_fault", fault="down")] == 0
    assert found[key("izinli_delivered_fault", operation="write")] == 1
    assert found[key("izinli_delivered_fault", operation="read")] == 0
    assert (found[key("izinli_index_up")], found[key("izinli_upstream_up", upstream="relay")]) == (0, 0)
    assert (found[key("izinli_workers")], found[key("izinli_workers_up")]) == (2, 2)


def test_a_silent_worker_is_missing() -> None:
    found = read(Metrics())
    assert (found[key("izinli_workers")], found[key("izinli_workers_up")]) == (2, 1)


def test_the_filter_is_as_level_as_the_worst_worker() -> None:
    one, other = Metrics(), Metrics()
    found = read(one, other)
    for result in FILTER_RESULTS:
        assert found[key("izinli_index_filter_total", result=result)] == 0
    assert found[key("izinli_index_filter_level")] == 0
    assert isnan(found[key("izinli_index_filter_age_seconds")])
    for worker, age_s in ((one, 3.0), (other, 7.0)):
        worker.index_filter["absent"] += 2
        worker.index_filter_age_s, worker.index_filter_members, worker.index_filter_capacity = age_s, 10, 20
    one.index_filter_level = 1
    found = read(one, other)
    assert found[key("izinli_index_filter_total", result="absent")] == 4
    assert (found[key("izinli_index_filter_level")], found[key("izinli_index_filter_age_seconds")]) == (0, 7)
    assert (found[key("izinli_index_filter_members")], found[key("izinli_index_filter_capacity")]) == (10, 20)
