"""Promise I7 for mail: the work on a message grows with its octets, and what would grow faster is refused.

Work is counted, not timed: each call that Python makes, into C or not. That one call of `re` reads an octet about once
is shown by messages of a million lines, which would take hours otherwise.
"""

from __future__ import annotations

import base64
import binascii
import sys
from collections.abc import Callable
from types import FrameType

import pytest

from filters import splice
from filters.mail import PLACEHOLDER, Unfit, plan
from filters.mime import DEPTH_MAX, PARTS_MAX
from tests.filters.mailtree import LINK, NOTICE, message, multipart, part, render, single

TEXT = part(b"metin", "Content-Type: text/plain; charset=utf-8")
IMAGE = part(b"iVBORw0KGgo=", "Content-Type: image/png", "Content-Transfer-Encoding: base64")


def calls(received: bytes) -> int:
    """Calls made while planning and filling one copy, or until it is refused."""
    count = 0

    def counted(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(counted)
    try:
        b"".join(plan(received, NOTICE).render(LINK))
    except Unfit:
        count += 1
    finally:
        sys.setprofile(before)
    return count


def lines(count: int, encoding: str, kind: str = "html") -> bytes:
    text = b"<p>a\r\n" * count + b"</body></html>\r\n"
    if encoding == "quoted-printable":
        text = b"<p>=C5=9F\r\n" * count + b"</bo=\r\ndy></html>\r\n"
    elif encoding == "base64":
        text = base64.encodebytes(text).replace(b"\n", b"\r\n")
    return single(text, f"Content-Type: text/{kind}; charset=utf-8", f"Content-Transfer-Encoding: {encoding}")


def escaped_placeholder(count: int) -> bytes:
    return single(
        b"=C5=9F=\r\n" * count + b"=7B{izinli_link}}\r\n",
        "Content-Type: text/html; charset=utf-8",
        "Content-Transfer-Encoding: quoted-printable",
    )


def placeholder_first(count: int) -> bytes:
    text = PLACEHOLDER + b"\r\nmetin" * count
    return single(
        base64.encodebytes(text).replace(b"\n", b"\r\n"),
        "Content-Type: text/plain",
        "Content-Transfer-Encoding: base64",
    )


def nested(depth: int) -> bytes:
    entity = TEXT
    for level in range(depth):
        entity = multipart("mixed", f"level-{level}-", entity)
    return message(entity)


GROWING: dict[str, Callable[[int], bytes]] = {
    "short lines": lambda n: lines(n, "8bit"),
    "short lines, plain": lambda n: lines(n, "8bit", "plain"),
    "short lines, quoted": lambda n: lines(n, "quoted-printable"),
    "short lines, base64": lambda n: lines(n, "base64"),
    "escapes before an escaped placeholder": escaped_placeholder,
    "base64 behind a placeholder": placeholder_first,
    "header fields": lambda n: b"X: a\r\n" * n + b"Content-Type: text/plain\r\n\r\nmetin\r\n",
    "folded lines": lambda n: b"X: a\r\n" + b"\tb\r\n" * n + b"\r\nmetin\r\n",
    "unsubscribe fields": lambda n: b"List-Unsubscribe: <mailto:a@example.test>\r\n" * n + b"\r\nmetin\r\n",
    "content fields": lambda n: b"Content-Id: a\r\n" * n + b"Content-Type: image/png\r\n\r\nmetin\r\n",
    "parameters": lambda n: single(b"metin", "Content-Type: text/plain" + "".join(f"; a{i}=b" for i in range(n))),
    "comments": lambda n: single(b"metin", "Content-Type: text/plain " + "(a)" * n),
    "half delimiters": lambda n: message(multipart("mixed", "b", part(b"\r\n--b x" * n), TEXT)),
    "end tags in comments": lambda n: single(b"<!-- </body> -->" * n, "Content-Type: text/html"),
    "end tags in scripts": lambda n: single(b"<script></body></script>" * n + b"'\">", "Content-Type: text/html"),
    "hidden placeholders": lambda n: single(b"<!-- {{izinli_link}} -->" * n, "Content-Type: text/html"),
    "parts of an alternative": lambda n: message(multipart("alternative", "b", *[IMAGE] * n)),
    "parts": lambda n: message(multipart("mixed", "b", *[IMAGE] * n)),
    "levels": lambda n: nested(min(n, 200)),
}


@pytest.mark.parametrize("name", GROWING)
def test_i7_twice_the_message_is_at_most_twice_the_calls(name: str) -> None:
    once, twice = (calls(GROWING[name](count)) for count in (3_000, 6_000))
    assert twice <= 2 * once + 50


def test_i7_ten_thousand_parts_are_looked_at_no_further_than_a_thousand() -> None:
    many = calls(message(multipart("mixed", "b", *[IMAGE] * 10_000)))
    assert many <= calls(message(multipart("mixed", "b", *[IMAGE] * (PARTS_MAX + 1)))) + 10


def test_i7_a_hundred_levels_are_entered_no_further_than_twenty() -> None:
    with pytest.raises(Unfit, match="deeper"):
        plan(nested(100), NOTICE)
    assert calls(nested(100)) <= calls(nested(DEPTH_MAX + 1)) + 10


@pytest.mark.parametrize("encoding", ["8bit", "quoted-printable", "base64"])
def test_i7_a_million_short_lines(encoding: str) -> None:
    received = lines(1_000_000, encoding)
    copy = render(received)
    assert len(copy) - len(received) < 2_000


def test_i7_notices_nobody_sees_are_counted_before_each_is_looked_for() -> None:
    notice = b"".join(plan(single(b"<p>", "Content-Type: text/html"), NOTICE).render(LINK)).partition(b"<p>")[2]
    with pytest.raises(Unfit, match="notices with more than"):
        plan(single(b"<script>" + notice * 20_000, "Content-Type: text/html"), NOTICE)


def test_the_counter_sees_what_grows_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    """A decoder that is asked about each line anew would be found out."""

    def slow(raw: bytes, text: bytes, spans: object, found: object) -> bool:
        for begin in range(0, len(raw), 1_000):
            for at in range(begin, len(raw), 1_000):
                binascii.a2b_qp(raw[at : at + 1])
        return proven(raw, text, spans, found)  # type: ignore[arg-type]

    proven = splice._proven
    monkeypatch.setattr(splice, "_proven", slow)
    once, twice = (calls(escaped_placeholder(count)) for count in (3_000, 6_000))
    assert twice > 2 * once + 50
