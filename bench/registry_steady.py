"""A load of so many additions a second, whatever the server makes of them: wrk asks as fast as it is answered.

    python -m bench.registry_steady FILE PORT FIRST RATE

FILE holds a whole request with `registry_load.MARK` in it, where each request has a number of its own, from FIRST on.
It goes on until its input ends and then prints {"requests": …, "seconds": …, "refused": …}.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Final

from bench.registry_load import MARK

CONNECTIONS: Final = 32  # each waits for its answer: with 500 a second one may take 64 ms before the rate falls


class Steady:
    """What the load was, known at its end."""

    per_second = 0.0


@contextmanager
def steady(file: Path, whole: bytes, port: int, first: int, rate: int) -> Iterator[Steady]:
    """This load beside the block. Raises RuntimeError when a request was refused."""
    file.write_bytes(whole)
    was = Steady()
    command = [sys.executable, "-m", "bench.registry_steady", str(file), str(port), str(first), str(rate)]
    with Popen(command, stdin=PIPE, stdout=PIPE, cwd=Path(__file__).parents[1], text=True) as process:
        assert process.stdout is not None
        try:
            process.stdout.readline()  # it has begun
            yield was
            printed, _ = process.communicate("")
        finally:
            process.kill()
    if process.returncode:
        raise RuntimeError(f"the load of {rate} additions a second ended with {process.returncode}")
    told = json.loads(printed)
    if told["refused"]:
        raise RuntimeError(f"{told['refused']} of {told['requests']} additions were refused")
    was.per_second = told["requests"] / told["seconds"]


class _Load:
    def __init__(self, whole: bytes, port: int, first: int, rate: int) -> None:
        self._before, _, self._after = whole.partition(MARK.encode())
        self._port = port
        self._numbers = count(first)
        self._rate = rate
        self._turns = count()
        self.requests = self.refused = 0
        self.began = time.monotonic()

    async def connection(self, ended: asyncio.Event) -> None:
        """One of those that take the next turn, wait for its time, and for the answer."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        while not ended.is_set():
            wait = self.began + next(self._turns) / self._rate - time.monotonic()
            if wait > 0:
                await asyncio.sleep(wait)
            writer.write(b"%b%07d%b" % (self._before, next(self._numbers), self._after))
            head = await reader.readuntil(b"\r\n\r\n")
            length = head.lower().partition(b"content-length:")[2].split(b"\r", 1)[0]
            await reader.readexactly(int(length))
            self.requests += 1
            self.refused += b" 200 " not in head.partition(b"\r\n")[0]
        writer.close()


async def _run(load: _Load) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(sys.stdin, ended.set)
    print("begun", flush=True)
    await asyncio.gather(*(load.connection(ended) for _ in range(CONNECTIONS)))
    loop.remove_reader(sys.stdin)


def main() -> None:
    """The load."""
    file, *numbers = sys.argv[1:]
    load = _Load(Path(file).read_bytes(), *map(int, numbers))
    asyncio.run(_run(load))
    seconds = time.monotonic() - load.began
    print(json.dumps({"requests": load.requests, "seconds": seconds, "refused": load.refused}))


if __name__ == "__main__":
    main()
