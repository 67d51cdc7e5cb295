"""The keys of doors and accounts: what goes together, and what is said when it does not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from gateway import dkim_key, limits, passwords
from gateway.config import Config, ConfigError, UnixAddress, load
from gateway.init import init, sample
from tests.certificates import make_authority

SAMPLE = sample()
DOOR = 'bind = "127.0.0.1:2525"'
SMPP_DOOR = 'bind = "127.0.0.1:2775"'
ALLOW = 'allow = ["127.0.0.0/8"]           # who may'
TLS = 'tls = "starttls"\ncert_file = "keys/mail.pem"\nkey_file = "keys/mail.key"\n'
CLIENT = '[[account]]\nsystem_id = "posta"\npassword_hash_file = "keys/posta.hash"\n\n[[brand]]'
STREAM = 'match = { mail_from_domain = "bilgi.example.com.tr" }'


@pytest.fixture
def home(tmp_path: Path) -> Path:
    init(tmp_path)
    certificate, key = make_authority(tmp_path / "authority").issue("mail.example.test")
    shutil.copy(certificate, tmp_path / "keys/mail.pem")
    shutil.copy(key, tmp_path / "keys/mail.key")
    dkim_key.create(tmp_path / "keys/dkim.pem", "example.com.tr", "izinli", "ed25519")
    (tmp_path / "keys/posta.hash").write_text(f"{passwords.make(b'parola')}\n")
    return tmp_path


def written(home: Path, *edits: tuple[str, str]) -> Path:
    text = SAMPLE
    for old, new in edits:
        assert old in text
        text = text.replace(old, new, 1)
    (home / "izinli.toml").write_text(text)
    return home / "izinli.toml"


def config(home: Path, *edits: tuple[str, str]) -> Config:
    return load(written(home, *edits))


def faults(home: Path, *edits: tuple[str, str]) -> str:
    path = written(home, *edits)
    with pytest.raises(ConfigError) as caught:
        load(path)
    return "\n".join(str(problem) for problem in caught.value.problems)


def below(key: str, lines: str) -> tuple[str, str]:
    return key, f"{lines}\n{key}"


def test_a_door_with_everything(home: Path) -> None:
    lines = TLS + 'auth = "required"\nproxy_from = ["10.9.0.0/24"]\nxclient_from = ["10.9.1.5/32"]\nrecipients_max = 1'
    loaded = config(
        home, below(DOOR, lines), below(SMPP_DOOR, TLS.replace("starttls", "implicit")), ("[[brand]]", CLIENT)
    )
    smtp, smpp = loaded.listeners
    assert (smtp.tls, smtp.auth, smtp.recipients_max) == ("starttls", "required", 1)
    assert smtp.certificate == (home / "keys/mail.pem", home / "keys/mail.key")
    assert (str(smtp.proxy_from[0]), str(smtp.xclient_from[0])) == ("10.9.0.0/24", "10.9.1.5/32")
    assert smpp.tls == "implicit"
    client, esme = loaded.accounts[b"posta"], loaded.accounts[b"marka"]
    assert (client.is_esme, esme.is_esme) == (False, True)
    assert client.stored.matches(b"parola")
    assert not client.stored.matches(b"")
    assert esme.stored.matches(esme.password)


@pytest.mark.parametrize("protocol", ["smtp", "lmtp"])
def test_tls_is_asked_for_with_or_without_a_login(home: Path, protocol: str) -> None:
    required = TLS.replace("starttls", "required")
    mail = ('protocol = "smtp"\nbind', f'protocol = "{protocol}"\nbind')
    door = config(home, mail, below(DOOR, required)).listeners[0]
    assert (door.protocol, door.tls, door.starttls, door.auth) == (protocol, "required", True, "none")
    assert door.certificate == (home / "keys/mail.pem", home / "keys/mail.key")
    assert not config(home, below(DOOR, TLS.replace("starttls", "implicit"))).listeners[0].starttls
    assert config(home, below(DOOR, required + 'auth = "required"'), ("[[brand]]", CLIENT)).listeners[0].starttls


def test_what_is_not_said_is_off(home: Path) -> None:
    smtp, _ = config(home).listeners
    assert (smtp.tls, smtp.certificate, smtp.auth) == ("none", None, "none")
    assert (smtp.proxy_from, smtp.xclient_from, smtp.sessions_per_client) == ((), (), 0)
    assert smtp.recipients_max == limits.SMTP_RECIPIENTS_MAX


def test_the_indented_comments_of_the_sample_can_be_switched_on(home: Path) -> None:
    text = "\n".join(line.replace("#   ", "") if line.startswith("#   ") else line for line in SAMPLE.splitlines())
    assert text.count("auth = ") == 1
    (home / "izinli.toml").write_text(text)
    (home / "keys/national.pass").write_text("an invented password")
    assert load(home / "izinli.toml").listeners[0].auth == "required"


def test_a_mail_stream_may_go_by_who_logged_in(home: Path) -> None:
    login = (STREAM, 'match = { account = "posta" }')
    lines = below(DOOR, TLS + 'auth = "required"')
    assert config(home, lines, ("[[brand]]", CLIENT), login).rules[1].match.account == b"posta"
    told = faults(home, ("[[brand]]", CLIENT.replace("posta", "marka2")), login)
    assert "account never matches a mail without AUTH" in told


def test_strangers_may_come_where_everybody_logs_in(home: Path) -> None:
    everywhere = (ALLOW, 'allow = ["0.0.0.0/0", "::/0"]   # who may')
    assert "open relay" in faults(home, everywhere)
    assert "open relay" in faults(home, everywhere, below(DOOR, TLS + 'auth = "optional"'))
    assert len(config(home, everywhere, below(DOOR, TLS + 'auth = "required"')).listeners[0].allow) == 2


def test_a_unix_socket(home: Path) -> None:
    unix = (DOOR, 'bind = "unix:run/smtp.sock"')
    assert "a Unix socket has no networks" in faults(home, unix)
    assert config(home, unix, (ALLOW, "#")).listeners[0].bind == UnixAddress(home / "run/smtp.sock")
    told = faults(home, unix, (ALLOW, 'proxy_from = ["10.0.0.0/8"] #'))
    assert "clients of a Unix socket are in no network" in told
    assert "not the path of a socket" in faults(home, (DOOR, f'bind = "unix:{"x" * 120}"'), (ALLOW, "#"))


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ('tls = "sslv3"', "unknown value 'sslv3'"),
        ('tls = "starttls"', "key_file: is missing"),
        ('tls = "required"', "cert_file: is missing"),
        ('tls = "require"', "unknown value 'require'"),
        (TLS.replace("starttls", "required").replace("mail.pem", "male.pem"), "male.pem: there is no such file"),
        (TLS.replace("mail.pem", "male.pem"), "male.pem: there is no such file"),
        (TLS.replace("mail.key", "posta.hash"), "cannot be used together"),
        ('cert_file = "keys/mail.pem"', "is of no use without TLS"),
        ('auth = "required"', "passwords are taken in TLS only"),
        ('proxy_from = ["0.0.0.0/0"]', "would let strangers choose their address"),
        ('xclient_from = ["10.0.0.0"]\nproxy_from = ["x"]', "does not appear to be an IPv4 or IPv6 network"),
        ("recipients_max = 0", "must be between 1 and 1000"),
        ("sessions_per_client = -1", "must be between 0"),
    ],
)
def test_a_mistake_at_the_mail_door(home: Path, lines: str, told: str) -> None:
    assert told in faults(home, below(DOOR, lines))


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (TLS, "smpp has no STARTTLS"),
        (TLS.replace("starttls", "required"), "smpp has no STARTTLS"),
        ('auth = "required"', "auth: is nothing that smpp has"),
        ("recipients_max = 1", "recipients_max: is nothing that smpp has"),
    ],
)
def test_a_mistake_at_the_smpp_door(home: Path, lines: str, told: str) -> None:
    assert told in faults(home, below(SMPP_DOOR, lines))


def test_a_mistake_in_an_account(home: Path) -> None:
    auth = below(DOOR, TLS + 'auth = "required"')
    both = CLIENT.replace("\n\n[[brand]]", '\npassword_file = "keys/marka.pass"\n\n[[brand]]')
    assert "there is a password_hash_file too" in faults(home, auth, ("[[brand]]", both))
    plain = CLIENT.replace("posta.hash", "marka.pass")
    assert "not a hash of the form scrypt$" in faults(home, auth, ("[[brand]]", plain))
    assert "upstream_system_id: is missing" in faults(home, ("[[brand]]", CLIENT)), "without AUTH it must be an ESME"
    esme = ('password_file = "keys/marka.pass"', 'password_hash_file = "keys/posta.hash"')
    assert "write password_file instead" in faults(home, auth, esme)
    nobody = ("[[account]]                       # an ESME", "[[nothing]] #")
    assert "no [[account]] could log in here" in faults(home, auth, nobody)
    sms = ('match = { account = "marka", source_addr = "ORNEKOTP" }', 'match = { account = "posta" }')
    assert "account 'posta' is no ESME" in faults(home, auth, ("[[brand]]", CLIENT), sms)


def test_an_encrypted_key_is_a_fault_and_no_question(home: Path) -> None:
    (home / "keys/mail.key").write_text(ENCRYPTED)
    assert "cannot be used together" in faults(home, below(DOOR, TLS))


ENCRYPTED = """-----BEGIN EC PRIVATE KEY-----
Proc-Type: 4,ENCRYPTED
DEK-Info: AES-256-CBC,00000000000000000000000000000000

AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
-----END EC PRIVATE KEY-----
"""
