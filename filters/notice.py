"""What a commercial message must say of its sender, and where to refuse (regulation art. 8).

Mail: trade title, MERSİS number, reject link, and a contact where the brand gives one, in Turkish. SMS: brand, MERSİS
number and link in characters that have the same code in GSM default, the Turkish tables, ASCII, Latin-1 and Latin-5,
so that they can be appended to a text without decoding it.

A brand comes from a configuration or an onboarding form; `check_brand` and `check_link_base` say there and then what
would otherwise stop every message (ValueError, in words for whoever wrote it).
"""

from __future__ import annotations

import html
import re
import textwrap

from filters.letters import encode
from filters.link import NUMBER_TOKEN_LENGTH, TOKEN_LENGTH_MAX
from filters.model import Brand
from filters.sms import NOTICE_LENGTH_MAX
from filters.wording import LINK, LINK_MAX, Notice

SMS_TEMPLATE = " {brand} Mersis {mersis} RET {link}"
SMS_FIELDS = ("brand", "mersis", "shortcode", "link")
CONFIRMATION_TEMPLATE = "{brand}: Ret talebiniz alındı. Bundan sonra size ticari SMS gönderilmeyecektir."
CONFIRMATION_LENGTH_MAX = 155  # characters: one segment, with the operator's code behind it
INVARIANT = frozenset(b" !\"#%&'()*+,-./0123456789:;<=>?ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz\n\r")

LINK_BASE_LENGTH_MAX = LINK_MAX - TOKEN_LENGTH_MAX
"""Characters of a link before its token, so that `MailPlan.render` takes the link of the longest mail address."""

SMS_LINK_LENGTH_MAX = LINK_BASE_LENGTH_MAX + NUMBER_TOKEN_LENGTH
"""Characters of the longest link in an SMS."""

_FIELD = re.compile(r"\{([a-z]*)\}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_NOT_IN_LINK = re.compile(r"[^A-Za-z0-9:/?#!()*+,;=%.-]")
_LINE_WIDTH = 77


def ascii_fold(text: str) -> str:
    """Letters to their ASCII look-alikes (ğ → g, é → e, ’ → '); what has none becomes a question mark."""
    return encode(text, "ascii").decode()


def mail_text(brand: Brand, link: str) -> str:
    """The notice of a text/plain part: lines under 78 characters apart from the link, separated by LF."""
    lines = ["-" * 40, *_wrapped(brand.title), f"Mersis: {brand.mersis}"]
    if brand.contact:
        lines += _wrapped(f"İletişim: {brand.contact}")
    lines += ["Ticari ileti almak istemiyorsanız:", link]
    return "\n".join(lines)


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, _LINE_WIDTH, break_on_hyphens=False)


def mail_html(brand: Brand, link: str) -> str:
    """The notice of a text/html part: one block that depends on nothing around it."""
    contact = f" &middot; {html.escape(brand.contact)}" if brand.contact else ""
    return (
        '<div style="margin:24px 0 0;padding:12px 0;border-top:1px solid #ccc;font:12px/1.5 sans-serif;color:#555">'
        f"{html.escape(brand.title)} &middot; Mersis: {html.escape(brand.mersis)}{contact}<br>"
        f'Ticari ileti almak istemiyorsanız <a href="{html.escape(link)}">buraya tıklayın</a>.</div>'
    )


def check_brand(brand: Brand) -> None:
    """Whether a mail notice can be made of what a brand says of itself. Raises ValueError."""
    for name, text in (("title", brand.title), ("mersis", brand.mersis), ("contact", brand.contact)):
        if control := _CONTROL.search(text):
            raise ValueError(f"the {name} holds the control character U+{ord(control[0]):04X}")
        if LINK in text:
            raise ValueError(f"the {name} must not hold {LINK}: the reject link has its own place")
        if not text.strip() and name != "contact":
            raise ValueError(f"the {name} is empty, so the notice would not say who is speaking")
    Notice(mail_text(brand, LINK), mail_html(brand, LINK))


def check_link_base(base: str) -> None:
    """Whether tokens can be appended to `base` (`https://host/r/`) in mail and SMS. Raises ValueError."""
    if len(base) > LINK_BASE_LENGTH_MAX:
        raise ValueError(f"reject links would begin with {len(base)} characters; {LINK_BASE_LENGTH_MAX} are the limit")
    if unfit := _NOT_IN_LINK.search(base):
        raise ValueError(f"a reject link cannot hold {unfit[0]!r}: readers of mail or SMS would change it")


def sms_text(brand: Brand, link: bytes, template: str = SMS_TEMPLATE) -> bytes:
    """The notice of an SMS, as bytes that are valid in every 7- and 8-bit alphabet in use."""
    return sms_prefix(brand, template, link_length=len(link)).replace(b"{link}", link)


def sms_prefix(brand: Brand, template: str = SMS_TEMPLATE, *, link_length: int = SMS_LINK_LENGTH_MAX) -> bytes:
    """The template with everything but the link filled in: computed once per brand. `{link}` stands in it once.

    Raises ValueError when the template has an unknown field, not one link, or a field that the brand leaves empty; for
    a character that is not the same in all alphabets; and when the notice can exceed NOTICE_LENGTH_MAX with a link of
    `link_length`.
    """
    fields = _FIELD.findall(template)
    if unknown := set(fields).difference(SMS_FIELDS):
        known = " ".join(f"{{{field}}}" for field in SMS_FIELDS)
        raise ValueError(f"unknown field {{{min(unknown)}}}; known: {known}")
    if fields.count("link") != 1:
        raise ValueError("the template must hold {link} exactly once")
    values = {"brand": brand.name, "mersis": brand.mersis, "shortcode": brand.shortcode}
    for field in fields:
        if field != "link" and not values[field].strip():
            what = "where to refuse" if field == "shortcode" else "who is speaking"
            raise ValueError(f"{{{field}}} is empty, so the notice would not say {what}")
    # Each half by itself and in one pass: a field's value may look like a field.
    halves = [_invariant(_FIELD.sub(lambda field: values[field[1]], half)) for half in template.split(LINK)]
    length = sum(map(len, halves)) + link_length
    if length > NOTICE_LENGTH_MAX:
        raise ValueError(f"the notice can have {length} characters with its link; {NOTICE_LENGTH_MAX} are the limit")
    return LINK.join(halves).encode()


def confirmation(brand: Brand) -> bytes:
    """What a handset is told whose refusal of a brand is recorded, in octets that are alike in every alphabet.

    Raises ValueError as `sms_prefix` does; there is no link in it, and it always fits one segment.
    """
    template = brand.mo_confirmation
    if unknown := set(_FIELD.findall(template)) - {"brand"}:
        raise ValueError(f"unknown field {{{min(unknown)}}}; known: {{brand}}")
    text = _invariant(_FIELD.sub(lambda _: brand.name, template))
    if len(text) > CONFIRMATION_LENGTH_MAX:
        raise ValueError(f"the confirmation has {len(text)} characters; {CONFIRMATION_LENGTH_MAX} are the limit")
    return text.encode()


def _invariant(text: str) -> str:
    """`text` in the invariant set; ValueError for what has no look-alike there: question marks name nobody."""
    folded = ascii_fold(text)
    if INVARIANT.issuperset(folded.encode()) and folded.count("?") == text.count("?"):
        return folded
    for character in text:
        folded = ascii_fold(character)
        if not INVARIANT.issuperset(folded.encode()) or (folded == "?") != (character == "?"):
            break
    raise ValueError(f"the character {character!r} is not the same in all SMS alphabets")
