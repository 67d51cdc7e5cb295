"""POST /oauth2/token: an access token for two hours and a refresh token for four, which works once (RFC 6749)."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import parse_qsl

from fastapi import FastAPI, Request, Response
from python_multipart.multipart import parse_options_header

from filters.passwords import DECOY, PASSWORD_OCTETS_MAX
from registry.limits import API_FORM_OCTETS_MAX, FORM_FIELDS_MAX
from registry.national.access import ACCESS_SECONDS, REFRESH_SECONDS, Client, Minted
from registry.national.errors import NationalError, OAuthError, answer
from registry.national.openapi import COUNT, ERRORS, TEXT, Schema, shape
from registry.national.routes import add_plain, address_of, bounded_body, decoded, guarded
from registry.national.state import Api

INVALID_REQUEST: Final = "invalid_request"
INVALID_GRANT: Final = "invalid_grant"
FORM: Final = b"application/x-www-form-urlencoded"

_ASKED: Final = shape({"grant_type": TEXT}, username=TEXT, password=TEXT, refresh_token=TEXT)
_TOLD: Final = shape(
    {
        "access_token": TEXT,
        "refresh_token": TEXT,
        "expires_in": COUNT,
        "refresh_expires_in": COUNT,
        "token_type": TEXT,
    }
)
_REFUSED: Final = shape({"error": TEXT, "error_description": TEXT})


def add_to(app: FastAPI, api: Api) -> None:
    """Serve the path."""

    async def asked(request: Request) -> Response:
        response = await guarded(lambda: _answer(api, request))
        response.headers["connection"] = "close"  # who has no token yet keeps no connection
        return response

    add_plain(app, "POST", "/oauth2/token", asked, "A token, by password or by refresh token", _description())


async def _answer(api: Api, request: Request) -> Response:
    address = address_of(request)
    await api.turnstile.charge(api.turnstile.second, address)
    await api.turnstile.charge(api.turnstile.tokens, address)
    said = _fields(request.headers.get("content-type", ""), await bounded_body(request, API_FORM_OCTETS_MAX))
    grant = said.get("grant_type")
    if grant == "password":
        minted = await _by_password(api, _text(said, "username"), _text(said, "password"))
    elif grant == "refresh_token":
        minted = await _by_refresh(api, _text(said, "refresh_token"))
    else:
        what = "grant_type is missing" if not grant else "this grant_type is not supported"
        raise OAuthError(INVALID_GRANT if grant == "" else INVALID_REQUEST, what)
    return answer(
        {
            "access_token": minted.access,
            "expires_in": ACCESS_SECONDS,
            "refresh_expires_in": REFRESH_SECONDS,
            "refresh_token": minted.refresh,
            "token_type": "bearer",
        }
    )


async def _by_password(api: Api, name: str, password: str) -> Minted:
    given = password.encode("utf-8", "replace")
    if len(given) > PASSWORD_OCTETS_MAX or "\0" in name:
        raise OAuthError(INVALID_REQUEST, "username or password is wrong")

    def login() -> Client | None:
        """As slow for nobody as for somebody."""
        found = api.access.login(name)
        if found is None:
            DECOY.matches(given)
            return None
        client, stored = found
        return client if stored.matches(given) else None

    client = await api.in_thread(login)
    if client is None:
        raise OAuthError(INVALID_REQUEST, "username or password is wrong")
    minted = api.minter.mint(client, api.clock())
    await api.in_thread(lambda: api.access.keep(client.name, minted, api.clock()))
    return minted


async def _by_refresh(api: Api, token: str) -> Minted:
    def exchange() -> Minted | None:
        now = api.clock()
        client = api.access.owner_of_refresh(token, now)
        if client is None:
            return None
        minted = api.minter.mint(client, now)
        return minted if api.access.exchange(token, client.name, minted, now) else None

    minted = await api.in_thread(exchange)
    if minted is None:
        raise OAuthError(INVALID_GRANT, "refresh_token is unknown, used up or too old")
    return minted


def _fields(content_type: str, body: bytes) -> dict[str, Any]:
    """The fields of a form or of a JSON object."""
    kind, _ = parse_options_header(content_type)
    if kind == FORM:
        try:
            pairs = parse_qsl(body.decode("utf-8"), keep_blank_values=True, max_num_fields=FORM_FIELDS_MAX)
        except ValueError:
            raise OAuthError(INVALID_REQUEST, "the form cannot be read") from None
        if len(dict(pairs)) != len(pairs):
            raise OAuthError(INVALID_REQUEST, "a parameter is repeated")  # RFC 6749 §3.2
        return dict(pairs)
    try:
        said = decoded(body)
    except NationalError:
        said = None
    if not isinstance(said, dict):
        raise OAuthError(INVALID_REQUEST, "a JSON object or a form is wanted")
    return said


def _text(said: dict[str, Any], name: str) -> str:
    """As the national system has it: what is missing or no text is another fault than what is empty."""
    value = said.get(name)
    if not isinstance(value, str):
        raise OAuthError(INVALID_REQUEST, f"{name} is missing or no text")
    if not value:
        raise OAuthError(INVALID_GRANT, f"{name} is empty")
    return value


def _description() -> Schema:
    def content(schema: Schema) -> Schema:
        return {"application/json": {"schema": schema}}

    return {
        "requestBody": {"required": True, "content": content(_ASKED) | {FORM.decode(): {"schema": _ASKED}}},
        "responses": {
            "200": {"description": "the tokens", "content": content(_TOLD)},
            "400": {"description": "refused", "content": content(_REFUSED)},
            **{code: {"description": "not now", "content": content(ERRORS)} for code in ("408", "413", "429", "503")},
        },
    }
