"""A publisher that is killed: it records, withdraws, follows and builds without an end, and says what it acknowledged.

It runs in a process of its own, which a fork server makes in milliseconds.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from contextlib import closing
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from random import Random
from typing import Final

from registry import publish
from registry.publish import Publisher
from registry.service import Settings, open_registry
from tests.faults.support import LATER, MERCHANT, PERSON
from tests.registry.support import fingerprint, onay, record, ret, settings

PEOPLE: Final = 100_000  # of one process: nobody is met by two of them
_CHUNK: Final = 20  # members of one step of a build: there are many moments to be killed in

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload([__name__])


def started(house: Settings, number: int, seed: int) -> tuple[BaseProcess, Connection]:
    """A process, and where its acknowledgements come from: the number of the one who withdrew, in ASCII."""
    mine, its = _context.Pipe(duplex=False)
    arguments = (house.data_dir, house.index, house.ledger, number, seed, its)
    process = _context.Process(target=publish_without_end, args=arguments, daemon=True)
    process.start()
    its.close()  # so that the end of the process is the end of the pipe
    return process, mine


def publish_without_end(data_dir: Path, index: str, ledger: str, number: int, seed: int, told: Connection) -> None:
    """In the process."""
    publish.BUILD_CHUNK_MEMBERS = _CHUNK
    publish.TAIL_CHANGES_MAX = _CHUNK
    random = Random(seed)
    with closing(told), open_registry(settings(data_dir, index, ledger)) as registry:
        registry.publisher.ensure()
        first = number * PEOPLE
        known = leaving = first
        while True:
            what = random.random()
            if what < 0.3 or known - leaving < 10:
                more = range(known, known + random.randrange(1, 3 * _CHUNK))
                record(registry.ledger, *map(onay, more), *(ret(who, kind=MERCHANT) for who in more[::3]))
                known = more.stop
            elif what < 0.7:
                gone = [ret(leaving, LATER, kind=kind) for kind in (PERSON, MERCHANT)]
                record(registry.ledger, *gone)
                registry.publisher.publish_now(
                    [(fingerprint(registry.ledger, one), one.recipient_type) for one in gone]
                )
                told.send_bytes(b"%d" % leaving)
                leaving += 1
            else:
                _step(registry.publisher, random)()


def _step(publisher: Publisher, random: Random) -> Callable[[], object]:
    return random.choice((publisher.tick, publisher.follow, publisher.rebuild, lambda: publisher.rebuild(anew=True)))
