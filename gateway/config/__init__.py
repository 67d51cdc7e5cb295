"""The configuration of a gateway: `load` gives one frozen object, or every problem of the file at once."""

from filters.passwords import PASSWORD_OCTETS_MAX
from gateway.config.account import Account
from gateway.config.dkim import DkimKey, read_signer
from gateway.config.file import (
    EMBEDDED,
    LINK_PATH,
    Config,
    ConfigError,
    Index,
    Match,
    Registry,
    Rule,
    load,
)
from gateway.config.listener import CARRIES, MAIL_PROTOCOLS, Listener
from gateway.config.pool import Pool
from gateway.config.upstream import Upstream
from gateway.config.values import Address, Bind, Network, UnixAddress, is_wide, read_secret

__all__ = [
    "CARRIES",
    "EMBEDDED",
    "LINK_PATH",
    "MAIL_PROTOCOLS",
    "PASSWORD_OCTETS_MAX",
    "Account",
    "Address",
    "Bind",
    "Config",
    "ConfigError",
    "DkimKey",
    "Index",
    "Listener",
    "Match",
    "Network",
    "Pool",
    "Registry",
    "Rule",
    "UnixAddress",
    "Upstream",
    "is_wide",
    "load",
    "read_signer",
    "read_secret",
]
