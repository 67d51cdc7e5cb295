"""Readers of a submit_sm — ours, smpplib, smpp.pdu3 — brought to one form, and PDUs to compare them by."""

from __future__ import annotations

import io
import logging
import random
import struct
from contextlib import redirect_stdout
from typing import NamedTuple

import smpplib.smpp
from smpp.pdu.pdu_encoding import PDUEncoder

from gateway.smpp.pdu import walk_submit_sm, walk_tlvs
from tests.gateway.smpp.support import NUMBER, SUBMIT, pdu, submit_body, tlv

Tlvs = tuple[tuple[int, bytes], ...]

SIZES: dict[int, int] = {  # octets of the optional parameters that have always as many (SMPP 3.4 §5.3.2)
    **dict.fromkeys((0x0005, 0x0006, 0x0007, 0x000D, 0x000E, 0x000F, 0x0019, 0x0030), 1),
    **dict.fromkeys((0x0201, 0x020D, 0x020E, 0x020F, 0x0210, 0x0302, 0x0304, 0x0420, 0x0421, 0x0422), 1),
    **dict.fromkeys((0x0425, 0x0426, 0x0427, 0x0501, 0x1201, 0x1204, 0x130C, 0x1380), 1),
    **dict.fromkeys((0x0008, 0x0010, 0x0204, 0x020A, 0x020B, 0x020C, 0x1203, 0x1383), 2),
    0x0017: 4,
    0x0423: 3,
}

logging.getLogger("smpplib.command").setLevel(logging.ERROR)  # it warns of each TLV that it does not know


class Reading(NamedTuple):
    """What a reader found."""

    source: bytes
    dest: bytes
    text: bytes


def ours(whole: bytes) -> tuple[Reading, Tlvs | None] | int:
    """As the door walks it: TLVs that do not end with the PDU are None; a command_status when it is malformed."""
    at = walk_submit_sm(whole)
    if isinstance(at, int):
        return at
    found = walk_tlvs(whole, at.tlvs)
    tlvs = None if found is None else tuple((one.tag, whole[one.start : one.stop]) for one in found)
    reading = Reading(whole[at.source : at.dest - 3], whole[at.dest : at.esm_class - 1], whole[at.text : at.tlvs])
    return reading, tlvs


def sized(whole: bytes, tlvs: int) -> list[tuple[int, int]]:
    """Tag and length of each TLV from `tlvs` on that has a size of its own, also of one that reaches behind the end."""
    found = []
    while tlvs + 4 <= len(whole):
        tag, length = struct.unpack_from(">HH", whole, tlvs)
        if tag in SIZES:
            found.append((tag, length))
        tlvs += 4 + length
    return found


class _Sequence:
    """All that smpplib wants of a client."""

    sequence = 1

    def next_sequence(self) -> int:
        return 1


def smpplibs(whole: bytes) -> Reading | Exception:
    """Without its TLVs, which it loses or misreads; why it gave up, if it did."""
    try:
        found = smpplib.smpp.parse_pdu(whole, client=_Sequence(), allow_unknown_opt_params=True)
    except Exception as why:  # noqa: BLE001  # it raises whatever comes of what it did not expect
        return why
    return Reading(found.source_addr or b"", found.destination_addr or b"", found.short_message or b"")


def pdu3s(whole: bytes) -> Reading | Exception:
    """Why it gave up, if it did."""
    try:
        with redirect_stdout(io.StringIO()):  # it prints what it makes of times
            found = PDUEncoder().decode(io.BytesIO(whole)).params
    except Exception as why:  # noqa: BLE001
        return why
    values = [found[name] or b"" for name in ("source_addr", "destination_addr", "short_message")]
    return Reading(*(one if isinstance(one, bytes) else one.encode("latin-1") for one in values))


def well_formed(chance: random.Random) -> bytes:
    """The body of a submit_sm that is in order, with every field somewhere in its range."""
    text = chance.randbytes(chance.choice((0, 1, 7, 40, 140, 160, 254)))
    tags = chance.sample((0x0204, 0x020C, 0x020E, 0x0424, 0x1400, 0x1501, 0x3FFF), chance.choice((0, 0, 1, 3)))
    sizes = {0x0204: 2, 0x020C: 2, 0x020E: 1}
    return submit_body(
        text,
        dest=chance.choice((NUMBER, b"", b"5550000001", b"9" * 20)),
        source=chance.choice((b"ORNEK", b"", b"3338", b"A" * 20)),
        coding=chance.choice((0, 3, 4, 8, 0xF1)),
        esm=chance.choice((0, 0x03, 0x40)),
        registered=chance.choice((0, 1, 2)),
        schedule=chance.choice((b"", b"", b"261125033000032+", b"000000003000000R")),
        service_type=chance.choice((b"", b"WAP", b"CMT12")),
        ton=chance.choice((0, 1, 2, 5)),
        tlvs=b"".join(tlv(tag, chance.randbytes(sizes.get(tag, chance.randrange(20)))) for tag in tags),
    )


def broken(chance: random.Random, body: bytes) -> bytes:
    """The same with one to three faults, most of them where the fields are."""
    octets = bytearray(body)
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(min(len(octets), 60)) if octets else 0
        match chance.randrange(5):
            case 0:
                del octets[at:]
            case 1:
                del octets[at : at + chance.randint(1, 4)]
            case 2:
                octets[at:at] = chance.randbytes(chance.randint(1, 25))
            case 3 if octets:
                octets[at] = chance.choice((0, 1, 0x7F, 0xFF, chance.randrange(256)))
            case _:
                octets += chance.choice((b"\0", b"\x14\0", tlv(0x1400, b"abc")[:-1], tlv(0x1400, b"abc") * 2))
    return bytes(octets)


def corpus(seed: int, count: int) -> list[bytes]:
    """Whole PDUs, the same for the same seed; a third of them in order."""
    chance = random.Random(seed)
    found = []
    for n in range(count):
        body = well_formed(chance)
        found.append(pdu(SUBMIT, 1 + n, body if n % 3 == 0 else broken(chance, body)))
    return found
