"""Every bound of the data plane, with its reason (promise I7). Over a bound the newest work is refused, none is lost.

Octets, seconds (`_S`) or counts. What an operator may choose stands in the configuration instead, within these.
"""

from __future__ import annotations

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB

# The pipeline and the index. A question is some 500 octets: 20,000 are 10 MB, half a second of a full core's work.
QUESTIONS_MAX: Final = 20_000
INDEX_DEADLINE_S: Final = 0.25  # a local Redis answers in 1 ms; what waits longer is better told to come back
INDEX_CONNECT_S: Final = 1.0
INDEX_RETRY_S: Final = 0.5  # between two attempts to reach it; a question in between is answered at once
INDEX_DOUBT_S: Final = 0.1  # between two looks at who is master, however often answers give reason to
INDEX_STILL_S: Final = 5.0  # between two polls that are due each second: less than any server needs to be replaced
INDEX_FAULT_SHOWN_S: Final = 60.0  # what answers to questions have shown stays visible: two scrapes and more
INDEX_BATCH_MAX: Final = 1000  # questions in one round trip: about 1 ms of Redis' time
INDEX_BATCHES_IN_FLIGHT_MAX: Final = 8

# The negative pre-filter of a Redis index: a snapshot that a machine shares, and what each worker adds to it.
FILTER_POLL_S: Final = 0.25  # how often a worker asks what has changed: a new consent counts so much later
FILTER_LEVEL_S: Final = 0.6  # a poll that was sent earlier proves nothing any more; two polls, and one that is slow
# Whom the filter cannot exclude costs some 3 µs more, whom it can so much less. So of this many that it was asked about
# in a second one in so many must be absent, or it rests until the next second.
FILTER_LOOKED_MIN: Final = 256
FILTER_ABSENT_ONE_IN: Final = 4
FILTER_ENTRIES_AT_ONCE: Final = 32  # of the stream of changes in one answer: at most 16,384 members, 4 ms of the loop
FILTER_ENTRIES_DUE: Final = 10_000  # since the snapshot, and a new one is due: half of those that the stream keeps
FILTER_DELTA_MAX: Final = 200_000  # members since the snapshot, some 100 octets each in every worker: 20 MB
FILTER_DELTA_SHARE: Final = 0.05  # of the snapshot's members; more of them since, and a new one is due …
FILTER_DELTA_DUE_MIN: Final = 50_000  # … but not for so few, which cost 5 MB
FILTER_MEMBERS_MIN: Final = 10_000  # room that also the smallest filter has: 18 kB
FILTER_BUILD_S_MIN: Final = 30.0  # from the end of a build to the next one …
FILTER_BUILD_REST: Final = 4  # … and so many times as long as it took, so that Redis is not read all the time
FILTER_RETRY_S: Final = 5.0  # after a build that failed
FILTER_READ_S: Final = 10.0  # for one answer while the index is read in bulk
FILTER_BUCKETS_AT_ONCE: Final = 64  # in one round trip: some 25,000 members of 60 octets, 2 ms of Redis' time
FILTER_SAMPLE_BUCKETS: Final = 4096  # counted, to know how large a filter has to be

# The journal. A line has about 250 octets.
JOURNAL_FILE_OCTETS_MAX: Final = 256 * MIB
JOURNAL_RETRY_S: Final = 1.0  # after a failed write, so that a full disk is not hammered
EVIDENCE_DECISIONS_MAX: Final = 10_000  # about one recipient, told one by one: who has more is a test address

