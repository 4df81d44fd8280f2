"""Truths drawn by Bradley–Terry, the better answer with p = .8 on average, and annotators with few labels.

Nothing can be nearer to the true η than counting: the share of labels that agree with the drawn truth, its binomial
error and all.
"""

from benchmarks.reliability.trained import DEFAULT, PAPER, SMALL, SMALLER
from benchmarks.reliability.worlds import Job, Trained, World, annotators, train_all
from benchmarks.table import Row

SCALE = 1.1
"""Helpful parts differ by 1, 2 or 3 in 30, 12 and 2 of 44 comparisons: σ(1.1 · difference) is .801 on average."""
WORLDS = {
    "400 labels an annotator, one a comparison": World(4000, 1, utility_scale=SCALE),
    **{
        f"{4000 // number} labels an annotator, three a comparison": World(1334, 3, annotators(number), SCALE)
        for number in (10, 40, 80, 200)
    },
}


def rows(quick: bool = False) -> list[Row]:
    """Return mean |η̂ − true η|: default, paper's rule, and counting with every truth known."""
    worlds = {"60 labels an annotator": World(200, 3, utility_scale=SCALE)} if quick else WORLDS
    size = SMALL if quick else SMALLER
    results = iter(train_all([Job(world, (*size, *rule)) for world in worlds.values() for rule in (DEFAULT, PAPER)]))
    return [
        Row(
            f"dpo, policy of 1 layer of 64, stochastic truth, {name}: mean |η − true η| "
            f"(bound by counting {counting(ours, world):.4f})",
            "",
            f"default {error(ours, world):.4f}, paper {error(paper, world):.4f}",
            None,
        )
        for name, world in worlds.items()
        for ours, paper in [(next(results), next(results))]
    ]


def error(trained: Trained, world: World) -> float:
    """Return mean |η̂ − true η|."""
    return float((trained.reliability - trained.true(world)).abs().mean())


def counting(trained: Trained, world: World) -> float:
    """Return mean |share of right labels − true η|."""
    return float((trained.realised - trained.true(world)).abs().mean())
