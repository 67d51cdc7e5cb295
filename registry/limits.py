"""Every bound of the control plane, with its reason (promise I7)."""

from __future__ import annotations

from typing import Final

# The citizen page. A one-click body is 26 bytes, its multipart form about 200; 4 kB leaves room for odd boundaries.
BODY_BYTES_MAX: Final = 4096
BODY_SECONDS_MAX: Final = 10.0  # a telephone on a bad line sends 4 kB in this time; a slow-loris does not
RETRY_SECONDS: Final = 30  # what a 503 asks for; mail programs repeat a one-click POST on their own terms
FORM_FIELDS_MAX: Final = 8
CONNECTIONS_MAX: Final = 512  # of the web server; above it 503 at once
HEADER_BYTES_MAX: Final = 16384  # request line and headers; the longest token has 420 characters

DRAIN_SECONDS: Final = 15.0  # open requests after SIGTERM: a withdrawal takes LEDGER_WAIT + INDEX_WAIT at most
HEADER_SECONDS_MAX: Final = 10.0  # from the connection, or a further request's first octet, to the end of its headers
KEPT_CONNECTIONS_MAX: Final = 128  # that wait for another request of the API's callers; the others are citizens'
KEPT_SECONDS_MAX: Final = 30.0  # for another request

# Bad tokens per client address: 40-bit tags need 5e11 guesses for an even chance. A citizen mistypes a few; whole
# offices and mobile carriers share one address, so the bucket is deep and only bad tokens are charged.
BAD_TOKENS_BURST: Final = 20
BAD_TOKENS_PER_SECOND: Final = 0.2
BAD_TOKEN_CLIENTS_MAX: Final = 10_000  # about 2 MB; the longest unseen address is forgotten first

# The ledger. A writer waits this long for another one; an import holds the lock for one batch (well under a second).
LEDGER_WAIT_SECONDS: Final = 10.0
LEDGER_CONNECTIONS_MAX: Final = 18
WITHDRAWALS_AT_ONCE: Final = 7  # publisher, its reader, retention, its lock and the threads of the API have their own
QUERY_KEYS_MAX: Final = 8000  # in one IN list: SQLite takes 32,766 variables, PostgreSQL 65,535

# The ledger as evidence.
ACTOR_CHARACTERS_MAX: Final = 200  # a file's name, a client's name, a user's: what is longer tells nobody more
VERIFY_ROWS: Final = 20_000  # fetched at once while the chain is computed again: 6 MB
RETAIN_ENDINGS: Final = 2000  # RET looked at in one part: a withdrawal waits for their removal, some 100 ms
RETAIN_FIRST_SECONDS: Final = 60.0  # after a start, which has better things to do
RETAIN_SECONDS: Final = 86_400.0
RETAIN_AGAIN_SECONDS: Final = 3600.0  # after a fault of the ledger
VERIFY_FAULTS_MAX: Final = 1000  # told one by one; more of them are one fault: somebody wrote the ledger anew

# The importer. One transaction per batch: large enough that each page of the indexes is written once for many lines,
# small enough for a withdrawal to get its turn in between and for 100 MB of memory.
IMPORT_BATCH_LINES: Final = 50_000
AHEAD_BYTES_MIN: Final = 4 << 20  # below, the file is read before a second process is up
IMPORT_LINE_BYTES_MAX: Final = 4096  # the longest valid line has about 400
EXPORT_ROWS: Final = 10_000  # fetched at once: 2 MB
SHEET_MEMORY_OCTETS_MAX: Final = 3 << 30  # of the process that reads a spreadsheet: 1,048,576 rows take 0.7 GB

# Consents under the citizens' review.
REVIEWS_ENDED_AT_ONCE: Final = 20_000  # one transaction of half a second; a withdrawal waits for no more
REVIEWS_LOOK_SECONDS: Final = 60.0  # between two looks for a review that has ended

