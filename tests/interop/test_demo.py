"""`izinli demo` tells the truth: what it prints is what happened, and its exit code says whether it should have."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter

import pytest

from gateway.demo.messages import CONSENTS
from gateway.demo.run import Row

pytestmark = pytest.mark.interop

KEYS = ["protocol", "stream", "recipient", "kind", "expected", "outcome", "reason", "answer", "before", "after"]


def test_the_demonstration_as_json() -> None:
    command = [sys.executable, "-m", "gateway.cli", "demo", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["ok"] is True
    messages = told["messages"]
    assert [list(message) for message in messages] == [KEYS] * len(messages)
    seen = Counter((message["protocol"], message["outcome"]) for message in messages)
    assert all(seen[protocol, outcome] for protocol in ("smtp", "smpp") for outcome in ("pass", "block", "defer")), seen
    assert len(messages) >= 10
    assert len(CONSENTS.splitlines()) == 13, "a dozen, and the header"
    for message in messages:
        assert bool(message["after"]) == (message["outcome"] == "pass")
        if message["kind"] == "informational":
            assert message["after"] == message["before"]
        elif message["outcome"] == "pass":
            assert "0123456789000015" in message["after"]
            assert "/r/" in message["after"]
            assert message["before"].splitlines()[0] in message["after"]
    assert any(not message["after"].isascii() for message in messages if message["protocol"] == "smpp"), "UCS-2 too"


@pytest.mark.parametrize(
    ("expected", "outcome", "after", "ok"),
    [
        ("pass", "pass", "text", True),
        ("pass", "pass", "", False),
        ("block", "block", "", True),
        ("block", "block", "text", False),
        ("block", "defer", "", False),
        ("defer", "pass", "text", False),
    ],
)
def test_what_counts_as_expected(expected: str, outcome: str, after: str, *, ok: bool) -> None:
    row = Row("smtp", "kampanya", "a@example.test", "commercial", expected, outcome, "consent", "", "text", after)
    assert row.ok is ok
