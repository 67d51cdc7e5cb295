"""A citizen's answer to an SMS: a message from a handset (mobile originated, MO) that may be a refusal.

    SMSC ── deliver_sm, data_sm ──▶ listener ──▶ Refusals.take ── no refusal ──▶ the client, as ever
                                                   │ recorded in the registry, out of the index (promise I5)
                                                   ▼
    SMSC ◀── the client's answer ◀── the client, as it came;   and one confirmation to the handset

Nothing is said to the SMSC before the refusal is recorded. If that cannot be done now, it hears ESME_RX_T_APPN and
brings the message again; recording it twice changes nothing, and the client sees it once, when it is recorded. A
message that is not certainly a refusal goes to the client alone and is counted: a person reads it there.

Whom does it refuse? The brand it names; every brand of the account if it says ALL; without a name the brand whose
commercial message went to this handset last, or all of the last ones (`mo_ambiguous`). If none is known to have gone
there — the memory is younger than the message, or lost — every brand of the account: the citizen is certainly one who
does not want more. A name that nobody here has is a typing error, as if there were none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from filters import rejection
from filters.address import canonical_msisdn
from filters.gsm import decode, pack, unpack
from filters.model import Brand, Channel, Kind, Outcome, RecipientType, Stream
from filters.notice import confirmation
from filters.rejection import Rejection
from filters.sms import Alphabet
from gateway import limits
from gateway.config import Config
from gateway.log import logger
from gateway.metrics import Metrics
from gateway.pipeline import Pipeline, Question
from gateway.registry_client import RegistryClient, Unrecorded
from gateway.smpp import text
from gateway.smpp.handsets import Handsets
from gateway.smpp.pdu import SUBMIT_SM, TON_INTERNATIONAL, TON_NATIONAL
from gateway.smpp.spelling import Delivery, body_of
from gateway.smpp.statuses import ESME_ROK
from gateway.smpp.upstream import Smsc

SOURCE: Final = "HS_MESAJ"
"""The national system's word for what the provider's own SMS number was told."""
CONFIRMATIONS: Final = "mo-confirmation"
"""The stream of confirmations in the journal."""


class Mo(NamedTuple):
    """A text from a handset. `addresses` are those of an answer: source, then destination, with their TON and NPI."""

    number: bytes  # canonical
    addresses: bytes
    text: str


def read(delivery: Delivery, *, packed: bool = False) -> Mo | None:
    """The text that an SMSC sent, if it is one and begins here. Never raises.

    `packed`: its septets are. None: a receipt, binary, for a SIM or a port, a later part of a long message, or from
    nobody with a number.
    """
    pdu, at = delivery.pdu, delivery.at
    found = text.read(pdu, at)
    if not isinstance(found, text.Text) or (found.concat is not None and found.concat.index > 1):
        return None
    ton = pdu[at.source - 2]
    source = pdu[at.source : at.dest - 3]
    number = canonical_msisdn(source, international=ton == TON_INTERNATIONAL) if ton <= TON_NATIONAL else None
    if number is None:
        return None
    addresses = pdu[at.dest - 2 : at.esm_class] + pdu[at.source - 2 : at.dest - 2]
    octets = pdu[found.body : found.stop]
    if packed and found.alphabet is Alphabet.SEPTET:
        octets = unpack(octets, found.body - found.start)
    return Mo(number, addresses, decode(found.alphabet, pdu[at.text - 3], found.shifts, octets))


class Bind(Protocol):
    """A client's bind, as a refusal sees it."""

    smsc: Smsc | None  # None: the SMSC is away, or the client

    def pass_on(self, smsc: Smsc, command: int, sequence: int, body: bytes) -> None:
        """To the client, whose answer goes to `smsc`; if that is still the one that stands."""

    def turn_back(self, smsc: Smsc, command: int, sequence: int) -> None:
        """Tell `smsc` to come again, if it still stands."""

    def sender(self) -> Smsc | None:
        """Where this account can submit now."""


