"""Messages before and after, read by a MIME reader that was not written here: the standard library's `email`."""

from __future__ import annotations

import email
import email.message
from typing import NamedTuple

from filters.mail import Notice, declare, plan

LINK = b"https://ret.example/r/Ab3dEf5hIj7LmN9pQr"
NOTICE = Notice(
    text="-- \nÖrnek Pazarlama A.Ş. • İstanbul\nMersis: 0123456789000015\nReddetmek için: {link}\nFrom bizden",
    html='<div style="color:#555">Örnek Pazarlama A.Ş. &middot; Mersis: 0123456789000015'
    '<br>Reddetmek için <a href="{link}">tıklayın</a></div>',
)


class Node(NamedTuple):
    """One entity as the standard library sees it."""

    type: str
    boundary: str | None
    disposition: str | None
    preamble: str | None
    epilogue: str | None
    content: bytes | None  # decoded; None for a multipart


class Grown(NamedTuple):
    type: str
    before: bytes
    after: bytes

    @property
    def added(self) -> bytes:
        """What stands in `after` and not in `before`; fails if `after` is not `before` with one insertion."""
        start = 0
        while start < len(self.before) and self.before[start] == self.after[start]:
            start += 1
        behind = len(self.before) - start
        assert self.after.endswith(self.before[start:]), "something else changed"
        return self.after[start : len(self.after) - behind]


def render(message: bytes, notice: Notice = NOTICE, link: bytes = LINK) -> bytes:
    """One copy; and whatever is tried, every octet outside the declared edits must be the received one."""
    copy = b"".join(plan(message, notice).render(link))
    assert undone(message, copy, notice, link) == message
    return copy


def undone(message: bytes, copy: bytes, notice: Notice, link: bytes) -> bytes:
    """`copy` with the declared edits taken back: what was inserted skipped, what was replaced restored."""
    restored = []
    position = read = 0
    for edit in declare(message, notice):
        assert edit.start >= position, "edits overlap"
        kept = edit.start - position
        restored.append(copy[read : read + kept])
        read += kept
        filled = link if edit.fill is None else edit.fill(link)
        inserted = filled.join(edit.segments)
        assert copy[read : read + len(inserted)] == inserted
        restored.append(message[edit.start : edit.end])
        read += len(inserted)
        position = edit.end
    restored.append(copy[read:])
    return b"".join(restored)


def tree(message: bytes) -> list[Node]:
    return [
        Node(
            part.get_content_type(),
            part.get_boundary(),
            part.get("Content-Disposition"),
            part.preamble,
            part.epilogue,
            None if part.is_multipart() else bytes(part.get_payload(decode=True) or b""),  # type: ignore[arg-type]
        )
        for part in email.message_from_bytes(message).walk()
    ]


def grown(before: bytes, after: bytes) -> list[Grown]:
    """The parts whose content changed; fails if the trees differ in anything else."""
    old, new = tree(before), tree(after)
    assert [node._replace(content=None) for node in old] == [node._replace(content=None) for node in new]
    pairs = [(a, b) for a, b in zip(old, new, strict=True) if a.content != b.content]
    return [Grown(a.type, a.content or b"", b.content or b"") for a, b in pairs]


def header_items(message: bytes) -> list[tuple[str, str]]:
    return email.message_from_bytes(message).items()


def single(body: bytes, *fields: str) -> bytes:
    """A message of one part, with the Content- fields given."""
    head = ["From: Marka <marka@kampanya.example.com.tr>", "Subject: Kampanya", "MIME-Version: 1.0", *fields]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def part(body: bytes, *fields: str) -> bytes:
    return "".join(f"{field}\r\n" for field in fields).encode() + b"\r\n" + body


def multipart(kind: str, boundary: str, *parts: bytes, preamble: bytes = b"", closed: bool = True) -> bytes:
    """Body part or, behind `single`'s fields, message: Content-Type field, empty line, parts."""
    delimiter = b"--" + boundary.encode()
    body = preamble + b"".join(delimiter + b"\r\n" + each + b"\r\n" for each in parts)
    return (
        f'Content-Type: multipart/{kind}; boundary="{boundary}"\r\n\r\n'.encode()
        + body
        + (delimiter + b"--" if closed else b"")
    )


def message(entity: bytes) -> bytes:
    """A message around an entity that brings its own Content- fields."""
    return (
        b"From: Marka <marka@kampanya.example.com.tr>\r\nSubject: Kampanya\r\nMIME-Version: 1.0\r\n" + entity + b"\r\n"
    )
