"""The tables on the screen, and the same as JSON for whoever compares two days."""

from __future__ import annotations

import datetime
import json
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from bench import machine
from bench.measure import Row, Table
from bench.published import NOTES

SCALE = {"ms": 1e3, "µs": 1e6}
PERCENTILES = (50, 99)
FLOORS = {"haproxy": "× HAProxy", "proxy_filter": "× proxy_filter", "plain": "× by_hand"}


def show(console: Console, table: Table) -> None:
    """Print one table with its ratios and verdicts."""
    floors = {key: floor for key in FLOORS if (floor := table.row(key))}
    grid = Grid(title=table.title, title_justify="left", title_style="bold", min_width=76)
    grid.add_column("program")
    percentiles = PERCENTILES if any(row.latency_s(PERCENTILES[0]) is not None for row in table.rows) else ()
    shares = (f"p{percentile} ms" for percentile in percentiles)
    peaks = ("peak MB",) if any(row.peak_octets for row in table.rows) else ()
    costs = (f"{table.of}s/s", f"CPU {table.unit}/{table.of}") if any(row.cpu_s for row in table.rows) else ()
    for heading in (*costs, *(FLOORS[key] for key in floors), *shares, *peaks):
        grid.add_column(heading.replace(" ", "\n"), justify="right", no_wrap=True)
    for row in table.rows:
        ratios = [_figure(row.cpu_s / floor.cpu_s) for floor in floors.values()]
        memory = [f"{(row.peak_octets or 0) / 1e6:,.0f}"] if peaks else []
        latencies = [_milliseconds(row.latency_s(percentile)) for percentile in percentiles]
        # of waits that were only looked at there is no rate
        figures = (_figure(row.rate), _figure(row.cpu_s * SCALE[table.unit])) if row.cpu_s else ("", "")
        grid.add_row(row.name, *figures[: len(costs)], *ratios, *latencies, *memory)
        if row.helper_cpu_s:
            grid.add_row(f"  and {table.helper}", "", _figure(row.helper_cpu_s * SCALE[table.unit]), style="dim")
    console.print()
    console.print(grid if table.rows else Text(table.title, "bold"))
    for absent in table.absent:
        console.print(f"{absent.name}: not measured, {absent.why}", style="yellow")
    if note := NOTES.get(table.key):
        console.print(note, style="dim")
    for verdict in table.verdicts:
        word = Text("met   ", "green") if verdict.met else Text("MISSED", "bold red")
        console.print(Text("  ") + word + Text(f"  {verdict.text}: {_figure(verdict.value)}"))


def write(directory: Path, tables: list[Table], *, load_before: float) -> Path:
    """Write the whole run to `<date>-<processor>-<cores>-cores.json`; the path is returned."""
    today = datetime.date.today().isoformat()
    path = directory / f"{today}-{machine.slug()}.json"
    content = {
        "date": today,
        "machine": machine.facts(),
        "load_average_before": round(load_before, 2),
        "tables": [_as_json(table) for table in tables],
    }
    directory.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    return path


def keep_profile(directory: Path, sampled: Path, table: Table) -> Path | None:
    """Keep the profile of the busiest process of a table's gateway; None when there was none to sample."""
    found = [path.read_text() for path in sampled.glob(f"{table.key}.profile.*.json")]
    if not found:
        return None
    busiest = max(found, key=_work_seen)
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{datetime.date.today().isoformat()}-{machine.slug()}-{table.key}-profile.json"
    path.write_text(busiest + "\n")
    return path


def _work_seen(profile: str) -> tuple[bool, int]:
    """Workers before the supervisor, whose imports are most of a short run."""
    content = json.loads(profile)
    return bool(content["forked"]), int(content["samples"])


def _as_json(table: Table) -> dict[str, object]:
    return {
        "key": table.key,
        "title": table.title,
        "counted": table.of,
        "rows": [_row_as_json(row, table) for row in table.rows],
        "not_measured": [asdict(absent) for absent in table.absent],
        "targets": [asdict(verdict) | {"met": verdict.met} for verdict in table.verdicts],
    }


def _row_as_json(row: Row, table: Table) -> dict[str, object]:
    ratios = {key: round(row.cpu_s / floor.cpu_s, 3) for key in FLOORS if (floor := table.row(key))}
    latencies = {f"p{one}_s": latency for one in PERCENTILES if (latency := row.latency_s(one)) is not None}
    return {
        "key": row.key,
        "name": row.name,
        "messages_per_s": round(row.rate, 1) if row.cpu_s else None,
        "cpu_s_per_message": float(f"{row.cpu_s:.4g}"),
        "index_cpu_s_per_message": float(f"{row.helper_cpu_s:.4g}"),
        "cpu_ratio_to": ratios,
        **latencies,
        **({"peak_octets": row.peak_octets} if row.peak_octets else {}),
        "samples": [
            {key: value for key, value in asdict(sample).items() if value is not None} for sample in row.samples
        ],
    }


def _milliseconds(seconds: float | None) -> str:
    return "" if seconds is None else _figure(seconds * 1e3)


def _figure(value: float) -> str:
    """Three significant digits: more would claim a precision that loopback on a shared machine does not have."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