@dataclass(frozen=True, slots=True)
class Speaker:
    """An account, as the one who speaks for brands."""

    account: bytes
    upstream: str
    brands: tuple[int, ...]  # codes, in the order of the streams
    names: Mapping[str, int]  # as `rejection.fold_name` gives them
    all_of_last: bool  # without a name all of the last brands are meant, and not the very last
    packed: bool  # its SMSC packs septets


def speakers(config: Config) -> dict[bytes, Speaker]:
    """The accounts that commercial streams belong to."""
    found = {}
    for account in config.accounts.values():
        brands: dict[int, Brand] = {}
        for match, stream in ((rule.match, rule.stream) for rule in config.rules):
            is_commercial = stream.kind is Kind.COMMERCIAL or stream.may_declare
            is_its_own = stream.upstream == account.upstream and match.account in (None, account.system_id)
            if account.is_esme and is_commercial and is_its_own and stream.brand is not None:
                brands.setdefault(stream.brand.code, stream.brand)
        if brands:
            names: dict[str, int] = {}
            for brand in brands.values():
                for name in (*brand.short_names, brand.name):
                    names.setdefault(rejection.fold_name(name), brand.code)
            for code in brands:
                names.setdefault(str(code), code)  # its number in the national system, which 3338 takes too
            all_of_last = account.mo_ambiguous == "all"
            packed = config.upstreams[account.upstream].packed
            found[account.system_id] = Speaker(
                account.system_id, account.upstream, tuple(brands), names, all_of_last, packed
            )
    return found


