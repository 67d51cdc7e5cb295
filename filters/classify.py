"""Commercial or informational: the stream says it first, a declaration may follow, what is undeclared is commercial."""

from __future__ import annotations

from filters.model import Kind, Stream


def classify(stream: Stream, declared: bytes | None) -> tuple[Kind, str]:
    """The kind of a message and why, in words for the journal's reader.

    `declared` is what the message says of itself (mail header `X-Izinli-Kind`, SMPP TLV 0x1501), or None. It counts
    only on a stream with `may_declare`, and only in the spelling of `filters.model.Kind`: a typing error stays
    commercial.
    """
    if not stream.may_declare:
        return stream.kind, "stream"
    if declared is None:
        return Kind.COMMERCIAL, "undeclared"
    if declared.strip().lower() == Kind.INFORMATIONAL.encode():
        return Kind.INFORMATIONAL, "declared"
    return Kind.COMMERCIAL, "declared"
