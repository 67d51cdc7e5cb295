"""`[registry] admin`: where the admins' pages may be, and what is said of where they may not."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.check import problems as checked
from gateway.cli_common import admin_pages_of
from gateway.config import Config, ConfigError, load
from gateway.init import CONFIG_FILE, init
from tests.certificates import make_authority
from tests.conftest import free_port


def read(home: Path, keys: str) -> Config:
    if not (home / CONFIG_FILE).exists():
        init(home)
    text = (home / CONFIG_FILE).read_text()
    before, registry, after = text.partition("[registry]")
    path = home / "changed.toml"
    path.write_text(f"{before}{registry}\n{keys}\n{after.partition(chr(10))[2]}")
    return load(path)


def problems(home: Path, keys: str) -> list[str]:
    with pytest.raises(ConfigError) as error:
        read(home, keys)
    return [str(one) for one in error.value.problems]


def test_there_are_no_pages_unless_they_are_wanted(tmp_path: Path) -> None:
    assert admin_pages_of(read(tmp_path, "")) is None


def test_on_loopback_they_need_nothing_else(tmp_path: Path) -> None:
    for bind in ("127.0.0.1:8081", "[::1]:8081", "localhost:8081", "127.9.9.9:8081"):
        found = admin_pages_of(read(tmp_path, f'admin = "{bind}"'))
        assert found is not None
        assert (found.port, found.url, found.certificate) == (8081, f"http://{bind}", None)
    behind = admin_pages_of(read(tmp_path, 'admin = "127.0.0.1:8081"\nadmin_url = "https://yonetim.example.com.tr/"'))
    assert behind is not None
    assert behind.url == "https://yonetim.example.com.tr"


def test_elsewhere_they_need_a_certificate(tmp_path: Path) -> None:
    certificate, key = make_authority(tmp_path / "authority").issue("yonetim.example.test")
    for bind in ("0.0.0.0:8081", "10.1.2.3:8081", "yonetim.example.com.tr:8081"):
        (said,) = problems(tmp_path, f'admin = "{bind}"')
        assert "passwords would cross the network in clear — listen on 127.0.0.1 behind a TLS proxy" in said
    files = f'admin_cert_file = "{certificate}"\nadmin_key_file = "{key}"'
    found = admin_pages_of(read(tmp_path, f'admin = "10.1.2.3:8081"\n{files}'))
    assert found is not None
    assert (found.url, found.certificate) == ("https://10.1.2.3:8081", (certificate, key))


def test_browsers_need_an_address_that_is_one(tmp_path: Path) -> None:
    """Each form's origin is compared with it: with `0.0.0.0`, or http before TLS, nobody could log in."""
    certificate, key = make_authority(tmp_path / "authority").issue("yonetim.example.test")
    files = f'admin_cert_file = "{certificate}"\nadmin_key_file = "{key}"'
    for bind in ("0.0.0.0:8081", "[::]:8081"):
        (said,) = problems(tmp_path, f'admin = "{bind}"\n{files}')
        assert f"admin_url: is missing: no browser is at {bind}" in said
    (said,) = problems(tmp_path, f'admin = "127.0.0.1:8081"\nadmin_url = "http://127.0.0.1:8081"\n{files}')
    assert "is not https, which is what a listener with a certificate speaks" in said
    named = 'admin = "0.0.0.0:8081"\nadmin_url = "https://yonetim.example.test:8081"'
    found = admin_pages_of(read(tmp_path, f"{named}\n{files}"))
    assert found is not None
    assert found.url == "https://yonetim.example.test:8081"


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ('admin = "8081"', "admin: "),
        ('admin_url = "https://yonetim.example.com.tr"', "admin_url: there is no page that it belongs to — add admin"),
        ('admin = "127.0.0.1:8081"\nadmin_cert_file = "a.pem"', "admin_key_file: is missing"),
        ('admin = "127.0.0.1:8081"\nadmin_cert_file = "a"\nadmin_key_file = "b"', "cannot be used"),
        ('admin = "127.0.0.1:8081"\nadmin_url = "http://yonetim.example.com.tr"', "is not https"),
        ('admin = "127.0.0.1:8081"\nadmin_url = "https://example.com.tr/yonetim"', "not the address of a host"),
        ('admin = "127.0.0.1:8081"\nadmin_url = "ftp://example.com.tr"', "not the address of a host"),
        ('admin = "127.0.0.1:8081"\nadmin_url = "https://example.com.tr:x"', "admin_url: "),
    ],
)
def test_what_is_wrong_is_said_with_its_line(tmp_path: Path, keys: str, said: str) -> None:
    (one,) = problems(tmp_path, keys)
    assert said in one
    assert one.startswith("line ")


def test_check_config_looks_whether_the_address_is_free(tmp_path: Path) -> None:
    port = free_port()
    init(tmp_path)
    path = tmp_path / CONFIG_FILE
    text = path.read_text().replace('# admin = "127.0.0.1:8081"', f'admin = "127.0.0.1:{port}"')
    path.write_text(text.replace('bind = "127.0.0.1:8080"', f'bind = "127.0.0.1:{port}"'))
    found = [str(one) for one in checked(path)]
    assert any("registry.admin: cannot listen on" in one for one in found)
