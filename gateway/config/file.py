"""The configuration: one frozen object, or every problem of the file at once.

The contract of keys and names is the sample that `izinli init` writes (`gateway/sample.toml`). Paths in the file are
relative to the file; secrets stand in files of their own. Unknown keys are errors.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from filters import brand_file, index_url
from filters.index_url import IndexUrl
from filters.model import Brand, Existing, Kind, RecipientType, Sealed, Stream
from filters.notice import (
    CONFIRMATION_TEMPLATE,
    SMS_TEMPLATE,
    check_brand,
    check_link_base,
    confirmation,
    sms_prefix,
)
from filters.transition import LAW, Window
from gateway.config.account import Account, read_accounts
from gateway.config.admins import AdminPages, read_admin_pages
from gateway.config.api import Api, read_api
from gateway.config.dkim import DkimKey, read_dkim
from gateway.config.listener import CARRIES, Listener, read_listener
from gateway.config.names import read_short_names
from gateway.config.national import National, read_national
from gateway.config.onboarding import Onboarding, read_onboarding
from gateway.config.pool import check_pools
from gateway.config.transition import read_transition
from gateway.config.upstream import Upstream, read_upstream
from gateway.config.values import Address, Bind, Network, UnixAddress, address, network, secret_file
from gateway.toml import Lines, Problem, Table, meant

EMBEDDED: Final = "sqlite"
DELIVERED: Final = ("index", "sqlite")
"""Where mixed endings are remembered: where the index is, or in `data_dir`."""
_OF_COMMERCIAL_MAIL: Final = {
    "dkim_existing": Existing.STRIP,
    "signed_mail": Sealed.WRAP,
    "encrypted_mail": Sealed.REFUSE,
}
LINK_PATH: Final = "/r/"
"""What stands between the public URL and a reject token."""


class ConfigError(Exception):
    """The configuration cannot be used; `problems` has everything that is wrong with it."""

    def __init__(self, path: Path, problems: list[Problem]) -> None:
        super().__init__(f"{path}: {len(problems)} problem(s)")
        self.path = path
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Match:
    """What a stream is recognised by; what is None matches everything."""

    mail_from_domain: bytes | None = None
    account: bytes | None = None
    source_addr: bytes | None = None
    client: Network | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """A stream and its match, in the order of the file."""

    match: Match
    stream: Stream


@dataclass(frozen=True, slots=True)
class Index:
    """The consent index."""

    url: str  # as it was written
    server: IndexUrl | None = None  # where it is, with passwords; None: embedded
    age_max_s: int = 900  # unheard of its publisher for longer: DEFER
    filter: bool = False  # answer who has certainly not consented without asking


@dataclass(frozen=True, slots=True)
class Registry:
    """The control plane that belongs to this gateway."""

    bind: Address
    ledger: str
    public_url: str
    internal_url: str  # where gateways hand in rejections
    api: Api = field(default_factory=Api)
    transition: tuple[Window, ...] = LAW
    onboarding: Onboarding = field(default_factory=Onboarding)
    metrics: Address | None = None  # where Prometheus asks; None: nowhere
    admin: AdminPages | None = None


@dataclass(frozen=True, slots=True)
class Config:
    """The whole file."""

    path: Path
    data_dir: Path
    workers: int
    index: Index
    registry: Registry
    admin: Address
    listeners: tuple[Listener, ...]
    upstreams: dict[str, Upstream]
    accounts: dict[bytes, Account]
    brands: dict[int, Brand]
    rules: tuple[Rule, ...]
    dkim: dict[int, tuple[DkimKey, ...]] = field(default_factory=dict)  # by brand code
    delivered: IndexUrl | None = None  # the Redis that remembers mixed endings; None: data_dir does
    national: National | None = None  # that brands are kept in step with


def load(path: Path) -> Config:
    """Read and check `path`. Raises ConfigError."""
    problems: list[Problem] = []
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        fix = f"write one with: izinli init {path.parent}"
        raise ConfigError(path, [Problem(0, "", "the file does not exist", fix)]) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(path, [Problem(0, "", f"the file cannot be read: {error}")]) from error
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(path, [Problem(_line_of(error), "", f"not valid TOML: {error}")]) from error
    config = _Reader(path, Table(values, Lines(text), problems)).config()
    if problems:
        raise ConfigError(path, sorted(problems, key=lambda problem: problem.line))
    return config


def _line_of(error: tomllib.TOMLDecodeError) -> int:
    words = str(error).split("line ")
    digits = words[-1].split(",")[0].strip(")") if len(words) > 1 else ""
    return int(digits) if digits.isdigit() else 0


def _check_internal_url(url: str) -> None:
    parts = urlsplit(url)
    is_web = parts.scheme in ("http", "https") and parts.hostname and parts.port is not False  # a bad port raises
    if not is_web or parts.query or not url.isascii():
        raise ValueError(f"not a web address: {url!r}; for example http://10.1.2.3:8080")


def _shortcode(table: Table) -> str:
    shortcode = table.text("shortcode")
    if shortcode and not (shortcode.isascii() and shortcode.isdigit() and 3 <= len(shortcode) <= 15):
        table.note("shortcode", "must have 3 to 15 digits", "the number that citizens write RET to")
    return shortcode


class _Reader:
    """From tables to the object; what is wrong is noted in the tables."""

    def __init__(self, path: Path, top: Table) -> None:
        self._path = path
        self._home = path.resolve().parent
        self._top = top
        self._mail_logs_in = False  # an smtp listener with AUTH, or a host that speaks for its users
        self._asked_by_postfix = False  # a policy listener: streams may lead nowhere, accounts may be Postfix's own
        self._dkim: dict[int, tuple[DkimKey, ...]] = {}

    def config(self) -> Config:
        top = self._top
        data_dir = self._home / top.text("data_dir", "izinli-data")
        workers = top.number("workers", 1, 1, 64)
        index = self._index(top.table("index"))
        with_index = top.choice("delivered", DELIVERED, DELIVERED[0]) == DELIVERED[0]
        registry = self._registry(top.table("registry"))
        admin_table = top.table("admin")
        admin = address(admin_table, "bind", "127.0.0.1:9090")
        admin_table.finish()
        listeners = tuple(read_listener(table, self._home) for table in top.tables("listener"))
        self._asked_by_postfix = any(listener.protocol == "policy" for listener in listeners)
        if not listeners:
            top.note("", "there is no [[listener]], so nothing could be sent", "see the sample of: izinli init DIR")
        upstream_tables = top.table("upstream")
        names = upstream_tables.values
        upstreams = {name: read_upstream(upstream_tables.table(name), name, self._home) for name in names}
        brands = self._brands(top.tables("brand"))
        brands = {**self._approved(data_dir), **brands}
        self._mail_logs_in = any(one.auth != "none" or one.xclient_from for one in listeners)
        accounts = read_accounts(top.tables("account"), upstreams, listeners, self._home)
        check_pools(upstream_tables, upstreams, accounts)
        rules = tuple(self._rule(table, upstreams, brands, accounts) for table in top.tables("stream"))
        national = read_national(top.table("national"), brands, self._home)
        self._doors_lead_somewhere(listeners, rules, upstreams, accounts)
        top.finish()
        return Config(
            self._path,
            data_dir,
            workers,
            index,
            registry,
            admin,
            listeners,
            upstreams,
            accounts,
            brands,
            rules,
            self._dkim,
            index.server if with_index else None,
            national,
        )

    # tables

    def _index(self, table: Table) -> Index:
        url = table.text("url", EMBEDDED)
        server = None if url == EMBEDDED else table.parsed("url", index_url.parse, url)
        if server is not None:
            server = self._with_files(table, server)
        age_max_s = table.number("age_max_s", 900, 5, 30 * 24 * 3600)
        with_filter = table.flag("filter", default=url != EMBEDDED)
        if with_filter and url == EMBEDDED:
            table.note("filter", "the embedded index has no filter", "take the line out; it is read in-process anyway")
        table.finish()
        return Index(url, server, age_max_s, with_filter)

    def _with_files(self, table: Table, server: IndexUrl) -> IndexUrl:
        """The passwords that stand in files, and the paths of those that TLS reads by itself."""
        found = {name: getattr(server, name) for name in ("ca_file", "certificate_file", "key_file")}
        for name, text in found.items():
            if text:
                found[name] = str(self._home / text)
                if not (self._home / text).is_file():
                    table.note("url", f"{text}: no such file", "the path is relative to the configuration file")
        for name in ("password", "sentinel_password"):
            if text := getattr(server, f"{name}_file"):
                secret = secret_file(table, "url", self._home, text)
                try:
                    found[name] = secret.decode("utf-8")
                except UnicodeDecodeError:
                    table.note("url", f"{text}: its first line is not UTF-8")
        return replace(server, **found)

    def _registry(self, table: Table) -> Registry:
        bind = address(table, "bind", "127.0.0.1:8080")
        ledger = table.text("ledger", EMBEDDED)
        scheme = urlsplit(ledger).scheme
        if ledger != EMBEDDED and scheme not in ("sqlite", "postgresql"):
            table.note("ledger", f"unknown kind of ledger {scheme or ledger!r}", 'use "sqlite" or postgresql://…')
        public_url = table.text("public_url", f"http://{bind}").rstrip("/")
        parts = urlsplit(public_url)
        if parts.scheme not in ("http", "https") or not parts.netloc or parts.query or not public_url.isascii():
            table.note("public_url", f"not a web address: {public_url!r}", 'for example "https://ret.example.com.tr"')
        else:
            table.attempt("public_url", lambda: check_link_base(public_url + LINK_PATH))
        internal_url = table.text("internal_url", f"http://{bind}").rstrip("/")
        table.attempt("internal_url", lambda: _check_internal_url(internal_url))
        api, transition = read_api(table), read_transition(table)
        onboarding = read_onboarding(table, self._home)
        metrics = address(table, "metrics", "") if table.text("metrics") else None
        admin = read_admin_pages(table, self._home)
        table.finish()
        return Registry(bind, ledger, public_url, internal_url, api, transition, onboarding, metrics, admin)

    def _brands(self, tables: list[Table]) -> dict[int, Brand]:
        brands: dict[int, Brand] = {}
        for table in tables:
            code = table.number("code", 0, 0, 2**31 - 1)
            if not code:
                table.note("code", "is missing", "the İYS brand code")
            if code in brands:
                table.note("code", f"brand {code} is defined twice")
            mersis = table.text("mersis", required=True)
            if mersis and not (len(mersis) == 16 and mersis.isascii() and mersis.isdigit()):
                table.note("mersis", "must have 16 digits")
            brand = Brand(
                code,
                table.text("name", required=True),
                table.text("title", required=True),
                mersis,
                table.number("iys_code", code, 0, 2**31 - 1),
                table.text("contact"),
                table.text("sms_notice"),
                shortcode=_shortcode(table),
                short_names=read_short_names(table, brands.values()),
                mo_confirmation=table.text("mo_confirmation", CONFIRMATION_TEMPLATE),
            )
            if brand.name and brand.title and brand.mersis:  # what is missing was said already
                table.attempt("sms_notice", lambda brand=brand: sms_prefix(brand, brand.sms_notice or SMS_TEMPLATE))  # type: ignore[misc]
                table.attempt("title", lambda brand=brand: check_brand(brand))  # type: ignore[misc]
                table.attempt("mo_confirmation", lambda brand=brand: confirmation(brand))  # type: ignore[misc]
            self._dkim[code] = read_dkim(table, self._home)
            table.finish()
            brands[code] = brand
        return brands

    def _approved(self, data_dir: Path) -> dict[int, Brand]:
        """The brands that the registry approved (docs/providers.md); a [[brand]] of the same code counts more."""
        path = data_dir / brand_file.NAME
        try:
            return brand_file.read(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            fix = "copy it again from the machine the registry runs on, which writes it anew if it is missing"
            self._top.note("data_dir", f"{path}: {error}", fix)
            return {}

    def _rule(
        self, table: Table, upstreams: dict[str, Upstream], brands: dict[int, Brand], accounts: dict[bytes, Account]
    ) -> Rule:
        name = table.text("name", f"stream-{1 + int(table.path[-1])}")
        match = self._match(table.table("match"), accounts)
        kind = Kind(table.choice("kind", Kind, Kind.COMMERCIAL) or Kind.COMMERCIAL)
        code = table.get("brand", int)
        brand = brands.get(code or 0)
        if code is not None and brand is None:
            fix = meant(str(code), map(str, brands))
            table.note("brand", f"there is no [[brand]] with code {code}, nor was one approved", fix)
        may_declare = table.flag("may_declare")
        if code is None and (kind is Kind.COMMERCIAL or may_declare):
            table.note("brand", "is missing: a commercial stream speaks for a brand", meant("", map(str, brands)))
        recipient_type = table.choice("recipient_type", RecipientType, RecipientType.BIREYSEL)
        mode = table.choice("mode", ("enforce", "observe"), "enforce")
        existing = table.choice("dkim_existing", Existing, Existing.STRIP)
        signed = table.choice("signed_mail", Sealed, Sealed.WRAP)
        encrypted = table.choice("encrypted_mail", Sealed, Sealed.REFUSE)
        if kind is Kind.INFORMATIONAL and not may_declare:
            for key in (key for key, usual in _OF_COMMERCIAL_MAIL.items() if table.values.get(key, usual) != usual):
                table.note(key, "informational mail passes as it came, signatures included", "leave it out")
        upstream = table.text("upstream", required=not self._asked_by_postfix)
        if upstream and upstream not in upstreams:
            table.note("upstream", f"there is no [upstream.{upstream}]", meant(upstream, upstreams))
        self._fits(table, match, upstreams.get(upstream), accounts)
        table.finish()
        stream = Stream(
            name,
            brand,
            kind,
            RecipientType(recipient_type or RecipientType.BIREYSEL),
            upstream,
            may_declare,
            mode == "observe",
            Existing(existing or Existing.STRIP),
            Sealed(signed or Sealed.WRAP),
            Sealed(encrypted or Sealed.REFUSE),
        )
        return Rule(match, stream)

    def _fits(self, table: Table, match: Match, upstream: Upstream | None, accounts: dict[bytes, Account]) -> None:
        """A match must be one that messages for this upstream can have."""
        if upstream is not None and upstream.protocol == "smpp":
            if match.mail_from_domain is not None:
                table.note("match", "mail_from_domain never matches an SMS", "match account or source_addr instead")
            for key in _OF_COMMERCIAL_MAIL.keys() & table.values.keys():
                table.note(key, "an SMS has no DKIM signature and no MIME part", "leave it out")
            account = accounts.get(match.account or b"")
            if account is not None and not account.is_esme:
                table.note("match", f"account {account.system_id.decode()!r} is no ESME", "give it upstream_system_id")
            elif account is not None and account.upstream != upstream.name:
                fix = f'write upstream = "{account.upstream}", or change the account'
                table.note("upstream", f"account {account.system_id.decode()!r} is bound to another SMSC", fix)
            return
        if match.account is not None and not self._asked_by_postfix and not self._mail_logs_in:
            fix = 'match mail_from_domain or client instead, or give an smtp listener auth = "required"'
            table.note("match", "account never matches a mail without AUTH", fix)
        if match.source_addr is not None:
            table.note("match", "source_addr never matches a mail", "match mail_from_domain or client instead")

    def _match(self, table: Table, accounts: dict[bytes, Account]) -> Match:
        if not table.values:
            table.note(
                "", "matches every message", "write match = { mail_from_domain = … } or account, source_addr, client"
            )
        domain = table.text("mail_from_domain").lower().rstrip(".")
        encoded = table.parsed("mail_from_domain", _parse_domain, domain) if domain else None
        account = table.text("account").encode()
        if account and account not in accounts and not self._asked_by_postfix:
            known = [known.decode() for known in accounts]
            table.note("account", f"there is no [[account]] {account.decode()!r}", meant(account.decode(), known))
        source_addr = table.text("source_addr").encode()
        client_text = table.text("client")
        client = network(table, "client", client_text) if client_text else None
        table.finish()
        return Match(encoded, account or None, source_addr or None, client)

    # the whole

    def _doors_lead_somewhere(
        self,
        listeners: tuple[Listener, ...],
        rules: tuple[Rule, ...],
        upstreams: dict[str, Upstream],
        accounts: dict[bytes, Account],
    ) -> None:
        """Each door needs a stream behind it, each address one listener."""
        protocols = {upstreams[rule.stream.upstream].protocol for rule in rules if rule.stream.upstream in upstreams}
        leads_nowhere = any(not rule.stream.upstream for rule in rules)
        seen: dict[Bind, int] = {}
        for table, listener in zip(self._top.tables("listener"), listeners, strict=True):
            carries = CARRIES.get(listener.protocol, "")
            if carries and carries not in protocols and not (listener.protocol == "policy" and leads_nowhere):
                fix = f"add a [[stream]] whose upstream has protocol {carries}"
                table.note("protocol", "no stream leads on from here, so everything would be refused", fix)
            if listener.protocol == "smpp" and not any(account.is_esme for account in accounts.values()):
                table.note("protocol", "no [[account]] could log in here", "add an [[account]]")
            if listener.auth != "none" and not accounts:
                table.note("auth", "no [[account]] could log in here", "add an [[account]]")
            if listener.bind in seen and (isinstance(listener.bind, UnixAddress) or listener.bind.port):
                table.note("bind", f"{listener.bind} is another listener's too")
            seen[listener.bind] = 1


def _parse_domain(text: str) -> bytes:
    try:
        return text.encode("ascii")
    except UnicodeEncodeError:
        raise ValueError(f"write {text!r} in its ASCII form (xn--…)") from None
