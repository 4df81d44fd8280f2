"""Measure the training engine beside TRL's and beside itself; fail when a target is missed.

    python -m benchmarks.speed.run [--quick] [--only NAME …] [--output DIR]

`make bench-speed` installs the peer, TRL, beside the lock. What was not measured, for want of the peer, of the shared
data or of the repository's history, counts as missed, except in the quick form. How time and memory grow with the
number of comparisons, a thousand to a million, is `make bench-scale`'s.
"""

import os
import sys
from pathlib import Path

from benchmarks.running import Sections, measure_sections, parse_options
from benchmarks.speed import agreement, beside, dialogues, growth, head, overhead
from benchmarks.table import conclude

BENCHMARKS: Sections = [
    ("agreement", agreement.rows),
    *((name, beside.rows_of(name)) for name in beside.CONTESTS),
    ("overhead", overhead.rows),
    ("dialogues", dialogues.rows),
    ("head", head.rows),
    ("growth", growth.rows),
]
FIGURES = {"growth": growth.draw}
RESULTS = Path(__file__).resolve().parents[1] / "results/speed"


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmarks named; return 1 when a target is missed."""
    quick = "everything in its smallest form; no target judged"
    options = parse_options(__doc__, quick, [name for name, _ in BENCHMARKS], RESULTS, arguments)
    results = measure_sections(BENCHMARKS, FIGURES, options)
    return conclude(results, options.output, {"quick": options.quick, "cores": len(os.sched_getaffinity(0))})


if __name__ == "__main__":
    sys.exit(main())