class Refusals:
    """One worker's."""

    def __init__(
        self, config: Config, handsets: Handsets, registry: RegistryClient, pipeline: Pipeline, metrics: Metrics
    ) -> None:
        self._speakers = speakers(config)
        self._brands = config.brands
        self._handsets = handsets
        self._registry = registry
        self._pipeline = pipeline
        self._metrics = metrics
        self._loop = asyncio.get_running_loop()
        self._slots = asyncio.Semaphore(limits.MO_AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()
        self._failing = False

    async def start(self) -> None:
        await self._handsets.start()

    def poll(self) -> None:
        """Once a second."""
        self._handsets.poll()

    async def close(self) -> None:
        """What is under way ends without an answer: the SMSC brings it again."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._handsets.close()

    def noter(self, account: bytes) -> Callable[[bytes, int], None] | None:
        """Who wants to hear of each commercial message of an account: number (canonical) and brand code.

        None: nobody; the account speaks for one brand, or for none.
        """
        speaker = self._speakers.get(account)
        if speaker is None or len(speaker.brands) == 1:
            return None
        handsets = self._handsets
        return lambda number, brand: handsets.noted(handsets.digest(account, number), brand)

    def takes(self, account: bytes) -> bool:
        """Whether what an SMSC sends to a client of `account` may be a refusal."""
        return account in self._speakers

    def take(self, bind: Bind, account: bytes, sequence: int, delivery: Delivery) -> bool | None:
        """What an SMSC sent to a client of `account`. None: pass it on; True: it is seen to; False: not now."""
        speaker, smsc = self._speakers.get(account), bind.smsc
        if speaker is None or smsc is None or (mo := read(delivery, packed=speaker.packed)) is None:
            return None
        said = rejection.read(mo.text, speaker.names)
        if not isinstance(said, Rejection):
            self._metrics.mo["none" if said is None else "review"] += 1
            return None
        if len(self._tasks) >= limits.MO_WAITING_MAX:
            self._metrics.mo["failed"] += 1
            return False
        request = delivery.command, sequence, body_of(delivery)
        task = self._loop.create_task(self._refuse(bind, smsc, speaker, said, mo, request))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True

    async def _refuse(
        self, bind: Bind, smsc: Smsc, speaker: Speaker, said: Rejection, mo: Mo, request: tuple[int, int, bytes]
    ) -> None:
        """Record it, then let the message go on. A fault of our own is temporary too (promise I4)."""
        command, sequence, body = request
        try:
            async with asyncio.timeout(limits.MO_RECORD_S), self._slots:
                brands = await self._whom(speaker, said, mo)
                await self._registry.reject(brands, Channel.MESAJ, mo.number, SOURCE)
        except (Unrecorded, TimeoutError) as fault:
            self._went(str(fault) or "it took too long")
            self._failed(bind, smsc, command, sequence)
            return
        except Exception as fault:  # noqa: BLE001
            logger.error("a rejection by SMS failed", exc_info=fault)
            self._failed(bind, smsc, command, sequence)
            return
        self._went("")
        self._metrics.mo["recorded"] += 1
        bind.pass_on(smsc, command, sequence, body)
        for code in brands[: limits.MO_CONFIRMATIONS_MAX]:
            await self._confirm(bind, speaker, self._brands[code], mo)

    def _went(self, why: str) -> None:
        """One line for each change, however often the SMSC comes again."""
        if bool(why) != self._failing:
            self._failing = bool(why)
            if why:
                logger.warning("refusals by SMS cannot be recorded", why=why)
            else:
                logger.info("refusals by SMS are recorded again")

    def _failed(self, bind: Bind, smsc: Smsc, command: int, sequence: int) -> None:
        self._metrics.mo["failed"] += 1
        bind.turn_back(smsc, command, sequence)

    async def _whom(self, speaker: Speaker, said: Rejection, mo: Mo) -> Sequence[int]:
        """The brands that are refused. Raises Unrecorded."""
        named = speaker.names.get(said.brand or "")
        if said.all or len(speaker.brands) == 1:
            return speaker.brands
        if named is not None:
            return [named]
        last = await self._handsets.brands(self._handsets.digest(speaker.account, mo.number), speaker.brands)
        if last is None:
            raise Unrecorded("the memory of handsets cannot be read")
        return (last if speaker.all_of_last else last[:1]) or speaker.brands

    async def _confirm(self, bind: Bind, speaker: Speaker, brand: Brand, mo: Mo) -> None:
        """Tell the handset, once a day; it is told what stands already, so that it could not be told is no fault."""
        if not brand.mo_confirmation:
            return
        digest = self._handsets.digest(speaker.account, mo.number)
        if bind.sender() is None or not await self._handsets.first(digest, brand.code):
            return
        stream = Stream(CONFIRMATIONS, brand, Kind.INFORMATIONAL, RecipientType.BIREYSEL, speaker.upstream)
        told = confirmation(brand)
        self._pipeline.ask(_Confirmation(stream, mo, pack(told) if speaker.packed else told, bind, self._metrics))


class _Confirmation(Question):
    """A submit_sm of our own: informational, without a notice, without a receipt; no client hears of it."""

    __slots__ = ("_bind", "_body", "_metrics", "sent_at")

    command = SUBMIT_SM

    def __init__(self, stream: Stream, mo: Mo, told: bytes, bind: Bind, metrics: Metrics) -> None:
        super().__init__(stream, Channel.MESAJ, mo.number)
        self._body = b"\0%b\0\0\0\0\0\0\0\0\0%c%b" % (mo.addresses, len(told), told)
        self._bind = bind
        self._metrics = metrics
        self.sent_at = 0.0

    def decided(self) -> None:
        smsc = self._bind.sender()
        if self.outcome is Outcome.PASS and smsc is not None:
            smsc.send(SUBMIT_SM, self._body, self)
        else:
            self._metrics.mo_confirmations["failed"] += 1

    def answered(self, status: int, body: bytes) -> None:
        """The SMSC's answer; a confirmation that was refused is not tried again."""
        self._metrics.mo_confirmations["sent" if status == ESME_ROK else "failed"] += 1
