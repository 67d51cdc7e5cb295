"""The SMPP door: each bind of a client has a bind of its own at the SMSC, so ids and receipts pass; or they share some.

    pdu       octets to fields: headers, walks, TLVs                         pure
    statuses  what a client is answered                                      pure
    frames    a stream of octets to PDUs                                     pure
    session   the server's state table, bytes in, events and bytes out       pure
    text      where a text stands in a submit_sm, and the notice in it       pure
    times     times as SMPP writes them                                      pure
    parts     the long messages that clients send in parts of their own      pure
    submit    one submit_sm: ask, put the notice in, send, answer
    multi, operations   the other requests that carry a text, by way of `proxy`
    upstream  the bind at the SMSC: its sequence numbers, what waits for its answers; `congestion`
    link      that bind's loss and return
    pool      or binds that all clients share: `routes` for each of these, `deliveries` for what the SMSC sends
    owners    whose a message there is; `spelling`: its id in answers and receipts
    esme      what the binds of an account share: `rate`, refusals, `receipts`
    mo        what handsets answer: refusals are recorded before anybody hears of them
    handsets  who wrote to a handset last
    split, fold   what became several at the SMSC: sent, and its receipts made one again; `fold_memory`
    fold_state, receipt_pdu   what receipts say, and what all of them say together       pure
    ids       the memory of the SMSC's message ids, which all workers share
    listener, connection   sockets to sessions, sessions to submits

An octet of a message is held nowhere but in memory and only until its SMSC answers; a client's answer is the SMSC's.
"""
