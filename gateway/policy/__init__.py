"""The policy door: Postfix asks for each recipient, and keeps the mail (Postfix, SMTPD_POLICY_README).

protocol.py  the protocol, sans-I/O: octets in, requests out; a verdict as an action
listener.py  sockets to requests, requests to questions, verdicts to answers in the order of their requests
"""
