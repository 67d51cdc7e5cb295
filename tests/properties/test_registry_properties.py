"""Whatever happens in whatever order, the index is the fold of the ledger once the publisher has caught up (I5)."""

from __future__ import annotations

import random
import shutil
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from filters.key import Fingerprinter
from filters.layout import FAMILY_OF, MEMBER_STATUS
from filters.model import Channel, RecipientType, Status
from registry import publish
from registry.importer import Importer, quotable
from registry.ledger import Ledger
from registry.lines import Batch, Columns, Job, Parser
from registry.publish import Publisher, open_index
from registry.rules import SAID, Consent, Line, LineRules, Move, turkey_time
from tests.registry.support import BRAND, HEADER, KEY, NOW, differences, fingerprint, move, record, write_csv

PEOPLE = 6
dates = st.integers(0, 9).map(lambda day: f"2026-01-0{day + 1} 00:00:00" if day < 9 else "2026-01-10 00:00:00")
people = st.integers(0, PEOPLE - 1)
kinds = st.sampled_from(RecipientType)
statuses = st.sampled_from(SAID)
moves = st.builds(
    lambda who, status, date, kind, source: move(who, status, date, kind=kind, source=source),
    people,
    statuses,
    dates,
    kinds,
    st.sampled_from(["HS_WEB", "HS_MOBIL"]),
)


class RegistryMachine(RuleBasedStateMachine):
    """A ledger, an index and two publishers; the model is a dictionary of what was said last."""

    @initialize()
    def start(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="izinli-property-"))
        self.ledger = Ledger.open("sqlite", self.directory, KEY)
        self.writers = [open_index("sqlite", self.directory, Fingerprinter(KEY).check_value()) for _ in range(2)]
        self.publishers = [Publisher(self.ledger, writer) for writer in self.writers]
        self.publishers[0].ensure()
        self.model: dict[tuple[bytes, RecipientType], Consent] = {}
        self.withdrawn: set[tuple[bytes, RecipientType]] = set()

    def said(self, one: Move) -> None:
        key = (one.recipient, one.recipient_type)
        self.model[key] = max(self.model.get(key, one.consent), one.consent)
        self.withdrawn = {key for key in self.withdrawn if self.model[key].status is Status.RET}

    @rule(history=st.lists(moves, max_size=8))
    def recorded(self, history: list[Move]) -> None:
        record(self.ledger, *history)
        for one in history:
            self.said(one)

    @rule(history=st.lists(moves, max_size=8), bad=st.booleans())
    def imported(self, history: list[Move], bad: bool) -> None:
        lines = [
            f"{one.recipient.decode()},MESAJ,{one.status},{one.source},{one.recipient_type},{one.consent_date}"
            for one in history
        ]
        path = write_csv(self.directory / "in.csv", [*lines, *(["bad"] if bad else [])])
        run = Importer(self.ledger, KEY, BRAND, now=NOW)
        run.run(path, self.directory / "rejects.csv")
        assert (run.lines, run.rejected) == (len(history) + bad, bad)
        for one in history:
            self.said(one)

    @rule(who=people, kind=kinds, which=st.integers(0, 1))
    def withdrawn_now(self, who: int, kind: RecipientType, which: int) -> None:
        one = move(who, Status.RET, "", kind=kind)
        record(self.ledger, one)
        self.publishers[which].publish_now([(fingerprint(self.ledger, one), kind)])
        key = (one.recipient, kind)
        if key not in self.model or self.model[key].status is Status.ONAY:
            self.model[key] = Consent(turkey_time(NOW), Status.RET, one.source)
        self.withdrawn.add(key)

    @rule(which=st.integers(0, 1))
    def ticked(self, which: int) -> None:
        self.publishers[which].tick()

    @rule(which=st.integers(0, 1))
    def rebuilt(self, which: int) -> None:
        self.publishers[which].rebuild()

    @rule(which=st.integers(0, 1), limit=st.integers(1, 3))
    def followed_in_small_steps(self, which: int, limit: int) -> None:
        usual, publish.TAIL_CHANGES_MAX = publish.TAIL_CHANGES_MAX, limit
        try:
            self.publishers[which].follow()
        finally:
            publish.TAIL_CHANGES_MAX = usual

    @rule()
    def emptied(self) -> None:
        for path in self.directory.glob("index.sqlite*"):
            path.unlink()
        self.publishers[0].ensure()

    @invariant()
    def the_ledger_folds_as_the_model(self) -> None:
        for (recipient, kind), consent in self.model.items():
            found = self.ledger.fold(self.ledger.fingerprint(BRAND, Channel.MESAJ, recipient))
            assert found[kind].status is consent.status
            assert found[kind].consent_date == consent.consent_date

    @invariant()
    def i5_who_withdrew_is_out_at_once(self) -> None:
        for recipient, kind in self.withdrawn:
            one = self.ledger.fingerprint(BRAND, Channel.MESAJ, recipient)
            member = self.writers[0].contains(FAMILY_OF[kind], [one])[0]
            assert member is (MEMBER_STATUS[kind] is Status.RET)

    def teardown(self) -> None:
        if hasattr(self, "ledger"):
            self.publishers[1].tick()
            assert differences(self.writers[0], self.ledger) == []
            for writer in self.writers:
                writer.close()
            self.ledger.close()
            shutil.rmtree(self.directory)


