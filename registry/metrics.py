"""What monitoring asks of the registry: is it level, and does anything become late? (`[registry] metrics`)

Served by itself, on an address that is not the citizens'. Labels are codes of brands and states of an
upload; every row is there from the start. What the ledger cannot tell now is left out, and `izinli_registry_up` is 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, time, timedelta

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError

from registry.background import Watch
from registry.ledger import Ledger
from registry.publisher_loop import PublisherLoop
from registry.rules import TURKEY
from registry.sync import outbox
from registry.sync.loop import Sync

Clock = Callable[[], datetime]


class Figures(Collector):
    """As they are when somebody asks. `sync` keeps brands in step with the national system."""

    def __init__(
        self,
        ledger: Ledger,
        loop: PublisherLoop,
        sync: Sync | None,
        clock: Clock = lambda: datetime.now(UTC),
        watch: Watch | None = None,
    ) -> None:
        self._watch = watch or Watch()
        self._ledger = ledger
        self._loop = loop
        self._sync = sync
        self._clock = clock

    def collect(self) -> Iterable[Metric]:
        yield _gauge(
            "izinli_registry_index_level_age_seconds",
            "Since the index was last known to have all that the ledger has.",
            self._loop.level_age_s,
        )
        yield from self._threads()
        yield from self._calls()
        told: list[Metric] = []
        try:
            told = [_gauge("izinli_registry_ledger_events", "Number of the newest entry.", self._ledger.head())]
            told += self._national()
        except SQLAlchemyError:
            told.clear()
        up = bool(told) and not self._loop.fault
        yield _gauge("izinli_registry_up", "1: ledger and index can be read and written.", float(up))
        yield from told

    def _threads(self) -> Iterator[Metric]:
        well = GaugeMetricFamily(
            "izinli_registry_thread_up", "1: the last step of this thread went through.", labels=("thread",)
        )
        faults = CounterMetricFamily(
            "izinli_registry_thread_faults", "Steps of this thread that failed.", labels=("thread",)
        )
        for pulse in self._watch.pulses:
            well.add_metric((pulse.name,), float(not pulse.fault))
            faults.add_metric((pulse.name,), pulse.faults)
        yield well
        yield faults

    def _calls(self) -> Iterator[Metric]:
        if self._sync is None:
            return
        taken, refused = self._sync.client.ratio.counts()
        name, text = "izinli_registry_national_calls", "Calls of the last 24 hours, as the national system counts them."
        calls = GaugeMetricFamily(name, text, labels=("answer",))
        calls.add_metric(("taken",), taken)
        calls.add_metric(("refused",), refused)
        yield calls

    def _national(self) -> Iterator[Metric]:
        brands = self._sync.brands.codes() if self._sync is not None else []
        if not brands:
            return
        events = GaugeMetricFamily(
            "izinli_registry_national_events", "Events for the national system, by state.", labels=("brand", "state")
        )
        left = GaugeMetricFamily(
            "izinli_registry_national_due_seconds",
            "Until the most urgent event that it has not taken is late; below zero: it is late. Without such an "
            "event three days, which is what the law gives.",
            labels=("brand",),
        )
        now = self._clock()
        with self._ledger.engine.connect() as connection:
            for brand in brands:
                for state, count in outbox.figures(connection, brand).items():
                    events.add_metric((str(brand), state), count)
                left.add_metric((str(brand),), _seconds_left(outbox.oldest_due(connection, brand), now))
        yield events
        yield left


def _seconds_left(day: str, now: datetime) -> float:
    """To the end of a day in Turkey."""
    if not day:
        return timedelta(days=3).total_seconds()
    end = datetime.combine(datetime.fromisoformat(day).date() + timedelta(days=1), time(), TURKEY)
    return (end - now).total_seconds()


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)


@contextmanager
def served(figures: Figures, host: str, port: int) -> Iterator[int]:
    """`/metrics` in a thread of its own; the port. Raises OSError."""
    registry = CollectorRegistry()
    registry.register(figures)
    server, thread = start_http_server(port, host, registry)
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
