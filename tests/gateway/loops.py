"""The event loops that tests with sockets run on."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

import uvloop

Factories = dict[str, Callable[[], asyncio.AbstractEventLoop]]


def loop_factories() -> Factories:
    """The loop that production runs on; with IZINLI_LOOPS=both also that of the standard library, in twice the time."""
    factories: Factories = {"uvloop": uvloop.new_event_loop}
    if os.environ.get("IZINLI_LOOPS") == "both":
        factories["asyncio"] = asyncio.new_event_loop
    return factories
