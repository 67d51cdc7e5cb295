"""Which domains DMARC holds for one (RFC 7489 §3.2): those under one name that somebody has registered.

Where such names begin stands in the Public Suffix List. It comes with `tldextract` and is read from there alone:
nothing is fetched, nothing is cached.
"""

from __future__ import annotations

from functools import cache
from typing import Final

from tldextract import TLDExtract

# What providers let others register (github.io) parts organisations too, as receivers see it.
_LIST: Final = TLDExtract(cache_dir=None, suffix_list_urls=(), include_psl_private_domains=True)


@cache
def organizational_domain(name: str) -> str:
    """Of a domain in its ASCII form (xn--…). A public suffix, which is nobody's, is its own."""
    name = name.lower().rstrip(".")
    found = _LIST.extract_str(name)
    if not found.suffix:
        return ".".join(name.split(".")[-2:])  # the list's own rule for names that it does not know
    return found.top_domain_under_public_suffix or name


def is_aligned(signing: str, author: str) -> bool:
    """Relaxed alignment (RFC 7489 §3.1.1): may a signature of the one speak for a From field of the other?"""
    return organizational_domain(signing) == organizational_domain(author)
