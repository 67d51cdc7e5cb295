"""What a commercial message must say of its sender, and where to refuse (regulation art. 8).

Mail: trade title, MERSİS number, reject link, and a contact where the brand gives one, in Turkish. SMS: brand, MERSİS number and link in
characters that have the same code in GSM default, the Turkish tables, ASCII, Latin-1 and Latin-5, so that they can
be appended to a text without decoding it.
"""

from __future__ import annotations

import html
import re

from filters.model import Brand

SMS_TEMPLATE = " {brand} Mersis {mersis} RET {link}"
SMS_FIELDS = frozenset({"brand", "mersis", "link"})
INVARIANT = frozenset(b" !\"#%&'()*+,-./0123456789:;<=>?ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz\n\r")

_ASCII = str.maketrans("çğıöşüÇĞİÖŞÜâîûÂÎÛ", "cgiosuCGIOSUaiuAIU")
_FIELD = re.compile(r"\{([a-z]*)\}")


def ascii_fold(text: str) -> str:
    """Turkish letters to their ASCII look-alikes; what has none becomes a question mark."""
    return text.translate(_ASCII).encode("ascii", "replace").decode()


def mail_text(brand: Brand, link: str) -> str:
    """The notice of a text/plain part: lines under 78 characters apart from the link, separated by LF."""
    lines = ["-" * 40, brand.title, f"Mersis: {brand.mersis}"]
    if brand.contact:
        lines.append(f"İletişim: {brand.contact}")
    lines += ["Ticari ileti almak istemiyorsanız:", link]
    return "\n".join(lines)


def mail_html(brand: Brand, link: str) -> str:
    """The notice of a text/html part: one block that depends on nothing around it."""
    contact = f" &middot; {html.escape(brand.contact)}" if brand.contact else ""
    return (
        '<div style="margin:24px 0 0;padding:12px 0;border-top:1px solid #ccc;font:12px/1.5 sans-serif;color:#555">'
        f"{html.escape(brand.title)} &middot; Mersis: {brand.mersis}{contact}<br>"
        f'Ticari ileti almak istemiyorsanız <a href="{link}">buraya tıklayın</a>.</div>'
    )


def sms_text(brand: Brand, link: bytes, template: str = SMS_TEMPLATE) -> bytes:
    """The notice of an SMS, as bytes that are valid in every 7- and 8-bit alphabet in use."""
    return sms_prefix(brand, template).replace(b"{link}", link)


def sms_prefix(brand: Brand, template: str = SMS_TEMPLATE) -> bytes:
    """The template with everything but the link filled in: computed once per brand.

    Raises ValueError when the template has an unknown field, no link, or a character outside the invariant set.
    """
    fields = _FIELD.findall(template)
    if unknown := set(fields) - SMS_FIELDS:
        raise ValueError(f"unknown field {{{min(unknown)}}}; known: {{brand}} {{mersis}} {{link}}")
    if fields.count("link") != 1:
        raise ValueError("the template must hold {link} exactly once")
    filled = ascii_fold(template.replace("{brand}", brand.name).replace("{mersis}", brand.mersis)).encode()
    if foreign := set(filled.replace(b"{link}", b"")) - INVARIANT:
        raise ValueError(f"the character {chr(min(foreign))!r} is not the same in all SMS alphabets")
    return filled
