"""Time to the answer, not of one iteration: many annotators to convergence, intervals, the paper's rule on arrays."""

import time
import warnings
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from benchmarks.reliability.scale import best_of
from benchmarks.table import Row
from repo.reliability.diagnostics import ReliabilityWarning
from repo.reliability.em.votes import Array
from repo.reliability.estimator import AnnotatorReliability

LABELS_PER_ANNOTATOR = 10
SPREAD = 2.0
"""Deviation of the margins, which are calibrated."""
PEOPLE = 900
"""Who all answer one and the same question, besides their ordinary ones."""
FIT, INTERVALS = 20.0, 5.0
"""Seconds."""
GROWTH = 2.6
"""Time of twice the labels of twice the annotators: twice, and some for the caches."""


def annotations(size: int, votes: int, margins: bool) -> dict[str, Array]:
    """Return the arrays for fit: `size` labels, ten an annotator in any order, `votes` a comparison."""
    random = np.random.default_rng(0)
    annotators, comparisons = size // LABELS_PER_ANNOTATOR, size // votes
    margin = SPREAD * random.standard_normal(comparisons)
    truth = np.where(random.random(comparisons) < 1 / (1 + np.exp(-margin)), 1, -1)
    eta = random.beta(8, 2, annotators)
    comparison = np.repeat(np.arange(comparisons), votes)
    annotator = random.permutation(np.resize(np.arange(annotators), len(comparison)))
    right = random.random(len(comparison)) < eta[annotator]
    label = np.where(right, truth[comparison], -truth[comparison])
    arrays = {"annotator": annotator, "label": label, "comparison": comparison}
    return arrays | ({"margin": margin[comparison]} if margins else {})


def crowded(people: int) -> dict[str, Array]:
    """Return about ten labels each, three a comparison, and one more comparison that everybody judged."""
    arrays = annotations(LABELS_PER_ANNOTATOR * people, 3, margins=False)
    random = np.random.default_rng(1)
    one = {
        "annotator": np.arange(people),
        "label": np.where(random.random(people) < 0.8, 1, -1),
        "comparison": np.full(people, arrays["comparison"].max() + 1),
    }
    return {name: np.concatenate([arrays[name], one[name]]) for name in arrays}


def timed(action: Callable[[], Any]) -> tuple[float, Any]:
    """Return the wall time in seconds and what came out."""
    begin = time.perf_counter()
    result = action()
    return time.perf_counter() - begin, result


def fitted(arrays: dict[str, Array], coins: Literal[1, 2, "auto"] = "auto", estimator: str = "full") -> Any:
    """Return the fit, without its warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReliabilityWarning)
        return AnnotatorReliability(coins=coins, estimator=estimator).fit(**arrays)


def rows(quick: bool = False) -> list[Row]:
    """Return seconds to the converged answer, seconds to two-coin intervals, and the growth of the paper's rule."""
    size = 10**4 if quick else 10**6
    return [
        converged(size, 3, margins=False, quick=quick),
        converged(size, 1, margins=True, quick=quick),
        intervals(PEOPLE // 10 if quick else PEOPLE, quick),
        paper(size // 10, quick),
    ]


def converged(size: int, votes: int, margins: bool, quick: bool) -> Row:
    """Return the seconds that the default takes for everybody's reliability."""
    arrays = annotations(size, votes, margins)
    seconds, fit = timed(lambda: fitted(arrays))
    end = f"{'converged' if fit.converged_ else 'not converged'} in {fit.iterations_} iterations"
    what = f"{size:.0e} labels of {size // LABELS_PER_ANNOTATOR:.0e} annotators, {votes} a comparison, "
    what += f"{'with' if margins else 'without'} margins: seconds to the answer ({end})"
    return Row(what, f"≤ {FIT:g}, converged", seconds, None if quick else fit.converged_ and seconds <= FIT)


def intervals(people: int, quick: bool) -> Row:
    """Return the seconds of a two-coin fit and its intervals where everybody judged one of the comparisons."""
    arrays = crowded(people)
    seconds, _ = timed(lambda: fitted(arrays, coins=2).interval_)
    what = f"{people} people, ten labels each and one question that all answered: seconds to two-coin intervals"
    return Row(what, f"≤ {INTERVALS:g}", seconds, None if quick else seconds <= INTERVALS)


def paper(size: int, quick: bool) -> Row:
    """Return how many times longer the paper's rule takes for twice as many labels of twice as many annotators."""
    half, whole = annotations(size, 3, margins=False), annotations(2 * size, 3, margins=False)
    times = [best_of(2, lambda arrays=arrays: fitted(arrays, estimator="paper")) for arrays in (half, whole)]  # type: ignore[misc]
    growth = times[1] / times[0]
    what = f"paper's rule, {2 * size:.0e} labels against {size:.0e} ({times[1]:.3g} s against {times[0]:.3g} s): times"
    return Row(what, f"≤ {GROWTH:g}", growth, None if quick else growth <= GROWTH)
