"""Every answer that the source of the SMTP door can give, read from the source itself.

An answer is written in one of three ways: `line(code, enhanced, text)` and what is built like it (`_bad`, `Fault`),
`Reply(code, b"enhanced text")`, and the two tables of verdicts. What is filled in at run time reads `…`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from gateway.smtp import replies

ROOT = Path(__file__).resolve().parents[2]
BUILDERS = {"line", "_bad", "Fault"}


class Answer(NamedTuple):
    """One answer, and the line it is written in."""

    code: int
    enhanced: str
    text: str
    where: str

    def __str__(self) -> str:
        return " ".join(part for part in (str(self.code), self.enhanced, self.text) if part)


def of_door() -> set[Answer]:
    """All of them."""
    found = {answer for path in sorted((ROOT / "gateway/smtp").glob("*.py")) for answer in _of_file(path)}
    for table in (replies.BLOCKS, replies.DEFERS):
        found |= {
            Answer(code, enhanced, f"{reason}: {text}", "replies.py")
            for reason, (code, enhanced, text) in table.items()
        }
    return found


def _of_file(path: Path) -> Iterator[Answer]:
    for node in ast.walk(ast.parse(path.read_bytes(), str(path))):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        where = f"{path.name}:{node.lineno}"
        if name in BUILDERS and len(node.args) == 3 and isinstance(node.args[0], ast.Constant):
            for enhanced in _texts(node.args[1]):
                for text in _texts(node.args[2]):
                    yield Answer(int(node.args[0].value), enhanced, text, where)  # type: ignore[arg-type]
        elif name == "Reply" and len(node.args) == 2 and isinstance(node.args[0], ast.Constant):
            for text in _texts(node.args[1]):
                enhanced, _, words = text.partition(" ")
                yield Answer(int(node.args[0].value), enhanced, words or "…", where)  # type: ignore[arg-type]


def _texts(node: ast.expr) -> list[str]:
    """What an expression may be: a constant, one of two, or a text with gaps."""
    match node:
        case ast.Constant(value=str(text)):
            return [text]
        case ast.Constant(value=bytes(text)):
            return [text.decode("ascii")]
        case ast.Constant(value=None):
            return [""]
        case ast.IfExp(body=body, orelse=orelse):
            return _texts(body) + _texts(orelse)
        case ast.JoinedStr(values=values):
            return ["".join(_texts(value)[0] for value in values)]
        case ast.BinOp(left=left, op=ast.Mod()):
            return [text.replace("%b", "…").replace("%d", "…") for text in _texts(left)]
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return [a + b for a in _texts(left) for b in _texts(right)]
        case _:
            return ["…"]