# Doors, whatever they speak.
PEERS_KNOWN: Final = 1000  # clients whose address was read and looked up in `allow`: a relay has few, who come again
PROXY_HEADER_S: Final = 5.0  # a load balancer writes it with the connection
PROXY_HEADER_OCTETS_MAX: Final = 2 * KIB  # of version 2, its extensions included; HAProxy's own have some hundred
TLS_HANDSHAKE_S: Final = 30.0  # three round trips, and a busy client
TLS_RELOAD_S: Final = 5.0  # between two looks at the certificate's files
AUTH_THREADS: Final = 2  # that hash passwords: some 50 ms of a core and 16 MiB each
AUTH_WAITING_MAX: Final = 20  # passwords that wait for a thread: half a second; more are told to come back
AUTH_DELAY_S: Final = 1.0  # before the answer to a wrong password; doubling in a session
AUTH_FAILURES_MAX: Final = 3  # in one session, then it ends

# SMTP, towards clients (RFC 5321 §4.5.3).
SMTP_SESSIONS_MAX: Final = 2000  # of one worker; idle ones cost some 20 kB each
SMTP_COMMAND_S: Final = 300.0  # §4.5.3.2.7: at least five minutes
SMTP_DATA_BLOCK_S: Final = 180.0  # §4.5.3.2.5: three minutes for a block
SMTP_BLOCK_OCTETS_MIN: Final = 4 * KIB  # what counts as a block: fewer octets in three minutes are a slow loris
SMTP_LINE_OCTETS_MAX: Final = 2048  # §4.5.3.1.4 asks for 512; DSN parameters and UTF-8 need more
SMTP_PIPELINE_OCTETS_MAX: Final = 64 * KIB  # commands read ahead of their answers
SMTP_EVENTS_AT_ONCE: Final = 200  # acted on before the other sessions have their turn: some 5 ms of a core
SMTP_RECIPIENTS_MAX: Final = 1000  # §4.5.3.1.8 asks for at least 100
SMTP_ERRORS_MAX: Final = 20  # bad commands in one session; Postfix hangs up after 20 too
SMTP_HOPS_MAX: Final = 50  # §6.3 suggests 100; Postfix uses 50
SMTP_SIZE_MAX: Final = 50 * MIB  # the largest `size_max` that may be configured
SMTP_SIZE_SLACK: Final = KIB  # octets over the limit that are still read before the rest is thrown away
SMTP_GROWTH: Final = 64 * KIB  # what notices, links and fields can add to a message (twenty places of each)
SMTP_TRANSIT_OCTETS_MAX: Final = 512 * MIB  # of content in one worker; above it DATA is told 452

# SMTP, towards next hops.
SMTP_HOSTS_MAX: Final = 32  # of one next hop; each is asked at the start what it offers
SMTP_ADDRESSES_MAX: Final = 8  # of one name, tried one after the other
SMTP_CONNECTIONS_MAX: Final = 1000  # the largest `connections_max`
SMTP_CONNECT_S: Final = 10.0  # connect, banner, EHLO, TLS and AUTH; the next hop is a neighbour
SMTP_TLS_GOODBYE_S: Final = 2.0  # for the other side's close_notify
SMTP_NEXT_HOP_COMMAND_S: Final = 60.0  # MAIL, RCPT, DATA
SMTP_NEXT_HOP_IDLE_S_MAX: Final = 290  # §4.5.3.2.7: a server may close after five minutes, and we want to be first
SMTP_CONNECTION_S: Final = 300.0  # a connection's life, so that weights, new addresses and new certificates count
SMTP_DELIVERY_S: Final = 90.0  # from the client's final dot to its answer: Postfix's proxy client gives up after 100
SMTP_LATE_S: Final = 510.0  # and an answer to a dot may still come: §4.5.3.2.6 gives it ten minutes in all
SMTP_DOT_HELD_S: Final = 5.0  # a dot waits for its siblings'; Postfix under stress hangs up after 10
SMTP_COPIES_AT_ONCE: Final = 20  # of one transaction
SMTP_JOINED_OCTETS_MAX: Final = 8 * KIB  # a copy is joined when it is made; others when they are sent, so once
# A copy this small is joined and sent at once, which puts it in memory twice; larger ones go in blocks …
SMTP_WHOLE_OCTETS_MAX: Final = 64 * KIB
SMTP_WRITE_OCTETS: Final = 64 * KIB  # … of so much, as the next hop reads: what a transport buffers before it says stop
SMTP_WAITING_MAX: Final = 5000  # copies that wait for a connection
SMTP_MESSAGES_PER_CONNECTION_MAX: Final = 100_000  # the largest `messages_per_connection`
SMTP_RECONNECT_S: Final = 1.0  # between two attempts while every host fails; a message in between is deferred at once
SMTP_BACKOFF_S_MIN: Final = 1.0  # a host that failed stays out for so long, doubling, with jitter
SMTP_BACKOFF_S_MAX: Final = 60.0
SMTP_NARROWED_S: Final = (
    3600.0  # so long a client may hold on to what an EHLO promised before a host turned out to differ
)
SMTP_LOG_AGAIN_S: Final = 60.0  # a host that keeps failing for the same reason is in the log once a minute
SMTP_REPLY_LINE_OCTETS_MAX: Final = 2048  # §4.5.3.1.5 says 512
SMTP_REPLY_LINES_MAX: Final = 100
SMTP_REPLY_TEXT_OCTETS_MAX: Final = 1000  # of all lines together, of which one line is passed on
SMTP_SWEEP_S: Final = 1.0  # how exact the deadlines above are

