"""The page's form, taken apart: the same shape as the JSON of the API, so that one parser checks both."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

from python_multipart import FormParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import Field, File, parse_options_header

from registry.limits import PROVIDER_BODY_OCTETS_MAX, PROVIDER_PARTS_MAX

_OF_SIGNATORY = ("name", "tckn", "mobile", "email")


def fields(content_type: str, body: bytes) -> dict[str, str | bytes] | None:
    """The fields of a form by name, the last of each; files as octets. None: it is no form, or a broken one."""
    kind, options = parse_options_header(content_type)
    if kind == b"application/x-www-form-urlencoded":
        try:
            return dict(parse_qsl(body.decode("utf-8"), keep_blank_values=True, max_num_fields=PROVIDER_PARTS_MAX))
        except ValueError:
            return None
    if kind != b"multipart/form-data":
        return None
    found: dict[str, str | bytes] = {}

    def keep(field: Field) -> None:
        if len(found) < PROVIDER_PARTS_MAX:
            found[_text(field.field_name)] = _text(field.value)

    def keep_file(file: File) -> None:
        if len(found) < PROVIDER_PARTS_MAX:
            file.file_object.seek(0)
            found[_text(file.field_name)] = file.file_object.read()
        file.close()

    try:
        # larger than any body: nothing is written to a file
        config: Any = {"MAX_MEMORY_FILE_SIZE": PROVIDER_BODY_OCTETS_MAX + 1}
        boundary = options.get(b"boundary", b"")
        parser = FormParser("multipart/form-data", keep, keep_file, boundary=boundary, config=config)
        parser.write(body)
        parser.finalize()
    except (FormParserError, ValueError):
        return None
    return found


def _text(octets: bytes | None) -> str:
    return (octets or b"").decode("utf-8", "replace")


def application(form: dict[str, str | bytes]) -> dict[str, Any]:
    """As `registry.providers.application.parse` takes it; brands stand one on each line."""
    said: dict[str, Any] = {name: value for name, value in form.items() if name not in _OF_SIGNATORY}
    brands = said.get("brands")
    if isinstance(brands, str):
        said["brands"] = [line.strip() for line in brands.splitlines() if line.strip()]
    said["signatory"] = {name: form[name] for name in _OF_SIGNATORY if name in form}
    return said


def typed(said: dict[str, Any]) -> dict[str, str]:
    """What stood in the fields, to be shown again: `application` the other way round."""
    brands = said.get("brands")
    shown = {**said, **said["signatory"], "brands": "\n".join(brands) if isinstance(brands, list) else ""}
    return {name: value for name, value in shown.items() if isinstance(value, str)}
