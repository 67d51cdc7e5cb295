"""Parsing one batch ahead, in a process of its own: while the database takes one batch, the next is being read.

Halves the time of a large import on two cores. The helper is `python -m registry.ahead`, fed through pipes and ended by
their end, so it outlives nobody; no fork of a process with threads, no second run of the caller's main module.
"""

from __future__ import annotations

import gc
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import IO, Any, cast

from registry.lines import Batch, Job, Parsed, Parser
from registry.rules import Move


def parse(job: Job, batches: Iterator[Batch]) -> Iterator[tuple[Batch, Parsed]]:
    """Each batch with what it says, in this process. Raises CsvError."""
    parser = Parser(job)
    return ((batch, parser(batch)) for batch in batches)


def parse_ahead(job: Job, batches: Iterator[Batch]) -> Iterator[tuple[Batch, Parsed]]:
    """As `parse`, with a helper process. Raises CsvError, and ChildProcessError when the helper was killed."""
    Parser(job)  # a header that is none is found here
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-m", "registry.ahead"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as helper:
        try:
            yield from _converse(job, batches, cast("IO[bytes]", helper.stdin), cast("IO[bytes]", helper.stdout))
        except (EOFError, BrokenPipeError) as error:
            raise ChildProcessError("the process that parses the file has ended early") from error
        finally:
            helper.kill()


def _converse(job: Job, batches: Iterator[Batch], ask: IO[bytes], answer: IO[bytes]) -> Iterator[tuple[Batch, Parsed]]:
    """One batch is on its way at most, so neither side ever waits with a full pipe for the other to read."""
    _send(job, ask)
    following = next(batches, None)
    if following is not None:
        _send(following, ask)
    while (current := following) is not None:
        parsed = _unpacked(pickle.load(answer))
        following = next(batches, None)
        if following is not None:
            _send(following, ask)
        yield current, parsed


def _packed(parsed: Parsed) -> Parsed:
    """Moves as plain tuples: named ones are pickled by way of Python code, six times slower."""
    plain: dict[str, Any] = {
        name: [(fingerprint, tuple(move)) for fingerprint, move in getattr(parsed, name)]
        for name in ("entries", "late")
    }
    return parsed._replace(**plain)


def _unpacked(parsed: Parsed) -> Parsed:
    named: dict[str, Any] = {
        name: [(fingerprint, Move._make(move)) for fingerprint, move in getattr(parsed, name)]
        for name in ("entries", "late")
    }
    return parsed._replace(**named)


def _send(what: object, stream: IO[bytes]) -> None:
    pickle.dump(what, stream, pickle.HIGHEST_PROTOCOL)
    stream.flush()


def main() -> None:
    """The helper: a job, then batches, until the end of the input."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to both; the importer decides
    gc.disable()  # there are no cycles, but a hundred thousand new tuples at a time for it to look through
    ask, answer = sys.stdin.buffer, sys.stdout.buffer
    try:
        parser = Parser(pickle.load(ask))
        while True:
            _send(_packed(parser(pickle.load(ask))), answer)
    except (EOFError, BrokenPipeError):
        os._exit(0)  # nothing left to flush, nobody left to tell


if __name__ == "__main__":
    main()
