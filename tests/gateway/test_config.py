"""The configuration: the sample works, and everything that is wrong is said at once with its line."""

from __future__ import annotations

import re
import socket
from ipaddress import ip_network
from pathlib import Path

import pytest

from filters.model import Kind
from gateway import check, keys
from gateway.config import ConfigError, is_wide, load
from gateway.init import init, sample

SAMPLE = sample()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    init(tmp_path)
    return tmp_path


def faults(home: Path, *edits: tuple[str, str]) -> list[tuple[int, str]]:
    """(line, text) of the problems after the edits, each of which must apply."""
    text = SAMPLE
    for old, new in edits:
        assert old in text
        text = text.replace(old, new, 1)
    (home / "izinli.toml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(home / "izinli.toml")
    return [(problem.line, str(problem)) for problem in caught.value.problems]


def line_of(text: str, part: str) -> int:
    return next(number for number, line in enumerate(text.splitlines(), start=1) if part in line)


def test_the_sample_is_what_it_says(home: Path) -> None:
    config = load(home / "izinli.toml")
    assert [listener.protocol for listener in config.listeners] == ["smtp", "smpp"]
    assert [rule.stream.name for rule in config.rules] == ["kampanya", "bilgilendirme", "sms-otp", "sms-kampanya"]
    assert config.rules[1].stream.kind is Kind.INFORMATIONAL
    assert config.data_dir == home.resolve() / "izinli-data"
    account = config.accounts[b"marka"]
    assert len(account.password) == 8
    assert account.upstream == "smsc"


def test_comments_in_the_sample_are_keys_that_exist(home: Path) -> None:
    """Each commented-out setting can be switched on."""
    shared = SAMPLE.replace('url = "sqlite"', 'url = "redis://127.0.0.1"')  # one of them is for a shared index alone
    text = re.sub(r"^# ([a-z_]+ = )", r"\1", shared, flags=re.MULTILINE)
    assert text != shared
    (home / "izinli.toml").write_text(text)
    load(home / "izinli.toml")


def test_init_never_overwrites(home: Path) -> None:
    before = (home / "izinli.toml").read_text(), keys.load(home / "izinli-data")
    with pytest.raises(FileExistsError):
        init(home)
    assert ((home / "izinli.toml").read_text(), keys.load(home / "izinli-data")) == before
    assert keys.create_missing(home / "izinli-data") == []


def test_all_problems_are_reported_at_once_with_their_lines(home: Path) -> None:
    found = faults(
        home,
        ("workers = 1 ", "wrokers = 1 "),
        ('url = "sqlite"', 'url = "memcached://x"'),
        ('allow = ["127.0.0.0/8"]           # who may', 'allow = ["0.0.0.0/0"]           # who may'),
        ('password_file = "keys/marka.pass"', 'password_file = "keys/gone.pass"'),
        ('mersis = "0123456789000015"', 'mersis = "123"'),
        ("brand = 100001\nkind", "brand = 100002\nkind"),
        ('upstream = "relay"\n# mode', 'upstream = "realy"\n# mode'),
    )
    expected = [
        (line_of(SAMPLE, "workers = 1 "), "wrokers: unknown key — did you mean 'workers'?"),
        (line_of(SAMPLE, 'url = "sqlite"'), "unknown kind of index 'memcached'"),
        (line_of(SAMPLE, "who may"), "would make this listener an open relay"),
        (line_of(SAMPLE, '"keys/marka.pass"'), "keys/gone.pass: No such file or directory"),
        (line_of(SAMPLE, "mersis = "), "must have 16 digits"),
        (line_of(SAMPLE, "match = { mail_from_domain") + 1, "there is no [[brand]] with code 100002"),
        (line_of(SAMPLE, "# mode = ") - 1, "there is no [upstream.realy] — did you mean 'relay'?"),
    ]
    assert [line for line, _ in found] == sorted(line for line, _ in expected)
    for line, text in expected:
        assert any(at == line and text in told for at, told in found), (line, text, found)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('protocol = "smtp"\nbind', 'protocol = "smpt"\nbind', "unknown value 'smpt' — did you mean 'smtp'?"),
        ('bind = "127.0.0.1:2525"', 'bind = "2525"', "not an address"),
        ('allow = ["127.0.0.0/8"]           # who may', "# none", "so every client would be refused"),
        ('allow = ["127.0.0.0/8"]           # who may', 'allow = ["mail"] #', "does not appear to be an IPv4"),
        ('allow = ["127.0.0.0/8"]           # who may', "allow = [7] #", "must be a list of strings"),
        ("workers = 1 ", "workers = 0 ", "must be between 1 and 64, not 0"),
        ("workers = 1 ", "workers = true ", "must be a whole number, not True"),
        ('hosts = ["127.0.0.1:2526"]', "hosts = []", "names no host"),
        ('public_url = "http://127.0.0.1:8080"', 'public_url = "ret.example.com.tr"', "not a web address"),
        ('match = { account = "marka" }', 'match = { account = "marca" }', "did you mean 'marka'?"),
        ('match = { account = "marka" }', 'match = { mail_from_domain = "a.example" }', "never matches an SMS"),
        ('match = { account = "marka" }', "match = {}", "matches every message"),
        ('kind = "commercial" ', 'kind = "comercial" ', "did you mean 'commercial'?"),
        ("brand = 100001\nkind", "kind", "a commercial stream speaks for a brand"),
        ('# sms_notice = " {brand} Mersis', 'sms_notice = " {brnad} Mersis', "unknown field {brnad}"),
        ('url = "sqlite"', "url = sqlite", "not valid TOML"),
        ('bind = "127.0.0.1:2775"', 'bind = "127.0.0.1:2525"', "is another listener's too"),
        ("[admin]", "[admni]", "did you mean 'admin'?"),
    ],
)
def test_a_mistake_is_named_with_the_way_out(home: Path, old: str, new: str, told: str) -> None:
    assert any(told in text for _, text in faults(home, (old, new))), faults(home, (old, new))


