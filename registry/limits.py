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
WITHDRAWALS_AT_ONCE: Final = 7  # threads; more of them wait, for each holds the one lock of all appends in turn
QUERY_KEYS_MAX: Final = 8000  # in one IN list: SQLite takes 32,766 variables, PostgreSQL 65,535

# The ledger as evidence.
ACTOR_CHARACTERS_MAX: Final = 200  # a file's name, a client's name, a user's: what is longer tells nobody more
VERIFY_ROWS: Final = 20_000  # fetched at once while the chain is computed again: 6 MB
RETAIN_ENDINGS: Final = 2000  # RET looked at in one part: a withdrawal waits for their removal, some 100 ms
RETAIN_FIRST_SECONDS: Final = 60.0  # after a start, which has better things to do
RETAIN_SECONDS: Final = 86_400.0
RETAIN_AGAIN_SECONDS: Final = 3600.0  # after a fault of the ledger
RETAIN_CLOCK_DAYS: Final = 31  # between two looks without doubt about the clock: a machine that was off for a month
VERIFY_FAULTS_MAX: Final = 1000  # told one by one; more of them are one fault: somebody wrote the ledger anew

# The importer. One transaction per batch: large enough that each page of the indexes is written once for many lines,
# small enough for a withdrawal to get its turn in between and for 100 MB of memory.
IMPORT_BATCH_LINES: Final = 50_000
AHEAD_BYTES_MIN: Final = 4 << 20  # below, the file is read before a second process is up
IMPORT_LINE_BYTES_MAX: Final = 4096  # the longest valid line has about 400
COPY_ROWS_MIN: Final = 500  # below, COPY's round trips to PostgreSQL cost more than it spares
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
BACKGROUND_BACKOFF_SECONDS_MAX: Final = 60.0  # after many faults of a thread, one after the other
BACKGROUND_STALLED_SECONDS: Final = 600.0  # without a word a step hangs: its longest call of others' ends within one
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

# Onboarding. Whoever applies is a stranger: little is read of each, and little is sent to anybody because of them.
PROVIDER_DOCUMENT_OCTETS_MAX: Final = 2 << 20  # a page, scanned in colour
PROVIDER_BODY_OCTETS_MAX: Final = 3 << 20  # the same in base64, and the other fields
PROVIDER_BODY_SECONDS_MAX: Final = 60.0  # on a line that sends 50 kB a second
PROVIDER_BODIES_AT_ONCE: Final = 8  # 9 MB each while they are taken apart
PROVIDER_PARTS_MAX: Final = 64  # fields of the form: a dozen, and a brand each
PROVIDER_TITLE_CHARACTERS_MAX: Final = 200  # trade titles are long, and stand in each notice
PROVIDER_NAME_CHARACTERS_MAX: Final = 100  # a person's or a brand's; SMS notices take less, which is checked too
PROVIDER_BRANDS_MAX: Final = 20
PROVIDER_REASON_CHARACTERS_MAX: Final = 500
PROVIDERS_OPEN_MAX: Final = 1000  # applications of a week that nobody has verified: 2 GB of documents
PROVIDERS_OPEN_SECONDS: Final = 7 * 86_400
PROVIDER_APPLICATIONS_BURST: Final = 5  # of one address
PROVIDER_APPLICATIONS_PER_SECOND: Final = 1 / 600
PROVIDERS_SUSPENDED_BRANDS_MAX: Final = 1000  # 7 kB, which gateways read with the state of the index, always
PROOF_CODE_SECONDS: Final = 600  # until a code by SMS is typed in
PROOF_LINK_SECONDS: Final = 24 * 3600  # until a link in a mail is opened
PROOF_TRIES_MAX: Final = 3  # wrong codes; the national system takes as many
PROOF_PAUSE_SECONDS: Final = 180  # between two codes, as the national system wants it (H465)
PROOFS_PER_DAY_MAX: Final = 5  # to one number or mail address, whoever asks for them
PROOF_DAY_SECONDS: Final = 86_400
OUTBOX_TICK_SECONDS: Final = 1.0
OUTBOX_LETTERS: Final = 20  # looked at in one tick
OUTBOX_LEASE_SECONDS: Final = 60  # for one try; then another process, or the next start, tries again
OUTBOX_WAIT_SECONDS: Final = 10.0  # for each answer of a door
OUTBOX_BACKOFF_SECONDS: Final = 5  # after the first try that failed; twice as long after each further one
OUTBOX_BACKOFF_SECONDS_MAX: Final = 300

