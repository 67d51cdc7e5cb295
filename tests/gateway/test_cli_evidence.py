"""`izinli evidence` as an operator runs it with an inspector at the desk."""

from __future__ import annotations

import json
import shutil
import sqlite3
import stat
from pathlib import Path
from typing import Any

import pytest
from pypdf import PdfReader

from gateway.journal import Journal
from tests.gateway.command import BRAND, HEADER, config, izinli

__all__ = ["config"]

WHO = "Ayse.Yilmaz@Example.COM.TR"
LINES = (
    "ayse.yilmaz@example.com.tr,EPOSTA,ONAY,HS_WEB,BIREYSEL,2026-01-01 00:00:00\n"
    "ayse.yilmaz@example.com.tr,EPOSTA,RET,IYS_WEB,BIREYSEL,2026-02-01 00:00:00\n"
    "+905550000001,MESAJ,ONAY,HS_WEB,BIREYSEL,2026-01-01 00:00:00\n"
)


@pytest.fixture
def told(config: Path, tmp_path: Path) -> Path:
    """A configuration with a history."""
    consents = tmp_path / "onaylar.csv"
    consents.write_text(HEADER + LINES)
    done = izinli("import", "-c", config, *BRAND, consents)
    assert done.returncode == 0, done.stderr
    found = izinli("lookup", "-c", config, *BRAND, "--channel", "EPOSTA", WHO, "--json")
    fingerprint = json.loads(found.stdout)["fingerprint"]
    journal = Journal(config.parent / "izinli-data/journal", 0)
    said = {"id": "57e351762a1", "at": "2026-11-26T00:22:40.915Z", "protocol": "smtp", "stream": "kampanya"}
    said |= {"mode": "enforce", "outcome": "block", "reason": "no_consent", "fingerprint": fingerprint}
    assert journal.write([json.dumps(said).encode() + b"\n"])
    journal.close()
    return config


def evidence(config: Path, *more: str | Path, who: str = WHO) -> tuple[int, str, str]:
    done = izinli("evidence", "-c", config, *BRAND, "--recipient", who, *more)
    return done.returncode, done.stdout, done.stderr


def as_json(config: Path, *more: str, who: str = WHO) -> tuple[int, dict[str, Any]]:
    code, out, err = evidence(config, "--json", *more, who=who)
    assert out, err
    return code, json.loads(out)


def test_consents_decisions_and_both_chains(told: Path) -> None:
    code, said = as_json(told)
    assert (code, said["whole"], said["recipient"]) == (0, True, "ayse.yilmaz@example.com.tr")
    (channel,) = said["channels"]
    onay, ret = channel["events"]
    assert (onay["status"], onay["source"], ret["status"], ret["source"]) == ("ONAY", "HS_WEB", "RET", "IYS_WEB")
    assert onay["actor"].startswith("file onaylar.csv, user ")
    assert len(onay["transaction_id"]) == len(onay["leaf"]) == len(onay["digest"]) == 64
    assert (onay["first_sealed"], onay["last_sealed"], onay["before"]) == (1, 3, "0" * 64)
    assert onay["digest"] == said["ledger"]["digest"]
    assert channel["standing"] == [{"recipient_type": "BIREYSEL", "status": "RET", "seq": 2}]
    (decision,) = channel["decisions"]
    assert (decision["id"], decision["reason"], decision["line"]) == ("57e351762a1", "no_consent", 1)
    assert (said["ledger"]["events"], said["ledger"]["faults"]) == (3, [])
    assert [(one["lines"], one["faults"]) for one in said["journal"]] == [(1, [])]


def test_a_number_is_looked_for_on_both_channels_that_it_can_have(told: Path) -> None:
    _, said = as_json(told, who="0555 000 00 01")
    assert [(one["channel"], len(one["events"])) for one in said["channels"]] == [("ARAMA", 0), ("MESAJ", 1)]
    _, said = as_json(told, "--channel", "arama", who="0555 000 00 01")
    assert [one["channel"] for one in said["channels"]] == ["ARAMA"]
    assert evidence(told, "--channel", "MESAJ")[0] == 65
    assert evidence(told, who="nobody")[0] == 65
    shutil.rmtree(told.parent / "izinli-data/journal")
    assert "No journal on this machine" in evidence(told)[1]


def test_text_and_pdf_say_it_in_turkish_and_english(told: Path, tmp_path: Path) -> None:
    code, text, _ = evidence(told)
    assert code == 0
    path = tmp_path / "kanit.pdf"
    code, out, err = evidence(told, "--pdf", path)
    assert (code, out) == (0, ""), err
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    pages = "\n".join(page.extract_text() for page in PdfReader(path).pages)
    assert "No journal on this machine" not in text
    wanted = ("Onay ve karar dökümü", "Örnek Market Ticaret A.Ş.", "İYS'den aktarım", "bozulmamış", "refused")
    for part in (*wanted, "ayse.yilmaz@example.com.tr", "HS_WEB", "57e351762a1", "transactionId"):
        assert part in text, part
        assert part in pages, part
    code, _, err = evidence(told, "--pdf", path)
    assert (code, "nothing was overwritten" in err) == (73, True)


def test_what_was_changed_is_said_and_is_the_exit_status(told: Path) -> None:
    ledger = sqlite3.connect(told.parent / "izinli-data/ledger.sqlite")
    with ledger:
        ledger.execute("UPDATE consent_event SET status = 'ONAY' WHERE seq = 2")
        ledger.execute("DELETE FROM consent WHERE seq = 2")
    ledger.close()
    (journal,) = (told.parent / "izinli-data/journal").glob("*.ndjson")
    journal.write_bytes(journal.read_bytes().replace(b"block", b"BLOCK"))
    code, text, _ = evidence(told)
    assert code == 1
    assert "BOZUKLUK VAR / FAULTS WERE FOUND" in text
    assert "entries 1 to 3, recorded by file onaylar.csv" in text
    assert "lines 1 to 1" in text
    assert "EPOSTA, BIREYSEL: nothing stands, which does not follow from the events" in text
