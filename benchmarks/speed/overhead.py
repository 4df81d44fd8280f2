"""What RE-PO costs: the default estimator against believing every label, step by step of the same comparisons."""

import tempfile
from itertools import chain
from pathlib import Path
from statistics import median, quantiles

from benchmarks.child import in_its_own_process
from benchmarks.speed.base import make_base
from benchmarks.speed.beside import QUICK, QUIET
from benchmarks.speed.worlds import ULTRAFEEDBACK
from benchmarks.table import Row

COMPARISONS, TURNS = 16, 8
PERCENT = 2.0


def rows(quick: bool) -> list[Row]:
    """Return by how much RE-PO is slower than the plain loss."""
    if quick:
        world, comparisons, turns = ULTRAFEEDBACK.shortened(), QUICK, 1
    else:
        world, comparisons, turns = ULTRAFEEDBACK, COMPARISONS, TURNS
    with tempfile.TemporaryDirectory() as folder:
        base = make_base(Path(folder, "base"))
        measured = in_its_own_process("speed.paired", base, world.text(), comparisons, turns, environment=QUIET)
    full, none = (list(chain.from_iterable(measured[estimator])) for estimator in ("full", "none"))
    slower = [100 * (ours / plain - 1) for ours, plain in zip(full, none, strict=True)]
    percent = median(slower)
    low, _, high = quantiles(slower, n=4) if len(slower) > 1 else slower * 3
    return [
        Row("RE-PO: seconds a step", "", median(full), None),
        Row("plain loss: seconds a step", "", median(none), None),
        Row(
            f"RE-PO slower than the plain loss by, % (median of {len(slower)} steps, half: {low:.1f} to {high:.1f})",
            f"≤ {PERCENT:g}",
            percent,
            None if quick else percent <= PERCENT,
        ),
    ]