# Postfix's policy protocol.
POLICY_SESSIONS_MAX: Final = 2000  # of one worker: one for each smtpd, of which Postfix starts 100 if nobody says more
POLICY_REQUEST_OCTETS_MAX: Final = 32 * KIB  # some 35 attributes, the longest of them a command line of 2 KiB
POLICY_REQUEST_S: Final = 30.0  # from its first octet to its last; Postfix writes it at once
POLICY_IDLE_S: Final = 600.0  # Postfix closes after 300 (smtpd_policy_service_max_idle), so it is never surprised
POLICY_REQUESTS_MAX: Final = 100  # asked ahead of their answers on one connection; Postfix asks one at a time
POLICY_SWEEP_S: Final = 1.0  # how exact the deadlines above are

# The memory of mixed endings: Postfix keeps a message for five days.
SMTP_DELIVERED_KEEP_S: Final = 5 * 24 * 3600
SMTP_DELIVERED_ROWS_MAX: Final = 1_000_000  # 50 MB; in Redis for each worker, 110 MB
SMTP_DELIVERED_UNWRITTEN_MAX: Final = 100_000  # that could not be written yet, some 150 octets each: 15 MB
SMTP_DELIVERED_AT_ONCE: Final = 1000  # written again in one go: 1 ms of Redis' time
SMTP_DELIVERED_EARLY_S: Final = 1.0  # a copy is taken and its siblings are not answered: then it is written down
SMTP_DELIVERED_BUSY_S: Final = 0.2  # waiting for another worker's write
SMTP_DELIVERED_PROBE_S: Final = 5  # between two looks at whether it can be read and written; each second while it can't
SMTP_DELIVERED_BUSY_PROBES: Final = 5  # looks that found another writer, one after the other: no worker writes so long

# DKIM.
DKIM_KEYS_MAX: Final = 4  # of a brand: RSA and Ed25519, each with a successor; every one signs every message
DKIM_KEY_OCTETS_MAX: Final = 16 * KIB  # read of a key file; RSA-4096 has 3 kB
DKIM_LOOK_S: Final = 5.0  # between two looks whether a key file has changed

