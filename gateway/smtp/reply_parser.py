"""Replies out of the octets of a next hop (RFC 5321 §4.2), without sockets.

    parser.feed(data)      the replies that are complete, in order
    parser.fault           "": all is well; else the metric label of why nothing further can be understood

How the octets were cut on their way makes no difference. What is kept of a reply is bounded, printable and ASCII.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from gateway import limits
from gateway.smtp.replies import Reply, sanitised

# What nearly every reply looks like: one line, which may be kept as it is. One match instead of six steps.
_PLAIN: Final = re.compile(rb"([2-5][0-9]{2}) ([\x20-\x7e]{0,500})\r\n")
_LINE: Final = re.compile(rb"([2-5][0-9]{2})(?:([ -])([^\n]*))?")


class Heard(NamedTuple):
    """One reply: its code, and the text of each line."""

    code: int
    texts: list[bytes]

    def reply(self) -> Reply:
        """As it is passed on."""
        return Reply(self.code, b" ".join(self.texts)[: limits.SMTP_REPLY_TEXT_OCTETS_MAX])


class ReplyParser:
    """The state of one direction of one connection."""

    def __init__(self) -> None:
        self.fault = ""
        self._input = b""
        self._code = b""  # of a reply that is not complete
        self._texts: list[bytes] = []

    @property
    def holds(self) -> bool:
        """Octets came behind the last complete reply."""
        return bool(self._input or self._texts)

    def feed(self, data: bytes) -> list[Heard]:
        """Take octets; the replies that they complete. After a fault there are none."""
        if self.fault:
            return []
        heard: list[Heard] = []
        data = self._input + data if self._input else data
        start = 0
        while start < len(data) and not self.fault:
            if not self._texts and (plain := _PLAIN.match(data, start)):
                heard.append(Heard(int(plain[1]), [plain[2]]))
                start = plain.end()
            elif (end := data.find(b"\n", start)) >= 0:
                self._line(data[start:end], heard)
                start = end + 1
            else:
                break
        self._input = data[start:]
        if len(self._input) > limits.SMTP_REPLY_LINE_OCTETS_MAX and not self.fault:
            self.fault = "long_reply"
        if self.fault:
            self._input = b""
        return heard

    def _line(self, line: bytes, heard: list[Heard]) -> None:
        """RFC 5321 §4.2.1: `code-text` continues, `code text` ends."""
        if len(line) > limits.SMTP_REPLY_LINE_OCTETS_MAX:
            self.fault = "long_reply"
            return
        match = _LINE.fullmatch(line.rstrip(b"\r"))
        if match is None or (self._texts and self._code != match[1]):
            self.fault = "malformed_reply"
            return
        self._code, separator, text = match.groups(b"")
        self._texts.append(sanitised(text))
        if separator != b"-":
            heard.append(Heard(int(self._code), self._texts))
            self._texts = []
        elif len(self._texts) >= limits.SMTP_REPLY_LINES_MAX:
            self.fault = "long_reply"
