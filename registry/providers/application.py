"""An application as it comes in, by JSON or by the page's form: understood, or every fault of it at once.

    {"title": "…", "mersis": "0123456789000015", "tin": "1234567890", "brands": ["…"],
     "signatory": {"name": "…", "tckn": "12345678950", "mobile": "+905550000001", "email": "imza@example.com.tr"},
     "document": "<the brand's registration, PDF or PNG, in base64>"}

Faults have the national system's codes where it knows the field, and never repeat a value: these are people's numbers.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from filters.address import canonical_email
from filters.model import Brand
from filters.notice import CONFIRMATION_TEMPLATE, check_brand, confirmation, sms_prefix
from registry.limits import (
    PROVIDER_BRANDS_MAX,
    PROVIDER_DOCUMENT_OCTETS_MAX,
    PROVIDER_NAME_CHARACTERS_MAX,
    PROVIDER_TITLE_CHARACTERS_MAX,
)
from registry.national.errors import Fault
from registry.numbers import MERSIS_DIGITS, TCKN_DIGITS, VKN_DIGITS, is_mersis, is_tckn, is_tin
from registry.providers.documents import kind_of
from registry.providers.free_mail import is_free

_MOBILE: Final = re.compile(r"\+905[0-9]{9}")
_ONE_I: Final = str.maketrans("Iİı", "iii")
_FIELDS: Final = ("title", "mersis", "tin", "brands", "signatory", "document")
_OF_SIGNATORY: Final = ("name", "tckn", "mobile", "email")


@dataclass(frozen=True, slots=True)
class Application:
    """What was checked. The first brand is the master one."""

    title: str
    mersis: str
    tin: str
    brands: tuple[str, ...]
    signatory: str
    tckn: str = field(repr=False)
    mobile: str = field(repr=False)
    email: str = field(repr=False)
    document: bytes = field(repr=False)
    document_type: str


class Unfit(Exception):
    """The application is refused; `faults` has everything that is wrong with it."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__(" ".join(fault.code for fault in faults))
        self.faults = faults


def _as_read(name: str) -> str:
    """Names that a citizen takes for one are one: neither blanks nor capitals, Turkish or English, tell them apart."""
    return " ".join(name.translate(_ONE_I).casefold().split())


def parse(said: object) -> Application:
    """From a JSON value. Raises Unfit."""
    if not isinstance(said, Mapping):
        raise Unfit([Fault("X610")])
    return _Reader(said).application()


class _Reader:
    """Notes faults in the order of the fields."""

    def __init__(self, said: Mapping[str, Any]) -> None:
        self._said = said
        self._faults: list[Fault] = []
        signatory = said.get("signatory", {})
        if not isinstance(signatory, Mapping):
            self._note("H460", "signatory")
            signatory = {}
        self._signatory = signatory

    def application(self) -> Application:
        for name in sorted(self._said.keys() - set(_FIELDS), key=str):
            self._note("H118", str(name)[:PROVIDER_NAME_CHARACTERS_MAX])
        for name in sorted(self._signatory.keys() - set(_OF_SIGNATORY), key=str):
            self._note("H118", "signatory", str(name)[:PROVIDER_NAME_CHARACTERS_MAX])
        title = self._title()
        mersis = self._checked("mersis", MERSIS_DIGITS, "H228", "H227", is_mersis)
        tin = self._tin()
        brands = self._brands(title, mersis)
        name = self._text(self._signatory, "name", "signatory").strip()
        if not 0 < len(name) <= PROVIDER_NAME_CHARACTERS_MAX or not name.isprintable():
            self._note("X611", "signatory", "name")
        tckn = self._text(self._signatory, "tckn", "signatory")
        if not tckn:
            self._note("H225", "signatory", "tckn")
        elif not is_tckn(tckn):
            self._note("H226", "signatory", "tckn")
        mobile = self._text(self._signatory, "mobile", "signatory")
        if not _MOBILE.fullmatch(mobile):
            self._note("X612", "signatory", "mobile")
        email = self._email()
        content, kind = self._document()
        if self._faults:
            raise Unfit(self._faults)
        return Application(title, mersis, tin, brands, name, tckn, mobile, email, content, kind)

    def _title(self) -> str:
        title = self._text(self._said, "title").strip()
        if not 0 < len(title) <= PROVIDER_TITLE_CHARACTERS_MAX or not title.isprintable():
            self._note("H214", "title")
            return ""
        return title

    def _checked(self, name: str, digits: int, of_length: str, of_value: str, check: Any) -> str:
        text = self._text(self._said, name)
        if len(text) != digits:
            self._note(of_length, name)
        elif not check(text):
            self._note(of_value, name)
        else:
            return text
        return ""

    def _tin(self) -> str:
        tin = self._text(self._said, "tin")
        if len(tin) not in (VKN_DIGITS, TCKN_DIGITS):
            self._note("H244", "tin")
        elif not is_tin(tin):
            self._note("H243", "tin")
        return tin

    def _brands(self, title: str, mersis: str) -> tuple[str, ...]:
        """Names that a notice can hold; each once."""
        said = self._said.get("brands", [])
        if not isinstance(said, list) or not 0 < len(said) <= PROVIDER_BRANDS_MAX:
            self._note("X613", "brands")
            return ()
        names = [name.strip() if isinstance(name, str) else "" for name in said]
        read = [_as_read(name) for name in names]
        for at, name in enumerate(names):
            fits = 0 < len(name) <= PROVIDER_NAME_CHARACTERS_MAX and name.isprintable() and read.index(read[at]) == at
            if not fits or not self._fits_notices(Brand(1, name, title or "-", mersis or "0" * MERSIS_DIGITS, 1)):
                self._faults.append(Fault("H215", ("brands",), index=at))
        return tuple(names)

    def _fits_notices(self, brand: Brand) -> bool:
        """What would otherwise stop every message of the brand (`filters.notice`)."""
        try:
            sms_prefix(brand)
            confirmation(replace(brand, mo_confirmation=CONFIRMATION_TEMPLATE))
        except ValueError:
            return False
        try:
            check_brand(brand)
        except ValueError:
            if all(fault.location != ("title",) for fault in self._faults):
                self._note("H214", "title")
        return True

    def _email(self) -> str:
        text = self._text(self._signatory, "email", "signatory")
        canonical = canonical_email(text.encode("utf-8", "replace"))
        if canonical is None:
            self._note("H120", "signatory", "email")
            return ""
        email = canonical.decode()
        if is_free(email.rpartition("@")[2]):
            self._note("X614", "signatory", "email")
        return email

    def _document(self) -> tuple[bytes, str]:
        said = self._said.get("document", b"")
        content = said if isinstance(said, bytes) else b""
        if isinstance(said, str):
            try:
                content = b64decode(said, validate=True)
            except (binascii.Error, ValueError):
                content = b""
        if len(content) > PROVIDER_DOCUMENT_OCTETS_MAX:
            self._note("X616", "document")
            return b"", ""
        kind = kind_of(content)
        if kind is None:
            self._note("X615", "document")
        return content, kind or ""

    def _text(self, table: Mapping[str, Any], name: str, *above: str) -> str:
        value = table.get(name, "")
        if isinstance(value, str):
            return value
        self._note("H460", *above, name)
        return ""

    def _note(self, code: str, *location: str) -> None:
        """One fault for each field: that of a wrong type explains what follows from it."""
        if all(fault.location != location for fault in self._faults):
            self._faults.append(Fault(code, location))
