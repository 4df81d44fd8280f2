"""Measure every promise of repo.reliability beside its target; fail when one is missed.

    python -m benchmarks.reliability.run [--quick] [--only NAME …] [--output DIR]

`make bench-reliability` installs the peers, crowd-kit and cleanlab, beside the lock. What was not measured, for want of
a peer or of the shared data, counts as missed, except in the quick form.
"""

import sys
import time
import warnings
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
    hidden,
    intervals,
    one_label,
    scale,
    stochastic,
    theorem,
    trained,
)
from benchmarks.running import Sections, measure_sections, parse_options
from benchmarks.table import Row, conclude, print_rows
from repo.reliability.diagnostics import ReliabilityWarning

BENCHMARKS: Sections = [
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
    quick = "small sizes, a few minutes; most targets not judged"
    options = parse_options(__doc__, quick, [name for name, _ in BENCHMARKS], RESULTS, arguments)
    warnings.simplefilter("ignore", ReliabilityWarning)
    started = time.perf_counter()
    results = measure_sections(BENCHMARKS, FIGURES, options)
    minutes = (time.perf_counter() - started) / 60
    whole = not options.quick and not options.only
    results["total"] = [Row("minutes", f"≤ {MINUTES}", minutes, minutes <= MINUTES if whole else None)]
    print_rows("total", results["total"], 60 * minutes)
    return conclude(results, options.output, {"quick": options.quick})


if __name__ == "__main__":
    sys.exit(main())
