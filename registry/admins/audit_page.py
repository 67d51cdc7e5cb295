"""The audit, page by page: a look at it is a read like any other."""

from __future__ import annotations

from typing import Final

from fastapi import Response

from registry.admins import audit
from registry.admins.desk import Ask, Denied, May, Route, whole
from registry.limits import ADMIN_PAGE_ROWS, ADMIN_SKIP_MAX


def audited(ask: Ask) -> Response:
    """Who did what, newest first."""
    skip = whole(ask.request.query_params.get("skip", "0"), ADMIN_SKIP_MAX)
    if skip is None:
        raise Denied(404)
    rows = audit.newest(ask.desk.engine, skip, ADMIN_PAGE_ROWS + 1)
    more = len(rows) > ADMIN_PAGE_ROWS and skip + ADMIN_PAGE_ROWS <= ADMIN_SKIP_MAX
    return ask.page("audit", place="audit", rows=rows[:ADMIN_PAGE_ROWS], skip=skip, more=more)


ROUTES: Final = (Route("GET", "/audit", May.READ, audited),)
