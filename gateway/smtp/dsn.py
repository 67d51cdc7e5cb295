"""The delivery status notification for a message that reached some of its recipients and was refused for others.

RFC 3464 in the frame of RFC 6522. It is needed in one case: several recipients, one reply, and the next hop took some
copies and refused others for good. The sender then hears 250 for the transaction and this for the refused ones.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from gateway.smtp.grammar import Parameters
from gateway.smtp.replies import Reply

_TEXT_OCTETS_MAX: Final = 500  # of a next hop's reply; beside an address, whose bound is 320


class Failed(NamedTuple):
    """A recipient the next hop refused; `parameters` are those of its RCPT."""

    path: bytes
    parameters: Parameters
    reply: Reply


class Original(NamedTuple):
    """The message that failed: its reverse path (not empty), the parameters of its MAIL, and its content."""

    sender: bytes
    parameters: Parameters
    content: bytes


def is_wanted(parameters: Parameters) -> bool:
    """RFC 3461 §4.1: failures are reported unless NOTIFY says otherwise."""
    notify = parameters.get(b"NOTIFY")
    return notify is None or b"FAILURE" in notify.upper()


def report(original: Original, failed: list[Failed], *, hostname: bytes, report_id: bytes, date: bytes) -> bytes:
    """The notification, to be sent with a null reverse path to `original.sender`."""
    boundary = b"izinli-" + report_id
    parts = [
        b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + _explanation(failed),
        b"Content-Type: message/delivery-status\r\n\r\n" + _status(original.parameters, failed, hostname),
        _returned(original),
    ]
    head = (
        b"Date: %b\r\nFrom: Mail Delivery System <MAILER-DAEMON@%b>\r\nTo: <%b>\r\n"
        b"Subject: Undelivered Mail Returned to Sender\r\nMessage-ID: <%b.dsn@%b>\r\n"
        b"Auto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n"
        b'Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary="%b"\r\n\r\n'
    ) % (date, hostname, original.sender, report_id, hostname, boundary)
    body = b"".join(b"--%b\r\n%b\r\n" % (boundary, part) for part in parts)
    return head + body + b"--%b--\r\n" % boundary


def _explanation(failed: list[Failed]) -> bytes:
    """Part one, for people; English, as the replies are."""
    refusals = b"".join(b"<%b>: %b\r\n" % (one.path, _said(one.reply)) for one in failed)
    return b"Your message was not delivered to the recipients below.\r\nThe others have received it.\r\n\r\n" + refusals


def _status(parameters: Parameters, failed: list[Failed], hostname: bytes) -> bytes:
    """Part two, for programs: RFC 3464 §2.2 and §2.3."""
    fields = [b"Reporting-MTA: dns; %b\r\n" % hostname]
    if envid := parameters.get(b"ENVID"):
        fields.append(b"Original-Envelope-Id: %b\r\n" % _from_xtext(envid.partition(b"=")[2]))
    for one in failed:
        fields.append(b"\r\n")
        if orcpt := one.parameters.get(b"ORCPT"):
            fields.append(b"Original-Recipient: %b\r\n" % _original(orcpt.partition(b"=")[2]))
        fields.append(b"Final-Recipient: %b\r\n" % _typed(one.path))
        fields.append(b"Action: failed\r\nStatus: %b\r\n" % _status_code(one.reply))
        fields.append(b"Diagnostic-Code: smtp; %b\r\n" % _said(one.reply))
    return b"".join(fields)


def _returned(original: Original) -> bytes:
    """Part three: the message when RET=FULL asks for it, else its header section (RFC 3461 §4.3).

    A header section in UTF-8 has media types of its own (RFC 6532 §3.7, RFC 6533 §6).
    """
    content = original.content
    end = content.find(b"\r\n\r\n")
    head = content if end < 0 else content[: end + 2]
    is_utf8 = b"SMTPUTF8" in original.parameters and not head.isascii()
    if original.parameters.get(b"RET", b"").upper() == b"RET=FULL":
        media_type = b"message/global" if is_utf8 else b"message/rfc822"
    else:
        media_type = b"message/global-headers" if is_utf8 else b"text/rfc822-headers"
        content = head
    encoding = b"7bit" if content.isascii() else b"8bit"
    return b"Content-Type: %b\r\nContent-Transfer-Encoding: %b\r\n\r\n%b" % (media_type, encoding, content)


def _said(reply: Reply) -> bytes:
    """Code and text; a line with it stays within 998 octets (RFC 5322 §2.1.1)."""
    return b"%d %b" % (reply.code, reply.text[:_TEXT_OCTETS_MAX])


def _original(value: bytes) -> bytes:
    """RFC 3464 §2.3.1 from the value of ORCPT: xtext is decoded; an address in UTF-8 has an encoding of its own."""
    kind, _, address = value.partition(b";")
    return b"%b;%b" % (kind, _seven_bit(address) if kind.lower() == b"utf-8" else _from_xtext(address))


def _typed(path: bytes) -> bytes:
    """RFC 3464 §2.3.2."""
    return b"rfc822; " + path if path.isascii() else b"utf-8; " + _seven_bit(path)


def _seven_bit(address: bytes) -> bytes:
    """An address in the 7-bit form of RFC 6533 §3."""
    text = address.decode("utf-8", "replace")
    return "".join(c if c.isascii() else f"\\x{{{ord(c):X}}}" for c in text).encode("ascii")


def _status_code(reply: Reply) -> bytes:
    """The enhanced code the next hop gave, else the class alone."""
    word = reply.text.split(b" ", 1)[0]
    parts = word.split(b".")
    return word if len(parts) == 3 and parts[0] == b"5" and all(part.isdigit() for part in parts) else b"5.0.0"


def _from_xtext(xtext: bytes) -> bytes:
    """RFC 3461 §4: `+` and two hexadecimal digits are one octet; what is not printable ASCII stays encoded."""
    head, *rest = xtext.split(b"+")
    decoded = [head]
    for piece in rest:
        octet = int(piece[:2], 16) if len(piece) >= 2 and _is_hexadecimal(piece[:2]) else 0
        decoded.append((bytes([octet]) if 0x20 <= octet <= 0x7E else b"+" + piece[:2]) + piece[2:])
    return b"".join(decoded)


def _is_hexadecimal(digits: bytes) -> bool:
    return all(digit in b"0123456789ABCDEFabcdef" for digit in digits)