# SMPP. One bind of a client has one of its own at the SMSC.
SMPP_PDU_OCTETS_MAX: Final = 64 * KIB  # a message_payload of 64 KiB less its own header; no honest PDU is longer
SMPP_SESSIONS_MAX: Final = 2000  # of one worker, each with a second socket behind it
SMPP_SESSION_INIT_S: Final = 30.0  # from connect to bind (session_init_timer, SMPP 3.4 §7.2)
SMPP_ENQUIRE_LINK_S: Final = 30.0  # of silence, then we ask; providers drop idle links after 30 s to 5 min
SMPP_INACTIVITY_S: Final = 90.0  # of silence in spite of our asking: the peer is gone
SMPP_RESPONSE_S: Final = 60.0  # for an answer; Kannel waits 60 s, Jasmin 120 s
SMPP_CONNECT_S: Final = 10.0  # connect and bind at one SMSC host, while the client waits for its own bind
SMPP_RECONNECT_S_MIN: Final = 0.5  # doubling, with jitter: an SMSC may refuse a rebind for some seconds
SMPP_RECONNECT_S_MAX: Final = 30.0
SMPP_UNBIND_S: Final = 5.0  # for the answer to our unbind, or to read our last word; then the socket is closed
SMPP_DELIVERIES_MAX: Final = 1000  # receipts and MO that a client has not answered; more is told to come back
SMPP_SOURCES_MAX: Final = 1000  # source addresses whose stream a bind remembers
SMPP_GROUPS_MAX: Final = 20_000  # long messages under way in one account, some 500 octets each
SMPP_PARTS_S: Final = 0.25  # for the other parts of a long message; jsmpp's own patience for an answer is 2 s
SMPP_GROUP_S: Final = 60.0  # without a further part: the rest is judged anew
SMPP_GROUP_S_MAX: Final = 300.0  # from the first part: a verdict does not live for ever (promise I5)
# That a commercial text may be put off: consent is asked for when it comes, and a withdrawal must have taken effect
# after three business days at the latest. By then what was under way is out.
SMPP_SCHEDULE_S_MAX: Final = 48 * 3600.0
SMPP_DESTINATIONS_MAX: Final = 254  # of a submit_multi (SMPP 3.4 §4.5.1)
SMPP_RATE_MAX: Final = 100_000  # the largest `rate` and `burst` of an account: more than a worker carries
SMPP_CONGESTED_MAX: Final = 1000  # requests unanswered at an SMSC that complained; as large again, it holds nobody back
SMPP_CONGESTED_GOOD_MIN: Final = 10  # good answers before a small window grows: not at each breath
SMPP_RECEIPTS_MAX: Final = 10_000  # of refused messages, waiting in one account, some 200 octets each
SMPP_RECEIPT_S: Final = 600.0  # so long a receipt waits for a bind that takes it
SMPP_POOL_BINDS_MAX: Final = 64  # that one worker keeps at a pooled SMSC; providers allow a login two to ten
SMPP_ADDRESSES_MAX: Final = 1000  # of one account at a pooled SMSC: short codes and alphanumeric names
SMPP_POOL_WAITING_MAX: Final = 10_000  # messages that wait for room on a pool's binds: a second of a fast SMSC, 5 MB
SMPP_POOL_LOOK_S: Final = 0.05  # between two looks whether all is answered, before a pool unbinds
SMPP_ORPHAN_S: Final = 5.0  # that a receipt waits for the answer to its message, while the SMSC waits for ours
SMPP_ORPHANS_MAX: Final = 1000  # of a pool, some 300 octets each; an SMSC has fewer unanswered
SMPP_STRANGE_S: Final = 120.0  # that a receipt of nobody's message may come again: twice SMPP_RESPONSE_S
SMPP_STRANGE_S_MAX: Final = 24 * 3600.0  # between two of its attempts; an SMSC that waits for longer begins anew …
SMPP_STRANGE_MAX: Final = 10_000  # … and so do the oldest of more than these, some 100 octets each
SMPP_NOTES_MAX: Final = 100_000  # owners of messages that could not be written yet, some 400 octets each: 40 MB
SMPP_NOTES_AT_ONCE: Final = 1000  # of them written again in one go
SMPP_FINDS_MAX: Final = 10_000  # owners asked for and not told yet, in one pool
SMPP_SWEEP_S: Final = 1.0  # how exact the deadlines above are

