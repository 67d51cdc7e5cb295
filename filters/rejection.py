"""What a citizen's short message says: a refusal, perhaps one, or something else.

    read("Ret örnek lütfen", {"ORNEK"})   Rejection("RET", "ORNEK", all=False)
    read("lütfen mesaj atmayın")          Review("ISTEMEME")
    read("Siparişim nerede?")             None

`str.lower` and `str.casefold` turn İ into two code points and leave ı as it is, so letters are folded the other way:
NFKC, both kinds of i to I, upper case, marks taken off (Ç → C, Ş → S), look-alikes of other scripts to Latin. What is
neither letter nor digit parts words; what has no width does not.

A word with one meaning is a refusal also with a word behind it that nobody knows, because that is a name with a typing
error. A word of everyday use (DUR, ÇIK, END …) is one only by itself or with a name that is known. A message that says
the same in sentences is for a person to read.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Sequence
from typing import Final, NamedTuple

TEXT_LENGTH_MAX: Final = 1600  # characters that are looked at: ten segments; a refusal is said in the first of them
NAME_LENGTH_MAX: Final = 32

# One meaning, whatever stands behind it.
_CERTAIN: Final = {"RET": "RET", "RED": "RET", "IPTAL": "IPTAL", "STOP": "STOP", "STOPALL": "STOP"}
# Everyday words too.
_EVERYDAY: Final = {
    **dict.fromkeys(("DUR", "DURDUR", "DURDURUN"), "DUR"),
    **dict.fromkeys(("CIK", "CIKIS", "CIKAR", "CIKARIN"), "CIK"),
    **dict.fromkeys(("UNSUBSCRIBE", "OPTOUT", "CANCEL", "QUIT", "END", "REMOVE"), "STOP"),
}
KEYWORDS: Final = {**_CERTAIN, **_EVERYDAY}
"""The words that refuse, folded, and which of RET, IPTAL, DUR, CIK, STOP each stands for."""

_ALL: Final = frozenset({"ALL", "HEPSI", "HEPSINI", "HEPSINE", "TUMU", "TUMUNU", "TUMUNE", "TUM", "BUTUN"})
_COURTESY: Final = frozenset(
    {
        *("LUTFEN", "LTF", "PLEASE", "PLS", "TESEKKUR", "TESEKKURLER", "TESEKKUREDERIM", "TSK", "TSKLER"),
        *("SAGOL", "SAGOLUN", "SAOL", "THANKS"),
    }
)
# “RET yaz”, “iptal et”, “ret istiyorum”: what notices tell people to do, done literally.
_VERBS: Final = frozenset(
    {
        *("YAZ", "YAZIYORUM", "YAZDIM", "ET", "EDIN", "EDINIZ", "EDIYORUM", "EDER", "EDERMISINIZ"),
        *("OLSUN", "OLAYIM", "ISTIYORUM"),
    }
)
_WISHES: Final = re.compile(
    r"\b(?:(?:ATMA|GONDERME|YOLLAMA|ARAMA|YAZMA)(?:YIN|YINIZ|SIN|SINLAR)?|ISTEMIYOR\w*|ISTEMEM|RAHATSIZ|SIKAYET\w*|"
    r"SPAM|YETER|ABONELI\w*|UYELI\w*|VAZGEC\w*|LISTEDEN|UNSUBSCRIBE)\b"
)

# Look-alikes of other scripts, in capitals, and the small capitals that have none.
_LIKE: Final = str.maketrans(
    "АВЕЅІЈКМНОРСТУХҮԚԜ" + "ΑΒΕΖΗΙΚΜΝΟΡΤΥΧ" + "ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘʀꜱᴛᴜᴠᴡʏᴢ",
    "ABESIJKMHOPCTYXYQW" + "ABEZHIKMNOPTYX" + "ABCDEFGHIJKLMNOPRSTUVWYZ",
)
_DOTTED: Final = str.maketrans("İı", "II")


class Rejection(NamedTuple):
    """A refusal. `brand` is a folded name: one of those that were given to `read`, a mistyped one, or None."""

    keyword: str
    brand: str | None
    all: bool


class Review(NamedTuple):
    """Probably a refusal, but in no form that a machine should act on. `why` is ISTEMEME, or the word that was seen."""

    why: str


def fold(text: str) -> str:
    """Capital letters and digits in words with one space between them; for comparison only."""
    text = unicodedata.normalize("NFKC", text[:TEXT_LENGTH_MAX])[:TEXT_LENGTH_MAX]
    text = text.translate(_DOTTED).translate(_LIKE).upper()
    text = unicodedata.normalize("NFKD", text).translate(_DOTTED).translate(_LIKE)
    letters = []
    for letter in text:
        if letter.isascii():
            letters.append(letter if letter.isalnum() else " ")
            continue
        kind = unicodedata.category(letter)
        if kind[0] in "LN":
            letters.append(letter)
        elif kind[0] != "M" and kind != "Cf":
            letters.append(" ")
    return " ".join("".join(letters).split())


def fold_name(name: str) -> str:
    """A brand's short name as `read` compares it: folded, without spaces."""
    return fold(name).replace(" ", "")


