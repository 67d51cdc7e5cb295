"""One HTTP client of the national system: paced, bounded, and with one answer to the question what a failure means.

No call is repeated here. What may have been taken although no answer came (a time-out, a cut connection) is repeated by
the caller, who only makes calls that may be repeated.
"""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import msgspec

from registry.limits import (
    SYNC_ANSWER_OCTETS_MAX,
    SYNC_CONNECT_SECONDS,
    SYNC_FILE_OCTETS_MAX,
    SYNC_FILE_SECONDS_MAX,
    SYNC_RATIO_CALLS_MIN,
    SYNC_RATIO_MIN,
)
from registry.sync.codes import Then, then
from registry.sync.settings import National

UNREACHABLE: Final = "unreachable"
UNREADABLE: Final = "unreadable"
REFUSALS: Final = frozenset({400, 401, 403, 404, 422})
_decode = msgspec.json.Decoder().decode


class Fault(Exception):
    """The national system said no, or nothing. `code` is its own, or UNREACHABLE or UNREADABLE."""

    def __init__(self, what: Then, code: str, status: int = 0, items: dict[int, str] | None = None) -> None:
        super().__init__(f"{code} ({what.value})")
        self.then = what
        self.code = code
        self.status = status
        self.items = items or {}
        """Codes by the place of an item in the batch."""


class Pace:
    """Not more than so many calls in a second, evenly. Thread-safe."""

    def __init__(
        self,
        per_second: float,
        sleep: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._apart = 1.0 / per_second if per_second > 0 else 0.0
        self._sleep = sleep
        self._lock = threading.Lock()
        self._next = 0.0  # by the clock

    def wait(self) -> None:
        with self._lock:
            now = self._clock()
            at = max(now, self._next)
            self._next = at + self._apart
        if at > now:
            self._sleep(at - now)


class Ratio:
    """How many calls of the last 24 hours were taken, as the national system counts: 20,000 with less than 70 % cost
    an address its access, and 400, 401, 403, 404 and 422 are failures. Of this process. Thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._hours: dict[int, list[int]] = {}  # taken, refused

    def note(self, status: int) -> None:
        """A call was answered."""
        refused = status in REFUSALS
        if not refused and not 200 <= status < 300:
            return
        hour = int(self._clock() // 3600)
        with self._lock:
            self._hours.setdefault(hour, [0, 0])[refused] += 1
            self._hours = {one: counts for one, counts in self._hours.items() if one > hour - 24}

    def counts(self) -> tuple[int, int]:
        """(taken, refused)."""
        oldest = int(self._clock() // 3600) - 24
        with self._lock:
            kept = [counts for hour, counts in self._hours.items() if hour > oldest]
        return sum(one[0] for one in kept), sum(one[1] for one in kept)

    @property
    def low(self) -> bool:
        """It comes near to what the national system does not put up with."""
        taken, refused = self.counts()
        calls = taken + refused
        return calls >= SYNC_RATIO_CALLS_MIN and taken < SYNC_RATIO_MIN * calls


class Answer:
    """What came back with 2xx."""

    __slots__ = ("body", "status")

    def __init__(self, status: int, body: bytes) -> None:
        self.status = status
        self.body = body

    @property
    def empty(self) -> bool:
        """204, or nothing to read."""
        return not self.body

    def json(self) -> Any:
        """Raises Fault."""
        try:
            return _decode(self.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise Fault(Then.LATER, UNREADABLE, self.status) from None


class Client:
    """Thread-safe. Raises Fault."""

    def __init__(self, national: National) -> None:
        self._pace = Pace(national.per_second)
        self.ratio = Ratio()
        timeout = httpx.Timeout(national.timeout_s, connect=min(SYNC_CONNECT_SECONDS, national.timeout_s))
        self._timeout_s = national.timeout_s
        self._http = httpx.Client(
            base_url=national.url,
            timeout=timeout,
            follow_redirects=False,
            trust_env=False,  # the national system knows one address of ours; a proxy of the environment has another
            verify=_trust(national),
            headers={"accept": "application/json", "user-agent": "izinli"},
        )

    def close(self) -> None:
        self._http.close()

    def call(
        self,
        method: str,
        path: str,
        *,
        token: str = "",
        body: Any = None,
        params: dict[str, str] | None = None,
        take: Callable[[bytes], object] | None = None,
    ) -> Answer:
        """One call. `body` is sent as JSON. `take`: what a long answer is handed to, piece by piece; it may raise."""
        self._pace.wait()
        headers = {"authorization": f"Bearer {token}"} if token else {}
        seconds = self._timeout_s if take is None else SYNC_FILE_SECONDS_MAX
        deadline = time.monotonic() + seconds
        try:
            with self._http.stream(method, path, headers=headers, json=body, params=params) as response:
                status = response.status_code
                self.ratio.note(status)
                if take is None or not 200 <= status < 300:
                    read = b"".join(_pieces(response, SYNC_ANSWER_OCTETS_MAX, deadline))
                else:
                    read = b""
                    for piece in _pieces(response, SYNC_FILE_OCTETS_MAX, deadline):
                        take(piece)
        except httpx.HTTPError as error:
            raise Fault(Then.LATER, UNREACHABLE) from error
        if 200 <= status < 300:
            return Answer(status, read)
        raise fault_of(status, read)

    def file(self, path: str, token: str, take: Callable[[bytes], object]) -> Answer:
        """A download, which may be large: `take` is called with its pieces."""
        return self.call("GET", path, token=token, take=take)


def fault_of(status: int, body: bytes) -> Fault:
    """What an answer other than 2xx means. The shape is read leniently: some samples spell the key "code:"."""
    try:
        said = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        said = None
    errors = said.get("errors") if isinstance(said, dict) else None
    found: list[tuple[str, int | None]] = []
    for error in errors if isinstance(errors, list) else []:
        if isinstance(error, dict):
            code = error.get("code", error.get("code:"))
            index = error.get("index")
            place = index if type(index) is int and index >= 0 else None
            if isinstance(code, str):
                found.append((code[:20], place))
    if not found:
        code = said["error"][:40] if isinstance(said, dict) and isinstance(said.get("error"), str) else f"HTTP {status}"
        return Fault(then("", status), code, status)
    code = found[0][0]
    items = {place: code for code, place in found if place is not None}
    return Fault(then(code, status), code, status, items)


def _pieces(response: httpx.Response, octets_max: int, deadline: float) -> Iterator[bytes]:
    """The body within its bounds. Raises Fault: who sends too much or too slowly is not understood."""
    octets = 0
    for piece in response.iter_bytes():
        octets += len(piece)
        if octets > octets_max:
            raise Fault(Then.HELD, UNREADABLE, response.status_code)
        if time.monotonic() > deadline:
            raise Fault(Then.LATER, UNREACHABLE, response.status_code)
        yield piece


def _trust(national: National) -> ssl.SSLContext | bool:
    if urlsplit(national.url).scheme != "https":
        return True
    return ssl.create_default_context(cafile=national.ca_file or None)
