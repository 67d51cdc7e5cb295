"""How the routes describe themselves at /docs and /openapi.json: JSON schemas of what goes in and comes out."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from filters.model import Channel, RecipientType
from registry.rules import HS_SOURCES, SAID

if TYPE_CHECKING:
    from registry.national.routes import Endpoint

Schema = dict[str, Any]

TEXT: Final[Schema] = {"type": "string"}
CODE: Final[Schema] = {"type": "integer", "minimum": 1, "maximum": 2147483647}
COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
MOMENT: Final[Schema] = {"type": "string", "pattern": r"^\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}$"}
RECIPIENT: Final[Schema] = {"type": "string", "description": "E.164 with a plus, or e-mail in ASCII"}
TYPE: Final[Schema] = {"type": "string", "enum": [one.value for one in Channel]}
RECIPIENT_TYPE: Final[Schema] = {"type": "string", "enum": [one.value for one in RecipientType]}
STATUS: Final[Schema] = {"type": "string", "enum": [one.value for one in SAID]}
TRANSACTION: Final[Schema] = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
ERRORS: Final[Schema] = {
    "type": "object",
    "required": ["errors"],
    "properties": {
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["code", "message"],
                "properties": {
                    "code": TEXT,
                    "message": TEXT,
                    "location": {"type": "array", "items": {"type": ["string", "integer"]}},
                    "value": {},
                    "index": COUNT,
                },
            },
        }
    },
}
_PARTS: Final = {
    "iysCode": CODE,
    "brandCode": CODE,
    "type": TYPE,
    "recipientType": RECIPIENT_TYPE,
}
_SAID: Final = re.compile(r"\{(\w+)\}")
_FAULTS: Final = ("400", "401", "403", "404", "408", "413", "422", "429", "503")
SECURITY: Final = {
    "token": {"type": "http", "scheme": "bearer", "description": "access_token of /oauth2/token"},
    "user": {"type": "http", "scheme": "basic", "description": "for intermediaries: a user of `izinli api-user`"},
}


def shape(required: dict[str, Schema], **optional: Schema) -> Schema:
    """An object with these fields and no others."""
    properties = {**required, **optional}
    return {"type": "object", "required": list(required), "properties": properties, "additionalProperties": False}


def listed(items: Schema, **bounds: int) -> Schema:
    """An array."""
    return {"type": "array", "items": items, **bounds}


CONSENT: Final = shape(
    {"recipient": RECIPIENT, "type": TYPE, "status": STATUS},
    source={"type": "string", "enum": sorted(HS_SOURCES)},
    recipientType=RECIPIENT_TYPE,
    consentDate=MOMENT,
    retailerCode=CODE,
    retailerAccess=listed(CODE, minItems=1, maxItems=3000),
)


def describe(endpoint: Endpoint) -> Schema:
    """What FastAPI cannot see in the handler's signature."""
    description: Schema = {
        "security": [{"token": []}, {"user": []}] if endpoint.basic else [{"token": []}],
        "parameters": parameters(endpoint.path, endpoint.query),
        "responses": responses(endpoint.answer, endpoint.status, endpoint.media),
    }
    if endpoint.may_be_empty:
        description["responses"]["204"] = {"description": "nothing"}
    if endpoint.body is not None:
        description["requestBody"] = {"required": True, "content": {"application/json": {"schema": endpoint.body}}}
    return description


def parameters(path: str, query: tuple[str, ...] = ()) -> list[Schema]:
    """The parts of a path, and query parameters."""
    parts = [
        {"name": name, "in": "path", "required": True, "schema": _PARTS.get(name, TEXT)} for name in _SAID.findall(path)
    ]
    return parts + [{"name": name, "in": "query", "required": False, "schema": TEXT} for name in query]


def responses(answer: Schema | None, status: int, media: str = "application/json") -> Schema:
    """The answer of success, and the one shape of all others."""
    good: Schema = {"description": "done"}
    if answer is not None or media != "application/json":
        good["content"] = {media: {"schema": TEXT if answer is None else answer}}
    fault = {"description": "refused", "content": {"application/json": {"schema": ERRORS}}}
    return {str(status): good, **{code: fault for code in _FAULTS if code != str(status)}}
