"""The DKIM keys of a worker: which of them sign for a brand, and the look at their files.

A key is renewed by replacing its file; no restart is needed. A file that is gone, half written or broken changes
nothing: the key that was read last goes on signing, and the log says so, once for each state of the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from filters.dkim import Signer
from filters.model import Brand
from gateway import limits
from gateway.config import DkimKey, read_signer
from gateway.log import logger

_NEVER: Final = (0, 0, 0)  # the file may have changed since the configuration was read


class Keyring:
    """The signers of each brand. `keys`: by brand code, as the configuration has them."""

    def __init__(self, keys: Mapping[int, tuple[DkimKey, ...]]) -> None:
        self._files = {code: [_File(key) for key in found] for code, found in keys.items() if found}
        self._signers = {code: tuple(file.signer for file in files) for code, files in self._files.items()}
        self._next_look = 0.0

    def signers(self, brand: Brand) -> tuple[Signer, ...]:
        """Those that sign for `brand`; none: its mail is not signed here."""
        return self._signers.get(brand.code, ())

    def look(self, now: float) -> None:
        """Read again what has changed, at most every DKIM_LOOK_S; `now` is loop time in seconds."""
        if now < self._next_look:
            return
        self._next_look = now + limits.DKIM_LOOK_S
        for code, files in self._files.items():
            for file in files:
                file.look()
            self._signers[code] = tuple(file.signer for file in files)


class _File:
    """One key file, and the signer that was last made of it."""

    def __init__(self, key: DkimKey) -> None:
        self.signer = key.signer
        self._path = key.path
        self._seen: tuple[int, int, int] | None = _NEVER

    def look(self) -> None:
        state = self._state()
        if state == self._seen:
            return
        self._seen = state
        try:
            signer = read_signer(self._path, self.signer.domain, self.signer.selector)
        except (OSError, ValueError) as error:
            told = error.strerror if isinstance(error, OSError) else str(error)
            logger.error("dkim key cannot be used, the former one goes on signing", file=str(self._path), why=told)
            return
        if signer.record != self.signer.record:
            logger.info("dkim key renewed", file=str(self._path), record=signer.record_name)
        self.signer = signer

    def _state(self) -> tuple[int, int, int] | None:
        """What differs when the content does; None: there is no such file."""
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino
