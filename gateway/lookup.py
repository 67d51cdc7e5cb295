"""`izinli lookup`: what the gateway would say about one recipient now, asked the way the gateway asks."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from filters.address import canonical_email, canonical_msisdn
from filters.consent import judge
from filters.key import Fingerprinter
from filters.model import Brand, Channel, Kind, Outcome, Reason, RecipientType, Stream
from gateway.config import Config
from gateway.index.interface import Answers
from gateway.keys import Keys
from gateway.pipeline import Question
from gateway.worker import open_index


@dataclass(frozen=True, slots=True)
class Finding:
    """`canonical` is None when the address has no canonical form; `fingerprint` is what the index and journal hold."""

    canonical: str | None
    fingerprint: str
    outcome: Outcome
    reason: Reason


def lookup(
    config: Config, keys: Keys, brand: Brand, channel: Channel, recipient_type: RecipientType, recipient: str
) -> Finding:
    """The verdict on a commercial message of `brand` to `recipient`."""
    raw = recipient.encode()
    canonical = canonical_email(raw) if channel is Channel.EPOSTA else canonical_msisdn(raw)
    if canonical is None:
        return Finding(None, "", Outcome.BLOCK, Reason.BAD_ADDRESS)
    fingerprint = Fingerprinter(keys.fingerprint)(brand.code, channel, canonical)
    question = Question(Stream("lookup", brand, Kind.COMMERCIAL, recipient_type, ""), channel, canonical)
    question.fingerprint = fingerprint
    answers, suspended = asyncio.run(_ask(config, keys, question))
    if isinstance(answers, Reason):
        return Finding(canonical.decode(), fingerprint.hex(), Outcome.DEFER, answers)
    verdict = judge(Kind.COMMERCIAL, recipient_type, answers[0], suspended=brand.code in suspended)
    return Finding(canonical.decode(), fingerprint.hex(), verdict.outcome, verdict.reason)


async def _ask(config: Config, keys: Keys, question: Question) -> tuple[Answers, frozenset[int]]:
    index = open_index(config, keys)
    await index.start()
    answered: asyncio.Future[Answers] = asyncio.get_running_loop().create_future()
    index.ask([question], lambda _, answers: answered.set_result(answers))
    try:
        return await answered, index.suspended
    finally:
        await index.close()