def test_two_accounts_may_not_share_a_login_at_the_smsc(home: Path) -> None:
    account = SAMPLE[SAMPLE.index("[[account]]") : SAMPLE.index("[[brand]]")].replace('"marka"', '"ikinci"')
    found = faults(home, ("[[brand]] ", account + "[[brand]] "))
    assert "receipts would reach the wrong one" in found[0][1]


def test_a_door_that_leads_nowhere_is_a_problem(home: Path) -> None:
    text = SAMPLE[: SAMPLE.index('[[stream]]\nname = "sms-otp"')]
    (home / "izinli.toml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(home / "izinli.toml")
    assert ["no stream leads on from here" in str(problem) for problem in caught.value.problems] == [True]


def test_a_missing_file_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "izinli.toml")
    assert "izinli init" in str(caught.value.problems[0])


@pytest.mark.parametrize(
    ("network", "wide"),
    [
        ("0.0.0.0/0", True),
        ("::/0", True),
        ("0.0.0.0/1", True),
        ("93.0.0.0/8", True),
        ("93.184.0.0/16", False),
        ("10.0.0.0/8", False),
        ("127.0.0.0/8", False),
        ("2000::/3", True),
        ("2a02:100::/32", False),
        ("fd00::/8", False),
        ("::1/128", False),
    ],
)
def test_what_would_be_an_open_relay(network: str, *, wide: bool) -> None:
    assert is_wide(ip_network(network)) is wide


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("memcached://h", "use redis://"),
        ("redis+cluster://a,b/3", "leave out /3"),
        ("redis://h?password_file=keys/gone.pass", "keys/gone.pass: No such file"),
        ("rediss://h?ssl_ca_certs=gone.pem", "gone.pem: no such file"),
        ("redis://h?password_file=keys/latin.pass", "not UTF-8"),
    ],
)
def test_an_index_that_cannot_be_meant_is_named_with_its_line(home: Path, url: str, told: str) -> None:
    (home / "keys/latin.pass").write_bytes(b"\xfc\n")
    ((line, text),) = faults(home, ('url = "sqlite"', f'url = "{url}"'))
    assert line == line_of(SAMPLE, 'url = "sqlite"')
    assert text.startswith(f"line {line}: index.url: ")
    assert told in text


