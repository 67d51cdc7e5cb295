"""Every metric, once: plain numbers that the hot path adds to, and their exposition in Prometheus' text form.

Counting a message is a dictionary's `+= 1`; the client library is used where somebody looks, not where messages pass.
A worker gives `snapshot()`, and `exposition` adds up those of all workers. Label sets are closed and begin at zero, so
that the first increase is visible.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import Any, Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from filters.consent import outcome_of
from filters.mime import Seal
from filters.model import Reason
from gateway.index.interface import Fault

PROTOCOLS: Final = ("smtp", "smpp", "policy")
# What every door counts; see gateway/door.py.
DOOR_KINDS: Final = (
    *("not_allowed", "too_many_sessions", "too_many_of_client", "internal"),
    *("bad_proxy_header", "tls_failed", "bad_certificate"),
)
ERROR_KINDS: Final = {
    "smtp": (
        *DOOR_KINDS,
        *("disconnect_in_data", "bare_lf", "bare_cr", "nul", "long_line", "pipelining", "bdat", "bad_commands"),
        *("bad_password", "bad_logins", "auth_busy", "starttls_injection"),
        *("next_hop_closed", "next_hop_closing", "next_hop_timeout", "next_hop_refused", "next_hop_malformed_reply"),
        *("next_hop_long_reply", "next_hop_unsolicited", "next_hop_unreachable", "next_hop_shutdown"),
        *("next_hop_no_starttls", "next_hop_injection", "next_hop_tls", "next_hop_certificate", "next_hop_auth"),
    ),
    "smpp": (
        *DOOR_KINDS,
        *("bad_length", "bad_command", "bad_state", "bad_password", "window", "timeout", "unknown_response"),
        *("smsc_lost", "smsc_refused", "smsc_timeout", "smsc_unreachable"),
        *("smsc_certificate", "smsc_tls", "smsc_throttled", "rate", "receipt_lost", "id_unwritten"),
    ),
    "policy": (
        *DOOR_KINDS,
        *("malformed", "long_request", "timeout", "no_recipient"),
    ),
}
DELIVERED_FAULTS: Final = ("read", "write")
DELIVERED_OPERATIONS: Final = (*DELIVERED_FAULTS, "lost")
"""Of the memory of mixed endings; what is lost was not written and will not be."""
MO_RESULTS: Final = ("recorded", "review", "none", "failed")
CONFIRMATION_RESULTS: Final = ("sent", "failed")
SMPP_DELIVERIES: Final = tuple(
    (kind, result) for kind in ("receipt", "message") for result in ("passed", "later", "nobody")
)
"""What a pooled SMSC sent, and whether an account had it, will have it when it comes again, or none is there for it."""
FILTER_RESULTS: Final = ("absent", "maybe", "bypassed")
SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0, 60.0)
"""Upper bounds of the histograms' buckets."""

Label = tuple[str, ...]


class Histogram:
    """Observations in seconds."""

    __slots__ = ("counts", "sum")

    def __init__(self) -> None:
        self.counts = [0] * (len(SECONDS) + 1)
        self.sum = 0.0

    def observe(self, seconds: float, times: int = 1) -> None:
        self.counts[bisect_left(SECONDS, seconds)] += times
        self.sum += seconds * times


class HostNumbers:
    """Of one host of a next hop."""

    __slots__ = ("connections", "faults", "up")

    def __init__(self) -> None:
        self.up = 0
        self.connections = 0
        self.faults = 0


