"""Indexes to ask, each written by the registry's own writer: the contract is proven from both sides."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from filters.index_url import parse
from filters.key import Fingerprinter
from filters.layout import INDEX_FILE, Family, Suspended
from filters.model import Brand, Channel, Kind, RecipientType, Stream
from gateway import limits
from gateway.index.embedded import SqliteIndex
from gateway.index.interface import Believed, ConsentIndex
from gateway.index.shared import RedisIndex
from gateway.pipeline import Question
from registry.index.embedded import SqliteIndexWriter
from registry.index.interface import Change, Facts, IndexWriter
from registry.index.shared import RedisIndexWriter
from tests.conftest import RedisServer

KEY = bytes(range(32))
NOBODY = Suspended()
FINGERPRINT = Fingerprinter(KEY)
BRAND = Brand(100001, "Örnek Market", "Örnek Market Ticaret A.Ş.", "0123456789000015", 100001)
BIREYSEL = Stream("campaign", BRAND, Kind.COMMERCIAL, RecipientType.BIREYSEL, "relay")
TACIR = Stream("merchants", BRAND, Kind.COMMERCIAL, RecipientType.TACIR, "relay")
INFORMATIONAL = Stream("receipts", None, Kind.INFORMATIONAL, RecipientType.BIREYSEL, "relay")
OBSERVED = Stream("watched", BRAND, Kind.COMMERCIAL, RecipientType.BIREYSEL, "relay", observe=True)


class Asking(Question):
    """A question that remembers how often it was answered."""

    def __init__(self, stream: Stream | None, recipient: bytes | None) -> None:
        super().__init__(stream, Channel.EPOSTA, recipient)
        self.answers: list[tuple[str, str, bytes]] = []
        if recipient is not None and stream is not None:
            self.fingerprint = FINGERPRINT(BRAND.code, Channel.EPOSTA, recipient)

    def decided(self) -> None:
        self.answers.append((self.outcome.value, self.reason.value, self.id))


@dataclass
class Written:
    """An index, its writer, and the faults it can be put through."""

    writer: IndexWriter
    reader: Callable[..., ConsentIndex]
    vanish: Callable[[], None]
    come_back: Callable[[], None]
    empty: Callable[[], None]
    epochs: int = 0
    events: int = 0  # what the ledger would have counted

    def build(
        self,
        *recipients: bytes,
        family: Family = Family.BIREYSEL,
        expected: int = 1000,
        suspended: Suspended | None = NOBODY,
    ) -> int:
        """A new epoch with these members; returns its number. `suspended`: None says nothing about it."""
        self.epochs = max(self.epochs, self.writer.last_epoch()) + 1
        build = self.writer.build(self.epochs, (expected, expected), self.events)
        build.add(family, sorted(FINGERPRINT(BRAND.code, Channel.EPOSTA, one) for one in recipients))
        build.announce()
        build.switch(self.events)
        if suspended is not None:
            self.writer.suspend(suspended)
        return self.epochs

    def change(self, recipient: bytes, *, member: bool, family: Family = Family.BIREYSEL) -> None:
        self.events += 1
        one = Change(family, FINGERPRINT(BRAND.code, Channel.EPOSTA, recipient), member)
        assert self.writer.put(Facts(self.events, [one])) == []

    def open(self, age_max_s: float = 900.0, key: bytes = KEY) -> ConsentIndex:
        """A reader, inside a running loop."""
        return self.reader(Believed(Fingerprinter(key).check_value(), age_max_s))


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """An index has time to answer, on a machine that has other things to do."""
    monkeypatch.setattr(limits, "INDEX_DEADLINE_S", 3.0)
    monkeypatch.setattr(limits, "INDEX_CONNECT_S", 15.0)


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=pytest.mark.interop)])
def written(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Written]:
    """The conformance suite runs over both forms of the index."""
    if request.param == "sqlite":
        yield _sqlite(tmp_path, FINGERPRINT.check_value())
        return
    server: RedisServer = request.getfixturevalue("redis_server")
    with written_to(server) as house:
        yield house


@contextmanager
def written_to(server: RedisServer, url: str = "") -> Iterator[Written]:
    """One Redis server's index; `url` is the reader's when it differs."""
    writer = RedisIndexWriter(server.url, FINGERPRINT.check_value())

    def empty() -> None:
        server.cli("FLUSHALL")

    yield Written(
        writer, lambda believed: RedisIndex(parse(url or server.url), believed), server.stop, server.start, empty
    )
    writer.close()


def _sqlite(directory: Path, check: bytes) -> Written:
    away = directory / "away"

    def vanish() -> None:
        away.mkdir()
        for path in directory.glob(f"{INDEX_FILE}*"):
            shutil.move(path, away / path.name)

    def come_back() -> None:
        for path in list(away.iterdir()):
            shutil.move(path, directory / path.name)
        away.rmdir()

    def empty() -> None:
        for path in directory.glob(f"{INDEX_FILE}*"):
            path.unlink()
        SqliteIndexWriter(directory / INDEX_FILE, check).state()

    writer = SqliteIndexWriter(directory / INDEX_FILE, check)
    writer.state()
    return Written(writer, lambda believed: SqliteIndex(directory, believed), vanish, come_back, empty)
