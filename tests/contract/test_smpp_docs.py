"""docs/smpp.md names every status the SMPP door can give, every key of an account and of an SMSC, and no other."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from filters.model import Reason
from gateway.config.account import ESME_KEYS
from gateway.config.pool import POOL_KEYS
from gateway.config.upstream import read_upstream
from gateway.metrics import DOOR_KINDS, ERROR_KINDS
from gateway.smpp import statuses
from gateway.toml import Lines, Table

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/smpp.md").read_text(encoding="utf-8")
NAMES = {name: value for name, value in vars(statuses).items() if name.startswith("ESME_")}
TOLD_ELSEWHERE = {"upstream", "upstream_system_id", "upstream_password_file", "alphabet_of", "mo_ambiguous"}


def section(title: str) -> str:
    return PAGE.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def said() -> set[str]:
    """Names of statuses in the source of the door, other than where they are defined and where the SMSC's are read."""
    found = set()
    for path in sorted((ROOT / "gateway/smpp").glob("*.py")):
        tree = ast.parse(path.read_bytes(), str(path))
        imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
        if path.name != "statuses.py":
            found |= {name for name in imported if name in NAMES}
    return found | {name for name, value in NAMES.items() if value in statuses.OF_REASON.values()}


def test_each_status_is_in_the_page_with_its_number() -> None:
    rows = {name: int(number, 16) for number, name in re.findall(r"^\| `(0x\w\w) (ESME_\w+)` \|", PAGE, re.MULTILINE)}
    assert {name: NAMES.get(name) for name in rows} == rows
    assert said() - set(rows) == set()
    assert set(rows) - said() == set()
    never = dict(re.findall(r"`0x\w\w (ESME_\w+)`( and|,)", section("Every status").split("Never sent", 1)[1]))
    assert set(NAMES) - set(rows) == set(never)


def test_each_reason_is_in_the_page_with_its_answer() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `(0x\w\w)` \| (\d+|–) \|", PAGE, re.MULTILINE)
    told = {reason: (int(status, 16), error) for reason, status, error in rows}
    expected = {
        reason.value: (status, str(statuses.RECEIPT_ERROR.get(reason, "–")))
        for reason, status in statuses.OF_REASON.items()
        if status != statuses.ESME_ROK
    }
    assert told == expected
    assert len(rows) == len(expected) < len(Reason)


def test_each_key_of_an_account_and_of_an_smsc() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", section("An account"), re.MULTILINE)
    assert set(rows) == set(ESME_KEYS) - TOLD_ELSEWHERE
    table = Table({"protocol": "smpp", "hosts": ["127.0.0.1:2776"]}, Lines(""), [], ("upstream", "smsc"))
    read_upstream(table, "smsc", Path())
    rows = re.findall(r"^\| `(\w+)` \|", section("An SMSC").split("counter", 1)[0], re.MULTILINE)
    assert set(rows) == table._asked - {"protocol"}
    assert set(POOL_KEYS) & table._asked == set()
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", section("Pooled"), re.MULTILINE)
    assert {name.strip("`") for row in rows for name in row.split(", ")} >= set(POOL_KEYS)


def test_the_counters_are_there() -> None:
    told = set(re.findall(r"`(\w+)`", "\n".join(re.findall(r"^\| ([^|]+) \|", section("An SMSC"), re.MULTILINE))))
    kinds = set(ERROR_KINDS["smpp"])
    assert {kind for kind in kinds if kind.startswith("smsc_")} | {"rate", "window", "receipt_lost"} <= told
    assert told - kinds - {"hosts", "topology", "reserve", "packed", "tls", "ca_file", "tls_name"} == set()
    assert set(DOOR_KINDS) <= kinds


def test_the_reader_finds_what_is_there() -> None:
    """A reader that finds nothing would agree with any page."""
    assert {"ESME_RCNTSUBDL", "ESME_RINVSCHED", "ESME_RSUBMITFAIL", "ESME_ROK"} <= said()
    assert len(said()) > 20
