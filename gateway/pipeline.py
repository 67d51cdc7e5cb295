"""The way of every question: ask the index in one batch per loop tick, judge, write the journal, answer.

    door ── ask(question) ──▶ batch ──▶ index ──▶ judge ──▶ journal ──▶ question.decided() ──▶ door

A door makes a `Question` for each recipient and gets its `decided()` called exactly once per `ask`, always in the loop
and possibly from inside `ask` itself. What cannot be answered is a DEFER with a reason, no exception (promise I4).
A decision is in the journal before `decided()` is called (promise I8); asking again adds a line only if it changed.
"""

from __future__ import annotations

import asyncio
import secrets
from binascii import hexlify
from collections.abc import Sequence
from typing import Final, cast

from filters.consent import judge, outcome_of
from filters.key import Fingerprinter
from filters.link import LinkMinter
from filters.model import Channel, Kind, Outcome, Reason, Stream
from gateway import limits
from gateway.index.interface import Answers, Asked, ConsentIndex
from gateway.journal import Journal
from gateway.metrics import Metrics

PROTOCOL_OF: Final = {Channel.EPOSTA: "smtp", Channel.MESAJ: "smpp", Channel.ARAMA: "http"}
"""The door that a channel's questions come in by, unless they name another."""

# Needed for every message; by name in its class (`EnumType`) each costs as much as a call.
_DEFER, _INTERNAL, _INFORMATIONAL = Outcome.DEFER, Reason.INTERNAL, Kind.INFORMATIONAL


class Question:
    """May this go to this recipient? Doors subclass it and implement `decided`.

    `recipient` is canonical (`filters.address`), None when the address has no canonical form. The answer stands in
    `outcome` and `reason`, and under `id` in the journal. A door that is not the usual one of its channel says so in
    `protocol`, which is a label of metrics and journal.
    """

    __slots__ = ("asked_at", "channel", "fingerprint", "id", "outcome", "reason", "recipient", "stream")

    protocol = ""

    def __init__(self, stream: Stream | None, channel: Channel, recipient: bytes | None) -> None:
        self.stream = stream
        self.channel = channel
        self.recipient = recipient
        self.fingerprint = b""
        self.asked_at = 0.0  # loop time
        self.outcome = _DEFER
        self.reason = _INTERNAL
        self.id = b""

    def decided(self) -> None:
        """The answer is there and in the journal. Does not raise."""
        raise AssertionError("a door says what to do with an answer")