def test_the_passwords_of_an_index_stand_in_files(home: Path) -> None:
    (home / "keys/redis.pass").write_text("p@ss:ö\nnot this\n")
    (home / "keys/sentinel.pass").write_text("other")
    (home / "ca.pem").write_text("")
    options = "password_file=keys/redis.pass&sentinel_password_file=keys/sentinel.pass&ssl_ca_certs=ca.pem"
    url = f"rediss+sentinel://izinli@s1,s2/izinli?{options}"
    (home / "izinli.toml").write_text(SAMPLE.replace('url = "sqlite"', f'url = "{url}"'))
    index = load(home / "izinli.toml").index
    assert index.url == url
    assert index.server is not None
    assert (index.server.password, index.server.sentinel_password) == ("p@ss:ö", "other")
    assert index.server.ca_file == str(home.resolve() / "ca.pem")
    assert "p@ss" not in repr(index)


def test_a_port_that_is_taken_is_found(home: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        (home / "izinli.toml").write_text(SAMPLE.replace("127.0.0.1:9090", f"127.0.0.1:{port}"))
        found = [str(problem) for problem in check.problems(home / "izinli.toml") if problem.key == "admin.bind"]
    assert len(found) == 1
    assert f"line {line_of(SAMPLE, '127.0.0.1:9090')}: " in found[0]
    assert f"cannot listen on 127.0.0.1:{port}" in found[0]


@pytest.mark.parametrize("content", ["", "zz" * 32, "00" * 31])
def test_a_broken_key_is_found_and_never_replaced(home: Path, content: str) -> None:
    path = home / "izinli-data/keys/fingerprint.key"
    path.write_text(content)
    assert any("64 hexadecimal digits" in str(problem) for problem in check.problems(home / "izinli.toml"))
    keys.create_missing(home / "izinli-data")
    assert path.read_text() == content


def test_the_highest_link_key_mints_and_all_of_them_read(home: Path) -> None:
    directory = home / "izinli-data/keys"
    (directory / "link-3.key").write_text("ab" * 32)
    found = keys.load(home / "izinli-data")
    assert (found.link_current, sorted(found.link)) == (3, [0, 3])


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ('url = "sqlite"', False),
        ('url = "sqlite"\nfilter = false', False),
        ('url = "redis://127.0.0.1:6379/0"', True),
        ('url = "redis://127.0.0.1:6379/0"\nfilter = false', False),
    ],
)
def test_a_shared_index_has_a_filter_unless_it_is_not_wanted(home: Path, lines: str, expected: bool) -> None:
    (home / "izinli.toml").write_text(SAMPLE.replace('url = "sqlite"', lines))
    assert load(home / "izinli.toml").index.filter is expected


def test_the_embedded_index_takes_no_filter(home: Path) -> None:
    text = SAMPLE.replace('url = "sqlite"', 'url = "sqlite"\nfilter = true')
    (home / "izinli.toml").write_text(text)
    found = [str(problem) for problem in check.problems(home / "izinli.toml") if problem.key == "index.filter"]
    assert len(found) == 1
    assert f"line {line_of(text, 'filter = true')}: " in found[0]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("rate = -1", "must be between 0 and"),
        ("burst = 5", "burst: says nothing without a rate"),
        ('rate_mode = "reject"', "rate_mode: says nothing without a rate"),
        ('rate = 5\nrate_mode = "slow"', "unknown value 'slow'"),
        ("block_status = 0x58", "0x58 is not a refusal that all clients take for one — use 0x45"),
        ("block_status = 0", "0x0 is not a refusal"),
        ("block_status = 0x500", "must be between 0 and 1279"),
        ('block_mode = "silence"', "unknown value 'silence' — known: receipt, status"),
    ],
)
def test_what_an_esme_may_not_ask_for(home: Path, line: str, told: str) -> None:
    found = faults(home, ('upstream_system_id = "izinli"', line + '\nupstream_system_id = "izinli"'))
    assert any(told in text for _, text in found), found


def test_what_an_esme_may_ask_for(home: Path) -> None:
    lines = 'rate = 50\nrate_mode = "reject"\nblock_status = 0x40A\nblock_mode = "receipt"\n'
    path = home / "izinli.toml"
    path.write_text(SAMPLE.replace('upstream_system_id = "izinli"', lines + 'upstream_system_id = "izinli"', 1))
    account = load(path).accounts[b"marka"]
    assert (account.rate, account.burst, account.rate_mode) == (50, 50, "reject")
    assert (account.block_status, account.block_mode) == (0x40A, "receipt")
