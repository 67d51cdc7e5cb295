"""What the national API says when it says no: its codes, their HTTP statuses, and the body that carries them.

`{"errors":[{"code":"H117","message":"…","location":["type"],"value":"SMS","index":3}]}`; location, value and index
stand only where they say something (İYS API 3.2.0, error table). The token endpoint alone speaks OAuth (RFC 6749 §5.2).
A code that the registry's own rules use has its text in `registry.rules.REASONS` and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from fastapi import Response

from registry.limits import RETRY_SECONDS
from registry.rules import REASONS

MESSAGES: Final[Mapping[str, str]] = REASONS | {
    "H014": "the body is not JSON",
    "H015": "unexpected fault",
    "H083": "too many requests in this second",
    "H084": "too many requests for a token in this hour; each further one begins the hour anew",
    "H085": "a consent must be a JSON object",
    "H086": "too many status queries in this hour",
    "H089": "too many history queries in this hour",
    "H090": "a retailer must be a JSON object with valid fields",
    "H091": "more than 1000 consents",
    "H092": "a batch must be a JSON array of consents",
    "H058": "no such retailer",
    "H093": "user name or password is missing",
    "H097": "a query must be a JSON object",
    "H101": "the consent could not be saved",
    "H118": "a field that is not allowed",
    "H122": "neither an e-mail address nor a telephone number",
    "H123": "too much is waiting; try again",
    "H124": "too many requests in this second",
    "H125": "more than 1000 consents",
    "H126": "more than 100 retailers",
    "H127": "more than 100 recipients",
    "H129": "no such integrator",
    "H163": "the list of retailers is empty",
    "H164": "the list of recipients is empty",
    "H166": "the telephone number is longer than 15 digits",
    "H168": "recipients is missing",
    "H169": "retailerAccess is missing",
    "H170": "recipientType is missing",
    "H171": "an addition of retailers must be a JSON object with valid fields",
    "H172": "a removal of retailers must be a JSON object with valid fields",
    "H173": "a query for retailers must be a JSON object with valid fields",
    "H180": "no retailer of this brand has this code",
    "H182": "offset must be a whole number of 0 or more",
    "H183": "limit must be a whole number",
    "H184": "all must be true or false",
    "H185": "short must be true or false",
    "H186": "limit may be 100 at most",
    "H187": "limit must be 1 or more",
    "H190": "iysCode must be a whole number",
    "H191": "brandCode must be a whole number",
    "H192": "not certain yet; send it again",
    "H193": "the list has the same entry twice",
    "H194": "the same recipient, type and recipientType twice in one batch",
    "H198": "requestId is longer than 36 characters",
    "H199": "requestId has letters only",
    "H201": "status must be active, passive or suspended",
    "H214": "title is missing or invalid",
    "H215": "name is missing or invalid",
    "H216": "tckn is missing",
    "H217": "city is missing",
    "H218": "the code of city is missing",
    "H219": "the name of city is missing",
    "H220": "town is missing",
    "H221": "the code of town is missing",
    "H222": "the name of town is missing",
    "H224": "mobile must be E.164 with a plus",
    "H225": "tckn is missing",
    "H226": "tckn is invalid",
    "H227": "mersis is invalid",
    "H228": "mersis must have 16 characters",
    "H229": "a text is too long or has characters that do not belong there",
    "H230": "another retailer of this brand has this mersis",
    "H231": "another retailer of this brand has this tckn",
    "H243": "tin is invalid",
    "H244": "tin must have 10 or 11 characters",
    "H288": "tin is missing",
    "H351": "the token is missing or invalid",
    "H353": "iysCode or brandCode is none of this user's",
    "H355": "this user may not change this brand's consents",
    "H400": "requestId has digits only",
    "H401": "no such consent",
    "H412": "unexpected fault",
    "H460": "a field has the wrong type",  # an import says it of lines
    "H478": "recipients must be a list of strings",
    "H501": "reportDate must be written YYYY-MM-DD",
    "H502": "reportDate must be one of the last seven days that are over",
    "H506": "source must be HS or IYS",
    "H507": "limit must be between 1 and 1000",
    "H512": "agreementStatus must be true",
    "H530": "the address could not be reached or did not answer as it should",
    "H531": "the address must begin with https",
    "X404": "there is no such path",  # the codes with X are ours: nothing of the kind is documented
    "X405": "this path does not know this method",
    "X408": "the body came too slowly",
    "X413": "the body is too long",
    "X430": "two addresses are told of this type already",
    "X432": "the brand has 3000 retailers already",
    "X440": "there is none",
    "X429": "too many tries from this address, or too many messages to it; try again later",
    "X503": "too many are being taken in; try again later",
    "X609": "this is settled already, or the application is closed",
    "X610": "an application must be a JSON object",
    "X611": "name must be the signatory's, in 1 to 100 characters",
    "X612": "mobile must be written +905XXXXXXXXX",
    "X613": "brands must be a list of 1 to 20 names",
    "X614": "email must be an address of the company's own domain, not of a free mail service",
    "X615": "document must be the brand's registration as a PDF or PNG file (in JSON: in base64)",
    "X616": "document may have 2 MiB at most",
    "H465": "the last one was sent less than three minutes ago",
    "H1050": "the code was wrong too often; ask for another one",
    "H1051": "the code or the link is too old; ask for another one",
    "H1052": "the code is wrong",
    "H568": "there is a reject link for a consent in ONAY only",
}

_BY_STATUS: Final = {
    400: "H014 H085 H090 H092 H097 H123 H171 H172 H173 H174 H175 H178 H201 H214 H215 H216 H217 H218 H219 "
    "H220 H221 H222 H224 H225 H226 H227 H228 H229 H230 H231 H243 H244 H288 H401 H462 H463 H486",
    401: "H351",
    403: "H180 H353",
    404: "H058 H129 H355 X404 X440",
    405: "X405",
    408: "X408",
    413: "X413",
    409: "X609",
    429: "H083 H084 H086 H089 H124 X429",
    500: "H015 H101 H412",
    503: "H192 X503",
}
_STATUS_OF: Final = {code: status for status, codes in _BY_STATUS.items() for code in codes.split()}
FIELD_FAULT: Final = 422  # the status of all others

# The field that a code is about, for `location`.
FIELD_OF: Final = {
    **dict.fromkeys(("H110", "H115", "H408"), "status"),
    **dict.fromkeys(("H111", "H117"), "type"),
    **dict.fromkeys(("H112", "H155", "H156", "H157", "H158", "H162", "H178", "H462", "H467"), "consentDate"),
    **dict.fromkeys(("H113", "H119", "H463", "H486"), "source"),
    **dict.fromkeys(("H114", "H120", "H121", "H122", "H160", "H166", "H464", "H525"), "recipient"),
    **dict.fromkeys(("H116", "H170"), "recipientType"),
    **dict.fromkeys(("H174", "H175"), "status"),
    **dict.fromkeys(("H164", "H168", "H193", "H478"), "recipients"),
    "H180": "retailerCode",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One entry of `errors`. `value` None: not said; `index` is 0-based, -1: not said; `message` "": the code's.

    `location` is the name of the field and, in a list, the place there.
    """

    code: str
    location: tuple[str | int, ...] = ()
    value: Any = None
    index: int = -1
    message: str = ""

    def entry(self) -> dict[str, Any]:
        """As it stands in the body."""
        said: dict[str, Any] = {"code": self.code, "message": self.message or MESSAGES[self.code]}
        if self.location:
            said["location"] = list(self.location)
        if self.value is not None:
            said["value"] = self.value
        if self.index >= 0:
            said["index"] = self.index
        return said


