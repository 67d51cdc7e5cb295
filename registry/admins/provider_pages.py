"""Applications: all of them by state, one with all that a decision needs, and the decisions.

Each is made as `izinli provider` makes it, with the admin as its actor.
"""

from __future__ import annotations

import hashlib
from typing import Final

from fastapi import Response
from fastapi.responses import RedirectResponse

from registry.admins import audit
from registry.admins.desk import Ask, Denied, May, Route, whole
from registry.index.interface import IndexDown
from registry.limits import ADMIN_PAGE_ROWS, PROVIDER_REASON_CHARACTERS_MAX
from registry.national.access import ClientExists
from registry.numbers import cautions
from registry.providers import approval
from registry.providers.documents import DIRECTORY
from registry.providers.states import CONFIRMS, LIFE, Action, NotNow, State, Way
from registry.providers.store import Provider, Refused, Unknown

PLACE: Final = "providers"
_NUMBER_MAX: Final = 2**31 - 1
_TYPES: Final = {"pdf": "application/pdf", "png": "image/png"}
_LABELS: Final = {
    Action.CONFIRM_MOBILE: "Confirm the mobile by hand",
    Action.CONFIRM_EMAIL: "Confirm the mail address by hand",
    Action.APPROVE: "Approve",
    Action.REJECT: "Reject",
    Action.SUSPEND: "Suspend",
    Action.RESUME: "Resume",
}
_WAYS: Final = {Way.MOBILE: "mobile", Way.EMAIL: "mail address"}
_NEEDS_NO_REASON: Final = frozenset({Action.APPROVE})
_TOLD: Final = {
    "done": "Recorded.",
    "effect": "Recorded, and in effect: gateways know with their next message.",
    "later": "Recorded, but not in effect yet: the index cannot be reached. The registry goes on trying.",
}


def applications(ask: Ask) -> Response:
    """All who applied, or those in one state, oldest first."""
    query = ask.request.query_params
    chosen, after = query.get("state", ""), whole(query.get("after", "0"), _NUMBER_MAX)
    if chosen not in ("", *State) or after is None:
        raise Denied(404)
    state = State(chosen) if chosen else None
    found = ask.desk.onboarding.providers.all(state, after=after, limit=ADMIN_PAGE_ROWS + 1)
    more, found = len(found) > ADMIN_PAGE_ROWS, found[:ADMIN_PAGE_ROWS]
    return ask.page("providers", place=PLACE, found=found, more=more, states=list(State), chosen=chosen, after=after)


def application(ask: Ask) -> Response:
    """One, with what was done with it."""
    return _shown(ask, _one(ask), _TOLD.get(ask.request.query_params.get("told", ""), ""))


def document(ask: Ask) -> Response:
    """The document as it came, to be kept and not to be shown by the browser; written down before it is sent."""
    one = _one(ask)
    if ask.part("digest") != one.document.digest.hex():
        raise Denied(404)
    try:
        content = (ask.desk.data_dir / DIRECTORY / one.document.name).read_bytes()
    except FileNotFoundError:
        raise Denied(404, "The document is on the machine that took the application in.") from None
    if hashlib.sha256(content).digest() != one.document.digest:
        raise Denied(409, "The file is not the one that was sent: its SHA-256 is another one.")
    ask.desk.admins.note(ask.now, ask.session.actor, audit.Action.DOCUMENT, f"provider {one.id}", one.document.name)
    headers = {"content-disposition": f'attachment; filename="{one.document.name}"'}
    return Response(content, media_type=_TYPES[one.document.kind], headers=headers)


def decide(ask: Ask) -> Response:
    """What an operator decided, by the button that was pressed."""
    one, reason = _one(ask), ask.form.get("reason", "").replace("\r\n", "\n").strip()  # as browsers count it
    try:
        action = Action(ask.form.get("action", ""))
    except ValueError:
        raise Denied(400) from None
    if action not in _LABELS:
        raise Denied(400)
    if len(reason) > PROVIDER_REASON_CHARACTERS_MAX or (not reason and action not in _NEEDS_NO_REASON):
        fault = f"A reason of 1 to {PROVIDER_REASON_CHARACTERS_MAX} characters is required."
        return _shown(ask, one, "Nothing was changed.", reason, fault)
    try:
        if action is Action.APPROVE:
            return _approve(ask, one, reason)
        told = _change(ask, one, action, reason)
    except ClientExists as fault:
        raise Denied(409, f"Somebody else was faster: there is an API user {fault} already.") from None
    except (NotNow, Refused) as fault:
        raise Denied(409, f"Nothing was changed: {fault}.") from None
    return RedirectResponse(f"/providers/{one.id}?told={told}", 303)


def _approve(ask: Ask, one: Provider, reason: str) -> Response:
    """Codes and a user of the API; its password is on this answer alone."""
    desk, actor = ask.desk, ask.session.actor
    onboarding = desk.onboarding
    one = approval.approve(desk.engine, onboarding.providers, one.id, desk.codes, ask.now, (actor, reason))
    onboarding.brands.refresh()
    given = approval.give_user(desk.engine, one, ask.now, actor, lambda given: None)
    return ask.page("approved", place=PLACE, one=one, given=given)


def _change(ask: Ask, one: Provider, action: Action, reason: str) -> str:
    """A key of _TOLD."""
    desk, actor = ask.desk, ask.session.actor
    for way, confirms in CONFIRMS.items():
        if action is confirms:
            if one.confirmed[way]:
                raise Denied(409, f"Nothing was changed: the {_WAYS[way]} is confirmed already.")
            desk.onboarding.proofs.confirm_by_hand(one.id, way, ask.now, actor, reason)
            return "done"
    desk.onboarding.providers.change(one.id, action, ask.now, actor, reason)
    if action is Action.REJECT:
        return "done"
    try:
        desk.publisher.publish_suspensions()
    except IndexDown:
        return "later"
    return "effect"


def _shown(ask: Ask, one: Provider, told: str, reason: str = "", fault: str = "") -> Response:
    """The page; `fault`: what is wrong with `reason`, beside its field."""
    changes = ask.desk.onboarding.providers.changes(one.id)
    return ask.page(
        "provider",
        place=PLACE,
        status=422 if fault else 200,
        one=one,
        cautions=cautions(one.mersis, one.tin),
        changes=changes,
        actions=_fitting(ask, one),
        labels=_LABELS,
        told=told,
        reason=reason,
        fault=fault,
    )


def _fitting(ask: Ask, one: Provider) -> list[Action]:
    """What may be done now."""
    proven = {CONFIRMS[way] for way, yes in one.confirmed.items() if yes}
    found = [action for action in _LABELS if (one.state, action) in LIFE and action not in proven]
    if one.state is State.APPROVED and not approval.has_user(ask.desk.engine, one):
        found.append(Action.APPROVE)  # it was cut short
    return found


def _one(ask: Ask) -> Provider:
    number = whole(ask.part("number"), _NUMBER_MAX)
    if number is None:
        raise Denied(404)
    try:
        return ask.desk.onboarding.providers.get(number)
    except Unknown:
        raise Denied(404) from None


ROUTES: Final = (
    Route("GET", "/providers", May.READ, applications),
    Route("GET", "/providers/{number}", May.READ, application),
    Route("GET", "/providers/{number}/documents/{digest}", May.READ, document),
    Route("POST", "/providers/{number}/decision", May.DECIDE, decide),
)
