"""What a person sees of the demonstration, on a terminal or in a file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gateway.config import Config

COLOURS = {"pass": "green", "block": "red", "defer": "yellow"}
SIDE_BY_SIDE = 100  # columns; a narrower terminal shows the text after below the one before


class Seen(Protocol):
    """A message of the demonstration."""

    @property
    def protocol(self) -> str: ...
    @property
    def stream(self) -> str: ...
    @property
    def recipient(self) -> str: ...
    @property
    def outcome(self) -> str: ...
    @property
    def expected(self) -> str: ...
    @property
    def reason(self) -> str: ...
    @property
    def answer(self) -> str: ...
    @property
    def before(self) -> str: ...
    @property
    def after(self) -> str: ...


class Show:
    """Prints as things happen; `quiet` prints nothing."""

    def __init__(self, *, quiet: bool) -> None:
        self._console = Console(quiet=quiet, highlight=False)

    def note(self, text: str) -> None:
        self._console.print(Text(text, style="dim"))

    def chapter(self, text: str) -> None:
        self._console.print()
        self._console.rule(Text(text, style="bold"), align="left")

    def message(self, row: Seen, *, ok: bool) -> None:
        """One message: its head line, the answer, the text before and after."""
        head = Text.assemble(
            (f"{row.outcome.upper():5} ", f"bold {COLOURS[row.outcome]}"),
            f"{row.protocol}  {row.stream} → {row.recipient}  ",
            (row.reason, COLOURS[row.outcome]),
        )
        if not ok:
            head.append(f"  expected: {row.expected}", style="bold magenta")
        self._console.print()
        self._console.print(head)
        self._console.print(Text(f"      answered: {row.answer}", style="dim"), soft_wrap=True)
        after = row.after or "— nothing was sent on —"
        if self._console.width >= SIDE_BY_SIDE:
            table = Table(show_edge=False, expand=True, header_style="dim", padding=(0, 1))
            table.add_column("before", ratio=2)
            table.add_column("after", ratio=3)
            table.add_row(Text(row.before), Text(after, overflow="fold"))
            self._console.print(table)
            return
        for title, text in (("before", row.before), ("after", after)):
            self._console.print(Text(f"      {title}", style="dim"))
            self._console.print(Text("\n".join(f"        {line}" for line in text.splitlines())), soft_wrap=True)

    def verdict(self, rows: Sequence[tuple[Seen, bool]]) -> None:
        """All messages in one table."""
        self.chapter("All together")
        table = Table(show_edge=False, header_style="dim")
        for column in ("protocol", "recipient", "stream", "outcome", "reason", "answered"):
            table.add_column(column, overflow="ellipsis", no_wrap=column != "answered")
        for row, ok in rows:
            outcome = Text(row.outcome if ok else f"{row.outcome} ✗", style=COLOURS[row.outcome])
            answer = row.answer if len(row.answer) <= 60 else f"{row.answer[:59]}…"
            table.add_row(row.protocol, row.recipient, row.stream, outcome, row.reason, answer)
        self._console.print(table)
        wrong = sum(not ok for _, ok in rows)
        told = "Every outcome was the expected one." if not wrong else f"{wrong} outcomes were not the expected ones."
        self._console.print()
        self._console.print(Text(told, style="bold green" if not wrong else "bold red"))

    def addresses(self, config: Config, password: str) -> None:
        """Where to send by hand."""
        doors = {listener.protocol: listener.bind for listener in config.listeners}
        lines = [
            f"mail     swaks --server {doors['smtp']} --from duyuru@kampanya.example.com.tr \\",
            "               --to elif.sahin@example.com.tr       (fatma.arslan@… has no consent)",
            f"SMS      bind to {doors['smpp']} as marka, password {password}",
            f"pages    http://{config.registry.bind}/livez",
            f"metrics  http://{config.admin}/metrics",
            f"journal  {config.data_dir / 'journal'}",
            "Ctrl-C ends it.",
        ]
        self.chapter("Still serving")
        self._console.print(Text("\n".join(lines)), soft_wrap=True)
