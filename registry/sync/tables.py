"""What the client of the national system remembers: how far it is, what it was told, what waits to be told there.

`national_move` is what the national system says that it holds, of the last days: it knows repetitions by it, and the
file of a day is compared with it. `national_receipt` is the evidence that it took an event; rows of `national_upload`
go when nobody can do anything with them any more. Tokens are sealed (`registry.national.seal`), passwords of
`national_brand` too (`registry.providers.vault`).
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, Table, Text

from registry.schema import metadata

WAITING: Final = "waiting"
SENT: Final = "sent"  # in a batch that was accepted
DONE: Final = "done"
REFUSED: Final = "refused"  # there, or by our own look at its rules
KNOWN: Final = "known"  # a rejection of somebody it knows nothing of: there is nothing to take back

SETTLED: Final = (DONE, REFUSED, KNOWN)

_Serial = BigInteger().with_variant(Integer(), "sqlite")

national_upload = Table(
    "national_upload",
    metadata,
    Column("seq", _Serial, primary_key=True, autoincrement=False),  # consent_event.seq
    Column("brand", BigInteger, nullable=False),
    Column("fingerprint", LargeBinary(12), nullable=False),
    Column("recipient_type", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("due", Text, nullable=False),  # the last day in Turkey on which it is in time, YYYY-MM-DD
    Column("next_at", BigInteger, nullable=False),  # Unix time; while it is sent: when to ask
    Column("tries", Integer, nullable=False),
    Column("code", Text, nullable=False),  # the last one, "" without any
    Column("request", Text, nullable=False),  # requestId of its batch
    Column("sub_request", Text, nullable=False),
    Column("changed_at", BigInteger, nullable=False),  # Unix time
    Index("national_upload_state", "brand", "state", "seq"),
    Index("national_upload_key", "fingerprint", "recipient_type"),
    Index("national_upload_request", "request"),
)

national_move = Table(
    "national_move",
    metadata,
    Column("brand", BigInteger, primary_key=True, autoincrement=False),
    Column("transaction_id", Text, primary_key=True),
    Column("created", Text, nullable=False),  # creationDate, Turkey time
    Column("channel", Text, nullable=False),
    Column("recipient", Text, nullable=False),
    Column("recipient_type", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("consent_date", Text, nullable=False),
    Index("national_move_created", "brand", "created"),
)

national_state = Table(
    "national_state",
    metadata,
    Column("brand", BigInteger, primary_key=True, autoincrement=False),
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
    Column("changed_at", BigInteger, nullable=False),  # Unix time
)

national_lease = Table(
    "national_lease",
    metadata,
    Column("name", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("held_until", BigInteger, nullable=False),  # Unix time
)

national_token = Table(
    "national_token",
    metadata,
    Column("login", Text, primary_key=True),  # url and user name, hashed
    Column("access", LargeBinary, nullable=False),  # sealed; empty: none
    Column("access_until", BigInteger, nullable=False),  # Unix time
    Column("refresh", LargeBinary, nullable=False),  # sealed; empty: none
    Column("refresh_until", BigInteger, nullable=False),
    Column("blocked_until", BigInteger, nullable=False),  # nobody asks before
)

national_receipt = Table(
    "national_receipt",
    metadata,
    Column("seq", _Serial, primary_key=True, autoincrement=False),  # consent_event.seq
    Column("transaction_id", Text, nullable=False),  # there; "": it did not say
    Column("created", Text, nullable=False),  # creationDate there, Turkey time; "": it did not say
    Column("heard_at", BigInteger, nullable=False),  # Unix time: when we were told
)

national_brand = Table(
    "national_brand",
    metadata,
    Column("code", BigInteger, primary_key=True, autoincrement=False),  # here
    Column("iys_code", BigInteger, nullable=False),  # there
    Column("brand_code", BigInteger, nullable=False),  # there
    Column("username", Text, nullable=False),  # "": the login of the configuration
    Column("password", LargeBinary, nullable=False),  # sealed; empty without a user name
    Column("push_username", Text, nullable=False),  # of the national system here; "": that of the configuration
    Column("push_password", LargeBinary, nullable=False),
    Column("added_by", Text, nullable=False),  # `registry.evidence.actors`
    Column("added_at", BigInteger, nullable=False),  # Unix time
)
