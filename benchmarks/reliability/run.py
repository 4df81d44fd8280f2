"""Measure every promise of repo.reliability beside its target; fail when one is missed.

    python -m benchmarks.reliability.run [--quick] [--only NAME …] [--output DIR]

crowd-kit is compared with where it is installed (pip install crowd-kit); otherwise its rows say "not measured".
"""

import argparse
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from benchmarks.reliability import crowd, intervals, one_label, scale, theorem
from benchmarks.reliability.table import Row
from repo.files import write_json, write_text
from repo.reliability.diagnostics import ReliabilityWarning

BENCHMARKS: list[tuple[str, Callable[[bool], list[Row]]]] = [
    ("theorem", theorem.rows),
    ("crowd", crowd.rows),
    ("one_label", one_label.rows),
    ("intervals", intervals.rows),
    ("scale", scale.rows),
]


def markdown(results: dict[str, list[Row]]) -> str:
    """Return all rows as one table."""
    lines = ["| | what | target | measured | |", "|---|---|---|---|---|"]
    for name, rows in results.items():
        for row in rows:
            value = row.measured if isinstance(row.measured, str) else f"{row.measured:.4g}"
            verdict = {True: "ok", False: "**missed**", None: ""}[row.ok]
            what = row.name.replace("|", "\\|")
            lines.append(f"| {name} | {what} | {row.target} | {value} | {verdict} |")
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmarks named; return 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes, under a minute")
    parser.add_argument("--only", nargs="+", choices=[name for name, _ in BENCHMARKS], help="these benchmarks only")
    parser.add_argument("--output", type=Path, help="directory for results.json and results.md")
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore", ReliabilityWarning)
    results: dict[str, list[Row]] = {}
    for name, measure in BENCHMARKS:
        if options.only and name not in options.only:
            continue
        begin = time.perf_counter()
        results[name] = measure(options.quick)
        print(f"\n{name} ({time.perf_counter() - begin:.1f} s)")
        for row in results[name]:
            print("  " + row.text())
    missed = [row for rows in results.values() for row in rows if row.ok is False]
    if options.output:
        values = {name: [asdict(row) for row in rows] for name, rows in results.items()}
        write_json(options.output / "results.json", {"quick": options.quick, "benchmarks": values})
        write_text(options.output / "results.md", markdown(results))
    print(f"\n{len(missed)} target(s) missed")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
