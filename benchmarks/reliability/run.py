"""Measure every promise of repo.reliability beside its target; fail when one is missed.

    python -m benchmarks.reliability.run [--quick] [--only NAME …] [--output DIR]

`make bench-reliability` installs the peers, crowd-kit and cleanlab, beside the lock. What was not measured, for want of
a peer or of the shared data, counts as missed, except in the quick form.
"""

import argparse
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

from benchmarks.reliability import (
    clean,
    coins,
    cost,
    crowd,
    crowdlab,
    few,
    figure2,
    figure3,
    figures,
    hidden,
    intervals,
    one_label,
    scale,
    stochastic,
    theorem,
    trained,
)
from benchmarks.table import Row, conclude, print_rows
from repo.reliability.diagnostics import ReliabilityWarning

BENCHMARKS: list[tuple[str, Callable[[bool], list[Row]]]] = [
    ("theorem", theorem.rows),
    ("crowd", crowd.rows),
    ("crowdlab", crowdlab.rows),
    ("hidden", hidden.rows),
    ("one_label", one_label.rows),
    ("intervals", intervals.rows),
    ("few", few.rows),
    ("coins", coins.rows),
    ("cost", cost.rows),
    ("scale", scale.rows),
    ("trained", trained.rows),
    ("clean", clean.rows),
    ("stochastic", stochastic.rows),
    ("figure2", figure2.rows),
    ("figure3", figure3.rows),
]
FIGURES = {"figure2": figure2.draw, "figure3": figure3.draw}
RESULTS = Path(__file__).resolve().parents[1] / "results/reliability"
MINUTES = 25


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmarks named; return 1 when a target is missed."""
    options = _parse(arguments)
    warnings.simplefilter("ignore", ReliabilityWarning)
    started = time.perf_counter()
    results: dict[str, list[Row]] = {}
    for name, measure in BENCHMARKS:
        if options.only and name not in options.only:
            continue
        begin = time.perf_counter()
        results[name] = measure(options.quick)
        print_rows(name, results[name], time.perf_counter() - begin)
        if name in FIGURES:
            figures.save(FIGURES[name](options.quick), options.output / f"{name}.svg")
    minutes = (time.perf_counter() - started) / 60
    whole = not options.quick and not options.only
    results["total"] = [Row("minutes", f"≤ {MINUTES}", minutes, minutes <= MINUTES if whole else None)]
    print_rows("total", results["total"], 60 * minutes)
    return conclude(results, options.output, {"quick": options.quick})


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes, a few minutes; most targets not judged")
    parser.add_argument("--only", nargs="+", choices=[name for name, _ in BENCHMARKS], help="these benchmarks only")
    parser.add_argument("--output", type=Path, default=RESULTS, help="directory for table, JSON and figures")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
