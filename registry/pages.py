"""What a citizen sees: plain pages, Turkish first, English second, whole without scripts or a second request."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from filters.address import is_mobile
from filters.link import Reject
from filters.model import Brand, Channel

_HERE: Final = Path(__file__).parent
_STYLE: Final = (_HERE / "static" / "style.css").read_text(encoding="utf-8")
_DOTS: Final = "•••"


def headers_of(style: str) -> dict[str, str]:
    """What no page of ours goes without: in no cache, frame or search engine; with this one style, and no script."""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return {
        "cache-control": "no-store",
        "content-security-policy": f"default-src 'none'; style-src 'sha256-{digest}'; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'",
        "x-content-type-options": "nosniff",
        "x-robots-tag": "noindex, nofollow",
    }


HEADERS: Final = {**headers_of(_STYLE), "referrer-policy": "no-referrer", "content-language": "tr, en"}
"""On every page. The token is in the address, so no page may send it on, keep it or be framed."""

_CHANNELS: Final = {
    Channel.ARAMA: ("Telefonla arama", "Telephone calls"),
    Channel.MESAJ: ("Kısa mesaj (SMS)", "Text messages (SMS)"),
    Channel.EPOSTA: ("E-posta", "E-mail"),
}
_NOTICES: Final = {
    400: (
        "İstek anlaşılamadı",
        "Hiçbir şey değiştirilmedi. Lütfen mesajdaki bağlantıyı yeniden açıp sayfadaki düğmeyi kullanın.",
        "The request was not understood",
        "Nothing was changed. Please open the link in the message again and use the button on the page.",
    ),
    404: (
        "Bağlantı geçersiz",
        "Bağlantı eksik kopyalanmış olabilir; lütfen mesajdaki bağlantının tamamını açın. Hiçbir şey değiştirilmedi. "
        "Ret hakkınızı İleti Yönetim Sistemi (iys.org.tr) üzerinden de kullanabilirsiniz.",
        "This link is not valid",
        "It may have been copied incompletely; please open the whole link of the message. Nothing was changed. You can "
        "also refuse commercial messages through the national system (iys.org.tr).",
    ),
    429: (
        "Çok fazla geçersiz deneme",
        "Bu ağdan kısa sürede çok sayıda geçersiz bağlantı açıldı. Lütfen biraz sonra yeniden deneyin.",
        "Too many invalid attempts",
        "Many invalid links were opened from this network in a short time. Please try again a little later.",
    ),
    503: (
        "Kaydedilemedi",
        "Sistemimizde bir sorun var; talebiniz henüz geçerli değil. Lütfen birkaç dakika sonra yeniden deneyin.",
        "Not saved",
        "Something is wrong with our system; your request is not in effect yet. Please try again in a few minutes.",
    ),
}

_templates = Environment(
    loader=FileSystemLoader(_HERE / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_templates.globals["style"] = _STYLE


@dataclass(frozen=True, slots=True)
class Facts:
    """What a page says about a link."""

    title: str
    recipient: str  # masked
    channel_tr: str
    channel_en: str


def facts(reject: Reject, brand: Brand | None) -> Facts:
    """A link in words. A brand that is no longer configured is called by its code: its links must go on working."""
    title = brand.title if brand is not None else f"İYS marka kodu {reject.brand}"
    return Facts(title, masked(reject.recipient), *_CHANNELS[reject.channel])


def page(name: str, about: Facts) -> str:
    """One of the pages about a link: ask, done, unsaved."""
    return _templates.get_template(f"{name}.html").render(facts=about)


def notice(status: int) -> str:
    """A page that is about no link, by its HTTP status."""
    title_tr, text_tr, title_en, text_en = _NOTICES.get(status, _NOTICES[400])
    texts = {"title_tr": title_tr, "text_tr": text_tr, "title_en": title_en, "text_en": text_en}
    return _templates.get_template("notice.html").render(texts)


def render(name: str, **values: object) -> str:
    """Any other page, in the same style."""
    return _templates.get_template(f"{name}.html").render(values)


def masked(recipient: bytes) -> str:
    """A canonical recipient as its owner knows it and a bystander does not: a•••@e•••.com.tr, +90 5•• ••• •• 01."""
    text = recipient.decode()
    local, at, domain = text.partition("@")
    if at:
        label, dot, rest = domain.partition(".")
        return f"{local[:1]}{_DOTS}@{label[:1]}{_DOTS}{dot}{rest}"
    if is_mobile(recipient) or (len(text) == 13 and text.startswith("+90")):
        return f"+90 {text[3]}•• ••• •• {text[-2:]}"
    return f"{text[:3]} {_DOTS} {_DOTS} {text[-2:]}"
