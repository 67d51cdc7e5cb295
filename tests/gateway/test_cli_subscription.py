"""`izinli subscription …` as an operator runs it."""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

from registry.rules import turkey_time
from tests.gateway.command import BRAND, HEADER, config, izinli

__all__ = ["config"]

LINE = "+9055500000{},MESAJ,ONAY,HS_WEB,BIREYSEL,{}\n"


def test_a_quota_holds_until_it_is_taken_away(config: Path, tmp_path: Path) -> None:
    iys_code = BRAND[1]
    limited = izinli("subscription", "quota", "-c", config, iys_code, "1")
    assert limited.returncode == 0, limited.stderr
    assert limited.stdout == f"iysCode {iys_code}: 0 of 1 consents are held\n"
    consents = tmp_path / "consents.csv"
    lately = turkey_time(datetime.now(UTC) - timedelta(hours=1))
    consents.write_text(HEADER + LINE.format("01", lately) + LINE.format("02", lately))
    declared = izinli("import", "-c", config, *BRAND, "--declare", "--json", consents)
    assert declared.returncode == 65
    assert json.loads(declared.stdout)["reasons"] == {"H525": 1}
    told = json.loads(izinli("subscription", "list", "-c", config, "--json").stdout)
    assert told == {"subscriptions": [{"iysCode": int(iys_code), "quota": 1, "held": 1}]}
    ledger = sqlite3.connect(config.parent / "izinli-data/ledger.sqlite")
    with ledger:
        ledger.execute("UPDATE subscription SET held = 0")
    ledger.close()
    wrong = izinli("ledger", "verify", "-c", config)
    assert (wrong.returncode, f"subscription of iysCode {iys_code}: 0 consents" in wrong.stdout) == (1, True)
    free = izinli("subscription", "quota", "-c", config, iys_code, "none")
    assert free.stdout == f"iysCode {iys_code} has no quota\n"
    assert izinli("import", "-c", config, *BRAND, "--declare", consents).returncode == 0


def test_what_is_no_quota_or_no_provider_is_refused(config: Path) -> None:
    for said, words in ((("1", "none at all"), "a whole number of consents, or none"), (("1", "5"), "no [[brand]]")):
        refused = izinli("subscription", "quota", "-c", config, *said)
        assert (refused.returncode, words in refused.stderr) == (65, True)
