"""The body of a POST to a reject link: read within its bounds first, understood afterwards."""

from __future__ import annotations

import asyncio
from enum import Enum
from urllib.parse import parse_qsl

from fastapi import Request
from python_multipart import FormParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import Field, File, parse_options_header

from registry.limits import BODY_BYTES_MAX, BODY_SECONDS_MAX, FORM_FIELDS_MAX

ONE_CLICK = ("List-Unsubscribe", "One-Click")  # RFC 8058 section 3.1
BUTTON = ("ret", "1")


class BodyFault(Exception):
    """The body is over a bound; `status` is the HTTP status that says so."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Wish(Enum):
    """What a body asks for."""

    BUTTON = "link"  # the page's button; the value is the event's `origin`
    ONE_CLICK = "oneclick"  # a mail program in the reader's name


async def read_body(request: Request, octets_max: int = BODY_BYTES_MAX, seconds_max: float = BODY_SECONDS_MAX) -> bytes:
    """The whole body. Raises BodyFault: 413 above `octets_max`, 408 after `seconds_max`, 400 when cut off."""
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced[:20]) > octets_max:
        raise BodyFault(413)
    body = bytearray()
    try:
        async with asyncio.timeout(seconds_max):
            more = True
            while more:
                message = await request.receive()
                if message["type"] == "http.disconnect":
                    raise BodyFault(400)
                body += message.get("body", b"")
                if len(body) > octets_max:
                    raise BodyFault(413)
                more = message.get("more_body", False)
    except TimeoutError:
        raise BodyFault(408) from None
    return bytes(body)


def wish(content_type: str, body: bytes) -> Wish | None:
    """What a form asks for, or None: no form, a broken one, or one that asks for nothing (a scanner's empty POST)."""
    kind, _ = parse_options_header(content_type)
    fields: list[tuple[str, str]]
    if kind == b"multipart/form-data":
        fields = _multipart(content_type, body)
    elif kind == b"application/x-www-form-urlencoded":
        fields = _urlencoded(body)
    else:
        return None
    if ONE_CLICK in fields:
        return Wish.ONE_CLICK
    return Wish.BUTTON if BUTTON in fields else None


def _urlencoded(body: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=FORM_FIELDS_MAX)
    except ValueError:
        return []


def _multipart(content_type: str, body: bytes) -> list[tuple[str, str]]:
    """The fields of a multipart form (RFC 7578); files are dropped."""
    _, options = parse_options_header(content_type)
    fields: list[tuple[str, str]] = []

    def keep(field: Field) -> None:
        if len(fields) < FORM_FIELDS_MAX:
            name, value = field.field_name or b"", field.value or b""
            fields.append((name.decode("latin-1"), value.decode("latin-1").strip()))

    def drop(file: File) -> None:
        file.close()

    try:
        boundary = options.get(b"boundary", b"")
        parser = FormParser("multipart/form-data", keep, drop, boundary=boundary)
        parser.write(body)
        parser.finalize()
    except (FormParserError, ValueError):  # the latter from a boundary that is none
        return []
    return fields
