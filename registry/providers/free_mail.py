"""Mail services where anybody gets an address: one there proves nothing about a company.

Which domains count is written down nowhere; these are the ones that Turkish users have most, and some that throw
addresses away.
"""

from __future__ import annotations

from typing import Final

_DOMAINS: Final = """
    gmail.com googlemail.com hotmail.com hotmail.com.tr outlook.com outlook.com.tr live.com live.com.tr msn.com
    windowslive.com passport.com yahoo.com yahoo.com.tr yahoo.co.uk yahoo.de yahoo.fr ymail.com rocketmail.com aol.com
    icloud.com me.com mac.com gmx.com gmx.net gmx.de gmx.at web.de mail.com mail.ru inbox.ru list.ru bk.ru internet.ru
    rambler.ru yandex.com yandex.com.tr yandex.ru ya.ru proton.me protonmail.com protonmail.ch pm.me tutanota.com
    tuta.io tuta.com zoho.com zohomail.com zohomail.eu fastmail.com hey.com mynet.com mynet.com.tr ttmail.com
    ttnet.net.tr superonline.com e-kolay.net turk.net kablonet.com.tr hushmail.com mail.com.tr qq.com 163.com 126.com
    mailinator.com yopmail.com guerrillamail.com 10minutemail.com temp-mail.org tempmail.com trashmail.com
    sharklasers.com getnada.com dispostable.com maildrop.cc
"""
FREE: Final = frozenset(_DOMAINS.split())


def is_free(domain: str) -> bool:
    """Whether a domain, in lower case, is one of them or below one."""
    labels = domain.split(".")
    return any(".".join(labels[at:]) in FREE for at in range(len(labels) - 1))
