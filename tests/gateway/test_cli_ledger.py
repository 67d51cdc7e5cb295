"""`izinli ledger …` as an operator runs it."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

from tests.gateway.command import BRAND, HEADER, config, izinli

__all__ = ["config"]

LINE = "+905550000001,MESAJ,ONAY,HS_WEB,BIREYSEL,2026-01-01 00:00:00\n"


def test_verify_says_which_events_were_changed(config: Path, tmp_path: Path) -> None:
    consents = tmp_path / "consents.csv"
    consents.write_text(HEADER + LINE)
    assert izinli("import", "-c", config, *BRAND, consents).returncode == 0
    whole = izinli("ledger", "verify", "-c", config, "--json")
    assert whole.returncode == 0, whole.stderr
    said = json.loads(whole.stdout)
    assert (said["whole"], said["events"], said["head"], said["faults"]) == (True, 1, 1, [])
    assert izinli("ledger", "verify", "-c", config, "--digest", said["digest"]).returncode == 0
    assert izinli("ledger", "verify", "-c", config, "--digest", "none").returncode == 65
    other = izinli("ledger", "verify", "-c", config, "--digest", "0" * 64)
    assert (other.returncode, "no recording has the digest" in other.stdout) == (1, True)
    ledger = sqlite3.connect(config.parent / "izinli-data/ledger.sqlite")
    with ledger:
        ledger.execute("UPDATE consent_event SET status = 'RET'")
    ledger.close()
    changed = izinli("ledger", "verify", "-c", config)
    assert changed.returncode == 1
    assert "entry 1, recorded by file consents.csv, user " in changed.stdout


def test_retain_takes_out_what_ended_three_years_ago(config: Path, tmp_path: Path) -> None:
    consents = tmp_path / "consents.csv"
    ended = "+905550000002,MESAJ,{},HS_WEB,BIREYSEL,2018-01-0{} 00:00:00\n"
    consents.write_text(HEADER + LINE + ended.format("ONAY", 1) + ended.format("RET", 2))
    assert izinli("import", "-c", config, *BRAND, consents).returncode == 0
    nothing = izinli("ledger", "retain", "-c", config, "--dry-run", "--json")
    assert nothing.returncode == 0, nothing.stderr
    assert json.loads(nothing.stdout)["events"] == 0  # recorded only now: messages may have gone until today
    ledger = sqlite3.connect(config.parent / "izinli-data/ledger.sqlite")
    with ledger:
        ledger.execute("UPDATE consent_event SET recorded_at = '2018-01-03T00:00:00Z'")
    assert json.loads(izinli("ledger", "retain", "-c", config, "--dry-run", "--json").stdout)["events"] == 2
    doubted = izinli("ledger", "retain", "-c", config)  # nothing was seen since 2018: the clock may be wrong
    assert (doubted.returncode, "nothing was removed" in doubted.stderr) == (75, True)
    assert izinli("ledger", "retain", "-c", config, "--clock-is-right").stdout.startswith(
        "2 events of consents that ended before "
    )
    assert ledger.execute("SELECT seq FROM consent_event").fetchall() == [(1,)]
    ((actor,),) = ledger.execute("SELECT actor FROM recording WHERE seq = 4")
    assert actor.startswith("ledger retain, user ")
    ledger.close()