TestRegistry = RegistryMachine.TestCase
TestRegistry.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)


@given(history=st.lists(moves, min_size=1, max_size=12), seed=st.integers(0, 2**32))
def test_a_fold_is_the_same_in_every_order(history: list[Move], seed: int) -> None:
    shuffled = history.copy()
    random.Random(seed).shuffle(shuffled)
    assert max(one.consent for one in history) == max(one.consent for one in shuffled)


@settings(max_examples=25, deadline=None)
@given(history=st.lists(moves, max_size=10), cut=st.integers(0, 10))
def test_the_same_history_in_other_batches_gives_the_same_ledger(history: list[Move], cut: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folds = []
        for index, parts in enumerate([[history], [history[:cut], history[cut:], history], [history[::-1]]]):
            ledger = Ledger.open("sqlite", Path(name) / str(index), KEY)
            for part in parts:
                record(ledger, *part)
            folds.append([ledger.fold(fingerprint(ledger, move(who, Status.ONAY))) for who in range(PEOPLE)])
            assert ledger.head() == len(set(history))
            ledger.close()
    assert folds[0] == folds[1] == folds[2]


@given(columns=st.lists(st.binary(max_size=30), min_size=6, max_size=6), declare=st.booleans())
def test_the_rules_never_raise(columns: list[bytes], declare: bool) -> None:
    rules = LineRules(BRAND, turkey_time(NOW), declare=declare, oldest="2026-02-27 00:00:00")
    found = rules(Line(*columns))
    assert isinstance(found, str | Move)


@given(raw=st.binary(max_size=200))
def test_no_line_breaks_the_parser(raw: bytes) -> None:
    parser = Parser(Job(HEADER.encode(), BRAND, turkey_time(NOW), False, "", KEY))
    lines = [line + b"\n" for line in raw.split(b"\n")]
    parsed = parser(Batch(2, lines, 0))
    assert len(parsed.entries) + len(parsed.bad) <= len(lines)
    for number, _, line in parsed.bad:
        assert lines[number - 2] == line
        assert quotable(line).isprintable()


@given(
    fields=st.lists(
        st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), max_size=20), min_size=6, max_size=6
    )
)
def test_quoted_fields_are_what_they_say(fields: list[str]) -> None:
    quoted = ",".join('"' + field.replace('"', '""') + '"' for field in fields)
    assert Columns(HEADER.encode()).pick(quoted.encode() + b"\n") == tuple(field.encode() for field in fields)
