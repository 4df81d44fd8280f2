"""Measure what large inputs cost in memory and time beside their targets; fail when one is missed.

    python -m benchmarks.scale.run [--only NAME …] [--rows N] [--output DIR]

Nothing is extrapolated: what was measured at a smaller size than promised is printed, not judged.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.scale import annotations, comparisons, evaluation, register
from benchmarks.table import Row, conclude, print_rows

SECTIONS: dict[str, Callable[[int | None], list[Row]]] = {
    "annotations": annotations.measure,
    "comparisons": comparisons.measure,
    "evaluation": evaluation.measure,
    "register": register.measure,
}
"""Section → its module's function of the number of rows; None stands for the promised size."""
RESULTS = Path(__file__).resolve().parents[1] / "results/scale"


def main(arguments: list[str] | None = None) -> int:
    """Measure the sections named; return 1 when a target is missed."""
    options = _parse(arguments)
    results: dict[str, list[Row]] = {}
    for name, measure in SECTIONS.items():
        if options.only and name not in options.only:
            continue
        begin = time.perf_counter()
        results[name] = measure(options.rows)
        print_rows(name, results[name], time.perf_counter() - begin)
    return conclude(results, options.output, {"rows": options.rows})


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(SECTIONS), help="these sections only")
    parser.add_argument("--rows", type=int, help="another size than the promised one")
    parser.add_argument("--output", type=Path, default=RESULTS, help="directory for the table and JSON")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