class NationalError(Exception):
    """A request is refused. `status` is that of the first fault's code unless it is said."""

    def __init__(self, *faults: Fault, status: int = 0, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(faults[0].code)
        self.faults = faults
        self.status = status or status_of(faults[0].code)
        self.headers = dict(headers or {})

    def response(self) -> Response:
        """The answer."""
        headers = self.headers
        if self.status == 503:
            headers = {"retry-after": str(RETRY_SECONDS), **headers}
        return error_response(self.status, self.faults, headers)


class OAuthError(Exception):
    """The token endpoint refuses (RFC 6749 §5.2)."""

    def __init__(self, error: str, description: str) -> None:
        super().__init__(error)
        self.error = error
        self.description = description

    def response(self) -> Response:
        """The answer; it may not be kept (RFC 6749 §5.1)."""
        return answer({"error": self.error, "error_description": self.description}, 400)


def refused(code: str, *location: str | int, value: Any = None, index: int = -1, status: int = 0) -> NationalError:
    """A NationalError of one fault; without a location it is the field that the code is about."""
    field = FIELD_OF.get(code)
    where = location or ((field,) if field is not None else ())
    return NationalError(Fault(code, where, value, index), status=status)


def status_of(code: str) -> int:
    """The HTTP status of a code."""
    return _STATUS_OF.get(code, FIELD_FAULT)


def error_response(status: int, faults: Sequence[Fault], headers: Mapping[str, str] | None = None) -> Response:
    return answer({"errors": [fault.entry() for fault in faults]}, status, headers)


def answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """JSON that no cache keeps."""
    body = msgspec.json.encode(value)
    return Response(body, status, {"cache-control": "no-store", **(headers or {})}, "application/json")