# The publisher.
INDEX_WAIT_SECONDS: Final = 5.0  # for SQLite's write lock and for each answer of Redis
TAIL_CHANGES_MAX: Final = 5000  # changes in one index transaction: some 20 ms of Redis' time
BUILD_CHUNK_MEMBERS: Final = 50_000  # between two heartbeats of a build
REBUILD_EVENTS_MIN: Final = 100_000  # so far behind, and by more than there are members: a build is faster
CONTENTION_TRIES_MAX: Final = 32  # of an optimistic Redis transaction before the index counts as down
TICK_SECONDS: Final = 0.2  # catching up with what other processes recorded: a consent counts within a second
BEAT_SECONDS: Final = 1.0  # between two heartbeats without news
FAULT_SECONDS: Final = 1.0  # after a fault, so that a server that is starting is not hammered
VERIFY_TRIES: Final = 3  # looks at a lane that differs: what was recorded meanwhile is no difference
VERIFY_WAIT_SECONDS: Final = 1.0  # between them; the publisher follows in TICK_SECONDS
STALLED_SECONDS: Final = 30.0  # a loop that did not tick for this long is dead for /livez
PUBLISHER_STOP_SECONDS: Final = 10.0  # for the step it is in; a build is given up between two chunks

# The shared index. Redis does one thing at a time: a call of these sizes keeps a gateway's question waiting for about a
# millisecond.
LANE_CALL_MEMBERS_MAX: Final = 1000  # added or taken away by one script
LANE_CALL_KEYS_MAX: Final = 1000  # buckets opened, looked at or dropped by one script or command
LANE_CALLS_AT_ONCE: Final = 256  # sent before the answers are read: 6 MB of members
LANE_READ_BUCKETS: Final = 200  # read whole before the answers are taken: 128 members each, 0.6 MB
LEVEL_SECONDS: Final = 10.0  # between two passes over all lanes; what a promoted replica lacks is this much at most
CHANGES_ENTRY_MEMBERS_MAX: Final = 512  # of one entry of the stream: 4 kB, one node of it
CHANGES_ENTRIES_MAX: Final = 20_000  # 84 MB when all are full; 20 s of filters that are cut off while 1000/s consent
SERVER_IDLE_CONNECTIONS_MAX: Final = 16  # kept open to each server: withdrawals at once, the publisher, commands

# The national API. What its callers may ask in an hour is the operator's choice (`registry.national.rates`).
API_BODY_OCTETS_MAX: Final = 65_536  # a consent with 3000 retailer codes has some 30,000
API_LIST_OCTETS_MAX: Final = 1 << 20  # a thousand e-mail addresses at their longest, or consents: some 300,000
API_FORM_OCTETS_MAX: Final = 16_384  # a token request; a refresh token has about 500
API_VALUE_CHARACTERS_MAX: Final = 300  # of a faulty value that is repeated in the answer; the longest recipient has 265
API_RECIPIENTS_MAX: Final = 1000  # of one query (H091 beyond)
API_GROUP_MAX: Final = 1000  # requests in one transaction: a withdrawal waits for some 50 ms of others' at most
API_WAITING_MAX: Final = 5000  # requests that wait for their transaction, 2 kB each; 3 s of a slow disk's work
API_THREADS: Final = 2  # for what is rare: passwords (50 ms of a core and 16 MiB each), brands' counts
API_THREADS_WAITING_MAX: Final = 40  # for one of them; more are told to come again
API_TOKENS_PER_CLIENT_MAX: Final = 1000  # live ones: 100 an hour for four hours, two each
API_SESSIONS_MAX: Final = 10_000  # clients' tokens that a process remembers, some 500 octets each
API_SESSION_SECONDS: Final = 2.0  # so long a token counts without being looked up: how late a removal may be
API_RATE_CLIENTS_MAX: Final = 10_000  # addresses that are counted in one process; the longest unseen is forgotten first
API_COUNT_SECONDS: Final = 60.0  # between two counts of all consents, which look at each of them
