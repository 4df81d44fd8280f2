"""What the E-step while training is for: the policy's accuracy where most labels are worth little.

Ten annotators, two of them good (.9), six hardly better than coins (.6), two mostly wrong (.3); three of them judge
each of 500 comparisons, and there is one epoch. With one label a comparison the default trains as the paper does.
"""

import numpy as np

from benchmarks.reliability.trained import DEFAULT, NONE, PAPER, SMALL
from benchmarks.reliability.worlds import Job, World, train_all
from benchmarks.table import Row

RELIABILITIES = (0.9, 0.9, *[0.6] * 6, 0.3, 0.3)
LOSSES = ("dpo", "ipo")
SEEDS = tuple(range(1, 9))
"""Accuracies are some .04 apart from seed to seed, and a hundredth in a starting η moves one by as much: three tell
nothing of a hundredth."""
HELD_OUT = 400


def rows(quick: bool = False) -> list[Row]:
    """Return the mean accuracy on comparisons without noise: default, paper's rule, plain training."""
    comparisons, seeds, losses = (60, SEEDS[:1], LOSSES[:1]) if quick else (500, SEEDS, LOSSES)
    size = SMALL if quick else ("train.epochs=1",)
    jobs = [
        Job(
            World(comparisons, 3, RELIABILITIES, seed=seed),
            (*size, f"train.loss={loss}", f"train.seed={seed}", *rule),
            HELD_OUT,
        )
        for loss in losses
        for rule in (DEFAULT, PAPER, NONE)
        for seed in seeds
    ]
    accuracy = np.array([trained.accuracy for trained in train_all(jobs)]).reshape(len(losses), 3, len(seeds))
    result = []
    for loss, (default, paper, plain) in zip(losses, accuracy.mean(2), strict=True):
        shown = f"default {default:.3f}, paper {paper:.3f}, plain training {plain:.3f}"
        name = f"{loss}, {comparisons} comparisons by three of ten mostly bad annotators, {len(seeds)} seeds: "
        ok = None if quick else bool(default >= max(paper, plain))
        result.append(Row(name + "accuracy without noise", "default the highest", shown, ok))
    return result
