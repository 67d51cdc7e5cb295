"""`make bench`: the comparison tables, side by side in one run, on loopback.

Everything is started here on free ports and stopped at the end. The CPU time of the program in the middle is what is
compared: it says what a message costs whatever the machine; messages per second are of the whole chain, in which load
generator, program and sink share the cores.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from bench import index, machine, measure, registry, report, smpp, smtp
from bench.measure import Table

HALVES = {"smtp": smtp.tables, "smpp": smpp.tables, "index": index.tables, "registry": registry.tables}
RESULTS = Path(__file__).parent / "results"


def main(arguments: list[str] | None = None) -> int:
    """Run the tables; 0 when every target was met, 1 when one was missed."""
    options = _options(arguments)
    plan = measure.QUICK if options.quick else measure.FULL
    console = Console()
    load_before = machine.load_average()
    facts = machine.facts()
    console.print(
        f"{facts['cpu']}, {facts['cores']} cores, kernel {facts['kernel']}, Python {facts['python']} "
        f"({facts['interpreter_ns']} ns)"
    )
    console.print(f"{plan.rounds} interleaved rounds of {plan.seconds:g} s, medians; load average {load_before:.2f}")
    tables: list[Table] = []
    with tempfile.TemporaryDirectory(prefix="izinli-bench-") as name:
        directory = Path(name)
        directory.chmod(0o755)  # Postfix's daemons and smtp-sink are other users
        for half in [options.only] if options.only else HALVES:
            for table in HALVES[half](directory, plan, profile=options.profile):
                tables.append(table)
                report.show(console, table)
        written = [report.keep_profile(RESULTS, directory, table) for table in tables] if options.profile else []
    if not (options.quick or options.profile or options.only):
        written = [report.write(RESULTS, tables, load_before=load_before)]
    for path in filter(None, written):
        console.print(f"written: {path.relative_to(RESULTS.parents[1])}")
    return 0 if all(verdict.met for table in tables for verdict in table.verdicts) else 1


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.run", description=__doc__)
    parser.add_argument("--only", choices=HALVES, help="one half of the tables; the figures are not kept")
    parser.add_argument("--quick", action="store_true", help="one short round; the figures are not kept")
    parser.add_argument(
        "--profile", action="store_true", help="sample the gateway; its profile is kept, the figures are not"
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
