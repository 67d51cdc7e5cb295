"""POST …/via-hash-links: reject links for up to 100 e-mail addresses that consent.

They are our own links (`registry.citizen`), the same that the gateway puts into messages; they hold for longer than the
90 days that the national system promises: as long as the key that minted them is kept.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from fastapi import FastAPI, Response

from filters.model import Channel, RecipientType, Status
from registry.limits import API_BODY_OCTETS_MAX, API_PAGE_MAX
from registry.national.consent_body import shown
from registry.national.errors import MESSAGES, answer, refused
from registry.national.openapi import RECIPIENT, RECIPIENT_TYPE, TEXT, listed, shape
from registry.national.routes import Call, Endpoint, add
from registry.national.state import Api, Links
from registry.national.status import TYPES
from registry.rules import recipient_of

NOT_ONAY: Final = "H568"
_RECIPIENTS = listed(shape({"recipient": RECIPIENT}, recipientType=RECIPIENT_TYPE), minItems=1, maxItems=API_PAGE_MAX)
_TOLD = listed(shape({"recipient": RECIPIENT}, url=TEXT, code=TEXT, message=TEXT))


def add_to(app: FastAPI, api: Api) -> None:
    """Serve the path, if there is anything to make links of."""
    if api.links is None:
        return
    endpoint = Endpoint(
        "POST",
        "/sps/{iysCode}/brands/{brandCode}/via-hash-links",
        partial(_links, api.links),
        "Reject links for e-mail addresses in ONAY",
        octets_max=API_BODY_OCTETS_MAX,
        body=shape({"recipients": _RECIPIENTS}),
        answer=_TOLD,
    )
    add(app, api, endpoint)


async def _links(links: Links, call: Call) -> Response:
    wanted = read_wanted(call.body)
    api, brand = call.api, call.brand
    keys = [(api.ledger.fingerprint(brand, Channel.EPOSTA, recipient), kind.value) for recipient, kind in wanted]
    found = await api.in_thread(lambda: api.find(keys))
    told: list[dict[str, str]] = []
    for (recipient, kind), standing in zip(wanted, found, strict=True):
        entry = {"recipient": recipient.decode()}
        if standing is not None and standing.status is Status.ONAY:
            entry["url"] = links(brand, Channel.EPOSTA, kind, recipient)
        else:
            entry |= {"code": NOT_ONAY, "message": MESSAGES[NOT_ONAY]}
        told.append(entry)
    return answer(told)


def read_wanted(said: Any) -> list[tuple[bytes, RecipientType]]:
    """Canonical addresses and their types, in the order of the body. Raises NationalError."""
    if not isinstance(said, dict):
        raise refused("H097")
    for name in said:
        if name != "recipients":
            raise refused("H118", shown(name), value=shown(said[name]))
    if "recipients" not in said:
        raise refused("H168")
    asked = said["recipients"]
    if not isinstance(asked, list) or not all(isinstance(one, dict) for one in asked):
        raise refused("H478")
    if not asked:
        raise refused("H164")
    if len(asked) > API_PAGE_MAX:
        raise refused("H127", "recipients")
    found: list[tuple[bytes, RecipientType]] = []
    for index, one in enumerate(asked):
        for name in one:
            if name not in ("recipient", "recipientType"):
                raise refused("H118", "recipients", index, shown(name), value=shown(one[name]))
        said_kind = one.get("recipientType", RecipientType.BIREYSEL.value)
        kind = TYPES.get(said_kind) if isinstance(said_kind, str) else None
        if kind is None:
            raise refused("H116", "recipients", index, "recipientType", value=shown(said_kind))
        text = one.get("recipient")
        if not isinstance(text, str):
            raise refused("H114", "recipients", index, "recipient", value=shown(text))
        recipient = recipient_of(Channel.EPOSTA, text.encode("utf-8", "replace"), strict=True)
        if isinstance(recipient, str):
            raise refused(recipient, "recipients", index, "recipient", value=shown(text))
        if (recipient, kind) in found:
            raise refused("H193", "recipients", index, value=shown(text))
        found.append((recipient, kind))
    return found
