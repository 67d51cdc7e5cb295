"""The nouns that everything else is written in.

Values of the national system keep its spelling (field `type` is a channel here, because a message has one);
outcomes and reasons are ours and appear in the journal, the metrics and the answers.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Channel(StrEnum):
    """How a message reaches its reader; consent and rejection are per channel (regulation art. 9)."""

    __hash__ = str.__hash__

    ARAMA = "ARAMA"
    MESAJ = "MESAJ"
    EPOSTA = "EPOSTA"


class RecipientType(StrEnum):
    """BIREYSEL needs a prior ONAY; TACIR (tradesmen, merchants) may be addressed until a RET (law 6563 art. 6/2)."""

    __hash__ = str.__hash__

    BIREYSEL = "BIREYSEL"
    TACIR = "TACIR"


class Status(StrEnum):
    """What the citizen said last."""

    ONAY = "ONAY"
    RET = "RET"
    BEKLIYOR = "BEKLIYOR"  # nobody says it: an ONAY from before the national system that citizens may still look at


class Kind(StrEnum):
    """Commercial messages need consent and carry the notice; informational ones pass untouched (regulation art. 6)."""

    __hash__ = str.__hash__

    COMMERCIAL = "commercial"
    INFORMATIONAL = "informational"


class Existing(StrEnum):
    """What happens to the DKIM signatures a commercial message came with: the notice breaks them."""

    STRIP = "strip"  # they are taken away
    KEEP = "keep"  # they stay, for readers who know what they are
    REFUSE = "refuse"  # the message is


class Sealed(StrEnum):
    """What happens to a commercial message whose text nobody may change: a signature covers it, or it is encrypted."""

    WRAP = "wrap"  # it becomes the first part of a multipart/mixed, octet by octet, and the notice the second
    HEADERS = "headers"  # it goes with the unsubscribe header fields alone
    REFUSE = "refuse"  # it does not go


class Outcome(StrEnum):
    """“Cannot tell” is a value, not an exception: DEFER is temporary for the client (promise I4)."""

    __hash__ = str.__hash__

    PASS = "pass"
    BLOCK = "block"
    DEFER = "defer"


class Reason(StrEnum):
    """Why. Closed set: it is a metric label and a journal field."""

    __hash__ = str.__hash__

    CONSENT = "consent"  # PASS: an ONAY stands in the index
    TACIR_EXEMPT = "tacir_exempt"  # PASS: a merchant who has not refused
    INFORMATIONAL = "informational"  # PASS: no consent needed, forwarded untouched
    NO_CONSENT = "no_consent"  # BLOCK: BIREYSEL without a standing ONAY
    REJECTED = "rejected"  # BLOCK: a TACIR who said RET
    SUSPENDED = "suspended"  # BLOCK: the brand's provider may not send now
    BAD_ADDRESS = "bad_address"  # BLOCK: no canonical form, so no consent can exist
    NO_STREAM = "no_stream"  # BLOCK: the sender matches no stream
    UNFIT = "unfit"  # BLOCK: the notice cannot be put into this message
    SIGNED = "signed"  # BLOCK: the notice would break its DKIM signature, and the stream wants that refused
    INDEX_DOWN = "index_down"  # DEFER: the index did not answer in time
    INDEX_STALE = "index_stale"  # DEFER: it answered, but is emptied, half-built, old or not heard of its publisher
    OVERLOAD = "overload"  # DEFER: a bound of limits.py was reached
    JOURNAL_DOWN = "journal_down"  # DEFER: the decision could not be written down
    INTERNAL = "internal"  # DEFER: our own fault


@dataclass(frozen=True, slots=True)
class Brand:
    """Who is speaking: what the notice must say (regulation art. 8).

    `code` is the İYS brand code consents are kept under, `iys_code` the provider's; equal for a master brand.
    """

    code: int
    name: str
    title: str
    mersis: str
    iys_code: int
    contact: str = ""  # telephone or mail address for the notice
    sms_notice: str = ""  # template of filters.notice; empty: the default one
    shortcode: str = ""  # the number that takes a RET by SMS, for the notice
    short_names: tuple[str, ...] = ()  # what citizens call it who answer RET … to an SMS; the name itself always counts
    mo_confirmation: str = ""  # template of what they are answered; empty: nothing


@dataclass(frozen=True, slots=True)
class Stream:
    """One kind of traffic of one sender: decided by configuration before any message is seen."""

    name: str
    brand: Brand | None  # None: an informational stream that speaks for no brand
    kind: Kind
    recipient_type: RecipientType
    upstream: str
    may_declare: bool = False
    observe: bool = False
    dkim_existing: Existing = Existing.STRIP
    signed_mail: Sealed = Sealed.WRAP  # the inner signature stays valid
    encrypted_mail: Sealed = Sealed.REFUSE  # a reader has to be shown who speaks (regulation art. 8)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer of `filters.consent.judge` about one recipient."""

    outcome: Outcome
    reason: Reason
