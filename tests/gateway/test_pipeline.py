"""The way of a question, with an index that answers when it is told to and a journal on disk."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import pytest

from filters.consent import outcome_of
from filters.link import LinkMinter
from filters.model import Channel, Kind, Outcome, Reason, RecipientType, Stream
from gateway import limits
from gateway.index.interface import UNKNOWN, Answers, Asked, Done, Status
from gateway.journal import Journal
from gateway.metrics import Metrics
from gateway.pipeline import Pipeline
from tests.gateway.conftest import BIREYSEL, BRAND, FINGERPRINT, INFORMATIONAL, OBSERVED, TACIR, Asking


class Oracle:
    """An index that lists what it is told, or answers with one reason."""

    def __init__(self) -> None:
        self.status: Status = UNKNOWN
        self.suspended: frozenset[int] = frozenset()
        self.listed: set[bytes] = set()
        self.reason: Reason | None = None
        self.batches: list[int] = []
        self.held: list[tuple[Sequence[Asked], Done]] = []
        self.hold = False

    async def start(self) -> None: ...
    def poll(self) -> None: ...
    async def close(self) -> None: ...

    def ask(self, questions: Sequence[Asked], done: Done) -> None:
        self.batches.append(len(questions))
        if self.hold:
            self.held.append((questions, done))
        else:
            done(questions, self.answer(questions))

    def answer(self, questions: Sequence[Asked]) -> Answers:
        return self.reason or [question.fingerprint in self.listed for question in questions]


class House:
    """A pipeline with its journal and its numbers."""

    def __init__(self, directory: Path) -> None:
        self.oracle = Oracle()
        self.directory = directory / "journal"
        self.journal = Journal(self.directory, 0)
        self.metrics = Metrics()
        minter = LinkMinter({0: bytes(32)}, 0)
        self.pipeline = Pipeline(
            self.oracle, self.journal, self.metrics, FINGERPRINT, minter, "https://ret.example.test/r/"
        )

    async def ask(self, *questions: Asking) -> None:
        for question in questions:
            self.pipeline.ask(question)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    def lines(self) -> list[dict[str, object]]:
        return [
            json.loads(line)
            for path in sorted(self.directory.glob("*.ndjson"))
            for line in path.read_bytes().splitlines()
        ]


@pytest.fixture
async def house(tmp_path: Path) -> House:
    return House(tmp_path)


async def test_questions_of_one_tick_are_one_batch(house: House) -> None:
    questions = [Asking(BIREYSEL, b"%d@example.test" % number) for number in range(50)]
    house.oracle.listed = {question.fingerprint for question in questions[::2]}
    await house.ask(*questions)
    assert house.oracle.batches == [50]
    assert [question.outcome for question in questions] == [Outcome.PASS, Outcome.BLOCK] * 25


async def test_i1_a_commercial_message_passes_only_on_an_answer(house: House) -> None:
    for reason, stream in product([None, *(r for r in Reason if outcome_of(r) is Outcome.DEFER)], (BIREYSEL, TACIR)):
        house.oracle.reason = reason
        question = Asking(stream, b"a@example.test")
        await house.ask(question)
        if reason is not None:
            assert (question.outcome, question.reason) == (Outcome.DEFER, reason)
        else:
            assert question.outcome is (Outcome.BLOCK if stream is BIREYSEL else Outcome.PASS)


async def test_a_suspended_brand_sends_nothing_commercial_not_even_in_mode_observe(house: House) -> None:
    consenting = {Asking(stream, b"a@example.test").fingerprint for stream in (BIREYSEL, OBSERVED)}
    house.oracle.listed, house.oracle.suspended = consenting, frozenset({BRAND.code})
    questions = [Asking(stream, b"a@example.test") for stream in (BIREYSEL, OBSERVED, INFORMATIONAL)]
    merchant, nobody = Asking(TACIR, b"b@example.test"), Asking(BIREYSEL, b"b@example.test")
    await house.ask(*questions, merchant, nobody)
    refused = (Outcome.BLOCK, Reason.SUSPENDED)
    found = [(question.outcome, question.reason) for question in (*questions, merchant, nobody)]
    assert found == [refused, refused, (Outcome.PASS, Reason.INFORMATIONAL), refused, refused]
    house.oracle.suspended = frozenset({BRAND.code + 1})
    again = Asking(BIREYSEL, b"a@example.test")
    await house.ask(again)
    assert (again.outcome, again.reason) == (Outcome.PASS, Reason.CONSENT)


async def test_i3_answers_find_their_questions_in_whatever_order_batches_end(house: House) -> None:
    house.oracle.hold = True
    first, second = Asking(BIREYSEL, b"a@example.test"), Asking(BIREYSEL, b"b@example.test")
    house.oracle.listed = {first.fingerprint}
    await house.ask(first)
    await house.ask(second)
    for questions, done in reversed(house.oracle.held):
        done(questions, house.oracle.answer(questions))
    assert (first.outcome, second.outcome) == (Outcome.PASS, Outcome.BLOCK)


async def test_informational_messages_do_not_ask(house: House) -> None:
    question = Asking(INFORMATIONAL, b"a@example.test")
    house.oracle.reason = Reason.INDEX_DOWN
    await house.ask(question)
    assert (question.outcome, question.reason) == (Outcome.PASS, Reason.INFORMATIONAL)
    assert house.oracle.batches == []


async def test_an_address_without_canonical_form_has_no_consent(house: House) -> None:
    question = Asking(BIREYSEL, None)
    await house.ask(question)
    assert (question.outcome, question.reason) == (Outcome.BLOCK, Reason.BAD_ADDRESS)


async def test_i8_each_decision_is_one_line_before_its_answer(house: House) -> None:
    class Checking(Asking):
        def decided(self) -> None:
            super().decided()
            assert self.id.decode() in [line["id"] for line in house.lines()]

    questions = [Checking(BIREYSEL, b"%d@example.test" % number) for number in range(20)]
    await house.ask(*questions)
    house.pipeline.refuse(Checking(None, None), Reason.NO_STREAM)
    ids = [line["id"] for line in house.lines()]
    assert len(ids) == len(set(ids)) == 21
    assert all(len(question.answers) == 1 for question in questions)


async def test_i8_asking_again_adds_a_line_only_when_the_answer_changed(house: House) -> None:
    question = Asking(BIREYSEL, b"a@example.test")
    house.oracle.listed = {question.fingerprint}
    await house.ask(question)
    house.pipeline.ask_again(question)
    await asyncio.sleep(0)
    assert len(house.lines()) == 1
    house.oracle.listed = set()
    house.pipeline.ask_again(question)
    await asyncio.sleep(0)
    first, second = house.lines()
    assert (first["outcome"], second["outcome"]) == ("pass", "block")
    assert first["id"] != second["id"]
    assert [answer[0] for answer in question.answers] == ["pass", "pass", "block"]


async def test_i4_what_cannot_be_written_down_is_deferred(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(house.journal, "write", lambda _: False)
    passing, informational = Asking(BIREYSEL, b"a@example.test"), Asking(INFORMATIONAL, b"a@example.test")
    house.oracle.listed = {passing.fingerprint}
    await house.ask(passing, informational)
    for question in (passing, informational):
        assert (question.outcome, question.reason) == (Outcome.DEFER, Reason.JOURNAL_DOWN)
    assert house.metrics.journal_failures == 2
    assert house.metrics.messages[("smtp", Reason.JOURNAL_DOWN)] == 2


async def test_i9_the_journal_names_nobody(house: House) -> None:
    await house.ask(Asking(BIREYSEL, b"ayse@example.test"), Asking(INFORMATIONAL, b"ayse@example.test"))
    text = b"".join(path.read_bytes() for path in house.directory.glob("*"))
    assert b"ayse" not in text
    assert FINGERPRINT(BRAND.code, Channel.EPOSTA, b"ayse@example.test").hex().encode() in text


async def test_a_stream_in_mode_observe_passes_and_says_what_it_would_have_done(house: House) -> None:
    blocked, deferred = Asking(OBSERVED, b"a@example.test"), Asking(OBSERVED, b"a@example.test")
    await house.ask(blocked)
    house.oracle.reason = Reason.INDEX_DOWN
    await house.ask(deferred)
    assert (blocked.outcome, deferred.outcome) == (Outcome.PASS, Outcome.PASS)
    assert [(line["mode"], line["outcome"]) for line in house.lines()] == [("observe", "block"), ("observe", "defer")]
    assert house.metrics.observed[("smtp", Reason.NO_CONSENT)] == 1
    assert house.metrics.messages[("smtp", Reason.NO_CONSENT)] == 0
    assert house.metrics.fail_open == 1


async def test_i7_over_the_bound_the_newest_are_refused(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "QUESTIONS_MAX", 3)
    house.oracle.hold = True
    questions = [Asking(BIREYSEL, b"%d@example.test" % number) for number in range(5)]
    await house.ask(*questions[:2])
    await house.ask(*questions[2:])
    assert [question.reason for question in questions[3:]] == [Reason.OVERLOAD] * 2
    for asked, done in house.oracle.held:
        done(asked, house.oracle.answer(asked))
    assert [question.reason for question in questions[:3]] == [Reason.NO_CONSENT] * 3


async def test_the_link_is_personal(house: House) -> None:
    one, other = Asking(BIREYSEL, b"a@example.test"), Asking(BIREYSEL, b"b@example.test")
    links = [house.pipeline.link(question) for question in (one, other)]
    assert all(link.startswith(b"https://ret.example.test/r/") for link in links)
    found = LinkMinter({0: bytes(32)}, 0).read(links[0].rpartition(b"/")[2])
    assert found is not None
    assert (found.brand, found.recipient, found.recipient_type) == (
        BRAND.code,
        b"a@example.test",
        RecipientType.BIREYSEL,
    )
    assert links[0] != links[1]


async def test_the_same_name_in_two_kinds_is_told_apart(house: House) -> None:
    """A declared kind makes two streams of one."""
    declared = Stream("campaign", BRAND, Kind.INFORMATIONAL, RecipientType.BIREYSEL, "relay")
    await house.ask(Asking(BIREYSEL, b"a@example.test"), Asking(declared, b"a@example.test"))
    assert {line["kind"] for line in house.lines()} == {"commercial", "informational"}
