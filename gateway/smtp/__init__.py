"""The SMTP door: from a client's MAIL command to the next hop's answer, with no queue in between.

    grammar   one command line to its parts (RFC 5321 §4.1)              pure
    session   the server's state table, bytes in, events and bytes out   pure
    replies   what we say, and what we pass on                           pure
    trace     the one header a relay adds, and the count of those        pure
    dsn       the notice of RFC 3464 for the rare mixed ending           pure
    client    one conversation with a next hop                           pure
    lmtp      the same with an answer for each recipient (RFC 2033)
    listener  sockets to sessions; sessions to transactions
    delivery  one transaction: ask, ask again, plan, copy, answer
    upstream  connections to a next hop: pooled, bounded, in order
    parties   who takes part in it
    delivered the memory of mixed endings: nothing goes twice

The pure modules know no socket, clock or loop. AUTH, STARTTLS and the PROXY header are not spoken; they would wrap a
session from outside (a transport that is already encrypted, a client address that is already known, an account that is
already proven), so nothing in the state table has to change for them but its rows.
"""
