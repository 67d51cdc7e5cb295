"""The life of applications, on both databases, with a clock that is moved."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import select, text

from filters import brand_file
from filters.layout import Suspended
from filters.link import BRAND_MAX
from filters.model import Brand
from registry import limits
from registry.ledger import Ledger
from registry.providers.book import BrandBook
from registry.providers.proofs import Answer
from registry.providers.states import LIFE, Action, NotNow, State, Way, after
from registry.providers.store import APPLICANT, Refused, TooManyOpen, Unknown
from registry.providers.suspensions import suspensions
from registry.providers.tables import provider, provider_outbox, provider_proof
from registry.providers.vault import Vault
from tests.registry.providers.support import MOBILE, TCKN, Office

OPERATOR = "user ayse"


@pytest.fixture
def office(ledger: Ledger) -> Office:
    return Office(ledger.engine)


def changes(office: Office, number: int) -> list[tuple[str, str, str]]:
    return [(one.action, one.state, one.actor) for one in office.providers.changes(number)]


def test_both_addresses_proven_is_verified_and_each_step_is_written_down(office: Office) -> None:
    handle = office.apply()
    assert office.proofs.try_code(handle, office.code(), office.clock()) is Answer.DONE
    assert office.proofs.look_at_link(office.token(), office.clock()) is Answer.DONE
    found = office.providers.standing(handle)
    assert found is not None
    assert (found.state, found.confirmed) == (State.APPLIED, {Way.MOBILE: True, Way.EMAIL: False})
    assert office.proofs.use_link(office.token(), office.clock()) is Answer.DONE
    assert office.proofs.use_link(office.token(), office.clock()) is Answer.SETTLED
    assert office.providers.get(found.id).state is State.VERIFIED
    assert changes(office, found.id) == [
        ("apply", "applied", APPLICANT),
        ("confirm-mobile", "applied", APPLICANT),
        ("confirm-email", "applied", APPLICANT),
        ("verify", "verified", APPLICANT),
    ]


def test_an_operator_may_vouch_where_nothing_is_sent(ledger: Ledger) -> None:
    office = Office(ledger.engine, frozenset())
    number = office.providers.standing(office.apply())
    assert number is not None
    for way in Way:
        office.proofs.confirm_by_hand(number.id, way, office.clock(), OPERATOR, "called back")
    office.proofs.confirm_by_hand(number.id, Way.EMAIL, office.clock(), OPERATOR, "twice does no harm")
    assert changes(office, number.id)[-1] == ("verify", "verified", OPERATOR)
    assert office.providers.changes(number.id)[1].reason == "called back"


def test_wrong_codes_are_counted_and_the_right_one_comes_too_late(office: Office) -> None:
    handle, right = office.apply(), office.code()
    wrong = "000000" if right != "000000" else "000001"
    answers = [office.proofs.try_code(handle, code, office.clock()) for code in (wrong, wrong, wrong, right)]
    assert answers == [Answer.WRONG, Answer.WRONG, Answer.TOO_MANY_TRIES, Answer.TOO_MANY_TRIES]
    assert office.proofs.send_again(handle, Way.MOBILE, office.clock()) is Answer.TOO_SOON
    office.clock.forward(limits.PROOF_PAUSE_SECONDS)
    assert office.proofs.send_again(handle, Way.MOBILE, office.clock()) is Answer.DONE
    assert office.proofs.try_code(handle, office.code(), office.clock()) is Answer.DONE
    assert office.proofs.try_code(handle, office.code(), office.clock()) is Answer.SETTLED


def test_codes_and_links_grow_old_and_only_the_newest_counts(office: Office) -> None:
    handle, code, token = office.apply(), office.code(), office.token()
    office.clock.forward(limits.PROOF_CODE_SECONDS)
    assert office.proofs.try_code(handle, code, office.clock()) is Answer.EXPIRED
    assert office.proofs.send_again(handle, Way.EMAIL, office.clock()) is Answer.DONE
    assert office.proofs.use_link(token, office.clock()) is Answer.EXPIRED, "there is a newer one"
    newer = office.token()
    office.clock.forward(limits.PROOF_LINK_SECONDS)
    assert office.proofs.look_at_link(newer, office.clock()) is Answer.EXPIRED
    with pytest.raises(Unknown):
        office.proofs.use_link(newer + "x", office.clock())
    with pytest.raises(Unknown):
        office.proofs.try_code("x", code, office.clock())


def test_a_code_is_its_own_applications_alone(office: Office) -> None:
    first, code = office.apply(), office.code()
    other = office.apply(mobile="+905550000008")
    if office.code() != code:
        assert office.proofs.try_code(other, code, office.clock()) is Answer.WRONG
    assert office.proofs.try_code(first, code, office.clock()) is Answer.DONE


def test_nobody_is_written_to_without_end(office: Office) -> None:
    """Whoever applies names any number: five messages a day to one are enough."""
    for _ in range(limits.PROOFS_PER_DAY_MAX):
        office.apply()
    handle = office.apply()
    office.letter(Way.MOBILE)
    to_mobile = [letter for way, letter in office.sent if way is Way.MOBILE]
    assert len(to_mobile) == len(office.sent) - len(to_mobile) == limits.PROOFS_PER_DAY_MAX
    office.clock.forward(limits.PROOF_PAUSE_SECONDS)
    assert office.proofs.send_again(handle, Way.MOBILE, office.clock()) is Answer.TOO_OFTEN
    office.clock.forward(limits.PROOF_DAY_SECONDS)
    assert office.proofs.send_again(handle, Way.MOBILE, office.clock()) is Answer.DONE


def test_secrets_are_not_in_the_database(office: Office, ledger: Ledger) -> None:
    handle = office.apply()
    with ledger.engine.connect() as connection:
        rows = [
            tuple(row)
            for table in (provider, provider_proof, provider_outbox)
            for row in connection.execute(select(table))
        ]
    kept = b" ".join(value if isinstance(value, bytes) else str(value).encode() for row in rows for value in row)
    code, token = office.code(), office.token()
    for secret in (TCKN, handle, token, f"kodunuz: {code}"):
        assert secret.encode() not in kept
    assert office.providers.get(1).tckn == "•" * 9 + TCKN[-2:]
    other = Office(ledger.engine)
    other.providers.vault = Vault(bytes(64))
    with pytest.raises(ValueError, match="another key"):
        other.providers.get(1)


def test_an_approval_gives_codes_that_nobody_has(office: Office, ledger: Ledger, tmp_path: Path) -> None:
    number = office.verified()
    taken = {900_001: Brand(900_001, "Başka", "Başka A.Ş.", "0123456789000015", 900_000)}
    one = office.providers.approve(number, office.clock(), OPERATOR, "in order", start=900_000, taken=taken)
    assert (one.state, one.iys_code, one.codes) == (State.APPROVED, 900_002, [900_002, 900_003])
    second = office.verified(mersis="0555000111200001", mobile="+905550000009", email="x@baska.example.com.tr")
    assert office.providers.approve(second, office.clock(), OPERATOR, "", start=1, taken={}).codes == [900_004, 900_005]
    book = BrandBook({1: taken[900_001]}, office.providers, tmp_path)
    book.refresh()
    assert sorted(book) == [1, 900_002, 900_003, 900_004, 900_005]
    read = brand_file.read((tmp_path / brand_file.NAME).read_text())
    assert (read[900_003].title, read[900_003].iys_code) == ("Deneme Kahve Ticaret A.Ş.", 900_002)
    written = (tmp_path / brand_file.NAME).stat()
    book.refresh()
    assert (tmp_path / brand_file.NAME).stat().st_mtime_ns == written.st_mtime_ns, "nothing new, nothing written"


def test_one_mersis_number_is_approved_once(office: Office) -> None:
    first = office.approved()
    second = office.verified()
    with pytest.raises(Refused, match=f"provider {first} has the same"):
        office.providers.approve(second, office.clock(), OPERATOR, "", start=1, taken={})
    assert office.providers.get(second).state is State.VERIFIED


def test_what_does_not_fit_the_state_is_refused(office: Office) -> None:
    handle = office.apply()
    with pytest.raises(NotNow, match="approve is for who is verified; this one is applied"):
        office.providers.approve(1, office.clock(), OPERATOR, "", start=1, taken={})
    office.providers.change(1, Action.REJECT, office.clock(), OPERATOR, "no such company")
    for action in (Action.REJECT, Action.SUSPEND, Action.RESUME):
        with pytest.raises(NotNow):
            office.providers.change(1, action, office.clock(), OPERATOR, "")
    assert office.proofs.try_code(handle, office.code(), office.clock()) is Answer.SETTLED
    with pytest.raises(Unknown):
        office.providers.change(2, Action.REJECT, office.clock(), OPERATOR, "")
    assert changes(office, 1)[-1] == ("reject", "rejected", OPERATOR)


def test_the_table_of_states_leads_nowhere_else() -> None:
    for state in State:
        for action in Action:
            if (state, action) not in LIFE:
                with pytest.raises(NotNow):
                    after(state, action)
    assert {state for state, _ in LIFE} | set(LIFE.values()) == set(State)


def test_suspensions_are_what_the_newest_change_left(office: Office, ledger: Ledger) -> None:
    number = office.approved()
    before = suspensions(ledger.engine)
    office.providers.change(number, Action.SUSPEND, office.clock(), OPERATOR, "spam")
    during = suspensions(ledger.engine)
    assert (during.brands, during.version) == ({900_000, 900_001}, before.version + 1)
    assert Suspended.parse(str(during).encode()) == during
    office.providers.change(number, Action.RESUME, office.clock(), OPERATOR, "")
    assert suspensions(ledger.engine) == Suspended(before.version + 2)


def test_there_is_room_for_so_many_applications(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("registry.providers.store.PROVIDERS_OPEN_MAX", 1)
    office.apply()
    with pytest.raises(TooManyOpen):
        office.apply()
    office.clock.forward(limits.PROVIDERS_OPEN_SECONDS)
    office.apply()


def test_suspended_brands_stay_few(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("registry.providers.store.PROVIDERS_SUSPENDED_BRANDS_MAX", 1)
    number = office.approved()
    with pytest.raises(Refused, match="more than 1"):
        office.providers.change(number, Action.SUSPEND, office.clock(), OPERATOR, "")
    assert office.providers.get(number).state is State.APPROVED


def test_addresses_are_kept_as_they_were_proven(office: Office) -> None:
    found = office.providers.standing(office.apply(email="İMZA@x.example.com.tr".replace("İ", "I")))
    assert found is not None
    assert (found.mobile, found.email) == (MOBILE, "imza@x.example.com.tr")


def test_the_tables_are_not_in_other_hands(ledger: Ledger) -> None:
    """The change log has one row for each number, without gaps."""
    office = Office(ledger.engine)
    office.approved()
    with ledger.engine.connect() as connection:
        numbers = connection.execute(text("SELECT seq FROM provider_change ORDER BY seq")).scalars().all()
    assert numbers == list(range(1, len(numbers) + 1))


def test_codes_come_to_an_end(office: Office) -> None:
    number = office.verified()
    with pytest.raises(Refused, match="no free brand code"):
        office.providers.approve(number, office.clock(), OPERATOR, "", start=BRAND_MAX, taken={})
    assert office.providers.get(number).state is State.VERIFIED