class Pipeline:
    """One worker's way of deciding. `link_base`: the URL that a reject token is appended to."""

    def __init__(
        self,
        index: ConsentIndex,
        journal: Journal,
        metrics: Metrics,
        fingerprint: Fingerprinter,
        minter: LinkMinter,
        link_base: str,
    ) -> None:
        self._index = index
        self._journal = journal
        self._metrics = metrics
        self._fingerprint = fingerprint
        self._minter = minter
        self._link_base = link_base.encode("ascii")
        self._loop = asyncio.get_running_loop()
        self._batch: list[Question] = []
        self._outstanding = 0  # questions that the index has not answered
        self._heads: dict[tuple[str, Kind, Channel, str], bytes] = {}
        self._id_prefix = secrets.token_hex(5).encode()
        self._ids = 0

    def ask(self, question: Question) -> None:
        """Decide about `question` with this tick's others."""
        if self._outstanding + len(self._batch) >= limits.QUESTIONS_MAX:
            self._conclude([question], [Reason.OVERLOAD])
            return
        if not self._batch:
            self._loop.call_soon(self._flush)
        self._batch.append(question)

    ask_again = ask

    def refuse(self, question: Question, reason: Reason) -> None:
        """Decide without the index: what a door found out by itself."""
        self._conclude([question], [reason])

    def link(self, question: Question) -> bytes:
        """The personal reject link of a question's recipient."""
        stream, recipient = question.stream, question.recipient
        assert stream is not None
        assert stream.brand is not None
        assert recipient is not None
        return self._link_base + self._minter.mint(
            stream.brand.code, question.channel, stream.recipient_type, recipient
        )

    # one tick

    def _flush(self) -> None:
        batch, self._batch = self._batch, []
        now = self._loop.time()
        asked: list[Question] = []
        known: list[Question] = []
        reasons: list[Reason] = []
        for question in batch:
            stream, recipient = question.stream, question.recipient
            assert stream is not None
            if recipient is not None and not question.fingerprint:
                brand = stream.brand
                question.fingerprint = self._fingerprint(brand.code if brand else 0, question.channel, recipient)
            if stream.kind is _INFORMATIONAL:
                known.append(question)
                reasons.append(Reason.INFORMATIONAL)
            elif recipient is None:
                known.append(question)
                reasons.append(Reason.BAD_ADDRESS)
            else:
                question.asked_at = now
                asked.append(question)
        if known:
            self._conclude(known, reasons)
        if asked:
            self._outstanding += len(asked)
            self._index.ask(asked, self._answered)

    def _answered(self, asked: Sequence[Asked], answers: Answers) -> None:
        questions = cast(Sequence[Question], asked)
        self._outstanding -= len(questions)
        seconds = self._loop.time() - questions[0].asked_at
        self._metrics.index.observe(seconds)
        if isinstance(answers, Reason):
            reasons = [answers] * len(questions)
        elif suspended := self._index.suspended:
            reasons = [
                _judged(question, listed, suspended) for question, listed in zip(questions, answers, strict=True)
            ]
        else:
            reasons = [
                judge(question.stream.kind, question.stream.recipient_type, listed).reason
                for question, listed in zip(questions, answers, strict=True)
                if question.stream is not None
            ]
        self._metrics.decision.observe(seconds, len(questions))
        self._conclude(questions, reasons)

    def _conclude(self, questions: Sequence[Question], reasons: Sequence[Reason]) -> None:
        """Write the decisions down, then tell the doors."""
        news = []
        for question, reason in zip(questions, reasons, strict=True):
            if question.id and question.reason is reason:
                continue  # asked again, and nothing has changed
            self._ids += 1
            question.id = b"%b%x" % (self._id_prefix, self._ids)
            question.reason = reason
            news.append(question)
        if news:
            self._write_down(news)
        for question in questions:
            question.decided()

    def _write_down(self, news: Sequence[Question]) -> None:
        """One line for each decision, and the count of it."""
        now = self._journal.now()
        lines = [
            b'{"id":"%b","at":"%b",%b"outcome":"%b","reason":"%b","fingerprint":"%b"}\n'
            % (
                question.id,
                now,
                self._head(question),
                _WRITTEN_OUTCOME[question.reason],
                _WRITTEN_REASON[question.reason],
                hexlify(question.fingerprint),
            )
            for question in news
        ]
        if not self._journal.write(lines):
            self._metrics.journal_failures += 1
            for question in news:
                question.reason = Reason.JOURNAL_DOWN
                question.id += b"!"  # what a client is told has no line in the journal
        counted, observed = self._metrics.messages, self._metrics.observed
        for question in news:
            stream = question.stream
            outcome = _OUTCOME[question.reason]
            label = (question.protocol or PROTOCOL_OF[question.channel], question.reason)
            if stream is not None and stream.observe and outcome is not Outcome.PASS and question.reason not in _OWN:
                observed[label] += 1
                self._metrics.fail_open += outcome is Outcome.DEFER
                outcome = Outcome.PASS
            else:
                counted[label] += 1
            question.outcome = outcome

    def _head(self, question: Question) -> bytes:
        """What the lines of a stream have in common."""
        stream, channel = question.stream, question.channel
        protocol = question.protocol or PROTOCOL_OF[channel]
        name, kind = (stream.name, stream.kind) if stream else ("", Kind.COMMERCIAL)
        key = (name, kind, channel, protocol)
        known = self._heads.get(key)
        if known is None:
            known = self._heads[key] = _head(stream, channel, protocol)
        return known


def _judged(question: Question, listed: bool, suspended: frozenset[int]) -> Reason:
    """While there are suspended brands."""
    stream = question.stream
    assert stream is not None
    of_brand = stream.brand is not None and stream.brand.code in suspended
    return judge(stream.kind, stream.recipient_type, listed, suspended=of_brand).reason


def _head(stream: Stream | None, channel: Channel, protocol: str) -> bytes:
    if stream is None:
        return b'"protocol":"%b","stream":null,' % protocol.encode()
    return (
        f'"protocol":"{protocol}","stream":"{stream.name}","brand":{stream.brand.code if stream.brand else "null"},'
        f'"channel":"{channel}","recipient_type":"{stream.recipient_type}","kind":"{stream.kind}",'
        f'"mode":"{"observe" if stream.observe else "enforce"}",'
    ).encode()


_OUTCOME: Final = {reason: outcome_of(reason) for reason in Reason}
_WRITTEN_OUTCOME: Final = {reason: outcome.encode() for reason, outcome in _OUTCOME.items()}
_WRITTEN_REASON: Final = {reason: reason.encode() for reason in Reason}
_OWN: Final = frozenset({Reason.NO_STREAM, Reason.UNFIT, Reason.SIGNED, Reason.SUSPENDED})
"""Not decided by the mode: a door looks at it itself, or, of who is suspended, nobody does."""
