"""The consent index at national scale: `python -m bench.scale [--members 10000000]`: some minutes, 4 GB at ten million.

Ledger → build → what Redis needs for it → a filter's snapshot → comparison → grown threefold → a build that is killed
half-way and gone on with. Every step of the publisher runs in a process of its own, whose memory is what is reported.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime
import json
import multiprocessing
import os
import re
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import redis
from rich.console import Console

from bench import consents, machine
from bench.run import RESULTS
from filters import index_url
from filters.key import Fingerprinter
from filters.layout import LANES, Family, bucket_key
from gateway.index import snapshot
from registry.index.interface import Change, Facts
from registry.index.shared import RedisIndexWriter
from registry.ledger import Ledger
from registry.publish import Publisher
from registry.verify import verify

CHECK: Final = Fingerprinter(consents.KEY).check_value()
GROWTH: Final = 3  # times the members it was laid out for
GROWTH_STEP: Final = 50_000
KEYS_AT_ONCE: Final = 2_000
KILLED_AT: Final = 0.5  # of the members

_spawn = multiprocessing.get_context("spawn")
Figures = dict[str, Any]


def main() -> int:
    """Measure and write bench/results/…-scale.json."""
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description=__doc__)
    parser.add_argument("--members", type=int, default=10_000_000, help="BIREYSEL who consent")
    parser.add_argument("--merchants", type=int, help="TACIR who refuse; default: a hundredth of the members")
    options = parser.parse_args()
    members, merchants = options.members, options.merchants or options.members // 100
    console = Console()
    figures: Figures = {"date": datetime.date.today().isoformat(), "machine": machine.facts()}
    figures |= {"members": members, "merchants": merchants}

    def note(title: str, found: Figures) -> None:
        figures[title] = found
        shown = ", ".join(f"{name} {value:,}" for name, value in found.items() if isinstance(value, int | float))
        console.print(f"{title:12} {shown}")

    with tempfile.TemporaryDirectory(prefix="izinli-scale-") as name, consents.redis(Path(name)) as server:
        directory, url = Path(name), f"redis://127.0.0.1:{server.port}/0"
        began = time.monotonic()
        consents.fill_ledger(directory, members, merchants).close()
        note(
            "ledger", {"seconds": _since(began), "octets": sum(one.stat().st_size for one in directory.glob("ledger*"))}
        )
        note("build", _apart(_build, directory, url))
        note("memory", _memory(url))
        note("snapshot", _snapshot(directory, url))
        note("verify", _apart(_verify, directory, url))
        note("killed", _killed(directory, url, int((members + merchants) * KILLED_AT)))
        note("resumed", _apart(_build, directory, url))
        note("grown", _grow(url))
    path = RESULTS / f"{figures['date']}-{machine.slug()}-scale.json"
    path.write_text(json.dumps(figures, indent=2, ensure_ascii=False) + "\n")
    console.print(f"written: {path.relative_to(RESULTS.parents[1])}")
    return 0


def _since(began: float) -> float:
    return round(time.monotonic() - began, 2)


def _apart(step: Callable[[Path, str], Figures], directory: Path, url: str) -> Figures:
    """Run a step in a process of its own, and add its time, CPU time and memory."""
    with _spawn.Pool(1) as pool:
        return pool.apply(_measured, (step, directory, url))


def _measured(step: Callable[[Path, str], Figures], directory: Path, url: str) -> Figures:
    before, began, cpu = _peak_mb(), time.monotonic(), time.process_time()
    found = step(directory, url)
    used = {"seconds": _since(began), "cpu_s": round(time.process_time() - cpu, 2)}
    return found | used | {"peak_mb": _peak_mb(), "peak_before_mb": before}


def _peak_mb() -> int:
    """Of this process alone: the kernel's ru_maxrss would remember who started it."""
    found = re.search(r"^VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) // 1024


def _publisher(directory: Path, url: str) -> Publisher:
    return Publisher(Ledger.open("sqlite", directory, consents.KEY), RedisIndexWriter(url, CHECK))


def _build(directory: Path, url: str) -> Figures:
    first: list[int] = []
    state = _publisher(directory, url).rebuild(lambda done, _total: first.append(done))
    return {"epoch": state.epoch, "members": state.count, "first_step_at": first[0] if first else 0}


def _verify(directory: Path, url: str) -> Figures:
    ledger, writer = Ledger.open("sqlite", directory, consents.KEY), RedisIndexWriter(url, CHECK)
    found = verify(ledger, writer)
    return {"members": found.index_members, "counted": found.counted, "differences": len(found.differences)}


def _snapshot(directory: Path, url: str) -> Figures:
    info = asyncio.run(snapshot.build(index_url.parse(url), CHECK, directory))
    began = time.monotonic()
    opened = snapshot.open_snapshot(info.path, whole=False)
    found = {"seconds": round(info.seconds, 2), "octets": info.octets, "open_ms": round(_since(began) * 1000, 1)}
    return found | {"members": opened.bloom.count}


def _memory(url: str) -> Figures:
    """What Redis says, and whether every bucket is an intset."""
    client: Any = redis.Redis.from_url(url)
    fields = client.hgetall("izinli:index")
    epoch, bits = int(fields[b"epoch"]), (int(fields[b"bits_b"]), int(fields[b"bits_t"]))
    encodings: dict[str, int] = {}
    members = fullest = 0
    for family in Family:
        for start in range(0, 1 << bits[family], KEYS_AT_ONCE):
            hashes = [one << (32 - bits[family]) for one in range(start, min(start + KEYS_AT_ONCE, 1 << bits[family]))]
            with client.pipeline(transaction=False) as pipe:
                for one in hashes:
                    pipe.object("encoding", bucket_key(epoch, family, bits[family], one))
                    pipe.scard(bucket_key(epoch, family, bits[family], one))
                answers = pipe.execute()
            for encoding, size in zip(answers[::2], answers[1::2], strict=True):
                encodings[encoding.decode()] = encodings.get(encoding.decode(), 0) + 1
                members, fullest = members + size - 1, max(fullest, size)
    used = client.info("memory")
    octets = used["used_memory"] - used["used_memory_startup"]
    found = {"octets": octets, "octets_per_member": round(octets / members, 2), "members": members}
    return found | {"buckets": sum(encodings.values()), "fullest": fullest, "encodings": encodings, "lanes": LANES}


def _killed(directory: Path, url: str, at: int) -> Figures:
    """A new build, killed when it has `at` members."""
    began = time.monotonic()
    process = _spawn.Process(target=_build_until, args=(directory, url, at))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL, process.exitcode
    return {"seconds": _since(began), "at": at}


def _build_until(directory: Path, url: str, at: int) -> None:
    def progress(done: int, _total: int) -> None:
        if done >= at:
            os.kill(os.getpid(), signal.SIGKILL)

    _publisher(directory, url).rebuild(progress)


def _grow(url: str) -> Figures:
    """Put new members until BIREYSEL is as full as it may become."""
    writer = RedisIndexWriter(url, CHECK)
    state = writer.state()
    assert state is not None
    count, room = state.counts[Family.BIREYSEL], state.room[Family.BIREYSEL]
    began = time.monotonic()
    while count < room:
        known = consents.fingerprints(min(GROWTH_STEP, room - count))
        refused = writer.put(Facts(state.cursor, [Change(Family.BIREYSEL, one, True) for one in known]))
        assert not refused
        count += len(known)
    return {"seconds": _since(began), "times": GROWTH, **_memory(url)}


if __name__ == "__main__":
    sys.exit(main())
