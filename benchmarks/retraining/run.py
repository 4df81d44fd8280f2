"""Measure retraining beside its targets; fail when one is missed.

python -m benchmarks.retraining.run [--only NAME …] [--output DIR]
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.retraining import drift, look, warm
from benchmarks.table import Row, conclude, print_rows

SECTIONS: dict[str, Callable[[], list[Row]]] = {"look": look.measure, "drift": drift.measure, "warm": warm.measure}
RESULTS = Path(__file__).resolve().parents[1] / "results/retraining"


def main(arguments: list[str] | None = None) -> int:
    """Measure the sections named; return 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(SECTIONS), help="these sections only")
    parser.add_argument("--output", type=Path, default=RESULTS, help="directory for the table and JSON")
    options = parser.parse_args(arguments)
    results: dict[str, list[Row]] = {}
    for name, measure in SECTIONS.items():
        if not options.only or name in options.only:
            begin = time.perf_counter()
            results[name] = measure()
            print_rows(name, results[name], time.perf_counter() - begin)
    return conclude(results, options.output, {})


if __name__ == "__main__":
    sys.exit(main())
