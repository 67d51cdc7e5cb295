"""`topology = "pooled"`: what may be written, and what is said of what may not."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config import Config, ConfigError, Pool, load

POOLED = """
topology = "pooled"
system_id = "izinli"
password_file = "smsc.pass"
"""
MIRROR_LOGIN = 'upstream_system_id = "izinli"\nupstream_password_file = "smsc.pass"'


def account(name: str, *lines: str) -> str:
    return "\n".join(["[[account]]", f'system_id = "{name}"', 'password_file = "esme.pass"', *lines, ""])


def text(upstream: str, *accounts: str) -> str:
    return f"""
[[listener]]
protocol = "smpp"
bind = "127.0.0.1:2775"
allow = ["127.0.0.0/8"]
[upstream.smsc]
protocol = "smpp"
hosts = ["127.0.0.1:2776", "127.0.0.1:2777"]
{upstream}
{"".join(accounts)}
[[stream]]
match = {{ source_addr = "OTP" }}
kind = "informational"
upstream = "smsc"
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "smsc.pass").write_text("smscpw\n")
    (tmp_path / "esme.pass").write_text("sifre123\n")
    return tmp_path


def read(home: Path, *parts: str) -> Config:
    path = home / "izinli.toml"
    path.write_text(text(*parts))
    return load(path)


def faults(home: Path, *parts: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read(home, *parts)
    return "\n".join(map(str, caught.value.problems))


def test_several_accounts_share_a_pool_and_have_no_login_of_their_own(home: Path) -> None:
    config = read(home, POOLED, account("marka", 'addresses = ["5550"]'), account("otp"))
    assert config.upstreams["smsc"].pool == Pool(b"izinli", b"smscpw")
    assert {one.upstream_system_id for one in config.accounts.values()} == {b""}
    assert config.accounts[b"marka"].addresses == (b"5550",)


def test_every_key(home: Path) -> None:
    lines = """
system_type = "SMSGW"
interface_version = "5.0"
binds = 4
bind_type = "pair"
window = 10
message_id = "hex_in_response"
id_space = "host"
default_account = "otp"
"""
    config = read(home, POOLED + lines, account("otp"))
    assert config.upstreams["smsc"].pool == Pool(
        b"izinli", b"smscpw", b"SMSGW", 0x50, 4, "pair", 10, "hex_in_response", "host", b"otp"
    )


def test_without_the_topology_there_is_no_pool_and_its_keys_are_named(home: Path) -> None:
    assert read(home, "", account("marka", MIRROR_LOGIN)).upstreams["smsc"].pool is None
    found = faults(home, 'system_id = "izinli"\nbinds = 2', account("marka", MIRROR_LOGIN, 'addresses = ["5550"]'))
    assert "system_id: says nothing with topology mirror" in found
    assert "binds: says nothing with topology mirror" in found
    assert "addresses: says nothing where upstream.smsc has topology mirror" in found
    assert "unknown key" not in found


def test_an_account_that_logs_in_by_itself_is_told_why_it_cannot(home: Path) -> None:
    found = faults(home, POOLED, account("marka", MIRROR_LOGIN))
    assert found.count("upstream.smsc has topology pooled: all its accounts share the binds") == 2
    lines = text(POOLED, account("marka", MIRROR_LOGIN)).splitlines()
    for key in ("upstream_system_id", "upstream_password_file"):
        number = next(at for at, line in enumerate(lines, start=1) if line.startswith(key))
        assert f"line {number}: account.{key}: " in found


def test_a_pool_needs_a_login(home: Path) -> None:
    found = faults(home, 'topology = "pooled"', account("marka"))
    assert "upstream.smsc.system_id: is missing" in found
    assert "upstream.smsc.password_file: is missing" in found


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("binds = 0", "binds: must be between 1 and 64"),
        ("window = 5000", "window: must be between 1 and 1000"),
        ('bind_type = "receiver"', "bind_type: unknown value"),
        ('interface_version = "4"', "interface_version: unknown value"),
        ('message_id = "octal"', "message_id: unknown value"),
        ('system_type = "much too long a type"', "system_type: must be at most 12"),
        ('default_account = "nobody"', "default_account: there is no [[account]] 'nobody' with upstream smsc"),
    ],
)
def test_what_is_wrong_is_named(home: Path, line: str, said: str) -> None:
    assert said in faults(home, POOLED + line, account("marka"))


@pytest.mark.parametrize("address", ["55*50", "*5550*", "with space", "", "1" * 21, "çarşı"])
def test_what_is_no_address(home: Path, address: str) -> None:
    assert "is no address" in faults(home, POOLED, account("marka", f'addresses = ["{address}"]'))


@pytest.mark.parametrize("address", ["5550", "MARKA*", "*"])
def test_an_address_means_one_account(home: Path, address: str) -> None:
    line = f'addresses = ["{address}"]'
    assert f"{address!r} is an address of account 'marka' too" in faults(
        home, POOLED, account("marka", line), account("otp", line)
    )


# one login at an SMSC, two who are told its receipts


def test_two_mirrored_accounts_with_one_login(home: Path) -> None:
    found = faults(home, "", account("marka", MIRROR_LOGIN), account("otp", MIRROR_LOGIN))
    assert "account 'marka' logs in with it too" in found


OTHER = '[upstream.other]\nprotocol = "smpp"\nhosts = ["127.0.0.1:2777"]\n'
ELSEWHERE = OTHER.replace("2777", "2778")


def test_two_accounts_with_one_login_by_two_names_of_one_host(home: Path) -> None:
    marka, otp = account("marka", MIRROR_LOGIN), account("otp", MIRROR_LOGIN, 'upstream = "other"')
    assert "account 'marka' logs in with it too" in faults(home, OTHER, marka, otp)
    assert len(read(home, ELSEWHERE, marka, otp).accounts) == 2


def test_an_account_with_the_login_of_a_pool(home: Path) -> None:
    marka, otp = account("marka"), account("otp", MIRROR_LOGIN, 'upstream = "other"')
    assert "upstream.smsc logs in with it too" in faults(home, POOLED + OTHER, marka, otp)
    assert len(read(home, POOLED + ELSEWHERE, marka, otp).accounts) == 2


def test_two_pools_with_one_login(home: Path) -> None:
    marka, otp = account("marka"), account("otp", 'upstream = "other"')
    found = faults(home, POOLED + OTHER + POOLED, marka, otp)
    assert "upstream.smsc logs in with it at the same host" in found
    assert len(read(home, POOLED + ELSEWHERE + POOLED, marka, otp).accounts) == 2
