"""This side: `repo.train` on a world, in a process of its own.

Two epochs; the first is the warm-up, the second is counted: every comparison of the world once, in whichever batches
the engine makes. The clock runs from the first epoch's last log record to the second's, so neither tokenizing nor the
reference's scores nor saving count. The kernel's peak is reset where the clock starts and read where it ends.
"""

import argparse
import json
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.memory import peak_bytes, reset_peak, resident_bytes
from benchmarks.speed.base import resident_with_base
from benchmarks.speed.worlds import World

if TYPE_CHECKING:
    from repo.settings import Settings

BATCH, LEARNING_RATE, BETA = 4, 1e-6, 0.1
"""Comparisons a step, and what else both sides are told."""


@dataclass
class Clock:
    """Receives the log records of an epoch of warm-up and of one that counts."""

    began: float | None = None
    ended: float = 0.0
    before: int = 0
    peak: int = 0
    first_loss: float | None = None

    def __call__(self, record: dict[str, float]) -> None:
        """Take the time and the memory."""
        self.ended, self.peak = time.perf_counter(), peak_bytes()
        if self.first_loss is None:
            self.first_loss = record["loss"]
        if self.began is None and record["epoch"] >= 1:
            self.before = resident_bytes()
            reset_peak()
            self.began = time.perf_counter()

    def measured(self) -> dict[str, Any]:
        """Return seconds, memory before and at the peak, and the first step's loss."""
        assert self.began is not None, "an epoch is logged at its end"
        return {
            "seconds": self.ended - self.began,
            "before_bytes": self.before,
            "peak_bytes": self.peak,
            "first_loss": self.first_loss,
        }


def settings_for(base: Path, world: World, estimator: str, batch: int) -> "Settings":
    """Return what a training on this world is told."""
    from repo import load_settings

    return load_settings(
        None,
        (
            f"policy.base={base}",
            "policy.precision=float32",
            f"policy.max_length={world.max_length}",
            f"policy.max_prompt_length={world.max_prompt_length}",
            f"train.loss_options={{beta: {BETA}}}",
            f"train.learning_rate={LEARNING_RATE}",
            f"train.batch_size={batch}",
            "train.epochs=2",
            "train.log_every=1",
            "train.checkpoint_every=0",
            f"reliability.estimator={estimator}",
        ),
    )


def measure(base: Path, world: World, comparisons: int, batch: int) -> dict[str, Any]:
    """Return what the counted epoch took, and what is resident with the base alone."""
    from repo import train

    settings = settings_for(base, world, "full", batch)
    table = world.comparisons(comparisons)
    loaded, clock = resident_with_base(base), Clock()
    with tempfile.TemporaryDirectory() as folder:
        train(table, settings, Path(folder), on_log=clock)
    return {
        **clock.measured(),
        "loaded_bytes": loaded,
        "comparisons": comparisons,
        "annotations": len(table),
        "tokens": _tokens(table),
    }


def _tokens(table: Any) -> int:
    """Return the tokens of all comparisons: the prompt once, each response with its end token."""
    each = table.drop_duplicates("comparison_id")
    words = sum(each[name].str.split().str.len().sum() for name in ("prompt", "response_a", "response_b"))
    return int(words) + 2 * len(each)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("base", type=Path)
    parser.add_argument("world", type=World.parse)
    parser.add_argument("comparisons", type=int)
    parser.add_argument("--batch", type=int, default=BATCH)
    options = parser.parse_args()
    print(json.dumps(measure(options.base, options.world, options.comparisons, options.batch)))
    sys.stdout.flush()
