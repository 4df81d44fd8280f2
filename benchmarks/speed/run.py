"""Measure the training engine beside TRL's and beside itself; fail when a target is missed.

    python -m benchmarks.speed.run [--quick] [--only NAME …] [--output DIR]

`make bench-speed` installs the peer, TRL, beside the lock. What was not measured, for want of the peer, of the shared
data or of the repository's history, counts as missed, except in the quick form. How time and memory grow with the
number of comparisons, a thousand to a million, is `make bench-scale`'s.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.reliability.figures import save
from benchmarks.speed import agreement, beside, dialogues, growth, overhead
from benchmarks.table import Row, conclude, print_rows

BENCHMARKS: list[tuple[str, Callable[[bool], list[Row]]]] = [
    ("agreement", agreement.rows),
    *((name, beside.rows_of(name)) for name in beside.CONTESTS),
    ("overhead", overhead.rows),
    ("dialogues", dialogues.rows),
    ("growth", growth.rows),
]
FIGURES = {"growth": growth.draw}
RESULTS = Path(__file__).resolve().parents[1] / "results/speed"


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmarks named; return 1 when a target is missed."""
    options = _parse(arguments)
    results: dict[str, list[Row]] = {}
    for name, measure in BENCHMARKS:
        if options.only and name not in options.only:
            continue
        begin = time.perf_counter()
        results[name] = measure(options.quick)
        print_rows(name, results[name], time.perf_counter() - begin)
        if name in FIGURES:
            save(FIGURES[name](options.quick), options.output / f"{name}.svg")
    return conclude(results, options.output, {"quick": options.quick, "cores": len(os.sched_getaffinity(0))})


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="everything in its smallest form; no target judged")
    parser.add_argument("--only", nargs="+", choices=[name for name, _ in BENCHMARKS], help="these benchmarks only")
    parser.add_argument("--output", type=Path, default=RESULTS, help="directory for table, JSON and figure")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
