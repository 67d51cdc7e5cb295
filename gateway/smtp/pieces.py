"""The content of a copy that is not small: pieces that the copies of a message share.

Small copies are joined at once, which is cheapest, others when they are sent. A large one would stand in memory as
message, as copy and as what waits in the socket; in pieces, sent a block at a time, it stands there once, whoever reads
slowly (promise I7).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from filters import dots
from gateway import limits


class Pieces:
    """Octets without dot-stuffing, in the order of `pieces`; empty or ending in CRLF."""

    __slots__ = ("_octets", "pieces")

    def __init__(self, pieces: Sequence[bytes | memoryview]) -> None:
        self.pieces = pieces
        self._octets = sum(map(len, pieces))

    def __len__(self) -> int:
        return self._octets

    def joined(self) -> bytes:
        return b"".join(self.pieces)

    def isascii(self) -> bool:
        return all(bytes(block).isascii() for block in self._cut())

    def head(self) -> bytes:
        """The header section; everything if there is no empty line."""
        head = bytearray()
        for block in self._cut():
            looked = max(0, len(head) - 3)
            head += block
            if (end := head.find(b"\r\n\r\n", looked)) >= 0:
                return bytes(head[:end])
        return bytes(head)

    def blocks(self, *, dotted: bool) -> Iterator[bytes | memoryview]:
        """The payload of DATA without its final dot. `dotted`: a line may begin with a dot, which is stuffed."""
        return self._stuffed() if dotted else self._cut()

    def _cut(self) -> Iterator[memoryview]:
        for piece in self.pieces:
            view = memoryview(piece)
            for at in range(0, len(view), limits.SMTP_WRITE_OCTETS):
                yield view[at : at + limits.SMTP_WRITE_OCTETS]

    def _stuffed(self) -> Iterator[bytes]:
        """A line's beginning may be cut off from its end, so the two octets before a block are looked at with it."""
        before = b"\r\n"
        for block in self._cut():
            yield dots.stuff_block(before, block)
            before = (before + block[-2:])[-2:]
