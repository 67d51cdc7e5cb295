"""The law's way in for consents of before, with a moved clock."""

from __future__ import annotations

from datetime import UTC, date, datetime
from io import StringIO
from pathlib import Path

import pytest

from filters.key import Fingerprinter
from filters.model import RecipientType, Status
from filters.transition import LAW, Window, window_of
from registry import transition
from registry.export import export
from registry.importer import Importer
from registry.ledger import Ledger
from registry.publish import Publisher, open_index
from registry.transition import TooLate, end_reviews, origin_at
from tests.registry.support import BRAND, HEADER, KEY, fold, onay
from tests.registry.test_importer import people

LARGE, SMALL = 150_001, 150_000


def at(day: str, time: str = "12:00") -> datetime:
    return datetime.fromisoformat(f"{day}T{time}+03:00")


@pytest.mark.parametrize(
    ("held", "last", "review"),
    [(LARGE, "2020-12-31", "2021-02-15"), (SMALL, "2021-05-31", "2021-07-15"), (0, "2021-05-31", "2021-07-15")],
)
def test_the_calendar_of_the_law(held: int, last: str, review: str) -> None:
    assert origin_at(LAW, held, at(last, "23:59")) == f"existing:{review}"
    next_day = date.fromisoformat(last).toordinal() + 1
    with pytest.raises(TooLate, match=f"until {last}"):
        origin_at(LAW, held, at(date.fromordinal(next_day).isoformat(), "00:00"))


def test_days_are_those_of_turkey() -> None:
    assert origin_at(LAW, LARGE, datetime(2020, 12, 31, 20, 59, tzinfo=UTC))
    with pytest.raises(TooLate):
        origin_at(LAW, LARGE, datetime(2020, 12, 31, 21, 0, tzinfo=UTC))


def test_another_calendar_can_be_given() -> None:
    calendar = (Window(10, date(2030, 1, 1), date(2030, 2, 1)), Window(5, date(2030, 3, 1), date(2030, 4, 1)))
    assert window_of(calendar, 11) == calendar[0]
    assert window_of(calendar, 6) == window_of(calendar, 1) == calendar[1]


def load(ledger: Ledger, tmp_path: Path, lines: list[str], now: datetime) -> Importer:
    path = tmp_path / "in.csv"
    path.write_text("\n".join([HEADER, *lines]))
    run = Importer(ledger, KEY, BRAND, now=now, existing=origin_at(LAW, SMALL, now))
    run.run(path, tmp_path / "rejects.csv")
    return run


def members(ledger: Ledger) -> int:
    return ledger.member_count(RecipientType.BIREYSEL, Status.ONAY)


def test_what_is_loaded_counts_from_the_day_after_the_review(ledger: Ledger, tmp_path: Path) -> None:
    loaded = load(ledger, tmp_path, people(5, date="2016-01-01 00:00:00"), at("2021-05-31"))
    assert (loaded.recorded, members(ledger), fold(ledger, onay(1))) == (5, 0, Status.BEKLIYOR)
    assert end_reviews(ledger, at("2021-07-15", "23:59")) == 0
    assert end_reviews(ledger, at("2021-07-16", "00:00"), at_once=3) == 3
    assert (members(ledger), end_reviews(ledger, at("2021-07-16", "00:00"))) == (3, 2)
    assert (members(ledger), fold(ledger, onay(1)), end_reviews(ledger, at("2021-07-17"))) == (5, Status.ONAY, 0)


def test_what_waits_is_not_exported_as_a_consent(ledger: Ledger, tmp_path: Path) -> None:
    load(ledger, tmp_path, people(3, date="2016-01-01 00:00:00"), at("2021-05-31"))
    out = StringIO()
    assert (export(ledger, BRAND, out), out.getvalue()) == (0, f"{HEADER}\n")
    end_reviews(ledger, at("2021-07-16"))
    assert export(ledger, BRAND, StringIO()) == 3


def test_who_refused_meanwhile_is_never_written_to(ledger: Ledger, tmp_path: Path) -> None:
    load(ledger, tmp_path, people(3, date="2016-01-01 00:00:00"), at("2021-05-31"))
    path = tmp_path / "refused.csv"
    path.write_text("\n".join([HEADER, *people(1, "RET", "2021-06-20 10:00:00")]))
    Importer(ledger, KEY, BRAND, now=at("2021-06-21")).run(path, tmp_path / "rejects.csv")
    assert end_reviews(ledger, at("2021-07-16")) == 2
    assert (members(ledger), fold(ledger, onay(0))) == (2, Status.RET)


def test_loading_the_same_again_changes_nothing(ledger: Ledger, tmp_path: Path) -> None:
    lines = people(3, date="2016-01-01 00:00:00")
    load(ledger, tmp_path, lines, at("2021-05-01"))
    assert load(ledger, tmp_path, lines, at("2021-05-31")).unchanged == 3
    assert end_reviews(ledger, at("2021-07-16")) == 3
    assert load(ledger, tmp_path, lines, at("2021-05-31")).unchanged == 3
    assert members(ledger) == 3


def test_a_change_of_the_key_keeps_who_is_under_review(ledger: Ledger, tmp_path: Path) -> None:
    load(ledger, tmp_path, people(4, date="2016-01-01 00:00:00"), at("2021-05-31"))
    end_reviews(ledger, at("2021-07-16"), at_once=1)
    ledger.fingerprint = Fingerprinter(bytes(range(1, 33)))
    ledger.refold()
    assert members(ledger) == 1
    assert end_reviews(ledger, at("2021-07-16")) == 3


def test_merchants_and_refusals_are_not_reviewed(ledger: Ledger, tmp_path: Path) -> None:
    lines = [
        "+905550000001,MESAJ,RET,HS_WEB,BIREYSEL,2016-01-01 00:00:00",
        "+905550000002,MESAJ,RET,,TACIR,",
        "+905550000003,MESAJ,ONAY,,TACIR,",
    ]
    assert load(ledger, tmp_path, lines, at("2021-05-31")).recorded == 3
    assert end_reviews(ledger, at("2021-07-16")) == 0
    assert ledger.member_count(RecipientType.TACIR, Status.RET) == 1


def test_the_index_learns_of_it_by_the_way_of_all_events(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(ledger, tmp_path, people(3, date="2016-01-01 00:00:00"), at("2021-05-31"))
    writer = open_index("sqlite", tmp_path / "index", ledger.fingerprint.check_value())
    publisher = Publisher(ledger, writer)
    assert publisher.ensure().count == 0
    assert transition.end_reviews(ledger, at("2021-07-16")) == 3
    assert publisher.tick().count == 3
    writer.close()
