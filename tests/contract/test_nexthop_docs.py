"""docs/nexthop.md names every key of an SMTP upstream and every kind of error, and no other."""

from __future__ import annotations

import re
from pathlib import Path

from gateway.config.upstream import read_upstream
from gateway.metrics import ERROR_KINDS
from gateway.toml import Lines, Table

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "nexthop.md").read_text()


def test_kinds_of_errors() -> None:
    documented = re.findall(r"^\| `(next_hop_[a-z_]+)`", TEXT, re.MULTILINE)
    assert sorted(documented) == sorted(kind for kind in ERROR_KINDS["smtp"] if kind.startswith("next_hop_"))


def test_keys() -> None:
    table = Table({"protocol": "smtp", "hosts": ["127.0.0.1:25"]}, Lines(""), [], ("upstream", "relay"))
    read_upstream(table, "relay", Path())
    section = TEXT[TEXT.index("## Keys") : TEXT.index("## Which host")]
    rows = re.findall(r"^\| (`[a-z_`, ]+`) \|", section, re.MULTILINE)
    documented = {key for row in rows for key in re.findall(r"[a-z_]+", row)}
    assert documented == table._asked - {"protocol"}
