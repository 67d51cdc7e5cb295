"""What a stream does with signed and encrypted mail: keys, faults, and what is warned of."""

from __future__ import annotations

from pathlib import Path

import pytest

from filters.model import Sealed
from gateway.config import load
from gateway.init import init
from tests.gateway.test_dkim_config import SAMPLE, problems, told, write


@pytest.fixture
def home(tmp_path: Path) -> Path:
    init(tmp_path)
    return tmp_path


def test_a_stream_says_what_happens(home: Path) -> None:
    stream = load(write(home)).rules[0].stream
    assert (stream.signed_mail, stream.encrypted_mail) == (Sealed.WRAP, Sealed.REFUSE)
    for word in Sealed:
        stream = load(write(home, stream=f'signed_mail = "{word}"\nencrypted_mail = "{word}"')).rules[0].stream
        assert (stream.signed_mail, stream.encrypted_mail) == (word, word)


@pytest.mark.parametrize("key", ["signed_mail", "encrypted_mail"])
def test_what_is_wrong_is_told(home: Path, key: str) -> None:
    (fault,) = problems(write(home, stream=f'{key} = "warp"'))
    assert f"stream.{key}: unknown value 'warp'" in fault
    assert "wrap" in fault
    text = SAMPLE.replace('kind = "informational"', f'{key} = "headers"\nkind = "informational"')
    (home / "izinli.toml").write_text(text)
    found = problems(home / "izinli.toml")
    assert any(f"stream.{key}: informational mail passes as it came" in one for one in found)
    assert any(f"stream.{key}: an SMS has no" in one for one in found)


@pytest.mark.parametrize(
    ("key", "word", "caution"),
    [
        ("signed_mail", Sealed.WRAP, ""),
        ("signed_mail", Sealed.HEADERS, "signed mail goes without the notice"),
        ("signed_mail", Sealed.REFUSE, ""),
        ("encrypted_mail", Sealed.WRAP, "as a file that the reader has to open"),
        ("encrypted_mail", Sealed.HEADERS, "encrypted mail goes without the notice"),
        ("encrypted_mail", Sealed.REFUSE, ""),
    ],
)
def test_mail_without_a_visible_notice_is_warned_of(home: Path, key: str, word: Sealed, caution: str) -> None:
    path = write(home, stream=f'{key} = "{word}"')
    found = [one for one in told(path) if f"stream.{key}" in one]
    line = 1 + path.read_text().splitlines().index(f'{key} = "{word}"')
    assert [one.startswith(f"line {line}: ") and caution in one for one in found] == [True] * bool(caution)
