"""What an applicant sees: Turkish first, English second, without scripts (`registry.pages` has style and headers)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from registry import pages
from registry.national.errors import MESSAGES, Fault
from registry.providers.proofs import Answer
from registry.providers.states import State, Way
from registry.providers.store import Provider

_TURKISH: Final = {
    "H118": "tanınmayan alan",
    "H120": "geçerli bir e-posta adresi değil",
    "H214": "unvan eksik ya da geçersiz",
    "H215": "marka adı boş, yinelenmiş ya da bildirime sığmayacak biçimde",
    "H225": "T.C. kimlik numarası eksik",
    "H226": "T.C. kimlik numarası geçersiz",
    "H227": "MERSİS numarası geçersiz",
    "H228": "MERSİS numarası 16 hane olmalı",
    "H243": "vergi kimlik numarası geçersiz",
    "H244": "vergi kimlik numarası 10 ya da 11 hane olmalı",
    "X611": "ad soyad 1–100 karakter olmalı",
    "X612": "+905XXXXXXXXX biçiminde yazın",
    "X613": "1–20 marka yazın, her satıra bir tane",
    "X614": "ücretsiz e-posta hizmetleri kabul edilmez; şirketin alan adındaki bir adres yazın",
    "X615": "PDF ya da PNG biçiminde marka tescil belgesi ekleyin",
    "X616": "belge en çok 2 MiB olabilir",
}
_STATES: Final = {
    State.APPLIED: ("Başvurunuz alındı", "Your application has been taken in"),
    State.VERIFIED: ("Başvurunuz inceleniyor", "Your application is being looked at"),
    State.APPROVED: ("Başvurunuz onaylandı", "Your application has been approved"),
    State.REJECTED: ("Başvurunuz reddedildi", "Your application has been rejected"),
    State.SUSPENDED: ("Gönderiminiz askıya alındı", "You are suspended"),
}
_ANSWERS: Final = {
    Answer.DONE: ("Tamam.", "Done."),
    Answer.BY_HAND: ("Bu adresi yetkili görevli onaylayacak.", "An operator will confirm this address."),
    Answer.SETTLED: ("Bu adım daha önce tamamlandı.", "This is settled already."),
    Answer.TOO_SOON: ("Üç dakika geçmeden yenisi gönderilmez.", "Another one is sent after three minutes."),
    Answer.TOO_OFTEN: ("Bu adrese bugün yeterince ileti gönderildi; yarın yeniden deneyin.", "Enough for today."),
    Answer.WRONG: ("Kod yanlış.", "The code is wrong."),
    Answer.TOO_MANY_TRIES: ("Kod çok kez yanlış girildi; yenisini isteyin.", "Wrong too often: ask for another code."),
    Answer.EXPIRED: ("Süresi doldu; yenisini isteyin.", "It is too old: ask for another one."),
}
_NOTICES: Final = {
    404: ("Başvuru bulunamadı", "Adresin tamamını açın.", "There is no such application", "Open the whole address."),
    408: ("Çok yavaş", "Lütfen yeniden deneyin.", "Too slow", "Please try again."),
    413: ("Belge çok büyük", "Belge en çok 2 MiB olabilir.", "Too large", "The document may have 2 MiB at most."),
    429: ("Çok fazla deneme", "Lütfen daha sonra yeniden deneyin.", "Too many tries", "Please try again later."),
    503: ("Şu anda alınamıyor", "Lütfen birkaç dakika sonra yeniden deneyin.", "Not now", "Please try again later."),
}
_CONFIRMED: Final = (
    "E-posta adresiniz onaylandı",
    "Bu sayfayı kapatabilirsiniz.",
    "Your mail address is confirmed",
    "You may close this page.",
)


class Told(NamedTuple):
    """A fault in words."""

    tr: str
    en: str


def application(values: Mapping[str, str], faults: Sequence[Fault]) -> str:
    """The form, with what was typed in and what is wrong with it. The signatory's number is not repeated."""
    by_field: dict[str, list[Told]] = {}
    for fault in faults:
        by_field.setdefault(str(fault.location[-1]), []).append(
            Told(_TURKISH.get(fault.code, fault.code), _english(fault))
        )
    kept = {name: value for name, value in values.items() if name != "tckn"}
    return pages.render("provider_apply", values=kept, faults=by_field)


def standing(handle: str, one: Provider, ways: frozenset[Way], answer: Answer | None) -> str:
    """How an application stands, and what is left to do."""
    state_tr, state_en = _STATES[one.state]
    told_tr, told_en = _ANSWERS[answer] if answer is not None else ("", "")
    return pages.render(
        "provider_standing",
        handle=handle,
        state_tr=state_tr,
        state_en=state_en,
        told_tr=told_tr,
        told_en=told_en,
        title=one.title,
        mobile=pages.masked(one.mobile.encode()),
        email=pages.masked(one.email.encode()),
        mobile_confirmed=one.confirmed[Way.MOBILE],
        email_confirmed=one.confirmed[Way.EMAIL],
        open=one.state is State.APPLIED,
        by_sms=Way.MOBILE in ways,
        by_mail=Way.EMAIL in ways,
    )


def question() -> str:
    """Behind the link of a mail: a button, because scanners open links."""
    return pages.render("provider_confirm")


def confirmed(answer: Answer) -> str:
    """After the button."""
    if answer is Answer.DONE:
        return _notice(_CONFIRMED)
    told_tr, told_en = _ANSWERS[answer]
    return _notice((told_tr, "", told_en, ""))


def notice(status: int) -> str:
    """A page about no application, by its HTTP status."""
    return _notice(_NOTICES.get(status, _NOTICES[503]))


def _notice(texts: tuple[str, str, str, str]) -> str:
    title_tr, text_tr, title_en, text_en = texts
    return pages.render("notice", title_tr=title_tr, text_tr=text_tr, title_en=title_en, text_en=text_en)


def _english(fault: Fault) -> str:
    return MESSAGES[fault.code]
