"""What is written down of messages that became several at the SMSC, in the memory of message ids (`ids`).

    part      of the SMSC's id of a part: which message it belongs to, and which of its parts it is; or nobody's
    message   `fold_state.Fold`
    split     of a handset's number: such a message is on its way there, and its ids are not known yet
    calendar  of an account: messages whose receipt may have to be one of our own

The `split` is there before anything is sent, and goes when the ids are written down. So a receipt whose id is not
known, in whichever worker it arrives, is not a part's if no such message is on its way to its handset; otherwise it
waits a little. (In a Redis cluster the two are on different servers, and read at almost the same time: a receipt that
both overtake in between passes as it came.)

Numbers stand nowhere: keys are keyed digests, and the addresses of a receipt, which one of our own needs, are sealed
with a key that is made of the installation's. They are gone when the client has its receipt.
"""

from __future__ import annotations

import secrets
import struct
from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from gateway import limits
from gateway.smpp.fold_state import Fold, decode, encode, over
from gateway.smpp.ids import DIGEST_OCTETS, IdKeys, MessageIds, Swap, Unavailable
from gateway.smpp.spelling import Delivery, Spelling
from gateway.smpp.whole import Whole

_NOBODYS: Final = b"-"
_SPLIT: Final = struct.Struct(">I4s")  # until when it counts, in seconds since 1970; which one it is


class Place(NamedTuple):
    """Of a part. No message: it is one that no client knows of, nor ever will."""

    message: bytes
    part: int


class Intent(NamedTuple):
    """A message that is on its way: the key and the value of its `split`."""

    key: bytes
    value: bytes


class Known(NamedTuple):
    """What is known of a receipt's id."""

    place: Place | None
    is_awaited: bool  # it may yet become known


