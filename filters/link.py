"""The reject token: who refuses what, encrypted and authenticated, without a database row per message.

A token is a truncated SIV: tag = AES(K1, payload), ciphertext = payload xor AES(K2, tag). One AES block each way is a
pseudo-random function on a payload of at most 16 bytes; the keys are derived per kind of token (HKDF-SHA256), so
payloads of different kinds never meet. Deterministic: the same recipient has the same link in every message.

    kind     payload                                              tag      token
    mobile   brand 31, type 1, channel 2, number 30 bits          40 bits  18 characters of base62
    number   brand 31, type 1, channel 2, E.164 digits 50 bits    48 bits  23 characters of base62
    mail     brand 31, type 1 bit, then the address               128 bits base64url, AES-SIV (RFC 5297)

The first two have no character whose code differs between SMS alphabets (`_` and `-` do or look odd, so no base64).
Three more bits, in clear, name the key: old keys go on reading when a new one mints. 40 bits need half a trillion
guesses for an even chance; the page that reads them is rate-limited. Each token has one spelling.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from struct import Struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from filters.address import EMAIL_LENGTH_MAX
from filters.model import Channel, RecipientType

MASTER_KEY_BYTES = 32
KEY_IDS = range(8)
BRAND_MAX = (1 << 31) - 1
TOKEN_LENGTH_MAX = 381  # of the longest canonical mail address: 4 + 265 octets and the tag in base64, and the key id

MOBILE_TOKEN_LENGTH, NUMBER_TOKEN_LENGTH = 18, 23
_MOBILE_PAYLOAD_BITS, _MOBILE_TAG_BITS = 64, 40
_NUMBER_PAYLOAD_BITS, _NUMBER_TAG_BITS = 84, 48

_ALPHABET = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_PAIRS = [high << 8 | low for high in _ALPHABET for low in _ALPHABET]
_TWO, _FOUR = 62**2, 62**4
_pack_pairs = Struct(">12H").pack
_VALUES = {char: value for value, char in enumerate(_ALPHABET)}
_CHANNELS = (Channel.ARAMA, Channel.MESAJ)
_TACIR, _EPOSTA = RecipientType.TACIR, Channel.EPOSTA  # by name in its class each costs as much as a call
_CHANNEL_NUMBER = {channel: number for number, channel in enumerate(_CHANNELS)}
_MOBILE = re.compile(rb"\+905[0-9]{9}")
_NUMBER = re.compile(rb"\+[1-9][0-9]{7,14}")

Block = Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True)
class Reject:
    """What a token says: this recipient refuses this brand on this channel."""

    brand: int
    channel: Channel
    recipient_type: RecipientType
    recipient: bytes  # canonical


def _block_cipher(key: bytes) -> Block:
    """AES on single blocks. ECB over independent blocks has no state, so one encryptor serves for ever (one thread)."""
    return Cipher(algorithms.AES(key), modes.ECB()).encryptor().update


class _Siv:
    """The truncated construction for payloads of a fixed number of bits, in integers."""

    __slots__ = ("_mask", "_payload_bits", "_prf", "_stream", "_tag_shift")

    def __init__(self, master: bytes, kind: bytes, payload_bits: int, tag_bits: int) -> None:
        self._prf = _block_cipher(_derive(master, kind + b" tag"))
        self._stream = _block_cipher(_derive(master, kind + b" stream"))
        self._payload_bits = payload_bits
        self._mask = (1 << payload_bits) - 1
        self._tag_shift = 128 - tag_bits

    def seal(self, payload: int) -> int:
        """payload -> tag ‖ ciphertext."""
        tag = int.from_bytes(self._prf(payload.to_bytes(16))) >> self._tag_shift
        return tag << self._payload_bits | payload ^ self._mask & int.from_bytes(self._stream(tag.to_bytes(16)))

    def open(self, sealed: int) -> int | None:
        """tag ‖ ciphertext -> payload, or None when the tag is another's.

        How long the comparison takes says nothing useful: whoever changes a bit faces another `expected`.
        """
        tag = sealed >> self._payload_bits
        payload = (sealed & self._mask) ^ self._mask & int.from_bytes(self._stream(tag.to_bytes(16)))
        expected = int.from_bytes(self._prf(payload.to_bytes(16))) >> self._tag_shift
        return payload if expected == tag else None


def _derive(master: bytes, info: bytes, length: int = 16) -> bytes:
    return HKDFExpand(SHA256(), length, b"izinli link 1 " + info).derive(master)


class _Key:
    """All that hangs on one master key."""

    __slots__ = ("mail", "mobile", "number")

    def __init__(self, master: bytes) -> None:
        if len(master) != MASTER_KEY_BYTES:
            raise ValueError(f"a link key must have {MASTER_KEY_BYTES} bytes, not {len(master)}")
        self.mobile = _Siv(master, b"mobile", _MOBILE_PAYLOAD_BITS, _MOBILE_TAG_BITS)
        self.number = _Siv(master, b"number", _NUMBER_PAYLOAD_BITS, _NUMBER_TAG_BITS)
        self.mail = AESSIV(_derive(master, b"mail", 32))


class LinkMinter:
    """Mints with the current key and reads with all of them. Not for use by several threads at once.

    `keys` maps key ids (0–7) to 32-byte master keys; `current` is the id that mints. Raises ValueError on a key of
    another length, an id out of range or a missing current key.
    """

    __slots__ = ("_current", "_current_id", "_keys")

    def __init__(self, keys: Mapping[int, bytes], current: int) -> None:
        if current not in keys:
            raise ValueError(f"link key {current} is not there")
        if any(key_id not in KEY_IDS for key_id in keys):
            raise ValueError("link key ids are 0 to 7")
        self._keys = {key_id: _Key(master) for key_id, master in keys.items()}
        self._current_id = current
        self._current = self._keys[current]

    def mint(self, brand: int, channel: Channel, recipient_type: RecipientType, recipient: bytes) -> bytes:
        """The token of one recipient. `recipient` is canonical; `brand` at most 2^31 - 1. ValueError otherwise."""
        if not 0 <= brand <= BRAND_MAX:
            raise ValueError(f"brand {brand} does not fit a reject link (0 to {BRAND_MAX})")
        who = brand << 1 | (recipient_type is _TACIR)
        if channel is _EPOSTA:
            if len(recipient) > EMAIL_LENGTH_MAX:
                raise ValueError("a mail address this long is not canonical")
            sealed = self._current.mail.encrypt(who.to_bytes(4) + recipient, None)
            return b"%d%b" % (self._current_id, _to_base64(sealed))
        who = who << 2 | _CHANNEL_NUMBER[channel]
        if _MOBILE.fullmatch(recipient):
            sealed_number = self._current.mobile.seal(who << 30 | int(recipient[4:]))
            bits, length = _MOBILE_PAYLOAD_BITS + _MOBILE_TAG_BITS, MOBILE_TOKEN_LENGTH
        elif _NUMBER.fullmatch(recipient):
            sealed_number = self._current.number.seal(who << 50 | int(recipient[1:]))
            bits, length = _NUMBER_PAYLOAD_BITS + _NUMBER_TAG_BITS, NUMBER_TOKEN_LENGTH
        else:
            raise ValueError("a telephone number in a reject link must be canonical")
        return _to_base62(self._current_id << bits | sealed_number, length)

    def read(self, token: bytes) -> Reject | None:
        """What a token says, or None: forged, truncated, mistyped, or sealed with a key that is not here."""
        if len(token) == MOBILE_TOKEN_LENGTH or len(token) == NUMBER_TOKEN_LENGTH:
            return self._read_number(token)
        if len(token) > TOKEN_LENGTH_MAX:
            return None
        return self._read_mail(token)

    def _read_number(self, token: bytes) -> Reject | None:
        value = _from_base62(token)
        if value is None:
            return None
        mobile = len(token) == MOBILE_TOKEN_LENGTH
        if mobile:
            bits, digits_bits = _MOBILE_PAYLOAD_BITS + _MOBILE_TAG_BITS, 30
        else:
            bits, digits_bits = _NUMBER_PAYLOAD_BITS + _NUMBER_TAG_BITS, 50
        key = self._keys.get(value >> bits)
        if key is None:
            return None
        payload = (key.mobile if mobile else key.number).open(value & (1 << bits) - 1)
        if payload is None:
            return None
        digits, who = payload & (1 << digits_bits) - 1, payload >> digits_bits
        recipient = b"+905%09d" % digits if mobile else b"+%d" % digits
        # Whoever guesses a tag draws a payload at random: not all of them are one that was ever minted.
        if (
            who & 3 >= len(_CHANNELS)
            or not _NUMBER.fullmatch(recipient)
            or mobile != bool(_MOBILE.fullmatch(recipient))
        ):
            return None
        return _reject(who >> 2, _CHANNELS[who & 3], recipient)

    def _read_mail(self, token: bytes) -> Reject | None:
        if not token[:1].isdigit() or (key := self._keys.get(token[0] - 48)) is None:
            return None
        try:
            sealed = base64.b64decode(token[1:] + b"=" * (-(len(token) - 1) % 4), b"-_", validate=True)
            payload = key.mail.decrypt(sealed, None)
        except (binascii.Error, InvalidTag, ValueError):
            return None
        if _to_base64(sealed) != token[1:]:
            return None  # `+` for `-`, or other bits than zero behind the last octet
        return _reject(int.from_bytes(payload[:4]), Channel.EPOSTA, payload[4:])


def _reject(who: int, channel: Channel, recipient: bytes) -> Reject:
    return Reject(who >> 1, channel, RecipientType.TACIR if who & 1 else RecipientType.BIREYSEL, recipient)


def _to_base64(octets: bytes) -> bytes:
    """base64url without padding (RFC 4648 §5), in half the time of the module that is named for it."""
    return binascii.b2a_base64(octets, newline=False).translate(_URL_SAFE, b"=")


_URL_SAFE = bytes.maketrans(b"+/", b"-_")


def _to_base62(value: int, length: int) -> bytes:
    """Big-endian base62 of a fixed length, at most 24.

    Written out, because every message has one: four digits a division, two a look-up.
    """
    value, f = divmod(value, _FOUR)
    value, e = divmod(value, _FOUR)
    value, d = divmod(value, _FOUR)
    value, c = divmod(value, _FOUR)
    a, b = divmod(value, _FOUR)
    pairs = _PAIRS
    return _pack_pairs(
        *(pairs[a // _TWO], pairs[a % _TWO], pairs[b // _TWO], pairs[b % _TWO], pairs[c // _TWO], pairs[c % _TWO]),
        *(pairs[d // _TWO], pairs[d % _TWO], pairs[e // _TWO], pairs[e % _TWO], pairs[f // _TWO], pairs[f % _TWO]),
    )[-length:]


def _from_base62(token: bytes) -> int | None:
    value = 0
    for char in token:
        digit = _VALUES.get(char)
        if digit is None:
            return None
        value = value * 62 + digit
    return value
