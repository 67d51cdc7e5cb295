"""What a gateway machine knows of the index, for whoever asks from the command line: its filter's file, its workers."""

from __future__ import annotations

import urllib.request
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from time import time
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

from filters.bloom import BloomFault
from gateway import limits
from gateway.config import Config
from gateway.index.snapshot import FILE, open_snapshot

Samples = dict[tuple[str, str], float]
"""(name of the metric, value of its label or "") -> value."""

_PREFIX: Final = "izinli_index_"
_LABELS: Final = ("result", "fault")


@dataclass(frozen=True, slots=True)
class FilterFile:
    """The snapshot that the workers of this machine map. `epoch` of the index it was taken of."""

    epoch: int
    members: int
    capacity: int
    octets: int
    age_s: float


@dataclass(frozen=True, slots=True)
class Workers:
    """What the workers of this machine say, all of them together."""

    believed: bool  # every one can ask the index
    faults: tuple[str, ...]
    age_s: float  # since the index last heard of its publisher
    filter_level: bool  # every one's filter knows what was published last
    absent: int  # questions since the start: answered by the filter
    maybe: int  # passed on to the index
    bypassed: int  # that the filter was not asked about


def filter_file(data_dir: Path) -> FilterFile | str:
    """The snapshot in `data_dir`, or why there is none."""
    path = data_dir / FILE
    try:
        origin, bloom, taken_at = open_snapshot(path, whole=False)
        octets = path.stat().st_size
    except FileNotFoundError:
        return "none"
    except (OSError, BloomFault) as error:
        return f"cannot be used: {error}"
    return FilterFile(origin.epoch, bloom.count, bloom.capacity, octets, max(0.0, time() - taken_at))


def workers(config: Config) -> Workers | str:
    """What a gateway with this configuration says on its admin address, or why it says nothing."""
    try:
        with urllib.request.urlopen(f"http://{config.admin}/metrics", timeout=limits.STATUS_S) as answer:
            text = answer.read(limits.METRICS_OCTETS_MAX).decode()
        return read(_samples(text))
    except (OSError, HTTPException, ValueError, KeyError) as error:
        return f"no answer at {config.admin}: {type(error).__name__}"


def read(samples: Samples) -> Workers:
    """Raises KeyError when what answered is no gateway."""
    faults = tuple(sorted(label for (name, label), on in samples.items() if name == "fault" and on))
    results = (int(samples["filter_total", result]) for result in ("absent", "maybe", "bypassed"))
    level = bool(samples["filter_level", ""])
    return Workers(bool(samples["up", ""]), faults, samples["age_seconds", ""], level, *results)


def _samples(text: str) -> Samples:
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name.startswith(_PREFIX):
                label = next((sample.labels[name] for name in _LABELS if name in sample.labels), "")
                found[sample.name.removeprefix(_PREFIX), label] = sample.value
    return found
