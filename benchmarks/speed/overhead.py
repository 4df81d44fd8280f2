"""What RE-PO costs: the default estimator against believing every label, in turn."""

import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.child import in_its_own_process
from benchmarks.speed.base import make_base
from benchmarks.speed.beside import QUICK, QUIET, rates
from benchmarks.speed.worlds import ULTRAFEEDBACK
from benchmarks.table import Row

COMPARISONS, TURNS = 16, 5
PERCENT = 2.0


def rows(quick: bool) -> list[Row]:
    """Return by how much RE-PO is slower than the plain loss."""
    if quick:
        world, comparisons, turns = ULTRAFEEDBACK.shortened(), QUICK, 1
    else:
        world, comparisons, turns = ULTRAFEEDBACK, COMPARISONS, TURNS
    runs: dict[str, list[dict[str, Any]]] = {"full": [], "none": []}
    with tempfile.TemporaryDirectory() as folder:
        base = make_base(Path(folder, "base"))
        for _ in range(turns):
            for estimator, measured in runs.items():
                arguments = (base, world.text(), comparisons, "--estimator", estimator)
                measured.append(in_its_own_process("speed.ours", *arguments, environment=QUIET))
    slower = [
        100 * (full["seconds"] / none["seconds"] - 1) for full, none in zip(runs["full"], runs["none"], strict=True)
    ]
    percent = median(slower)
    return [
        Row("RE-PO: comparisons a second", "", median(rates(runs["full"], "comparisons")), None),
        Row("plain loss: comparisons a second", "", median(rates(runs["none"], "comparisons")), None),
        Row(
            f"RE-PO slower than the plain loss by, % ({turns} turns, {min(slower):.1f} to {max(slower):.1f})",
            f"≤ {PERCENT:g}",
            percent,
            None if quick else percent <= PERCENT,
        ),
    ]
