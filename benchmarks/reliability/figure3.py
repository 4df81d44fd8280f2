"""RE-PO Figure 3: 227 annotators with about 176 labels each; does the mean of η̂ follow its initial value?"""

from typing import TYPE_CHECKING

import numpy as np

from benchmarks.reliability.trained import DEFAULT, PAPER, SMALL
from benchmarks.reliability.worlds import Job, Trained, World, train_all
from benchmarks.table import Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STARTS = (0.8, 0.9, 0.95, 0.99)
RELIABILITIES = tuple(float(eta) for eta in np.random.default_rng(3).beta(7, 2, 227).round(4))
WORLD = World(10_000, 4, RELIABILITIES)
SHORTENED = ("policy.tiny.hidden=32", "policy.tiny.layers=1", "train.epochs=1")
SPREAD = 0.01


def measure(quick: bool) -> tuple[list[Trained], list[Trained]]:
    """Return our trainings and those by the paper's rule, one for each start."""
    world, size, starts = (World(100, 4), SMALL, STARTS[::3]) if quick else (WORLD, SHORTENED, STARTS)
    rules = DEFAULT, PAPER
    results = train_all(
        [Job(world, (*size, *rule, f"reliability.initial={start}")) for rule in rules for start in starts]
    )
    return results[: len(starts)], results[len(starts) :]


def rows(quick: bool = False) -> list[Row]:
    """Return how far apart the means are."""
    ours, paper = measure(quick)
    starts = ", ".join(f"{trained.record['initial']:g}" for trained in ours)
    size = "10 annotators" if quick else "227 annotators, 40,000 labels, policy of 1 layer of 32, 1 epoch"
    means, means_of_paper = ([float(t.reliability.mean()) for t in results] for results in (ours, paper))
    spread, spread_of_paper = float(np.ptp(means)), float(np.ptp(means_of_paper))
    return [
        Row(
            f"{size}, η₀ ∈ {{{starts}}}: spread of mean η ({_shown(means)}; realised {ours[0].realised.mean():.3f})",
            f"≤ {SPREAD:g}",
            spread,
            None if quick else spread <= SPREAD,
        ),
        Row(f"the same by the paper's rule ({_shown(means_of_paper)})", "", spread_of_paper, None),
        Row("mean |η − realised agreement| by η₀, ours", "", _shown([t.error() for t in ours]), None),
        Row("the same by the paper's rule", "", _shown([t.error() for t in paper]), None),
    ]


def _shown(values: list[float]) -> str:
    return ", ".join(f"{value:.3f}" for value in values)


def draw(quick: bool = False) -> "Figure":
    """Return the histograms of η̂ by η₀, ours above the paper's rule."""
    from benchmarks.reliability.figures import histograms

    ours, paper = measure(quick)
    starts = STARTS[::3] if quick else STARTS
    return histograms({"ours": ours, "paper's rule": paper}, starts)