def read(text: str, names: Collection[str] = ()) -> Rejection | Review | None:
    """What `text` says; `names` are short names of brands, as `fold_name` gives them. Never raises."""
    folded = fold(text)
    words = folded.split(" ")
    if len(words) > 1 and all(len(word) == 1 for word in words):  # R E T, R.E.T.
        words = ["".join(words)]
    words = _without_courtesy(words)
    if words[:2] == ["OPT", "OUT"]:
        words[:2] = ["OPTOUT"]
    found = _refusal(words, names)
    if found is not None:
        return found
    certain = next((word for word in words if word in _CERTAIN), None)
    everyday = words[0] if words and words[0] in _EVERYDAY else None
    if (why := certain or everyday) is not None:
        return Review(KEYWORDS[why])
    return Review("ISTEMEME") if _WISHES.search(folded) else None


def _without_courtesy(words: list[str]) -> list[str]:
    """Without one word of politeness at the end, or a LÜTFEN in front."""
    if len(words) > 1 and words[-1] in _COURTESY:
        words = words[:-1]
    if len(words) > 1 and words[0] in ("LUTFEN", "LTF"):
        words = words[1:]
    return words


def _refusal(words: Sequence[str], names: Collection[str]) -> Rejection | None:
    """`[ALL] [name] KEYWORD [verb] [ALL] [name] [verb]`, or the keyword and a name in one word."""
    everything = len(words) > 1 and words[0] in _ALL
    if everything:
        words = words[1:]
    at, leading = _keyword_at(words, names)
    if at < 0:
        return _glued(words, names)
    word, rest = words[at], list(words[at + 1 :])
    everything |= word == "STOPALL"
    while rest and (rest[0] in _VERBS or rest[0] in KEYWORDS):  # said twice, it is said
        rest = rest[1:]
    if rest and rest[0] in _ALL:
        everything, rest = True, rest[1:]
    if rest and rest[-1] in _VERBS:
        rest = rest[:-1]
    keyword = KEYWORDS[word]
    if not rest:
        return Rejection(keyword, leading, everything)
    name = "".join(rest)
    if name in names and leading in (None, name):
        return Rejection(keyword, name, everything)
    if len(rest) == 1 and leading is None and word in _CERTAIN and len(name) <= NAME_LENGTH_MAX:
        return Rejection(keyword, name, everything)
    return None


def _keyword_at(words: Sequence[str], names: Collection[str]) -> tuple[int, str | None]:
    """Where the keyword stands, and the known name before it; -1: nowhere."""
    leading = ""
    for at, word in enumerate(words):
        if word in KEYWORDS and (not leading or leading in names):
            return at, leading or None
        leading += word
        if len(leading) > NAME_LENGTH_MAX:
            break
    return -1, None


def _glued(words: Sequence[str], names: Collection[str]) -> Rejection | None:
    """RETORNEK."""
    if len(words) != 1:
        return None
    for word in KEYWORDS:
        if (name := words[0].removeprefix(word)) != words[0] and name in names:
            return Rejection(KEYWORDS[word], name, all=False)
    return None
