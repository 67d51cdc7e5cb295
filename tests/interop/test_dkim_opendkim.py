"""OpenDKIM verifies what we sign: the verifier that most mail servers run."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from filters import dkim, mail
from filters.dkim import Copies, sign
from tests.conftest import require
from tests.filters.mailtree import LINK, NOTICE
from tests.filters.signatures import T, signers
from tests.interop.letters import ALL, letter

pytestmark = pytest.mark.interop

HEAD = b"From: Marka <a@kampanya.example.com.tr>\r\nTo: b@example.test\r\nSubject: Bahar\r\n"
VERDICT = re.compile(r"^\s*dkim=(\w+)[^;]*header\.a=([\w-]+)", re.MULTILINE)
BOTH = [("pass", "rsa-sha256"), ("pass", "ed25519-sha256")]
NEITHER = [("fail", "rsa-sha256"), ("fail", "ed25519-sha256")]


def verdicts(directory: Path, message: bytes) -> list[tuple[str, str]]:
    """(result, algorithm) of each signature, as OpenDKIM's test mode puts them into Authentication-Results."""
    records = directory / "records"
    records.write_text("".join(f"{signer.record_name} {signer.record}\n" for signer in signers()))
    configuration = directory / "opendkim.conf"
    configuration.write_text(f"Mode v\nTestPublicKeys {records}\nAlwaysAddARHeader yes\n")
    file = directory / "message"
    file.write_bytes(message if message.endswith(b"\r\n") else message + b"\r\n")
    command = [require("opendkim"), "-x", str(configuration), "-vv", "-t", str(file)]
    done = subprocess.run(command, capture_output=True, timeout=120, check=False)
    told = done.stdout.decode(errors="replace")
    assert "Authentication-Results" in told, done.stderr.decode(errors="replace")
    return VERDICT.findall(told)


@pytest.mark.parametrize(
    "message",
    [
        HEAD + b"\r\n",
        HEAD + b"\r\n\r\n\r\n\r\n",
        HEAD + b"\r\ntext\r\n\r\n \t\r\n\r\n",
        HEAD + b"\r\ntext  with \t blanks \t\r\n\tand tabs\t\r\n",
        HEAD + b"\r\nno end of line, as SMTP cannot carry it: the CRLF comes on the way",
        HEAD + b"Subject : blank before the colon\r\n\r\ntext\r\n",
        HEAD + b"References: <1@example.test>\r\n\t<2@example.test>  \r\n   <3@example.test>\r\n\r\ntext\r\n",
        HEAD + b"Cc:" + b" " * 60 + b"\r\n " + b"c" * 900 + b"@example.test\r\nCC: d@example.test\r\n\r\ntext\r\n",
        HEAD + "Subject: çay\r\n\r\nsekiz bitlik çay, ışıl ışıl \r\n".encode(),
        HEAD + b"Content-Transfer-Encoding: quoted-printable\r\n\r\n=C3=A7ay =3D=\r\n on=20\r\n",
    ],
)
def test_messages_of_every_shape_verify(tmp_path: Path, message: bytes) -> None:
    assert verdicts(tmp_path, sign(message, signers(), T) + message) == BOTH


def test_what_was_changed_does_not_verify(tmp_path: Path) -> None:
    copy = sign(HEAD, signers(), T) + HEAD + b"\r\ntext\r\n"
    assert verdicts(tmp_path, copy) == NEITHER
    whole = sign(HEAD + b"\r\ntext\r\n", signers(), T) + HEAD + b"\r\ntext\r\n"
    assert verdicts(tmp_path, whole) == BOTH
    assert verdicts(tmp_path, b"List-Unsubscribe: <https://evil.example.test>\r\n" + whole) == NEITHER


@pytest.mark.parametrize("kind", ALL[::3], ids="-".join)
def test_each_copy_of_a_campaign_verifies(tmp_path: Path, kind: tuple[str, str, str]) -> None:
    plan = mail.plan(letter(*kind), NOTICE, without=dkim.SIGNATURES)
    copies = Copies(plan.render(LINK), plan.kept)
    for link in (LINK, LINK + b"z" * 40):
        pieces = plan.render(link, b"Received: by gate.example.test\r\n")
        plan.put_on_top(pieces, copies.sign(pieces, signers(), T))
        assert verdicts(tmp_path, b"".join(pieces)) == BOTH
