"""The life of an application, as one table.

applied ──▶ verified ──▶ approved ◀──▶ suspended
   └───────────┴───────▶ rejected
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class State(StrEnum):
    """Where a provider stands."""

    APPLIED = "applied"
    VERIFIED = "verified"  # its signatory's mobile and its mail address are proven
    APPROVED = "approved"  # its brands have codes and may send
    REJECTED = "rejected"
    SUSPENDED = "suspended"  # its brands' commercial messages are refused


class Action(StrEnum):
    """What changes it."""

    APPLY = "apply"
    CONFIRM_MOBILE = "confirm-mobile"
    CONFIRM_EMAIL = "confirm-email"
    VERIFY = "verify"  # follows from the second of the two
    APPROVE = "approve"
    REJECT = "reject"
    SUSPEND = "suspend"
    RESUME = "resume"


class Way(StrEnum):
    """What has to be proven, and how something is sent there."""

    MOBILE = "mobile"
    EMAIL = "email"


CONFIRMS: Final = {Way.MOBILE: Action.CONFIRM_MOBILE, Way.EMAIL: Action.CONFIRM_EMAIL}

LIFE: Final[dict[tuple[State, Action], State]] = {
    (State.APPLIED, Action.CONFIRM_MOBILE): State.APPLIED,
    (State.APPLIED, Action.CONFIRM_EMAIL): State.APPLIED,
    (State.APPLIED, Action.VERIFY): State.VERIFIED,
    (State.APPLIED, Action.REJECT): State.REJECTED,
    (State.VERIFIED, Action.APPROVE): State.APPROVED,
    (State.VERIFIED, Action.REJECT): State.REJECTED,
    (State.APPROVED, Action.SUSPEND): State.SUSPENDED,
    (State.SUSPENDED, Action.RESUME): State.APPROVED,
}
"""What may be done in a state, and where that leads; nothing else may."""


class NotNow(Exception):
    """The action does not fit the state; the text says what does."""

    def __init__(self, state: State, action: Action) -> None:
        fitting = [known for known, asked in LIFE if asked is action]
        super().__init__(f"{action} is for who is {' or '.join(fitting)}; this one is {state}")


def after(state: State, action: Action) -> State:
    """Raises NotNow."""
    found = LIFE.get((state, action))
    if found is None:
        raise NotNow(state, action)
    return found