# The rest of the national API: batches, changes, pushes, retailers, the day's file.
API_BATCH_CONSENTS_MAX: Final = 1000  # of one batch (H125 beyond); one transaction of some 100 ms
API_BATCHES_OPEN_MAX: Final = 1000  # accepted and not recorded yet: 200 MB, and a few minutes of work
API_WORK_SECONDS: Final = 1.0  # between two looks for batches that another process accepted, or left behind
API_FORGET_SECONDS: Final = 3600.0  # between two deletions of what is older than 60 days
API_STOP_SECONDS: Final = 10.0  # for a batch or a request that is under way; what is given up is done again
API_CHANGES_MAX: Final = 1000  # moves of one answer (H507 beyond)
API_CURSORS_MAX: Final = 10_000  # whose place in the ledger is remembered, 250 octets each
API_PAGE_MAX: Final = 100  # of history, of retailers, recipients and links in one request (H186, H126, H127)
API_RETAILERS_MAX: Final = 3000  # of a brand
API_RETAILER_CHARACTERS_MAX: Final = 255  # of each text about one
API_DAY_ROWS: Final = 5000  # of the day's file that are in memory at once: 2 MB
API_DAY_WAIT_SECONDS: Final = 10.0  # for a day's hash before the answer is "inprogress"
API_DAYS_WAITING_MAX: Final = 20  # for the one thread that computes them
API_STREAM_OCTETS: Final = 65_536  # of the day's file in one piece
PUSH_RECEIVERS_MAX: Final = 2  # of a brand and type
PUSH_CONNECTIONS_MAX: Final = 6  # in one registration: all that a brand can have
PUSH_CREDENTIAL_CHARACTERS_MAX: Final = 256  # of a receiver's user or password
PUSH_URL_CHARACTERS_MAX: Final = 2000  # what proxies and servers take
PUSH_SECONDS: Final = 5.0  # for a receiver's answer, as the national system wants it
PUSH_MOVES_MAX: Final = 100  # in one request: 40 kB
PUSH_RUN_MAX: Final = 10  # requests to one receiver before the next one gets its turn
PUSH_TICK_SECONDS: Final = 0.5  # between two looks for moves
PUSH_LEASE_SECONDS: Final = 120  # of one process on a receiver: PUSH_RUN_MAX requests and the look-ups of names
PUSH_BACKOFF_SECONDS_MIN: Final = 5
PUSH_BACKOFF_SECONDS_MAX: Final = 900  # a receiver that comes back is told within a quarter of an hour
PUSH_SKIP_EVENTS: Final = 10_000  # of others, after which a cursor is moved without a delivery
PUSH_THREADS: Final = 2  # that try new receivers
PUSH_THREADS_WAITING_MAX: Final = 8  # for one of them

