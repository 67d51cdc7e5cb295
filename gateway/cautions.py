"""What `check-config` warns of: a configuration that can be served as it is, and may not do what was meant.

A caution is no problem: nothing is refused for it, and the exit code stays 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from filters.dkim import RSA_BITS_GOOD
from filters.model import Existing, Kind, Sealed
from gateway.config import Config, DkimKey, Rule
from gateway.organizational_domain import is_aligned, organizational_domain
from gateway.toml import Lines, Problem

_SEALED: Final = {
    ("signed_mail", Sealed.HEADERS): "signed mail goes without the notice that the regulation asks for (art. 8)",
    ("encrypted_mail", Sealed.HEADERS): "encrypted mail goes without the notice that the regulation asks for (art. 8)",
    ("encrypted_mail", Sealed.WRAP): "most programs show wrapped encrypted mail as a file that the reader has to open",
}

_STRANGERS: Final = 0o077  # who else than its owner may do something with a key file


def cautions(config: Config) -> list[Problem]:
    """Everything worth a second look, in the order of the lines of the file."""
    lines = Lines(config.path.read_text(encoding="utf-8"))
    found = [*_streams(config, lines), *_keys(config, lines)]
    return sorted(found, key=lambda caution: caution.line)


def _streams(config: Config, lines: Lines) -> Iterator[Problem]:
    """How the commercial mail of each stream is signed."""
    for at, rule in enumerate(config.rules):
        stream = rule.stream
        upstream = config.upstreams.get(stream.upstream)
        commercial = stream.kind is Kind.COMMERCIAL or stream.may_declare
        if not commercial or stream.brand is None or upstream is None or upstream.protocol != "smtp":
            continue
        line = lines.of(("stream", at, "dkim_existing"))
        if stream.dkim_existing is Existing.KEEP:
            text = "signatures that messages come with are kept, and the notice breaks them"
            yield Problem(line, "stream.dkim_existing", text, 'write "strip", unless somebody reads them nevertheless')
        for key, sealed in (("signed_mail", stream.signed_mail), ("encrypted_mail", stream.encrypted_mail)):
            if caution := _SEALED.get((key, sealed)):
                where = lines.of(("stream", at, key))
                yield Problem(where, f"stream.{key}", caution, "docs/mail.md says what each value does")
        keys = config.dkim.get(stream.brand.code, ())
        if not keys:
            text = (
                f"nothing signs the mail of stream {stream.name!r} here; without a signature over List-Unsubscribe "
                "mail programs offer no one-click unsubscribe (RFC 8058)"
            )
            fix = f"sign it at the next hop, or give brand {stream.brand.code} a dkim key"
            yield Problem(lines.of(("stream", at)), "stream", text, fix)
        yield from _alignment(rule, keys, lines.of(("stream", at, "match")))


def _alignment(rule: Rule, keys: tuple[DkimKey, ...], line: int) -> Iterator[Problem]:
    """DMARC wants a signature of the organisation in From (RFC 7489 §3.1.1), of which the sender is all we know."""
    sender = (rule.match.mail_from_domain or b"").decode("ascii")
    domains = sorted({key.signer.domain for key in keys})
    if sender and domains and not any(is_aligned(domain, sender) for domain in domains):
        text = f"mail of {sender} is signed as {' and '.join(domains)}, which is no domain of the same organisation"
        fix = f"DMARC fails: sign as {organizational_domain(sender)} or as a domain below it (docs/dkim.md)"
        yield Problem(line, "stream.match", text, fix)


def _keys(config: Config, lines: Lines) -> Iterator[Problem]:
    """The files of the keys, and how strong these are."""
    for at, (code, keys) in enumerate(config.dkim.items()):
        line = lines.of(("brand", at, "dkim"))
        for key in keys:
            if key.signer.weak:
                text = f"{key.path}: an RSA key of {key.signer.bits} bits"
                fix = f"some verifiers take it for none; make one of {RSA_BITS_GOOD} with: izinli dkim-key"
                yield Problem(line, f"brand.dkim ({code})", text, fix)
            if mode := open_to(key.path):
                text = f"{key.path}: others than its owner have access (mode {mode:04o})"
                yield Problem(line, f"brand.dkim ({code})", text, f"chmod 600 {key.path}")


def open_to(path: Path) -> int:
    """The permissions of a key file that strangers have a part in; else 0."""
    try:
        mode = path.stat().st_mode & 0o777
    except OSError:  # gone since the configuration was read: the key in memory signs
        return 0
    return mode if mode & _STRANGERS else 0