# The memory of the SMSC's message ids, for receipts.
SMPP_IDS_S: Final = 7 * 24 * 3600  # SMSCs try for three days at most, and their receipts may be late
SMPP_IDS_VALUE_OCTETS_MAX: Final = 256
SMPP_MESSAGE_ID_OCTETS_MAX: Final = 64  # SMPP 3.4 §5.2.23, without its NUL
SMPP_IDS_ROWS_MAX: Final = 10_000_000  # in SQLite, some 150 octets each: 1.5 GB; the oldest go first
SMPP_IDS_WAITING_MAX: Final = 50_000  # rows asked for and not yet begun: ten seconds of a full worker, 20 MB
SMPP_IDS_BUSY_S: Final = 1.0  # waiting for another worker's write, in a thread
SMPP_IDS_DUE_MAX: Final = 100  # of the calendar at once: receipts that a client gets in a burst

# Messages that became several at the SMSC, and their receipts.
SMPP_SPLIT_S: Final = 180.0  # from their sending to their ids: they may wait for room, and for an answer, 60 s each
SMPP_SPLITS_TO_ONE_MAX: Final = 20  # under way to one handset; more are sent so that one receipt comes by itself
SMPP_FOLD_S: Final = 24 * 3600  # from a message's first receipt: operators seldom try for longer than a day
SMPP_FOLD_AGAIN_S: Final = 660  # a receipt that nobody took comes again, when SMPP_RECEIPT_S is over
SMPP_FOLD_LOOK_S: Final = 10.0  # how exact these two are
SMPP_FOLD_RETRY_S: Final = 0.2  # a receipt that came before its message's ids were written down is looked up again
SMPP_WHOLE_KNOWN: Final = 20_000  # ids of messages that were not split, of one account: 20 s of 1000 a second, 2 MB
SMPP_FOLD_WAITING_MAX: Final = 10_000  # receipts that are being looked up in one worker, some 500 octets each
SMPP_FOLD_UNWRITTEN_MAX: Final = 10_000  # messages whose ids could not be written down yet, some 500 octets each
SMPP_FOLD_TRIES: Final = 20  # at one record that other workers change too

# Refusals by SMS.
MO_RECORD_S: Final = 15.0  # from the handset's message to its record: the longest that a withdrawal takes
MO_AT_ONCE: Final = 8  # requests to the registry of one worker: it does seven withdrawals at once
MO_WAITING_MAX: Final = 1000  # refusals under way in one worker; a campaign's come within minutes
MO_STATUS_LINE_OCTETS_MAX: Final = 4 * KIB  # of the registry's answer; the rest is not read
MO_CONFIRMATIONS_MAX: Final = 3  # for one message: nobody who says STOP ALL wants twenty answers
MO_KEEP_S: Final = 7 * 24 * 3600  # an answer without a name means a message of the last week
MO_BRANDS_KEPT: Final = 3  # of one handset: whoever wrote before these is not meant
MO_NOTES_MAX: Final = 100_000  # not written yet, some 150 octets each; ten seconds of a full worker
MO_ROWS_MAX: Final = 5_000_000  # in SQLite, some 60 octets each: 300 MB; the oldest go first
MO_BUSY_S: Final = 1.0  # waiting for another worker's write, in a thread

# Processes.
GC_OBJECTS: Final = 20_000  # new objects before a look for cycles: some 5 MB
DRAIN_S: Final = 100.0  # messages under way may take SMTP_DELIVERY_S
RESTART_S_MIN: Final = 0.2  # between a worker's death and its successor, doubling
RESTART_S_MAX: Final = 10.0
TICK_S: Final = 1.0  # how often a worker looks at its index and next hops without traffic
METRICS_OCTETS_MAX: Final = MIB  # of another program that answers on the admin address; ours has some 50 KiB
STATUS_S: Final = 2.0  # a worker that does not answer for so long is not live
