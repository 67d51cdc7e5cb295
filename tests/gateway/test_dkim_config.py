"""DKIM in the configuration: keys under a brand, what a stream does with signatures, and what is warned of."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from filters.dkim import Signer
from filters.model import Existing
from gateway import check
from gateway.cautions import cautions
from gateway.config import ConfigError, load
from gateway.dkim_key import TXT_OCTETS_MAX, create, strings, zone_line
from gateway.init import init, sample
from tests.conftest import require
from tests.filters.signatures import ed25519_pem, rsa_pem
from tests.gateway.test_cli import izinli

SAMPLE = sample()
BRAND = "iys_code = 100001                 # the provider's; the same as code for a master brand\n"
KEY = 'domain = "{}", selector = "{}", key_file = "keys/{}.pem"'
RSA = KEY.format("example.com.tr", "rsa", "rsa")
ED25519 = KEY.format("example.com.tr", "ed", "ed")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    init(tmp_path)
    for name, pem in (("rsa", rsa_pem()), ("ed", ed25519_pem()), ("short", rsa_pem(1024))):
        path = tmp_path / f"keys/{name}.pem"
        path.write_bytes(pem)
        path.chmod(0o600)
    return tmp_path


def write(home: Path, brand: str = "", stream: str = "") -> Path:
    """The sample with lines added under the brand and under the first stream."""
    assert BRAND in SAMPLE
    text = SAMPLE.replace(BRAND, f"{BRAND}{brand}\n", 1).replace(
        'kind = "commercial"', f'{stream}\nkind = "commercial"', 1
    )
    path = home / "izinli.toml"
    path.write_text(text)
    return path


def problems(path: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(path)
    return [str(problem) for problem in caught.value.problems]


def told(path: Path) -> list[str]:
    return [str(caution) for caution in cautions(load(path))]


def test_a_brand_has_one_key_or_several(home: Path) -> None:
    assert load(write(home)).dkim == {100001: ()}
    (one,) = load(write(home, f"dkim = {{ {RSA} }}")).dkim[100001]
    assert one.signer.record == Signer(rsa_pem(), "example.com.tr", "rsa").record
    assert one.path == home / "keys/rsa.pem"
    both = load(write(home, f"dkim = [ {{ {RSA} }}, {{ {ED25519} }} ]")).dkim[100001]
    assert [key.signer.record_name for key in both] == ["rsa._domainkey.example.com.tr", "ed._domainkey.example.com.tr"]


def test_a_stream_says_what_happens_to_signatures(home: Path) -> None:
    assert load(write(home)).rules[0].stream.dkim_existing is Existing.STRIP
    for word in Existing:
        assert load(write(home, stream=f'dkim_existing = "{word}"')).rules[0].stream.dkim_existing is word


@pytest.mark.parametrize(
    ("brand", "fault"),
    [
        ('dkim = "keys/rsa.pem"', "brand.dkim: must be a list"),
        ("dkim = {}", "brand.dkim.domain: is missing"),
        ("dkim = [ 1 ]", "must be written as [[dkim]]"),
        (f"dkim = {{ {RSA}, bits = 1 }}", "brand.dkim.bits: unknown key"),
        (
            f"dkim = {{ {KEY.format('example.com.tr', 's', 'gone')} }}",
            "keys/gone.pem: No such file or directory — make one",
        ),
        (f"dkim = {{ {KEY.format('example.com.tr', 's', '.')} }}", "keys/..pem: No such file"),
        (f"dkim = {{ {KEY.format('com', 's', 'rsa')} }}", "'com' is not a domain name"),
        (f"dkim = {{ {KEY.format('örnek.com.tr', 's', 'rsa')} }}", "is not a domain name"),
        (f"dkim = {{ {KEY.format('example.com.tr', 'a b', 'rsa')} }}", "'a b' is not a selector"),
        (
            'dkim = { domain = "a.b", selector = "s", key_file = "keys/marka.pass" }',
            "there is no private key in PEM form",
        ),
        (f"dkim = [ {{ {RSA} }}, {{ {RSA} }} ]", "two keys would be looked for at rsa._domainkey.example.com.tr"),
        (
            "dkim = [ " + ", ".join(f"{{ {KEY.format('a.b', f's{n}', 'ed')} }}" for n in range(5)) + " ]",
            "more than 4 keys",
        ),
    ],
)
def test_what_is_wrong_with_a_key_is_told_with_its_line(home: Path, brand: str, fault: str) -> None:
    path = write(home, brand)
    line = 1 + path.read_text().splitlines().index(brand)
    found = problems(path)
    assert any(one.startswith(f"line {line}: ") and fault in one for one in found), found


def test_what_is_wrong_with_a_stream_is_told(home: Path) -> None:
    assert any("unknown value 'drop'" in one for one in problems(write(home, stream='dkim_existing = "drop"')))
    text = SAMPLE.replace('kind = "informational"', 'dkim_existing = "refuse"\nkind = "informational"')
    (home / "izinli.toml").write_text(text)
    found = problems(home / "izinli.toml")
    assert any("signatures included" in one for one in found)
    assert any("an SMS has no DKIM signature" in one for one in found)


def test_a_stream_that_nobody_signs_is_warned_of(home: Path) -> None:
    path = write(home)
    (caution,) = told(path)
    line = 1 + path.read_text().splitlines().index('name = "kampanya"')
    assert caution.startswith(f"line {line - 1}: stream: nothing signs the mail of stream 'kampanya'")
    assert told(write(home, f"dkim = {{ {RSA} }}")) == []


def test_a_stream_that_keeps_signatures_is_warned_of(home: Path) -> None:
    path = write(home, f"dkim = {{ {RSA} }}", 'dkim_existing = "keep"')
    (caution,) = told(path)
    line = 1 + path.read_text().splitlines().index('dkim_existing = "keep"')
    assert caution.startswith(f"line {line}: stream.dkim_existing: signatures that messages come with are kept")
    assert told(write(home, f"dkim = {{ {RSA} }}", 'dkim_existing = "refuse"')) == []


@pytest.mark.parametrize(
    ("domain", "aligned"),
    [
        ("kampanya.example.com.tr", True),
        ("example.com.tr", True),
        ("a.kampanya.example.com.tr", True),
        ("bilgi.example.com.tr", True),
        ("com.tr", False),
        ("ample.com.tr", False),
        ("example.com", False),
    ],
)
def test_a_signing_domain_that_is_not_the_senders_is_warned_of(home: Path, domain: str, *, aligned: bool) -> None:
    found = told(write(home, f"dkim = {{ {KEY.format(domain, 's', 'rsa')} }}"))
    assert (
        found == []
        if aligned
        else len(found) == 1 and f"stream.match: mail of kampanya.example.com.tr is signed as {domain}, " in found[0]
    )


def test_one_aligned_key_is_enough(home: Path) -> None:
    other = KEY.format("bulk.example.test", "s", "ed")
    assert told(write(home, f"dkim = [ {{ {other} }}, {{ {RSA} }} ]")) == []
    another = KEY.format("example.com", "s", "rsa")
    path = write(home, f"dkim = [ {{ {other} }}, {{ {another} }} ]")
    (caution,) = told(path)
    line = 1 + path.read_text().splitlines().index('match = { mail_from_domain = "kampanya.example.com.tr" }')
    assert caution.startswith(f"line {line}: stream.match: ")
    assert "signed as bulk.example.test and example.com, which" in caution
    assert caution.endswith("DMARC fails: sign as example.com.tr or as a domain below it (docs/dkim.md)")


def test_a_short_key_and_an_open_file_are_warned_of(home: Path) -> None:
    short = f"dkim = {{ {KEY.format('example.com.tr', 's', 'short')} }}"
    (caution,) = told(write(home, short))
    assert "short.pem: an RSA key of 1024 bits" in caution
    (home / "keys/rsa.pem").chmod(0o644)
    (caution,) = told(write(home, f"dkim = {{ {RSA} }}"))
    assert caution.endswith(f"have access (mode 0644) — chmod 600 {home / 'keys/rsa.pem'}")


def test_cautions_are_no_problems(home: Path) -> None:
    path = write(home, stream='dkim_existing = "keep"')
    assert [str(one) for one in check.problems(path) if "dkim" in one.key] == []
    assert len(told(path)) == 2


class TestCreate:
    @pytest.mark.parametrize(("kind", "parts"), [("rsa", 2), ("ed25519", 1)])
    def test_the_record_is_that_of_the_key_in_strings_that_fit(self, tmp_path: Path, kind: str, parts: int) -> None:
        path = tmp_path / "new.pem"
        signer = create(path, "Example.com.tr", "s1", kind)  # type: ignore[arg-type]
        assert path.stat().st_mode & 0o777 == 0o600
        assert Signer(path.read_bytes(), "example.com.tr", "s1").record == signer.record
        found = list(strings(signer.record))
        assert "".join(found) == signer.record
        assert len(found) == parts
        assert max(map(len, found)) <= TXT_OCTETS_MAX
        name, _, text = zone_line(signer).partition(" IN TXT ")
        assert name == "s1._domainkey.example.com.tr."
        assert text == "( " + " ".join(f'"{part}"' for part in found) + " )"

    def test_nothing_is_overwritten(self, tmp_path: Path) -> None:
        path = tmp_path / "new.pem"
        path.write_text("precious")
        with pytest.raises(FileExistsError):
            create(path, "example.com.tr", "s1", "ed25519")
        assert path.read_text() == "precious"

    def test_a_name_that_is_none_leaves_no_file(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="not a domain name"):
            create(tmp_path / "new.pem", "tr", "s1", "ed25519")
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.interop
    def test_openssl_reads_what_was_written(self, tmp_path: Path) -> None:
        create(tmp_path / "new.pem", "example.com.tr", "s1", "rsa")
        command = [require("openssl"), "pkey", "-in", str(tmp_path / "new.pem"), "-noout", "-check"]
        assert subprocess.run(command, capture_output=True, timeout=60, check=True).stdout == b"Key is valid\n"


@pytest.mark.slow
class TestCommands:
    def test_a_key_is_made_once_and_goes_into_the_configuration(self, home: Path) -> None:
        out = home / "keys/new.pem"
        made = izinli("dkim-key", "--domain", "example.com.tr", "--selector", "s1", "--out", out, "--type", "ed25519")
        assert made.returncode == 0, made.stderr
        assert made.stdout == zone_line(Signer(out.read_bytes(), "example.com.tr", "s1")) + "\n"
        assert "dig +short TXT s1._domainkey.example.com.tr" in made.stderr
        again = izinli("dkim-key", "--domain", "example.com.tr", "--selector", "s1", "--out", out)
        assert (again.returncode, "nothing was changed" in again.stderr) == (73, True)
        wrong = izinli("dkim-key", "--domain", "tr", "--selector", "s1", "--out", home / "other.pem")
        assert (wrong.returncode, "not a domain name" in wrong.stderr) == (65, True)
        entry = made.stderr.partition("[[brand]]:")[2].strip()
        assert told(write(home, entry)) == []

    def test_check_config_prints_cautions_and_is_content(self, home: Path) -> None:
        path = write(home)
        path.write_text(
            re.sub(r'^bind = "127.0.0.1:\d+"', 'bind = "127.0.0.1:0"', path.read_text(), flags=re.MULTILINE)
        )
        done = izinli("check-config", "-c", path)
        assert done.returncode == 0, done.stderr
        assert "".join(done.stdout.split()) == f"{path}:noproblemfound", "wrapped where the terminal ends"
        assert f"caution: {path}: line " in done.stderr
