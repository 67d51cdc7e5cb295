"""`izinli journal verify` as an operator runs it."""

from __future__ import annotations

import json
from pathlib import Path

from gateway.journal import Journal
from tests.gateway.command import config, izinli

__all__ = ["config"]


def test_verify_says_which_lines_were_changed(config: Path) -> None:
    nothing = izinli("journal", "verify", "-c", config)
    assert (nothing.returncode, nothing.stdout) == (0, "there is no journal yet\n")
    gone = izinli("journal", "verify", "-c", config, "--digest", "0" * 63 + "1")
    assert (gone.returncode, "no seal has the digest" in gone.stdout) == (1, True)
    directory = config.parent / "izinli-data/journal"
    journal = Journal(directory, 0)
    assert journal.write([b'{"id":"1"}\n', b'{"id":"2"}\n'])
    journal.close()
    whole = izinli("journal", "verify", "-c", config, "--json")
    assert whole.returncode == 0
    (worker,) = json.loads(whole.stdout)["workers"]
    assert (worker["files"], worker["lines"], worker["faults"]) == (1, 2, [])
    assert izinli("journal", "verify", "-c", config, "--digest", worker["digest"]).returncode == 0
    assert izinli("journal", "verify", "-c", config, "--digest", "0" * 63 + "1").returncode == 1
    assert izinli("journal", "verify", "-c", config, "--digest", "none").returncode == 65
    (path,) = directory.glob("*.ndjson")
    path.write_bytes(path.read_bytes().replace(b"2", b"3"))
    changed = izinli("journal", "verify", "-c", config)
    assert changed.returncode == 1
    assert "lines 1 to 2, sealed at" in changed.stdout.replace("\n", " ")
    path.unlink()
    path.mkdir()
    unreadable = izinli("journal", "verify", "-c", config)
    assert (unreadable.returncode, unreadable.stderr.startswith("the journal cannot be read")) == (69, True)
