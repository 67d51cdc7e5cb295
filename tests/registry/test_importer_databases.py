"""A file into SQLite and into PostgreSQL: the same rows, the same chain, the same rejects; and killed within a COPY."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from registry import bulk, lines, service
from registry.evidence import check
from registry.evidence.tables import recording
from registry.importer import Importer
from registry.ledger import Ledger
from registry.rules import QUOTA_REACHED, REASONS
from registry.schema import consent, consent_event
from registry.service import import_csv, verify
from tests.registry.support import BRAND, KEY, NOW, settings, write_csv

pytestmark = pytest.mark.interop

TODAY = "2026-03-04 09:00:00"
GOOD = [f"+90555{index:07},MESAJ,ONAY,HS_WEB,BIREYSEL,{TODAY}" for index in range(40)]
BAD = {
    "": "nonsense",
    "H110": f"+905550000900,MESAJ,,HS_WEB,BIREYSEL,{TODAY}",
    "H111": f"+905550000900,,ONAY,HS_WEB,BIREYSEL,{TODAY}",
    "H112": "+905550000900,MESAJ,ONAY,HS_WEB,BIREYSEL,",
    "H113": f"+905550000900,MESAJ,ONAY,,BIREYSEL,{TODAY}",
    "H114": f",MESAJ,ONAY,HS_WEB,BIREYSEL,{TODAY}",
    "H115": f"+905550000900,MESAJ,EVET,HS_WEB,BIREYSEL,{TODAY}",
    "H116": f"+905550000900,MESAJ,ONAY,HS_WEB,KURUM,{TODAY}",
    "H117": f"+905550000900,SMS,ONAY,HS_WEB,BIREYSEL,{TODAY}",
    "H119": f"+905550000900,MESAJ,ONAY,HS_NOWHERE,BIREYSEL,{TODAY}",
    "H120": f"a b@example.com.tr,EPOSTA,ONAY,HS_WEB,BIREYSEL,{TODAY}",
    "H121": f"+902120000000,MESAJ,ONAY,HS_WEB,BIREYSEL,{TODAY}",
    "H155": f"+905550000900,MESAJ,ONAY,HS_2015,BIREYSEL,{TODAY}",
    "H156": "+905550000900,MESAJ,ONAY,HS_WEB,BIREYSEL,2015-04-30 23:59:59",
    "H157": "+905550000900,MESAJ,ONAY,HS_WEB,BIREYSEL,2026-02-30 09:00:00",
    "H158": "+905550000900,MESAJ,ONAY,HS_WEB,BIREYSEL,04.03.2026",
    "H160": f"+9055500009001234567,MESAJ,ONAY,HS_WEB,BIREYSEL,{TODAY}",
    "H162": "+905550000900,MESAJ,ONAY,HS_WEB,BIREYSEL,2026-03-05 09:00:00",
    "H174": "+905550000003,MESAJ,RET,HS_WEB,BIREYSEL,2026-03-04 09:30:00",  # refused below already
    "H175": f"+905550000901,MESAJ,RET,HS_WEB,BIREYSEL,{TODAY}",
    "H178": "+905550000001,MESAJ,ONAY,HS_WEB,BIREYSEL,2026-03-03 09:00:00",
    "H408": f"+905550000001,MESAJ,ONAY,HS_KARAR,BIREYSEL,{TODAY}",
    "H460": "a" * 5000,
    "H462": "+905550000800,MESAJ,ONAY,HS_WEB,TACIR,",
    "H463": f"+905550000800,MESAJ,RET,,TACIR,{TODAY}",
    "H464": f"someone@example.com.tr,MESAJ,ONAY,HS_WEB,BIREYSEL,{TODAY}",
    "H467": "+905550000900,MESAJ,ONAY,HS_WEB,BIREYSEL,2026-01-05 09:00:00",
    "H486": f"+905550000902,MESAJ,RET,HS_KARAR,BIREYSEL,{TODAY}",
}
DECLARED = [
    *GOOD,
    *[line.replace("ONAY", "RET").replace("09:00:00", "09:20:00") for line in GOOD[:10]],
    f"+905550000800,MESAJ,ONAY,HS_WEB,TACIR,{TODAY}",
    f"\\N\\.'{{x}}@example.com.tr,EPOSTA,ONAY,HS_WEB,BIREYSEL,{TODAY}",  # what COPY as text would have to escape
    *BAD.values(),
    *GOOD[30:],  # again
]
IMPORTED = [line.replace(TODAY, f"2026-02-{index % 28 + 1:02} 09:00:00") for index, line in enumerate(GOOD * 2)]


def content(ledger: Ledger) -> list[list[tuple[Any, ...]]]:
    """All that an import writes, in the order of its keys."""

    def plain(row: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(bytes(one) if isinstance(one, memoryview) else one for one in row)

    with ledger.engine.connect() as connection:
        tables = (consent_event, consent, recording)
        queries = [select(table).order_by(*table.primary_key) for table in tables]
        return [[plain(row) for row in connection.execute(query)] for query in queries]


@pytest.mark.parametrize("batch", [7, 10_000])
def test_both_databases_hold_the_same_afterwards(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    monkeypatch.setattr(lines, "IMPORT_BATCH_LINES", batch)
    monkeypatch.setattr(bulk, "COPY_ROWS_MIN", 3)  # both ways in, in one file
    declared = write_csv(tmp_path / "declared.csv", DECLARED)
    imported = write_csv(tmp_path / "imported.csv", IMPORTED)
    ledgers = [Ledger.open(url, tmp_path / "data", KEY) for url in ("sqlite", postgres_url)]
    rejects = tmp_path / "rejects.csv"
    said: list[Any] = [[], []]
    for ledger, told in zip(ledgers, said, strict=True):
        for path, declare in ((declared, True), (imported, False), (declared, True)):
            run = Importer(ledger, KEY, BRAND, now=NOW, declare=declare)
            run.run(path, rejects)
            told.append((run.lines, run.recorded, run.unchanged, run.rejected, dict(run.reasons)))
            told.append(rejects.read_bytes() if run.rejected else b"")
    assert said[0] == said[1]
    assert set(said[0][0][4]) == set(BAD) == set(REASONS) - {QUOTA_REACHED}  # nobody has a quota here
    assert content(ledgers[0]) == content(ledgers[1])
    assert check.verify(ledgers[0].engine) == check.verify(ledgers[1].engine)
    for ledger in ledgers:
        ledger.close()


KILLED = """
import os, signal, sys
from pathlib import Path
from registry import importer, lines
from registry.evidence import chain
from registry.service import import_csv
from tests.registry.support import BRAND, settings
lines.IMPORT_BATCH_LINES = 1000
importer.AHEAD_BYTES_MIN = 0
links, calls = chain.links, []
def killing(*arguments):
    calls.append(arguments)
    if len(calls) == 3:  # the events are on their way to the server, and nothing of them is committed
        os.kill(os.getpid(), signal.SIGKILL)
    return links(*arguments)
chain.links = killing
import_csv(settings(Path(sys.argv[1]), ledger=sys.argv[3]), BRAND, Path(sys.argv[2]))
"""


def test_an_import_that_is_killed_within_a_copy_goes_on_where_it_was(postgres_url: str, tmp_path: Path) -> None:
    people = [f"+90555{index:07},MESAJ,ONAY,HS_WEB,BIREYSEL,2026-01-01 00:00:00" for index in range(4000)]
    path = write_csv(tmp_path / "in.csv", people)
    command = [sys.executable, "-c", KILLED, str(tmp_path / "data"), str(path), postgres_url]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    chosen = settings(tmp_path / "data", ledger=postgres_url)
    with service.open_registry(chosen) as registry:
        assert registry.ledger.head() == 2000
    result = import_csv(chosen, BRAND, path)
    assert (result.lines, result.recorded, result.unchanged, result.rejected) == (4000, 2000, 2000, 0)
    assert verify(chosen).equal
    with service.open_registry(chosen) as registry:
        assert registry.ledger.head() == 4000
        assert check.verify(registry.ledger.engine).faults == []
