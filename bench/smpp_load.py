"""SMPP load:  python -m bench.smpp_load --port P --binds 4 --window W --count N --system-id S --password P

Binds transceivers and keeps `window` submit_sm outstanding on each until all are answered. With `--receipts` each asks
for a receipt, and the run ends when all of these came; with `--long N` so many messages in a hundred are long and come
in two parts. Prints one line of JSON and exits with 1 when any answer was not ESME_ROK, when answers or receipts came
for other messages than were sent, or when nothing came for ten seconds.
"""

from __future__ import annotations

import argparse
import json
import select
import sys
import time
from collections import Counter

from bench import smpp_wire as wire
from bench.smpp_bind import FIRST, SILENCE_S_MAX, Bind, Failure

SOURCE = "ORNEK"
# With its notice the message must fit one segment (155 characters here): otherwise a gateway would send two for one.
TEXT = b"Bu hafta cay, seker ve zeytinde %20 indirim sizi bekliyor."
# A first part is full (153 septets, less one for the reference's second octet); the notice has room beside the last.
FIRST_PART = (b"Sayin musterimiz, " + TEXT + b" Kart sahiplerine pazar gunu yuzde bes daha. " * 2)[:152]
LAST_PART = b" Subelerimiz 09.00-21.00 arasi aciktir."
HUNDRED = 100


def load(binds: list[Bind]) -> float:
    """Everything through every bind; the seconds it took."""
    ready = select.epoll()
    by_fd = {bind.socket.fileno(): bind for bind in binds}
    for fd in by_fd:
        ready.register(fd, select.EPOLLIN)
    started = time.monotonic()
    for bind in binds:
        bind.begin()
    busy = len(binds)
    while busy:
        events = ready.poll(SILENCE_S_MAX)
        if not events:
            raise Failure(f"no answer for {SILENCE_S_MAX:g} s")
        for fd, _ in events:
            bind = by_fd[fd]
            bind.go_on()
            if bind.done:
                ready.unregister(fd)
                busy -= 1
    seconds = time.monotonic() - started
    ready.close()
    return seconds


def main(arguments: list[str] | None = None) -> int:
    options = _options(arguments)
    statuses: Counter[int] = Counter()
    latencies: list[float] = []
    try:
        binds = [_bind(options, number) for number in range(options.binds)]
        for bind in binds:
            bind.log_in(options.system_id, options.password)
        cpu = time.process_time()
        seconds = load([bind for bind in binds if not bind.done])
        cpu = time.process_time() - cpu
        for bind in binds:
            bind.check()
            bind.log_out()
            statuses += bind.statuses
            latencies += bind.latencies
    except (Failure, OSError, ValueError) as fault:
        print(f"smpp_load: {fault}", file=sys.stderr)
        return 1
    messages, ok = sum(bind.count for bind in binds), statuses[wire.ESME_ROK]
    printed = {"messages": messages, "ok": ok, "seconds": round(seconds, 6), "cpu_s": round(cpu, 6)}
    latencies.sort()
    if latencies:
        printed |= {f"p{share}_s": round(latencies[len(latencies) * share // HUNDRED], 6) for share in (50, 99)}
    others = {f"0x{status:08x}": count for status, count in statuses.items() if status != wire.ESME_ROK}
    print(json.dumps(printed | {"timed": len(latencies)} | ({"others": others} if others else {})))
    return 0 if ok == messages else 1


def _bind(options: argparse.Namespace, number: int) -> Bind:
    """The `number`-th, with its share of the messages."""
    share, odd = divmod(options.count, options.binds)
    count = share + (number < odd)
    msisdn = options.msisdn.lstrip("+")
    registered = wire.ASKED_FOR if options.receipts else 0
    short = wire.submit_sm(options.source, msisdn, TEXT, registered=registered)
    if not options.long:
        ring = wire.Ring(short, {wire.SEQUENCE_AT: wire.sequence_label}, first=FIRST)
        return Bind(options.port, count, options.window, ring, receipts=options.receipts)
    long = wire.parts(options.source, msisdn, (FIRST_PART, LAST_PART))
    places = {place * HUNDRED // options.long for place in range(1, options.long + 1)}
    messages = [long if place in places else (short,) for place in range(1, HUNDRED + 1)]
    medley = wire.Medley(messages, first=FIRST, reference=number, step=options.binds)
    return Bind(options.port, medley.whole(count), options.window, medley, receipts=False)


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.smpp_load", description=__doc__)
    for option, default in (("--port", None), ("--binds", 4), ("--window", 10), ("--count", None)):
        parser.add_argument(option, type=int, default=default, required=default is None)
    parser.add_argument("--system-id", required=True)
    parser.add_argument("--password", required=True)
    parser.add_argument("--source", default=SOURCE, help="sender name, at most eleven characters")
    parser.add_argument("--msisdn", default="+905550000001")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--receipts", action="store_true", help="ask for receipts, and wait for them")
    kind.add_argument("--long", type=int, choices=range(HUNDRED + 1), default=0, metavar="N", help="of a hundred")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
