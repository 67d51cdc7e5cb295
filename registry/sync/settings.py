"""What has to be known to speak to the national system; checked by `gateway.config.national`."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Login:
    """Who we are there, or who it is here."""

    username: str
    password: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class SyncedBrand:
    """A brand that is kept in step."""

    code: int  # here
    iys_code: int  # there
    login: Login
    push: Login | None = None  # of the national system at our receiver; None: it may not push
    brand_code: int = 0  # there; 0: as here

    @property
    def there(self) -> int:
        """Its code at the national system."""
        return self.brand_code or self.code


@dataclass(frozen=True, slots=True)
class National:
    """The national system, and how often it is asked. Times in seconds."""

    url: str  # without a slash at its end
    brands: tuple[SyncedBrand, ...]  # of the configuration; `registry.sync.brands` knows all
    ca_file: str = ""  # of whoever signed its certificate; "": those that the system trusts
    pull_s: float = 600.0
    upload_s: float = 30.0  # between two looks for something to upload
    result_s: float = 300.0  # from a batch to the question what became of it
    per_second: float = 5.0  # calls of this process; the national system takes ten from an address
    timeout_s: float = 30.0  # for an answer
    lease_s: float = 60.0  # so long a process that says nothing keeps a brand for itself
    login: Login | None = None  # of an intermediary that may act for brands without a login of their own
    push: Login | None = None  # of the national system at our receiver, for brands without one of their own
    approved: bool = False  # whether every brand that was ever approved is kept in step, with `login`
    key: bytes = field(default=b"", repr=False)  # of `registry.providers.vault`; empty: this machine has none

    @property
    def codes(self) -> frozenset[int]:
        """The codes of the configured brands."""
        return frozenset(brand.code for brand in self.brands)