class Metrics:
    """One worker's numbers."""

    def __init__(self, upstreams: Iterable[str] = ()) -> None:
        self.messages: dict[tuple[str, Reason], int] = {(door, reason): 0 for door in PROTOCOLS for reason in Reason}
        self.observed: dict[tuple[str, Reason], int] = dict.fromkeys(self.messages, 0)
        self.protocol_errors: dict[tuple[str, str], int] = {
            (door, kind): 0 for door, kinds in ERROR_KINDS.items() for kind in kinds
        }
        self.sessions: dict[str, int] = dict.fromkeys(PROTOCOLS, 0)
        self.decision = Histogram()
        self.index = Histogram()
        self.upstreams: dict[str, Histogram] = {name: Histogram() for name in upstreams}
        self.upstream_up: dict[str, int] = dict.fromkeys(self.upstreams, 0)
        self.hosts: dict[tuple[str, str], HostNumbers] = {}  # by next hop and host, as the configuration has them
        self.header_only: dict[str, int] = dict.fromkeys(map(str, Seal), 0)
        self.index_age_s = float("nan")
        self.index_up = 0
        self.index_faults: dict[Fault, int] = dict.fromkeys(Fault, 0)
        self.index_filter: dict[str, int] = dict.fromkeys(FILTER_RESULTS, 0)
        self.index_filter_level = 0
        self.index_filter_age_s = float("nan")
        self.index_filter_members = 0
        self.index_filter_capacity = 0
        self.journal_failures = 0
        self.delivered_failures: dict[str, int] = dict.fromkeys(DELIVERED_OPERATIONS, 0)
        self.delivered_faults: dict[str, int] = dict.fromkeys(DELIVERED_FAULTS, 0)
        self.delivered_unwritten = 0
        self.fail_open = 0
        self.mo: dict[str, int] = dict.fromkeys(MO_RESULTS, 0)
        self.mo_confirmations: dict[str, int] = dict.fromkeys(CONFIRMATION_RESULTS, 0)
        self.smpp_binds: dict[str, int] = {}  # of pooled upstreams
        self.smpp_orphans: dict[str, int] = {}
        self.smpp_deliveries: dict[tuple[str, str], int] = dict.fromkeys(SMPP_DELIVERIES, 0)

    def upstream_seconds(self, name: str, seconds: float, times: int = 1) -> None:
        """How long the next hop `name` took for a message, or for each of several."""
        known = self.upstreams.get(name)
        if known is None:
            known = self.upstreams[name] = Histogram()
        known.observe(seconds, times)

    def host(self, upstream: str, host: str) -> HostNumbers:
        """The numbers of a host, for whoever counts them."""
        return self.hosts.setdefault((upstream, host), HostNumbers())

    def snapshot(self) -> dict[str, Any]:
        """All numbers as JSON can carry them."""
        return {
            "messages": [[door, reason.value, n] for (door, reason), n in self.messages.items()],
            "observed": [[door, reason.value, n] for (door, reason), n in self.observed.items()],
            "protocol_errors": [[door, kind, n] for (door, kind), n in self.protocol_errors.items()],
            "sessions": [[door, n] for door, n in self.sessions.items()],
            "decision": [["", self.decision.counts, self.decision.sum]],
            "index": [["", self.index.counts, self.index.sum]],
            "upstreams": [[name, one.counts, one.sum] for name, one in self.upstreams.items()],
            "upstream_up": [[name, n] for name, n in self.upstream_up.items()],
            "hosts": [[*names, one.up, one.connections, one.faults] for names, one in self.hosts.items()],
            "header_only": [[seal, n] for seal, n in self.header_only.items()],
            "index_age_s": _known(self.index_age_s),
            "index_up": self.index_up,
            "index_faults": [[fault.value, n] for fault, n in self.index_faults.items()],
            "index_filter": [[result, n] for result, n in self.index_filter.items()],
            "index_filter_level": self.index_filter_level,
            "index_filter_age_s": _known(self.index_filter_age_s),
            "index_filter_members": self.index_filter_members,
            "index_filter_capacity": self.index_filter_capacity,
            "journal_failures": self.journal_failures,
            "delivered_failures": [[operation, n] for operation, n in self.delivered_failures.items()],
            "delivered_faults": [[operation, n] for operation, n in self.delivered_faults.items()],
            "delivered_unwritten": self.delivered_unwritten,
            "fail_open": self.fail_open,
            "mo": [[result, n] for result, n in self.mo.items()],
            "mo_confirmations": [[result, n] for result, n in self.mo_confirmations.items()],
            "smpp_binds": [[name, n] for name, n in self.smpp_binds.items()],
            "smpp_orphans": [[name, n] for name, n in self.smpp_orphans.items()],
            "smpp_deliveries": [[kind, result, n] for (kind, result), n in self.smpp_deliveries.items()],
        }


def exposition(snapshots: Sequence[dict[str, Any]], *, expected: int) -> bytes:
    """The text form of what `expected` workers have counted together; those that did not answer are missing in it."""
    registry = CollectorRegistry()
    registry.register(_Sum(snapshots, expected))
    return generate_latest(registry)


