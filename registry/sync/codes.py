"""What to do about the national system's error codes (İYS API 3.2.0, error table; when to repeat is our judgement).

The official table of codes to repeat is not published. What is about one consent (FINAL) is not sent again; what is
about us (HELD: subscription, rights) keeps everything waiting, because a consent must not be lost for an unpaid bill.
Nor may a rejection for a clock of ours that is ahead (H162): time heals that.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import Enum
from typing import Final

from registry.limits import SYNC_BACKOFF_SECONDS_MAX, SYNC_BACKOFF_SECONDS_MIN
from registry.rules import TURKEY


class Then(Enum):
    """What happens next to whatever got a code."""

    FINAL = "never again"
    LATER = "again, at growing intervals"
    SECOND = "again after a second"
    HOUR = "again after an hour"
    STOP = "nobody asks for a token for an hour"
    DAY = "again tomorrow"
    SPLIT = "again in smaller pieces"
    RENEW = "again with another token"
    HELD = "again after an hour; somebody has to look at it"


TABLE: Final = {
    Then.LATER: "H015 H060 H061 H062 H100 H101 H102 H103 H105 H106 H107 H123 H162 H179 H181 H192 H195 H196 H412 H465 "
    "H470 H476",
    Then.SECOND: "H083 H124",
    Then.STOP: "H084",
    Then.HOUR: "H086 H089",
    Then.DAY: "H453",
    Then.SPLIT: "H091 H125 H126 H127",
    Then.RENEW: "H351",
    Then.HELD: "H176 H245 H250 H251 H252 H266 H267 H353 H355 H363 H520 H521 H524 H525 H586",
    Then.FINAL: "H014 H085 H090 H092 H093 H097 H098 H110 H111 H112 H113 H114 H115 H116 H117 H118 H119 H120 H121 H122 "
    "H129 H155 H156 H157 H158 H160 H163 H164 H166 H168 H169 H170 H171 H172 H173 H174 H175 H178 H180 H182 H183 "
    "H184 H185 H186 H187 H190 H191 H193 H194 H197 H198 H199 H201 H214 H215 H216 H217 H218 H219 H220 H221 H222 H223 "
    "H224 H225 H226 H227 H228 H229 H230 H243 H244 H268 H400 H401 H402 H403 "
    "H404 H405 H408 H450 H452 H454 H455 H456 H459 H460 H462 H463 H464 H467 H478 H486 H501 H502 H506 H507 H512 H530 "
    "H531 H568",
}
_THEN: Final = {code: then for then, codes in TABLE.items() for code in codes.split()}
_SECONDS: Final = {Then.SECOND: 1.0, Then.HOUR: 3600.0, Then.STOP: 3600.0, Then.HELD: 3600.0, Then.RENEW: 0.0}


def then(code: str, status: int = 0) -> Then:
    """Of a code; of one that nobody told us of by the HTTP status, where 0 is an item of a batch."""
    known = _THEN.get(code)
    if known is not None:
        return known
    if status == 401:
        return Then.RENEW
    if status == 429:
        return Then.SECOND
    return Then.LATER if status == 0 or status >= 500 else Then.HELD


def wait_s(what: Then, tries: int, now: datetime) -> float:
    """Seconds until the next try, of which there were `tries` in vain."""
    if what is Then.DAY:
        here = now.astimezone(TURKEY)
        midnight = here.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
        return (midnight - here).total_seconds()
    backoff: float = min(SYNC_BACKOFF_SECONDS_MAX, SYNC_BACKOFF_SECONDS_MIN * 2.0 ** min(tries, 20))
    return _SECONDS.get(what, backoff)
