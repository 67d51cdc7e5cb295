"""A policy listener in the configuration: what it makes possible, and what stays a mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config import Config, ConfigError, load

POLICY = """\
[[listener]]
protocol = "policy"
bind = "127.0.0.1:10027"
allow = ["127.0.0.0/8"]
"""
SMTP = POLICY.replace("policy", "smtp").replace("10027", "2525")
BRAND = """\
[[brand]]
code = 100001
name = "Örnek Market"
title = "Örnek Market Ticaret A.Ş."
mersis = "0123456789000015"
"""
STREAM = """\
[[stream]]
match = { mail_from_domain = "kampanya.example.com.tr", account = "kampanya@example.com.tr" }
brand = 100001
"""


def read(directory: Path, *parts: str) -> Config:
    file = directory / "izinli.toml"
    file.write_text("\n".join(parts), encoding="utf-8")
    return load(file)


def faults(directory: Path, *parts: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read(directory, *parts)
    return "\n".join(map(str, caught.value.problems))


def test_a_policy_service_needs_no_next_hop_and_knows_accounts_of_postfix(tmp_path: Path) -> None:
    config = read(tmp_path, POLICY, BRAND, STREAM)
    assert config.rules[0].stream.upstream == ""
    assert config.rules[0].match.account == b"kampanya@example.com.tr"


def test_without_it_streams_lead_on_and_accounts_are_ours(tmp_path: Path) -> None:
    text = faults(tmp_path, SMTP, BRAND, STREAM)
    assert "upstream: is missing" in text
    assert "there is no [[account]] 'kampanya@example.com.tr'" in text


def test_a_policy_service_that_nothing_could_pass_is_a_mistake(tmp_path: Path) -> None:
    assert "everything would be refused" in faults(tmp_path, POLICY, BRAND)


def test_a_stream_that_leads_nowhere_is_no_stream_of_a_relay(tmp_path: Path) -> None:
    text = faults(tmp_path, POLICY, SMTP, BRAND, STREAM)
    assert "add a [[stream]] whose upstream has protocol smtp" in text


def test_i9_strangers_may_not_ask(tmp_path: Path) -> None:
    assert "let strangers ask who has consented" in faults(
        tmp_path, POLICY.replace("127.0.0.0/8", "0.0.0.0/0"), BRAND, STREAM
    )


def test_a_mail_has_no_source_address(tmp_path: Path) -> None:
    stream = STREAM.replace("account = ", "source_addr = ")
    assert "source_addr never matches a mail" in faults(tmp_path, POLICY, BRAND, stream)
