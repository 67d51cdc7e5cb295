"""`[national]`: what may be written, and what is said of what may not."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.cli_common import national_of
from gateway.config import Config, ConfigError, load

BASE = """
[[listener]]
protocol = "smtp"
bind = "127.0.0.1:2525"
allow = ["127.0.0.0/8"]
[upstream.relay]
protocol = "smtp"
hosts = ["127.0.0.1:2526"]
[[brand]]
code = 100001
name = "Örnek Market"
title = "Örnek Market Ticaret A.Ş."
mersis = "0123456789000015"
iys_code = 100000
[[stream]]
match = { mail_from_domain = "kampanya.example.com.tr" }
brand = 100001
upstream = "relay"
"""
BRAND = """
[[national.brand]]
code = 100001
username = "api@firma.test"
password_file = "national.pass"
"""
ENABLED = "[national]\nenabled = true\n"


def read(home: Path, text: str) -> Config:
    (home / "national.pass").write_text("a password\n")
    path = home / "izinli.toml"
    path.write_text(BASE + text)
    return load(path)


def problems(home: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as error:
        read(home, text)
    return [str(one) for one in error.value.problems]


def test_nothing_is_asked_of_the_national_system_unless_it_is_enabled(tmp_path: Path) -> None:
    assert read(tmp_path, "").national is None
    assert read(tmp_path, "[national]\n" + BRAND).national is None
    assert national_of(read(tmp_path, ""), b"") is None


def test_what_is_usual(tmp_path: Path) -> None:
    national = national_of(read(tmp_path, ENABLED + BRAND), b"")
    assert national is not None
    assert (national.url, national.pull_s, national.result_s) == ("https://api.iys.org.tr", 600.0, 300.0)
    (brand,) = national.brands
    assert (brand.code, brand.iys_code, brand.login.username) == (100001, 100000, "api@firma.test")
    assert (brand.login.password, brand.push) == (b"a password", None)
    assert "a password" not in repr(national)


def test_a_receiver(tmp_path: Path) -> None:
    push = 'push_username = "iys"\npush_password_file = "national.pass"\n'
    national = national_of(read(tmp_path, ENABLED + BRAND + push), b"")
    assert national is not None
    push_login = national.brands[0].push
    assert push_login is not None
    assert (push_login.username, push_login.password) == ("iys", b"a password")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (ENABLED + 'brands = "all"\n', "needs a login that may act for all"),
        (ENABLED + 'brands = "some"\n', "brands"),
        (ENABLED + 'username = "api@firma.test"\n', "belong together"),
        (ENABLED + 'url = "http://api.example.com.tr"\n' + BRAND, "must begin with https://"),
        (ENABLED + 'url = "https://u:p@api.example.com.tr"\n' + BRAND, "not a web address"),
        (ENABLED + 'url = "nonsense"\n' + BRAND, "not a web address"),
        (ENABLED + 'ca_file = "nobody.pem"\n' + BRAND, "no such file"),
        (ENABLED + "calls_per_second = 11\n" + BRAND, "must be between 1 and 10"),
        (ENABLED + "pull_secs = 5\n" + BRAND, "did you mean 'pull_seconds'?"),
        (ENABLED + BRAND.replace("100001", "100002"), "there is no [[brand]] with code 100002"),
        (ENABLED + BRAND + BRAND, "brand 100001 is here twice"),
        (ENABLED + BRAND.replace("national.pass", "nobody.pass"), "No such file"),
        (ENABLED + "[[national.brand]]\ncode = 100001\n", "username: is missing"),
        (ENABLED + BRAND + 'push_username = "iys"\n', "belong together"),
        (ENABLED + BRAND + 'push_username = "i:s"\npush_password_file = "national.pass"\n', "may have no colon"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, text: str, said: str) -> None:
    found = problems(tmp_path, text)
    assert any(said in one and one.startswith("line ") for one in found), found


def test_a_test_system_on_this_machine_needs_no_tls(tmp_path: Path) -> None:
    national = read(tmp_path, ENABLED + 'url = "http://127.0.0.1:8090/"\n' + BRAND).national
    assert national is not None
    assert national.url == "http://127.0.0.1:8090"
