"""`izinli` under a sampler:  python -m bench.profiled OUT serve -c FILE

Every few milliseconds of CPU time (not of the clock) the stack is noted, so that idle time is not in the picture and
the figures stay near those without it; a tracing profiler would charge small functions for its own work. Time in C
code (a send, a hash) is counted for the Python line that asked for it. What `OUT.<pid>.json` holds: samples, and per
function its share as the innermost frame ("self") and anywhere in the stack ("total").
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import sys
from collections import Counter
from functools import cache
from pathlib import Path
from types import CodeType, FrameType

INTERVAL_S = 0.002  # the kernel rounds it up to its tick: 4 ms with HZ=250
TOP = 40
ALWAYS = 0.98  # a share in "total" above it is the way into the loop, and says nothing


class Sampler:
    """Counts frames of this process and, after a fork, of the child apart."""

    def __init__(self, out: Path) -> None:
        self._out = out
        self._self: Counter[str] = Counter()
        self._total: Counter[str] = Counter()
        self._lines: Counter[str] = Counter()
        self._samples = 0
        self._forked = False  # a worker, where the supervisor only starts and waits

    def start(self) -> None:
        signal.signal(signal.SIGPROF, self._sample)
        os.register_at_fork(after_in_child=self._begin_again)
        atexit.register(self.write)
        self._arm()

    def _arm(self) -> None:
        signal.setitimer(signal.ITIMER_PROF, INTERVAL_S, INTERVAL_S)

    def _begin_again(self) -> None:
        """Timers are not inherited, counts are."""
        for counter in (self._self, self._total, self._lines):
            counter.clear()
        self._samples = 0
        self._forked = True
        self._arm()

    def _sample(self, _number: int, frame: FrameType | None) -> None:
        if frame is None:
            return
        self._samples += 1
        self._self[_function(frame.f_code)] += 1
        self._lines[f"{_file(frame.f_code)}:{frame.f_lineno}"] += 1
        seen = set()
        walk: FrameType | None = frame
        while walk is not None:
            seen.add(_function(walk.f_code))
            walk = walk.f_back
        self._total.update(seen)

    def write(self) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)
        if not self._samples:
            return
        content = {
            "samples": self._samples,
            "forked": self._forked,
            "self": self._shares(self._self),
            "total": self._shares(self._total),
            "lines": self._shares(self._lines),
        }
        path = self._out.with_name(f"{self._out.name}.{os.getpid()}.json")
        path.write_text(json.dumps(content, indent=1))

    def _shares(self, counter: Counter[str]) -> dict[str, float]:
        shares = {name: round(count / self._samples, 4) for name, count in counter.most_common()}
        return dict([(name, share) for name, share in shares.items() if share < ALWAYS][:TOP])


@cache
def _file(code: CodeType) -> str:
    """The last two parts of the path: `smtp/session.py`, whatever machine it stands on."""
    return "/".join(Path(code.co_filename).parts[-2:])


@cache
def _function(code: CodeType) -> str:
    return f"{_file(code)} {code.co_qualname}"


def main() -> None:
    from gateway.cli import main as izinli  # the sampler runs before anything of the gateway is imported

    sys.argv = ["izinli", *sys.argv[2:]]
    izinli()


if __name__ == "__main__":
    Sampler(Path(sys.argv[1])).start()
    main()
