"""What admins see: English, without scripts, in the style of the citizens' pages, for nobody's cache or frame."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from fastapi.responses import HTMLResponse

from registry import pages
from registry.admins.logins import Session

_STATIC: Final = Path(pages.__file__).parent / "static"
_STYLE: Final = "".join((_STATIC / name).read_text(encoding="utf-8") for name in ("style.css", "admin.css"))
HOME: Final = "/providers"

HEADERS: Final = {
    **pages.headers_of(_STYLE),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "same-origin",  # with no-referrer browsers would hide the origin of our own forms from us
    "x-frame-options": "DENY",
}
"""On every answer."""
HTTPS_HEADERS: Final = {"strict-transport-security": "max-age=31536000"}

_NOTICES: Final = {
    400: ("Not understood", "This is no form of these pages; nothing was changed."),
    403: ("Not allowed", "Nothing was changed."),
    404: ("There is no such page", "Perhaps it was copied incompletely."),
    408: ("Too slow", "Nothing was changed; please try again."),
    409: ("Not now", "Somebody was faster, or the state does not fit."),
    413: ("Too long", "Nothing was changed."),
    429: ("Too many tries", "Please wait a few minutes before you log in again."),
    503: ("Not certain", "Database or index cannot be reached now. Look whether it was recorded, and try again."),
}


def page(
    name: str,
    session: Session | None = None,
    csrf: str = "",
    *,
    place: str = "",
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    **values: object,
) -> HTMLResponse:
    """One of the templates; `place` is where in the navigation it is."""
    html = pages.render(f"admin_{name}", style=_STYLE, who=session, csrf=csrf, place=place, **values)
    return HTMLResponse(html, status, headers)


def notice(status: int, text: str = "", *, back: str = HOME, headers: Mapping[str, str] | None = None) -> HTMLResponse:
    """A page about what cannot be done, by its HTTP status."""
    title, usual = _NOTICES.get(status, _NOTICES[400])
    return page("notice", status=status, headers=headers, title=title, text=text or usual, back=back)
