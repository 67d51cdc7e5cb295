"""What an SMPP client is answered: command_status values (SMPP 3.4 §5.1.3), and one total table from our reasons.

A refusal for want of consent is ESME_RSUBMITFAIL: every client knows it, none repeats it by itself. What is temporary
is ESME_RTHROTTLED, or ESME_RSYSERR when it is the SMSC that is away: Kannel and Jasmin repeat both. Nothing permanent
is ever answered with a status that common clients repeat (RSYSERR, RMSGQFUL, RTHROTTLED, RX_T_APPN, RINVSCHED). A
commercial text that is put off for too long is ESME_RINVSCHED, which Jasmin repeats: its time does come nearer.

A client may ask for another word for a refusal: a vendor's status, or an acceptance that a receipt takes back
(`receipts`). Statuses are docs/smpp.md's too, row by row.
"""

from __future__ import annotations

from typing import Final

from filters.model import Reason

ESME_ROK: Final = 0x00
ESME_RINVMSGLEN: Final = 0x01
ESME_RINVCMDLEN: Final = 0x02
ESME_RINVCMDID: Final = 0x03
ESME_RINVBNDSTS: Final = 0x04
ESME_RALYBND: Final = 0x05
ESME_RSYSERR: Final = 0x08
ESME_RINVSRCADR: Final = 0x0A
ESME_RINVDSTADR: Final = 0x0B
ESME_RINVMSGID: Final = 0x0C
ESME_RBINDFAIL: Final = 0x0D
ESME_RINVPASWD: Final = 0x0E
ESME_RINVSYSID: Final = 0x0F
ESME_RREPLACEFAIL: Final = 0x13
ESME_RMSGQFUL: Final = 0x14
ESME_RINVSERTYP: Final = 0x15
ESME_RINVNUMDESTS: Final = 0x33
ESME_RINVDESTFLAG: Final = 0x40
ESME_RCNTSUBDL: Final = 0x44
ESME_RSUBMITFAIL: Final = 0x45
ESME_RTHROTTLED: Final = 0x58
ESME_RINVSCHED: Final = 0x61
ESME_RINVEXPIRY: Final = 0x62
ESME_RX_T_APPN: Final = 0x64
ESME_RX_R_APPN: Final = 0x66
ESME_RINVTLVSTREAM: Final = 0xC0

OF_REASON: Final[dict[Reason, int]] = {
    # PASS: nothing is answered for the SMSC; its own status goes back.
    Reason.CONSENT: ESME_ROK,
    Reason.TACIR_EXEMPT: ESME_ROK,
    Reason.INFORMATIONAL: ESME_ROK,
    # BLOCK: permanent.
    Reason.NO_CONSENT: ESME_RSUBMITFAIL,
    Reason.REJECTED: ESME_RSUBMITFAIL,
    Reason.SUSPENDED: ESME_RSUBMITFAIL,
    Reason.BAD_ADDRESS: ESME_RSUBMITFAIL,
    Reason.NO_STREAM: ESME_RSUBMITFAIL,
    Reason.UNFIT: ESME_RSUBMITFAIL,
    Reason.SIGNED: ESME_RSUBMITFAIL,  # mail only; the table is total
    # DEFER: the client tries again (promise I4).
    Reason.INDEX_DOWN: ESME_RTHROTTLED,
    Reason.INDEX_STALE: ESME_RTHROTTLED,
    Reason.OVERLOAD: ESME_RTHROTTLED,
    Reason.JOURNAL_DOWN: ESME_RTHROTTLED,
    Reason.INTERNAL: ESME_RTHROTTLED,
}
"""The answer to a submit_sm by the reason of its decision; total."""

RECEIPT_ERROR: Final[dict[Reason, int]] = {
    Reason.NO_CONSENT: 601,
    Reason.REJECTED: 602,
    Reason.BAD_ADDRESS: 603,
    Reason.NO_STREAM: 604,
    Reason.UNFIT: 605,
    Reason.SIGNED: 606,  # mail only
    Reason.SUSPENDED: 607,
}
"""`err:` in the receipt of a refused message; total over what is permanent. India's platforms use 6xx for the like."""

VENDOR: Final = range(0x400, 0x500)
"""Statuses that the specification leaves to vendors (§5.1.3)."""

TEMPORARY: Final = frozenset({ESME_RSYSERR, ESME_RMSGQFUL, ESME_RTHROTTLED, ESME_RX_T_APPN})
"""What an SMSC says when the same message may be taken later."""

COMPLAINTS: Final = frozenset({ESME_RMSGQFUL, ESME_RTHROTTLED})
"""What an SMSC says when it wants us slower."""


def of_bind(status: int) -> int:
    """What the SMSC said to our bind, as said to the client that waits for it.

    It goes through as it is, but for the two that speak of credentials: those were ours and not the client's, and
    Kannel gives up for ever on them.
    """
    return ESME_RBINDFAIL if status in (ESME_RINVPASWD, ESME_RINVSYSID) else status
