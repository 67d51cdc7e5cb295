"""What is sent to prove a number or a mail address: a code by SMS, a link by mail.

Turkish first, English second. The SMS is ASCII, so that it is one segment in every alphabet.
"""

from __future__ import annotations

import secrets
from typing import Final, NamedTuple

import msgspec

from registry.limits import PROOF_CODE_SECONDS, PROOF_LINK_SECONDS
from registry.providers.states import Way

LINK_PATH: Final = "/providers/confirm/"
_CODE_DIGITS: Final = 6
_TOKEN_OCTETS: Final = 32

SECONDS: Final = {Way.MOBILE: PROOF_CODE_SECONDS, Way.EMAIL: PROOF_LINK_SECONDS}
"""How long each is good for."""


class Letter(NamedTuple):
    """What waits in the outbox."""

    recipient: str
    subject: str
    text: str

    def packed(self) -> bytes:
        return msgspec.json.encode(tuple(self))

    @classmethod
    def unpacked(cls, octets: bytes) -> Letter:
        return cls(*msgspec.json.decode(octets, type=tuple[str, str, str]))


def secret(way: Way) -> str:
    """A new code, or the token of a new link."""
    if way is Way.EMAIL:
        return secrets.token_urlsafe(_TOKEN_OCTETS)
    return f"{secrets.randbelow(10**_CODE_DIGITS):0{_CODE_DIGITS}}"


def letter(way: Way, recipient: str, said: str, public_url: str) -> Letter:
    """What carries a secret to whom it may concern; it names nobody, because the address may be somebody else's."""
    if way is Way.MOBILE:
        minutes = PROOF_CODE_SECONDS // 60
        text = f"Basvuru onay kodunuz: {said} ({minutes} dk). Siz basvurmadiysaniz dikkate almayin. / Your code: {said}"
        return Letter(recipient, "", text)
    hours = PROOF_LINK_SECONDS // 3600
    text = (
        "Ticari ileti gönderme başvurusunda bu e-posta adresi imza yetkilisinin adresi olarak verildi.\n"
        f"Başvuruyu siz yaptıysanız {hours} saat içinde bu bağlantıyı açıp sayfadaki düğmeye basın:\n\n"
        f"{public_url}{LINK_PATH}{said}\n\n"
        "Başvuruyu siz yapmadıysanız hiçbir şey yapmanız gerekmez.\n\n"
        "--\n"
        "This address was given in an application to send commercial messages. If it was you who applied, open the\n"
        f"link above within {hours} hours and press the button. If not, there is nothing to do.\n"
    )
    return Letter(recipient, "Başvurunuzu onaylayın / Confirm your application", text)