class FoldMemory:
    """Of one account. `clock` gives seconds since 1970, `key` is the installation's. What waits raises Unavailable."""

    def __init__(
        self,
        ids: MessageIds,
        key: bytes,
        clock: Callable[[], float],
        account: bytes,
        upstream: str,
        spelling: Spelling,
    ) -> None:
        self.ids = ids
        self.spelling = spelling
        self.clock = clock
        self._keys = IdKeys(key)
        self._space = (upstream.encode(), account)
        self._calendar = self._keys.of_parts(b"calendar", *self._space)
        self._whole = Whole()
        self._seal = AESSIV(blake2b(digest_size=32, key=key, person=b"izinli:receipt").digest())

    # splits

    async def intend(self, number: bytes) -> Intent:
        """Before it is sent: a message goes to `number` (canonical) whose ids are not known yet."""
        key, now = self._split(number), int(self.clock())
        intent = Intent(key, _SPLIT.pack(now + int(limits.SMPP_SPLIT_S), secrets.token_bytes(4)))
        old: bytes | None = None
        for _ in range(limits.SMPP_FOLD_TRIES):
            others = _living(old, now)
            if len(others) >= limits.SMPP_SPLITS_TO_ONE_MAX:
                break
            new = b"".join((*others, intent.value))
            (done,) = await self.ids.swap([Swap(key, old, new)], int(limits.SMPP_SPLIT_S))
            if done:
                return intent
            (old,) = await self.ids.find([key])
        raise Unavailable("too many messages on their way to one handset")

    async def arrived(self, intent: Intent) -> None:
        """Its ids are written down, or there will be none. What fails here ends by itself, in SMPP_SPLIT_S."""
        old: bytes | None = intent.value
        for _ in range(limits.SMPP_FOLD_TRIES):
            others = [one for one in _living(old, int(self.clock())) if one != intent.value]
            swap = Swap(intent.key, old, b"".join(others) or None)
            if old is None or (await self.ids.swap([swap], int(limits.SMPP_SPLIT_S)))[0]:
                return
            (old,) = await self.ids.find([intent.key])

    # parts

    def note_whole(self, message_id: bytes) -> None:
        """The message of this id, as an answer of the SMSC's spells it, is no part."""
        self._whole.add(self.spelling.answer(message_id))

    def is_whole(self, delivery: Delivery) -> bool:
        """A receipt that is certainly no part's."""
        return self.spelling.of_receipt(delivery.in_tlv, delivery.in_text) in self._whole

    async def look_up(self, asked: Sequence[tuple[Delivery, bytes | None]]) -> list[Known]:
        """Each receipt, and the number (canonical) of its handset."""
        keys: list[bytes] = []
        for delivery, number in asked:
            # The split first: if it is gone, the ids were there before.
            keys += (self._split(number or b""), self._of_receipt(delivery))
        found, now = await self.ids.find(keys), int(self.clock())
        return [
            Known(None if place is None else _place(place), bool(_living(split, now)))
            for split, place in zip(found[::2], found[1::2], strict=True)
        ]

    def part(self, message_id: bytes, message: bytes, part: int) -> tuple[bytes, bytes]:
        """An entry: this id, as an answer of the SMSC's spells it, is that part of the message."""
        return self._of_answer(message_id), message + bytes((part,))

    def nobodys(self, message_id: bytes) -> tuple[bytes, bytes]:
        """An entry: no client knows of it."""
        return self._of_answer(message_id), _NOBODYS

    # messages

    def new_message(self) -> bytes:
        """A key for it."""
        return secrets.token_bytes(DIGEST_OCTETS)

    async def messages(self, keys: Sequence[bytes]) -> list[Fold | None]:
        return [decode(value) for value in await self.ids.find(keys)]

    async def change(self, message: bytes, change: Callable[[Fold], Fold]) -> Fold | None:
        """What it is after `change`, which may run more than once; None: it is not known."""
        for _ in range(limits.SMPP_FOLD_TRIES):
            (old,) = await self.ids.find([message])
            known = decode(old)
            if known is None:
                return None
            changed = change(known)
            if changed == known or (await self.ids.swap([Swap(message, old, encode(changed))]))[0]:
                return changed
        raise Unavailable("others change it all the time")

    async def end(self, message: bytes) -> None:
        """Its client has its receipt."""
        await self.change(message, over)
        await self.ids.settle(self._calendar, [message])

    # the calendar

    async def remind(self, message: bytes, in_s: float) -> None:
        await self.ids.remind(self._calendar, message, int(self.clock() + in_s))

    async def due(self) -> list[bytes]:
        now = int(self.clock())
        return await self.ids.due(self._calendar, now, now + limits.SMPP_FOLD_AGAIN_S)

    async def settle(self, messages: Sequence[bytes]) -> None:
        await self.ids.settle(self._calendar, messages)

    # addresses

    def seal(self, message: bytes, addresses: bytes) -> bytes:
        return self._seal.encrypt(addresses, [message])

    def unseal(self, message: bytes, sealed: bytes) -> bytes | None:
        """None: it is nothing that was sealed here."""
        try:
            return self._seal.decrypt(sealed, [message])
        except (InvalidTag, ValueError):
            return None

    def _split(self, number: bytes) -> bytes:
        return self._keys.of_parts(b"split", *self._space, number)

    def _of_answer(self, message_id: bytes) -> bytes:
        form = self.spelling.answer(message_id)
        self._whole.discard(form)
        return self._part(form)

    def _of_receipt(self, delivery: Delivery) -> bytes:
        return self._part(self.spelling.of_receipt(delivery.in_tlv, delivery.in_text))

    def _part(self, form: bytes) -> bytes:
        return self._keys.of_parts(b"part", *self._space, form)


def _living(splits: bytes | None, now: int) -> list[bytes]:
    """Those that still count."""
    values = splits or b""
    each = [values[at : at + _SPLIT.size] for at in range(0, len(values) - _SPLIT.size + 1, _SPLIT.size)]
    return [one for one in each if _SPLIT.unpack(one)[0] > now]


def _place(value: bytes) -> Place:
    if len(value) != DIGEST_OCTETS + 1:
        return Place(b"", 0)
    return Place(value[:DIGEST_OCTETS], value[-1])
