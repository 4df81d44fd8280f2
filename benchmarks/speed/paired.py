"""Trainings with and without RE-PO in turn in one process, every step timed.

Both take the same comparisons in the same steps. Two processes differ by several percent without any reason of their
own, where memory happens to lie for one; two steps of one process differ by less.
"""

import argparse
import json
import tempfile
import time
from itertools import pairwise
from pathlib import Path

from benchmarks.speed.ours import settings_for
from benchmarks.speed.worlds import World

ESTIMATORS = ("full", "none")
"""RE-PO's default, and every label believed."""


def measure(base: Path, world: World, comparisons: int, turns: int) -> dict[str, list[list[float]]]:
    """Return the seconds of each step by estimator and turn; each training's first step, which sets up, is left out."""
    from repo import train

    table = world.comparisons(comparisons)
    seconds: dict[str, list[list[float]]] = {estimator: [] for estimator in ESTIMATORS}
    for turn in range(turns):
        # Whoever goes second finds the processor warm: they take it in turn to be first.
        for estimator in ESTIMATORS[:: -1 if turn % 2 else 1]:
            times: list[float] = []
            with tempfile.TemporaryDirectory() as folder:
                train(
                    table,
                    settings_for(base, world, f"reliability.estimator={estimator}", "train.log_every=1"),
                    Path(folder),
                    on_log=lambda _, times=times: times.append(time.perf_counter()),
                )
            seconds[estimator].append([after - before for before, after in pairwise(times)])
    return seconds


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("base", type=Path)
    parser.add_argument("world", type=World.parse)
    parser.add_argument("comparisons", type=int)
    parser.add_argument("turns", type=int)
    options = parser.parse_args()
    print(json.dumps(measure(options.base, options.world, options.comparisons, options.turns)))
