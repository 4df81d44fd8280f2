"""RE-PO Figure 2: noise injected into one annotator's labels, alone (a) or beside a second one without any (b)."""

from typing import TYPE_CHECKING

from benchmarks.reliability.trained import DEFAULT, PAPER, SMALL, SMALLER
from benchmarks.reliability.worlds import Job, Trained, World, train_all
from benchmarks.table import Row

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

BASE = 0.935
NOISE = (0.0, 0.2, 0.4, 0.6, 0.8)
COMPARISONS = 2000
ANCHOR = 0.05
"""Share of comparisons with gold where the only annotator is wrong more often than right: labels alone would be
explained as well by the mirror image."""
TOLERANCE = 0.03


def reliability(noise: float) -> float:
    """Return η after a share of labels was turned round."""
    return BASE * (1 - noise) + (1 - BASE) * noise


def anchored(alone: bool, noise: float) -> bool:
    """Return whether this point has gold."""
    return alone and reliability(noise) < 0.5


def points(quick: bool) -> list[tuple[bool, float]]:
    """Return (alone, noise) of each point."""
    return [(alone, noise) for alone in (True, False) for noise in (NOISE[1::3] if quick else NOISE)]


def measure(quick: bool) -> list[tuple[Trained, Trained]]:
    """Return (ours, paper's rule) at each point."""
    size = SMALL if quick else SMALLER
    jobs = []
    for alone, noise in points(quick):
        both = (reliability(noise),) if alone else (reliability(noise), BASE)
        gold = anchored(alone, noise)
        world = World(200 if quick else COMPARISONS, 1, both, gold=ANCHOR if gold else 0.0)
        anchor = ("reliability.use_gold=true",) if gold else ()
        jobs += [Job(world, (*size, *anchor, *rule)) for rule in (DEFAULT, PAPER)]
    results = train_all(jobs)
    return list(zip(results[::2], results[1::2], strict=True))


def rows(quick: bool = False) -> list[Row]:
    """Return the greatest |η̂ − realised agreement| at each point."""
    form = "200 labels" if quick else f"{COMPARISONS} labels, policy of 1 layer of 64"
    result = []
    for (alone, noise), (ours, paper) in zip(points(quick), measure(quick), strict=True):
        who = "(a) one annotator" if alone else "(b) two annotators"
        anchor = f", anchor: gold on {ANCHOR:.0%} of comparisons" if anchored(alone, noise) else ""
        detail = f"truth {_shown(ours.realised)}, ours {_shown(ours.reliability)}, paper {_shown(paper.reliability)}"
        error = float((ours.reliability - ours.realised).abs().max())
        result.append(
            Row(
                f"{who}, {form}, noise {noise:g}{anchor}: |η − realised agreement| ({detail})",
                f"≤ {TOLERANCE:g}",
                error,
                None if quick else error <= TOLERANCE,
            )
        )
    return result


def _shown(values: "pd.Series[float]") -> str:
    return " & ".join(f"{value:.3f}" for value in values)


def draw(quick: bool = False) -> "Figure":
    """Return η̂ by noise beside the truth, one panel for (a) and one for (b)."""
    from benchmarks.reliability.figures import estimates_by_noise

    panels: dict[str, list[tuple[float, Trained, Trained]]] = {"(a) one annotator": [], "(b) two annotators": []}
    for (alone, noise), (ours, paper) in zip(points(quick), measure(quick), strict=True):
        panels["(a) one annotator" if alone else "(b) two annotators"].append((noise, ours, paper))
    return estimates_by_noise(panels)
