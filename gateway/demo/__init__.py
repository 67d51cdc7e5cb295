"""Peers to show the gateway with: a capture next hop for mail and a small SMSC."""
