"""Campaign messages as senders make them: every transfer encoding and charset the notice has to fit into."""

from __future__ import annotations

import base64
import itertools
import quopri

TURKISH = "Sayın Ayşe Öztürk,\r\nİlkbahar indirimi başladı: ığüşöç İĞÜŞÖÇ = %20.\r\n.nokta ile başlayan satır\r\n"
ASCII = "Sayin Ayse Ozturk,\r\nIlkbahar indirimi basladi = %20.\r\n.nokta ile baslayan satir\r\n"
HTML = '<html><body style="margin:0"><p>{}</p><a href="https://marka.example.test/?a=1&b=2">git</a></body></html>\r\n'

CHARSETS = ("utf-8", "iso-8859-9", "windows-1254")
ENCODINGS = ("7bit", "8bit", "quoted-printable", "base64")
SHAPES = ("plain", "html", "alternative")
ALL = tuple(itertools.product(SHAPES, ENCODINGS, CHARSETS))


def letter(shape: str, encoding: str, charset: str, *, number: int = 0, recipient: str = "b@example.test") -> bytes:
    """A complete message with CRLF line ends; Message-ID carries `number`."""
    text = ASCII if encoding == "7bit" else TURKISH
    if shape == "plain":
        body = _part("plain", text, encoding, charset)
    elif shape == "html":
        body = _part("html", HTML.format(text), encoding, charset)
    else:
        parts = [_part("plain", text, encoding, charset), _part("html", HTML.format(text), encoding, charset)]
        body = b'Content-Type: multipart/alternative; boundary="=_b"\r\n\r\nold reader\r\n'
        body += b"".join(b"--=_b\r\n" + part for part in parts) + b"--=_b--\r\n"
    return (
        f"From: =?utf-8?Q?=C3=96rnek_Market?= <a@campaign.example.test>\r\nTo: {recipient}\r\n"
        f"Subject:   Bahar\r\n indirimi {shape} {encoding} {charset}\r\n"
        f"Date: Wed, 18 Nov 2026 11:06:40 +0300\r\nMessage-ID: <{number}@campaign.example.test>\r\n"
        "MIME-Version: 1.0\r\n"
    ).encode("ascii") + body


def _part(subtype: str, text: str, encoding: str, charset: str) -> bytes:
    head = f"Content-Type: text/{subtype}; charset={charset}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n".encode()
    octets = text.encode(charset)
    if encoding == "quoted-printable":
        octets = quopri.encodestring(octets.replace(b"\r\n", b"\n")).replace(b"\n", b"\r\n")
    elif encoding == "base64":
        octets = base64.encodebytes(octets).replace(b"\n", b"\r\n")
    return head + octets
