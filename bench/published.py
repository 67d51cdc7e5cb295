"""Figures of peers that this run does not measure, each with the floor of the machine it was measured on.

They were taken once, on another 2-core machine, as shipped and on loopback; only their ratio to HAProxy there says
something here. Kannel and Jasmin keep messages on disk or in a broker, which the gateway does not do by design.
"""

from __future__ import annotations

NOTES = {
    "smtp-2k": (
        "Not measured in this run (another machine, HAProxy 0.11–0.13 ms there): Postfix relay with queue 3.5 ms."
    ),
    "smtp-60k": (
        "Not measured in this run (another machine, HAProxy 0.23–0.28 ms there): Postfix relay with queue 4.6 ms."
    ),
    "smpp-1": (
        "Not measured in this run (another machine, HAProxy 36 µs there): a 40-line proxy on node-smpp 156 µs,"
        " Kannel 1.4.5 without receipts 298 µs, Jasmin 0.11.1 with receipts 5.0 ms."
    ),
    "smpp-10": (
        "Not measured in this run (another machine, HAProxy 4.2 µs there): a 40-line proxy on node-smpp 88 µs,"
        " Kannel 1.4.5 without receipts 265 µs, Jasmin 0.11.1 with receipts 4.8 ms."
    ),
    "smpp-100": (
        "Not measured in this run (another machine, HAProxy 0.8 µs there): a 40-line proxy on node-smpp 87 µs,"
        " Kannel 1.4.5 without receipts 241 µs, Jasmin 0.11.1 with receipts 5.0 ms."
    ),
    "smpp-10-receipts": (
        "Not measured in this run (another machine, HAProxy without receipts 4.2 µs there): Kannel 1.4.5 483 µs,"
        " Jasmin 0.11.1 4.8 ms."
    ),
    "smpp-100-receipts": (
        "Not measured in this run (another machine, HAProxy without receipts 0.8 µs there): Kannel 1.4.5 403 µs,"
        " Jasmin 0.11.1 5.0 ms."
    ),
}
