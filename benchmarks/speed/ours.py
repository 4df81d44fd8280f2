"""This side: `repo.train` on a world, in a process of its own.

Two epochs; the first is the warm-up, the second is counted: every comparison of the world once, in whichever batches
the engine makes. The clock runs from the end of the first epoch to that of the second, so neither tokenizing nor the
reference's scores nor saving count. The peak is reset where the clock starts and read where it ends.
"""

import argparse
import json
import math
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.speed.base import held_with_base
from benchmarks.speed.device import held_bytes, now, peak_bytes, reset_peak
from benchmarks.speed.worlds import World

if TYPE_CHECKING:
    from repo.settings import Settings

BATCH, LEARNING_RATE, BETA = 4, 1e-6, 0.1
"""Comparisons a step, and what else both sides are told."""


@dataclass
class Clock:
    """Receives the log record that ends the warm-up's epoch, and the one that ends the counted one."""

    began: float | None = None
    ended: float = 0.0
    before: int = 0
    peak: int = 0

    def __call__(self, record: dict[str, float]) -> None:
        """Take the time and the memory."""
        self.ended, self.peak = now(), peak_bytes()
        if self.began is None and record["epoch"] >= 1:
            self.before = held_bytes()
            reset_peak()
            self.began = now()

    def measured(self) -> dict[str, Any]:
        """Return seconds, and memory before and at the peak."""
        assert self.began is not None, "an epoch is logged at its end"
        return {"seconds": self.ended - self.began, "before_bytes": self.before, "peak_bytes": self.peak}


def settings_for(base: Path, world: World, *others: str) -> "Settings":
    """Return what a training on this world is told: in float32 on a CPU, and in bfloat16 on a GPU."""
    from repo import load_settings

    return load_settings(
        None,
        (
            f"policy.base={base}",
            f"policy.max_length={world.max_length}",
            f"policy.max_prompt_length={world.max_prompt_length}",
            f"train.loss_options={{beta: {BETA}}}",
            f"train.learning_rate={LEARNING_RATE}",
            f"train.batch_size={BATCH}",
            "train.epochs=2",
            "train.checkpoint_every=0",
            *others,
        ),
    )


def measure(base: Path, world: World, comparisons: int, batch: int = BATCH, rank: int = 0) -> dict[str, Any]:
    """Return what the counted epoch took, and what is held with the base alone.

    Args:
        base: a policy's folder.
        world, comparisons: what it is trained on.
        batch: comparisons a step.
        rank: of the adapters that are trained; 0: all weights are.
    """
    from repo import train

    steps = math.ceil(comparisons / batch)
    adapters = (f"policy.lora.rank={rank}",) if rank else ()
    settings = settings_for(base, world, f"train.batch_size={batch}", f"train.log_every={steps}", *adapters)
    table = world.comparisons(comparisons)
    loaded, clock = held_with_base(base), Clock()
    with tempfile.TemporaryDirectory() as folder:
        result = train(table, settings, Path(folder), on_log=clock)
    return {
        **clock.measured(),
        "first_loss": result.summary["first_dpo_loss"],
        "head_kernel_unused": result.summary["head_kernel"]["unused_because"],
        "loaded_bytes": loaded,
        "comparisons": comparisons,
        "annotations": len(table),
        "tokens": _tokens(table, "prompt", "response_a", "response_b"),
        "response_tokens": _tokens(table, "response_a", "response_b"),
    }


def _tokens(table: Any, *texts: str) -> int:
    """Return the tokens of these texts of all comparisons, with the end token of each response."""
    each = table.drop_duplicates("comparison_id")
    return int(sum(each[name].str.split().str.len().sum() for name in texts)) + 2 * len(each)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("base", type=Path)
    parser.add_argument("world", type=World.parse)
    parser.add_argument("comparisons", type=int)
    parser.add_argument("--batch", type=int, default=BATCH)
    parser.add_argument("--rank", type=int, default=0)
    options = parser.parse_args()
    print(json.dumps(measure(options.base, options.world, options.comparisons, options.batch, options.rank)))
    sys.stdout.flush()
