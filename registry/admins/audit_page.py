"""The audit, page by page: a look at it is a read like any other."""

from __future__ import annotations

from typing import Final

from fastapi import Response

from registry.admins import audit
from registry.admins.desk import Ask, Denied, May, Route, whole
from registry.limits import ADMIN_PAGE_ROWS, ADMIN_SKIP_MAX


def audited(ask: Ask) -> Response:
    """Who did what, newest first; `refused=no`: without the logins that were refused."""
    query = ask.request.query_params
    skip, refused = whole(query.get("skip", "0"), ADMIN_SKIP_MAX), query.get("refused", "")
    if skip is None or refused not in ("", "no"):
        raise Denied(404)
    rows = audit.newest(ask.desk.engine, skip, ADMIN_PAGE_ROWS + 1, refused=not refused)
    more = len(rows) > ADMIN_PAGE_ROWS and skip + ADMIN_PAGE_ROWS <= ADMIN_SKIP_MAX
    return ask.page("audit", place="audit", rows=rows[:ADMIN_PAGE_ROWS], skip=skip, more=more, refused=refused)


ROUTES: Final = (Route("GET", "/audit", May.READ, audited),)