# The client of the national system (`registry.sync`).
SYNC_CONNECT_SECONDS: Final = 5.0
SYNC_ANSWER_OCTETS_MAX: Final = 4 << 20  # a thousand results or changes have some 400,000
SYNC_FILE_OCTETS_MAX: Final = 512 << 20  # a day's file of three million moves, on disk: fetched when hashes differ
SYNC_FILE_SECONDS_MAX: Final = 1800.0  # for such a file: 300 kB a second
SYNC_FILE_LINE_OCTETS_MAX: Final = 4096  # of it; the longest line has about 500
SYNC_FILE_BEAT_SECONDS: Final = 10.0  # between two words that it still comes
SYNC_BACKOFF_SECONDS_MIN: Final = 5.0  # after a first fault; twice as long after each further one
SYNC_BACKOFF_SECONDS_MAX: Final = 900.0
SYNC_TOKEN_EARLY_SECONDS: Final = 300  # before its end a token is renewed: a call must not outlive it
SYNC_TOKEN_STOP_SECONDS: Final = 3600  # after H084; each request in between would begin the hour anew
SYNC_TOKEN_WAIT_SECONDS: Final = 60.0  # for another process that asks for the same token
SYNC_PAGE_MOVES: Final = 1000  # of one answer of changes (H507 beyond)
SYNC_BATCH_CONSENTS: Final = 1000  # of one batch (H091 beyond)
SYNC_STATUS_RECIPIENTS: Final = 1000  # of one status query
SYNC_STATUS_PER_HOUR: Final = 900  # single status queries; the national system answers 1000 (H086)
SYNC_RATIO_MIN: Final = 0.8  # of a day's calls that were taken; below 0.7 the national system shuts an address out
SYNC_RATIO_CALLS_MIN: Final = 5000  # of a day, before that is asked; it asks from 20,000 on
SYNC_SCAN_EVENTS: Final = 20_000  # of the ledger looked at in one transaction for something to upload
SYNC_BATCHES_OPEN: Final = 20  # sent, with a result to come: an outage there is no reason to send it everything
SYNC_BATCH_SECONDS_MAX: Final = 86_400  # without a result a batch is sent again
SYNC_UPLOADS_DAYS: Final = 90  # of what became of uploads; the national system tells of a batch for 60
SYNC_FORGET_ROWS: Final = 20_000  # deleted in one transaction of some 100 ms
SYNC_FORGET_SECONDS: Final = 86_400.0
SYNC_MOVES_DAYS: Final = 10  # of what was told; the national system compares the last seven
SYNC_TICK_SECONDS: Final = 1.0  # between two looks whether something is due
SYNC_PUSH_OCTETS_MAX: Final = 4 << 20  # one push; how many moves it may have is not documented
SYNC_PUSH_SECONDS: Final = 4.0  # for an answer; the national system waits for five
SYNC_PUSH_THREADS: Final = 2
SYNC_PUSHES_WAITING_MAX: Final = 20  # for one of the two; more are told to come again
SYNC_STOP_SECONDS: Final = 10.0  # for the call that is under way; what is given up is done again

# The admins' page. A stolen password leaves an attacker to guess codes: three of a million are good at a time.
ADMIN_BODY_OCTETS_MAX: Final = 8192  # a reason at its longest has 6000, percent-encoded
ADMIN_THREADS: Final = 2  # a login takes 50 ms of a core
ADMIN_WAITING_MAX: Final = 40  # for one of them; more are told to come again
ADMIN_TRIES_BURST: Final = 10  # logins of one address, good ones too; an office shares one
ADMIN_TRIES_PER_SECOND: Final = 1 / 30
ADMIN_NAME_TRIES_BURST: Final = 10  # of one name, wherever from, but for browsers that it has logged in from
ADMIN_NAME_TRIES_PER_SECOND: Final = 1 / 300  # with the password known, a code is guessed in three years on average
ADMIN_NAMES_MAX: Final = 120_000  # 25 MB; to have a name forgotten by trying others takes as long as to wait for tries
ADMIN_KNOWN_SECONDS: Final = 180 * 86_400  # so long a browser is known by which a name logged in
ADMIN_IDLE_SECONDS: Final = 15 * 60  # without a request a session ends
ADMIN_SESSION_SECONDS: Final = 8 * 3600  # and after a day's work in any case
ADMIN_SEEN_SECONDS: Final = 15  # between two notes that a session is used
ADMIN_PAGE_ROWS: Final = 50
ADMIN_EVENTS_MAX: Final = 100  # of a recipient that are shown; `izinli evidence` has them all
ADMIN_SKIP_MAX: Final = 10_000  # rows of the audit that can be paged back; the database holds the others
ADMIN_CODE_CHARACTERS_MAX: Final = 64  # of a code that is looked at; a recovery code has 14

# Who may want a connection to the ledger at the same time, by the names of their threads: nobody has to wait for one,
# so a citizen's withdrawal never stands behind an upload. They are opened when they are needed, and few ever are.
LEDGER_USERS: Final = {
    "withdrawal": WITHDRAWALS_AT_ONCE,
    "publisher": 2,  # itself, and what it reads from while an index is built
    "retention": 2,  # itself, and the lock that lets one registry do it
    "additions": 2,  # of the API, as the next three; it publishes what it records
    "queries": 1,
    "retailers": 1,
    "sessions": 1,
    "api": API_THREADS,
    "outside": PUSH_THREADS,
    "days": 1,
    "batches": 1,
    "pushes": 1,
    "national": 2,  # itself, and our own day while the national system's is compared with it
    "push": SYNC_PUSH_THREADS,
    "onboarding": 1 + PROVIDER_BODIES_AT_ONCE,  # what sends, and what takes applications in
    "admins": ADMIN_THREADS,
    "metrics": 1,
}
LEDGER_CONNECTIONS_MAX: Final = sum(LEDGER_USERS.values())