class _Sum(Collector):
    """Collects the sum of the workers' snapshots. Ages and states are the worst of them."""

    def __init__(self, snapshots: Sequence[dict[str, Any]], expected: int) -> None:
        self._snapshots = snapshots
        self._expected = expected

    def collect(self) -> Iterable[Any]:
        yield self._messages("izinli_messages", "Decisions about messages, per recipient.", "messages")
        yield self._messages("izinli_observed", "Decisions that a stream in mode observe did not enforce.", "observed")
        errors = CounterMetricFamily(
            "izinli_protocol_errors", "What peers did that the protocol does not know.", labels=("protocol", "kind")
        )
        for label, count in self._counts("protocol_errors").items():
            errors.add_metric(label, count)
        yield errors
        sessions = GaugeMetricFamily("izinli_sessions", "Open sessions of clients.", labels=("protocol",))
        for label, count in self._counts("sessions").items():
            sessions.add_metric(label, count)
        yield sessions
        yield self._histogram("izinli_decision_seconds", "From a question to its decision.", "decision", None)
        yield self._histogram("izinli_index_seconds", "One round trip to the consent index.", "index", None)
        yield self._histogram("izinli_upstream_seconds", "A message at the next hop.", "upstreams", "upstream")
        yield self._upstreams_up()
        yield from self._hosts()
        text = "Copies of sealed mail that went with the unsubscribe fields and no notice, as their stream says."
        header_only = CounterMetricFamily("izinli_header_only", text, labels=("seal",))
        for label, count in self._counts("header_only").items():
            header_only.add_metric(label, count)
        yield header_only
        text = "Since the index last heard of its publisher; NaN before the first answer."
        yield self._oldest("izinli_index_age_seconds", text, "index_age_s")
        ups = [snapshot["index_up"] for snapshot in self._snapshots]
        yield GaugeMetricFamily("izinli_index_up", "1 while every worker can ask the index.", min(ups, default=0))
        text = "1 while a worker sees this fault of the index, or of a part of it."
        yield self._worst("izinli_index_fault", text, "fault", "index_faults", map(str, Fault))
        yield from self._filter()
        yield CounterMetricFamily(
            "izinli_journal_failures", "Writes to the journal that failed.", self._total("journal_failures")
        )
        yield from self._delivered()
        fail_open = "Commercial messages that passed without an answer of the index; only mode observe can do that."
        yield CounterMetricFamily("izinli_fail_open", fail_open, self._total("fail_open"))
        yield from self._mo()
        yield from self._pooled()
        yield GaugeMetricFamily("izinli_workers", "Workers that are configured.", self._expected)
        yield GaugeMetricFamily("izinli_workers_up", "Workers that answered this scrape.", len(self._snapshots))

    def _messages(self, name: str, text: str, key: str) -> CounterMetricFamily:
        family = CounterMetricFamily(name, text, labels=("protocol", "outcome", "reason"))
        for (door, reason), count in self._counts(key).items():
            family.add_metric((door, outcome_of(Reason(reason)).value, reason), count)
        return family

    def _upstreams_up(self) -> GaugeMetricFamily:
        family = GaugeMetricFamily(
            "izinli_upstream_up", "1 while every worker reaches the next hop.", labels=("upstream",)
        )
        worst: dict[str, int] = {}
        for snapshot in self._snapshots:
            for name, up in snapshot["upstream_up"]:
                worst[name] = min(worst.get(name, 1), up)
        for name, up in worst.items():
            family.add_metric((name,), up)
        return family

    def _hosts(self) -> Iterable[Any]:
        """Of next hops: each host for itself."""
        labels = ("upstream", "host")
        text = "1 while this host takes messages of every worker."
        ups = GaugeMetricFamily("izinli_upstream_host_up", text, labels=labels)
        connections = GaugeMetricFamily("izinli_upstream_host_connections", "Open connections.", labels=labels)
        text = "Attempts to connect, and messages under way, that failed at this host."
        faults = CounterMetricFamily("izinli_upstream_host_faults", text, labels=labels)
        totals: dict[Label, tuple[int, int, int]] = {}
        for snapshot in self._snapshots:
            for name, host, up, opened, failed in snapshot["hosts"]:
                known = totals.get((name, host), (1, 0, 0))
                totals[name, host] = (min(known[0], up), known[1] + opened, known[2] + failed)
        for label, (up, opened, failed) in totals.items():
            ups.add_metric(label, up)
            connections.add_metric(label, opened)
            faults.add_metric(label, failed)
        yield from (ups, connections, faults)

    def _filter(self) -> Iterable[Any]:
        text = "Questions by what the consent filter said: certainly absent, maybe listed, or nothing."
        results = CounterMetricFamily("izinli_index_filter", text, labels=("result",))
        for label, count in self._counts("index_filter").items():
            results.add_metric(label, count)
        yield results
        text = "1 while every worker's consent filter is level with the index."
        levels = [snapshot["index_filter_level"] for snapshot in self._snapshots]
        yield GaugeMetricFamily("izinli_index_filter_level", text, min(levels, default=0))
        text = "Since the consent filter's snapshot was taken; NaN without one."
        yield self._oldest("izinli_index_filter_age_seconds", text, "index_filter_age_s")
        for name, text in (("members", "Members in the snapshot."), ("capacity", "Members it has room for.")):
            counts = [snapshot[f"index_filter_{name}"] for snapshot in self._snapshots]
            yield GaugeMetricFamily(f"izinli_index_filter_{name}", text, min(counts, default=0))

    def _delivered(self) -> Iterable[Any]:
        text = "The memory of mixed endings: reads that deferred a message, writes that failed, entries that are lost."
        failures = CounterMetricFamily("izinli_delivered_failures", text, labels=("operation",))
        for label, count in self._counts("delivered_failures").items():
            failures.add_metric(label, count)
        yield failures
        text = "1 while a worker cannot do this with the memory of mixed endings; it is not ready then."
        yield self._worst("izinli_delivered_fault", text, "operation", "delivered_faults", DELIVERED_FAULTS)
        text = "Entries of the memory of mixed endings that wait to be written."
        yield GaugeMetricFamily("izinli_delivered_unwritten", text, self._total("delivered_unwritten"))

    def _mo(self) -> Iterable[Any]:
        """Of citizens' messages."""
        text = "Citizens' messages: refusals recorded or not recorded yet, what a person must read, and others."
        confirmations = "Confirmations of refusals: taken by the SMSC, or not."
        for key, said in (("mo", text), ("mo_confirmations", confirmations)):
            family = CounterMetricFamily(f"izinli_{key}", said, labels=("result",))
            for label, count in self._counts(key).items():
                family.add_metric(label, count)
            yield family

    def _pooled(self) -> Iterable[Any]:
        """Of SMSCs at which izinli keeps its own binds."""
        binds, orphans = "Binds that stand at a pooled SMSC.", "Receipts that came before the answer to their message."
        for key, said in (("smpp_binds", binds), ("smpp_orphans", orphans)):
            gauge = GaugeMetricFamily(f"izinli_{key}", said, labels=("upstream",))
            for label, count in self._counts(key).items():
                gauge.add_metric(label, count)
            yield gauge
        text = "What pooled SMSCs sent: to an account, to come again because nobody took it now, or to nobody."
        family = CounterMetricFamily("izinli_smpp_deliveries", text, labels=("kind", "result"))
        for label, count in self._counts("smpp_deliveries").items():
            family.add_metric(label, count)
        yield family

    def _oldest(self, name: str, text: str, key: str) -> GaugeMetricFamily:
        ages = [snapshot[key] for snapshot in self._snapshots if snapshot[key] is not None]
        return GaugeMetricFamily(name, text, max(ages, default=float("nan")))

    def _worst(self, name: str, text: str, label: str, key: str, values: Iterable[str]) -> GaugeMetricFamily:
        """Of faults: 1 where one worker has it."""
        family = GaugeMetricFamily(name, text, labels=(label,))
        worst = dict.fromkeys(values, 0)
        for snapshot in self._snapshots:
            for value, n in snapshot[key]:
                worst[value] = max(worst[value], n)
        for value, n in worst.items():
            family.add_metric((value,), n)
        return family

    def _histogram(self, name: str, text: str, key: str, label: str | None) -> HistogramMetricFamily:
        family = HistogramMetricFamily(name, text, labels=(label,) if label else ())
        sums: dict[str, tuple[list[int], float]] = {}
        for snapshot in self._snapshots:
            for value, counts, total in snapshot[key]:
                known = sums.get(value, ([0] * len(counts), 0.0))
                sums[value] = ([a + b for a, b in zip(known[0], counts, strict=True)], known[1] + total)
        for value, (counts, total) in sums.items():
            buckets, below = [], 0
            for bound, count in zip((*SECONDS, float("inf")), counts, strict=True):
                below += count
                buckets.append(("+Inf" if bound == float("inf") else str(bound), below))
            family.add_metric((value,) if label else (), buckets, total)
        return family

    def _counts(self, key: str) -> dict[Label, int]:
        totals: dict[Label, int] = {}
        for snapshot in self._snapshots:
            for *label, count in snapshot[key]:
                totals[tuple(label)] = totals.get(tuple(label), 0) + count
        return totals

    def _total(self, key: str) -> int:
        return sum(snapshot[key] for snapshot in self._snapshots)


def _known(seconds: float) -> float | None:
    """JSON has no NaN."""
    return None if seconds != seconds else seconds
