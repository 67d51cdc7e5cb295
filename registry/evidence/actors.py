"""By whom an event was recorded, in words that an inspector understands: what `recording.actor` holds.

Never an address or a number: what stands here stays when retention has taken the events away.
"""

from __future__ import annotations

import os
import pwd
from pathlib import Path
from typing import Final

from registry.limits import ACTOR_CHARACTERS_MAX

LINK_PAGE: Final = "citizen, page of the reject link"
LINK_ONE_CLICK: Final = "citizen, one click in a mail program"
HANDSET: Final = "citizen, SMS"
SERVICE: Final = "registry service"


def operator() -> str:
    """Who runs this process; behind sudo also who asked for it."""
    uid = os.getuid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:  # a container's user without a name
        name = f"uid {uid}"
    asked = os.environ.get("SUDO_USER", "")
    return f"user {asked} as {name}" if asked and asked != name else f"user {name}"


def imported(path: Path) -> str:
    """Of what stood in a file."""
    return f"file {path.name}, {operator()}"


def api_client(name: str) -> str:
    """Of what came by the national API."""
    return f"API client {name}"


def admin(name: str) -> str:
    """Of what somebody did on the admins' page."""
    return f"admin:{name}"


def written(actor: str, most: int = ACTOR_CHARACTERS_MAX) -> str:
    """As it is stored: bounded, one line, text that every database takes and no terminal obeys."""
    text = actor.encode("utf-8", "backslashreplace").decode()
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)[:most]
