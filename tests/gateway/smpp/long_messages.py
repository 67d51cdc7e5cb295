"""What tests of long messages share: a client's parts, and what became of them at the SMSC."""

from __future__ import annotations

from gateway.demo.smsc import Smsc
from tests.gateway.smpp.support import SUBMIT, Client, submit_body, tlv

WORDS = {1: "Bir ", 2: "iki ", 3: "uc."}
WHOLE = "".join(WORDS.values())


def part_of(
    index: int, *, kind: str = "udh8", reference: int = 7, total: int = 3, word: str = "", **fields: object
) -> bytes:
    """The body of one part of a client's long message."""
    text = word or WORDS.get(index, "")
    encoded = text.encode("utf-16-be" if fields.get("coding") == 8 else "ascii")
    if kind == "sar":
        place = tlv(0x20C, reference.to_bytes(2, "big")) + tlv(0x20E, bytes((total,))) + tlv(0x20F, bytes((index,)))
        return submit_body(encoded, tlvs=place, **fields)  # type: ignore[arg-type]
    element = b"\0\3" + bytes((reference,)) if kind == "udh8" else b"\x08\4" + reference.to_bytes(2, "big")
    header = element + bytes((total, index))
    return submit_body(bytes((len(header),)) + header + encoded, esm=0x40, **fields)  # type: ignore[arg-type]


async def send(client: Client, *bodies: bytes) -> list[int]:
    """Statuses, in the order of the bodies, of a client that waits for each."""
    return [(await client.converse(SUBMIT, body)).status for body in bodies]


async def send_at_once(client: Client, *bodies: bytes) -> list[int]:
    """Statuses, in the order of the bodies, of a client that waits for none."""
    sequences = [client.ask(SUBMIT, body) for body in bodies]
    return await statuses(client, sequences)


async def statuses(client: Client, sequences: list[int]) -> list[int]:
    """Of the answers to requests that were sent."""
    heard = {one.sequence: one.status for one in [await client.hear() for _ in sequences]}
    return [heard[sequence] for sequence in sequences]


def places(centre: Smsc) -> list[tuple[int, int, int] | None]:
    """Reference, total and index of all that the SMSC has taken."""
    return [one.place() for one in centre.messages]
