"""A national system and somebody who keeps step with it, on clocks that are moved by hand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.registry.national.support import Clock
from tests.registry.sync.support import Here, Line, There, here, line, there


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def national(tmp_path: Path, clock: Clock) -> Iterator[There]:
    with there(tmp_path / "there", clock) as one:
        yield one


@pytest.fixture
def wire(national: There) -> Iterator[Line]:
    with line(national.port) as one:
        yield one


@pytest.fixture
def we(tmp_path: Path, wire: Line, clock: Clock) -> Iterator[Here]:
    with here(tmp_path / "here", wire.port, clock) as one:
        yield one
