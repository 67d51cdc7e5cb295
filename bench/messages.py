"""The messages that go through: invented campaigns, one small and plain, one of the size that designers send."""

from __future__ import annotations

import quopri

SENDER = "duyuru@kampanya.example.com.tr"
RECIPIENT = "ayse.yilmaz@example.com.tr"
RECIPIENTS_MAX = 10  # of one message; they are RECIPIENT with a number in front

HEADERS = """\
From: =?utf-8?Q?=C3=96rnek_Market?= <duyuru@kampanya.example.com.tr>
To: <ayse.yilmaz@example.com.tr>
Subject: =?utf-8?Q?Haftan=C4=B1n_f=C4=B1rsatlar=C4=B1?=
Date: Tue, 24 Nov 2026 09:00:00 +0300
Message-ID: <hafta-48@kampanya.example.com.tr>
MIME-Version: 1.0
"""
SENTENCE = "Bu hafta çay, şeker ve zeytinyağında indirim var; ürünler için mağazalarımıza bekleriz.\n"
ROW = (
    '<tr><td style="padding:8px"><a href="https://kampanya.example.com.tr/u?id={}">Ürün {}: %20 indirim</a></td></tr>\n'
)
BOUNDARY = "hafta-48-alternatif"


def plain(size: int) -> bytes:
    """A text/plain message in 8bit UTF-8 of about `size` bytes on the wire; LF line ends, as smtp-source wants them."""
    head = HEADERS + "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n"
    body = SENTENCE * ((size - len(head.encode())) // len(SENTENCE.encode()))
    return (head + body).encode()


def designed(size: int) -> bytes:
    """multipart/alternative, both parts quoted-printable: a short text and HTML that fills about `size` bytes."""
    part = f"--{BOUNDARY}\nContent-Type: text/{{}}; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\n"
    head = HEADERS + f'Content-Type: multipart/alternative; boundary="{BOUNDARY}"\n\n'
    text = _quoted(SENTENCE * 4)
    room = size - len(head) - len(text) - 2 * len(part)
    row_length = len(_quoted(ROW.format(1000, 1000)))
    rows = "".join(ROW.format(number, number) for number in range(1000, 1000 + room // row_length))
    html = _quoted(f"<!DOCTYPE html>\n<html><body><table>\n{rows}</table>\n</body></html>\n")
    return f"{head}{part.format('plain')}{text}\n{part.format('html')}{html}\n--{BOUNDARY}--\n".encode()


def _quoted(text: str) -> str:
    return quopri.encodestring(text.encode()).decode("ascii")
