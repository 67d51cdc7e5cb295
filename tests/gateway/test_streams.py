"""Which stream a message belongs to."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

from filters.model import Kind, RecipientType, Stream
from gateway.config import Match, Rule
from gateway.streams import KNOWN_MAX, StreamTable


def rule(name: str, **match: object) -> Rule:
    stream = Stream(name, None, Kind.INFORMATIONAL, RecipientType.BIREYSEL, "relay")
    return Rule(Match(**match), stream)  # type: ignore[arg-type]


def name(stream: Stream | None) -> str | None:
    return stream.name if stream else None


def test_the_first_match_wins_and_none_is_none() -> None:
    table = StreamTable(
        [
            rule("otp", account=b"marka", source_addr=b"OTP"),
            rule("sms", account=b"marka"),
            rule("mail", mail_from_domain=b"a.example"),
        ]
    )
    assert name(table.match(account=b"marka", source_addr=b"OTP")) == "otp"
    assert name(table.match(account=b"marka", source_addr=b"X")) == "sms"
    assert name(table.match(account=b"other", source_addr=b"OTP")) is None
    assert name(table.match(mail_from_domain=b"a.example")) == "mail"
    assert name(table.match(mail_from_domain=b"b.a.example")) is None, "a subdomain is another domain"


def test_a_client_network_is_looked_at_each_time() -> None:
    table = StreamTable([rule("inside", mail_from_domain=b"a.example", client=ip_network("10.0.0.0/8"))])
    assert name(table.match(mail_from_domain=b"a.example", client=ip_address("10.1.2.3"))) == "inside"
    assert name(table.match(mail_from_domain=b"a.example", client=ip_address("192.0.2.1"))) is None
    assert name(table.match(mail_from_domain=b"a.example")) is None


def test_i7_what_is_remembered_has_a_bound() -> None:
    table = StreamTable([rule("mail", mail_from_domain=b"a.example")])
    for number in range(3 * KNOWN_MAX):
        assert table.match(mail_from_domain=b"%d.example" % number) is None
    assert len(table._known) <= KNOWN_MAX
    assert name(table.match(mail_from_domain=b"a.example")) == "mail"
