"""Reading a TOML table so that every fault in it is found at once, each with its line and what to write instead.

`tomllib` gives values without positions; `Lines` finds them by walking the text once. A `Table` hands out values by key
and type, notes what is wrong, and in the end names the keys nobody asked for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Final, TypeVar

T = TypeVar("T")
Path = tuple[str | int, ...]

_HEADER: Final = re.compile(r"\s*(\[\[?)\s*([^\]]+?)\s*\]")
_KEY: Final = re.compile(r"""\s*([A-Za-z0-9_-]+|"[^"]*"|'[^']*')\s*=""")


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault of a configuration: where, what, and what to do about it."""

    line: int  # 1-based; 0: the file as a whole
    key: str
    text: str
    fix: str = ""

    def __str__(self) -> str:
        where = f"line {self.line}: " if self.line else ""
        what = f"{self.key}: {self.text}" if self.key else self.text
        return f"{where}{what}" + (f" — {self.fix}" if self.fix else "")


class Lines:
    """Which line a key stands on; for what is inside an inline table, the line of that table."""

    def __init__(self, text: str) -> None:
        self._lines: dict[Path, int] = {}
        table: Path = ()
        counts: dict[Path, int] = {}
        for number, line in enumerate(text.splitlines(), start=1):
            if header := _HEADER.match(line):
                table = tuple(part.strip().strip("\"'") for part in header[2].split("."))
                if header[1] == "[[":
                    counts[table] = counts.get(table, -1) + 1
                    table = (*table, counts[table])
                self._lines.setdefault(table, number)
            elif key := _KEY.match(line):
                self._lines.setdefault((*table, key[1].strip("\"'")), number)

    def of(self, path: Path) -> int:
        """The line of `path`, or of the nearest thing around it; 0 for the whole file."""
        while path and path not in self._lines:
            path = path[:-1]
        return self._lines.get(path, 0)


@dataclass
class Table:
    """One table of the file. What is wrong goes to `problems`; a getter then returns the default."""

    values: dict[str, Any]
    lines: Lines
    problems: list[Problem]
    path: Path = ()
    _asked: set[str] = field(default_factory=set)

    def get(self, key: str, kind: type[T], default: T | None = None, *, required: bool = False) -> T | None:
        """The value of `key` if it is a `kind`."""
        self._asked.add(key)
        value = self.values.get(key)
        if value is None:
            if required:
                self.note(key, "is missing")
            return default
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            self.note(key, f"must be {_KINDS[kind]}, not {_shown(value)}")
            return default
        return value

    def text(self, key: str, default: str = "", *, required: bool = False) -> str:
        return self.get(key, str, default, required=required) or ""

    def number(self, key: str, default: int, low: int, high: int) -> int:
        """A whole number within bounds."""
        value = self.get(key, int, default)
        assert value is not None
        if not low <= value <= high:
            self.note(key, f"must be between {low} and {high}, not {value}")
            return default
        return value

    def flag(self, key: str, *, default: bool = False) -> bool:
        return bool(self.get(key, bool, default))

    def choice(self, key: str, known: Iterable[str], default: str | None = None) -> str:
        """One of the words in `known`; required when there is no default."""
        words = list(known)
        value = self.text(key, default or "", required=default is None)
        if value and value not in words:
            self.note(key, f"unknown value {value!r}", meant(value, words))
            return default or ""
        return value

    def texts(self, key: str) -> list[str]:
        """A list of strings; missing is empty."""
        found = self.get(key, list, []) or []
        if not all(isinstance(one, str) for one in found):
            self.note(key, "must be a list of strings")
            return []
        return found

    def parsed(self, key: str, parse: Callable[[str], T], text: str) -> T | None:
        """`parse(text)`; its ValueError becomes a problem of `key`."""
        try:
            return parse(text)
        except ValueError as error:
            self.note(key, str(error))
            return None

    def attempt(self, key: str, check: Callable[[], object]) -> None:
        """Run a check; its ValueError becomes a problem of `key`."""
        try:
            check()
        except ValueError as error:
            self.note(key, str(error))

    def table(self, key: str) -> Table:
        """A table below; an empty one when it is missing."""
        found = self.get(key, dict, {}) or {}
        return Table(found, self.lines, self.problems, (*self.path, key))

    def tables(self, key: str) -> list[Table]:
        """An array of tables."""
        found = self.get(key, list, []) or []
        if not all(isinstance(one, dict) for one in found):
            self.note(key, f"must be written as [[{key}]]")
            return []
        return [Table(one, self.lines, self.problems, (*self.path, key, at)) for at, one in enumerate(found)]

    def one_or_more(self, key: str) -> list[Table]:
        """A table, or an array of them."""
        return [self.table(key)] if isinstance(self.values.get(key), dict) else self.tables(key)

    def note(self, key: str, text: str, fix: str = "") -> None:
        """Report a fault of `key`."""
        path = (*self.path, key) if key else self.path
        self.problems.append(Problem(self.lines.of(path), _dotted(path), text, fix))

    def finish(self) -> None:
        """Name the keys nobody asked for."""
        for key in self.values:
            if key not in self._asked:
                self.note(key, "unknown key", meant(key, self._asked) or f"known: {', '.join(sorted(self._asked))}")


def meant(word: str, known: Iterable[str]) -> str:
    """A suggestion for a mistyped word, or all of the few there are."""
    words = sorted(str(one) for one in known)
    if close := get_close_matches(word, words, n=1):
        return f"did you mean {close[0]!r}?"
    return f"known: {', '.join(words)}" if 0 < len(words) <= 8 else ""


def _dotted(path: Path) -> str:
    return ".".join(str(part) for part in path if not isinstance(part, int))


def _shown(value: object) -> str:
    return repr(value) if isinstance(value, str | int | float | bool) else f"a {type(value).__name__}"


_KINDS: Final = {str: "a string", int: "a whole number", bool: "true or false", list: "a list", dict: "a table"}
