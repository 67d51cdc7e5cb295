"""swaks as the client, over plain SMTP, STARTTLS and LMTP; its logins stand in test_smtp_secured.py."""

from __future__ import annotations

import asyncio
import re
import subprocess
from pathlib import Path

import pytest

from gateway.demo.house import House
from tests.certificates import make_authority
from tests.interop.test_smtp_secured import DOOR, port_of, served, swaks_with_tls
from tests.interop.ways import CAMPAIGN, CONSENTED, UNKNOWN

pytestmark = pytest.mark.interop

ALL_REFUSED, SOME_REFUSED = 24, 0  # what swaks exits with: no recipient was accepted, or one was
BODY = "Merhaba, bahar indirimi başladı."


async def swaks(house: House, *arguments: str, to: list[str]) -> tuple[int, str]:
    """Its exit code, and the conversation as it prints it."""
    command = [swaks_with_tls(), "--server", f"127.0.0.1:{port_of(house)}", "--timeout", "60", "--body", BODY]
    command += ["--add-header", "Content-Type: text/plain; charset=utf-8", "--from", CAMPAIGN, "--to", ",".join(to)]
    done = await asyncio.to_thread(subprocess.run, [*command, *arguments], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "starttls"])
async def test_one_refused_among_others(tmp_path: Path, tls: bool) -> None:
    certificate, key = make_authority(tmp_path / "authority").issue("gate.example.test")
    lines = f'\ntls = "starttls"\ncert_file = "{certificate}"\nkey_file = "{key}"' if tls else ""
    async with served(tmp_path / "house", (DOOR, DOOR + lines)) as (house, sink):
        code, said = await swaks(house, *(["--tls"] if tls else []), to=[*CONSENTED, UNKNOWN])
        assert code == SOME_REFUSED, said
        assert ("TLS started" in said) == tls
        assert len(re.findall(r"^\S+\* 550 5\.7\.1 no_consent: .* id=", said, re.MULTILINE)) == 1
        assert re.search(r"^<.  250 2\.0\.0 captured as \d id=", said, re.MULTILINE)
        assert sorted(one.rcpt_to[0] for one in sink.messages) == CONSENTED
        assert all(BODY.encode() in one.content and b"\r\nList-Unsubscribe: <" in one.content for one in sink.messages)
        assert {b"with ESMTPS id" in one.content for one in sink.messages} == {tls}
        code, said = await swaks(house, *(["--tls"] if tls else []), to=[UNKNOWN])
        assert code == ALL_REFUSED, said
        assert len(sink.messages) == len(CONSENTED)


async def test_lmtp_has_an_answer_for_each(tmp_path: Path) -> None:
    gone = CONSENTED[0]
    lmtp = (f'protocol = "smtp"\n{DOOR}', f'protocol = "lmtp"\n{DOOR}')
    async with served(tmp_path, lmtp) as (house, sink):
        sink.recipients = {gone: "550 5.1.1 no such user"}
        _, said = await swaks(house, "--protocol", "LMTP", to=[*CONSENTED, UNKNOWN])
        assert "LHLO" in said
        answers = re.findall(r"^<\S+ +(\d{3} \d\.\d\.\d \w+).* id=", said, re.MULTILINE)
        assert answers[0] == "550 5.7.1 no_consent", "at RCPT"
        assert sorted(answers[1:]) == ["250 2.0.0 captured"] * 2 + ["550 5.1.1 no"], said
        assert sorted(one.rcpt_to[0] for one in sink.messages) == CONSENTED[1:]
