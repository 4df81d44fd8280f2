"""Warnings with their evidence: when data cannot tell the solution from its mirror image, or tell nothing at all."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repo.reliability.em.algorithms import Fit, Options, Problem, e_step, full, objective
from repo.reliability.em.calibration import LOG_TEMPERATURE_SD
from repo.reliability.em.expectation import Parameters, sigmoid

Array = NDArray[Any]

NEAR_HALF = 0.05
LITTLE_OVERLAP = 0.05
FLAT = 0.02


class ReliabilityWarning(UserWarning):
    """The estimates stand on little, or may be the mirror image of the truth."""


def overlap(problem: Problem) -> float:
    """Return the share of comparisons with two votes or more."""
    return 0.0 if problem.votes.start is None else float((problem.votes.group_sizes() > 1).mean())


def sharpness(problem: Problem, fit: Fit) -> float:
    """Return the mean of (2p − 1)², p = σ(c·S + b): 0 for margins that say nothing, 1 for certain ones."""
    if problem.votes.margin is None:
        return 0.0
    p = sigmoid(problem.votes.margin * fit.parameters.temperature + fit.parameters.intercept)
    return float(np.mean((2 * p - 1) ** 2, dtype=np.float64))


def _contradiction(problem: Problem, evidence: Array, fit: Fit, options: Options) -> list[str]:
    """Try the mirror image, population included, where votes agree with each other but not with the margins."""
    turned = replace(problem, prior=evidence + (problem.prior - evidence)[..., ::-1])
    start = Parameters(np.where(problem.fixed[:, None], fit.parameters.eta, 1 - fit.parameters.eta), 1.0)
    start = replace(start, temperature=float(np.exp(problem.calibration.center)))
    other = full(turned, start, options)
    gain = other.history[-1] - objective(problem, fit.parameters, e_step(problem, fit.parameters))
    if gain <= 0:
        return []
    return [
        f"mirror image? the votes agree with one another and contradict the margins: turned round (mean η "
        f"{other.parameters.eta.mean():.3f} for {fit.parameters.eta.mean():.3f}) the log-likelihood is higher by "
        f"{gain:.1f}. Nothing was flipped; pin a trusted annotator, give gold comparisons, or start below ½ (initial)."
    ]


def _against_gold(problem: Problem, fit: Fit) -> list[str]:
    """Compare gold with what margins and votes, weighed by the fitted η, say of the same comparisons without it."""
    gold = problem.votes.gold
    if gold is None or not gold.any():
        return []
    alone = replace(problem, votes=replace(problem.votes, gold=None))
    direction = e_step(alone, fit.parameters, keep_direction=True).direction
    assert direction is not None
    known = gold != 0
    right, number = int(((direction > 0.5) == (gold > 0))[known].sum()), int(known.sum())
    # More wrong than right, by more than two standard deviations of guessing.
    if number - 2 * right <= 2 * number**0.5:
        return []
    return [
        f"the fit contradicts its own gold: without it, margins and votes point the right way on {right} of {number} "
        "gold comparisons. Either the gold is turned round, or most annotators are wrong and it anchors too few of "
        "them: check the gold's sides, give more of it, or pin a trusted annotator."
    ]


def diagnose(
    problem: Problem, evidence: Array, fit: Fit, options: Options, reliability: Array, labels: Array
) -> list[str]:
    """Return warnings, each with the numbers that raised it. Nothing is changed, least of all flipped.

    Args:
        problem: its prior is the evidence from before plus that of the population.
        evidence: pseudo-counts (right, wrong), shape [A, coins, 2].
        fit: where EM ended.
        options: it was run with.
        reliability: as published, shape [A].
        labels: how many, shape [A].
    """
    found = []
    common, sharp = overlap(problem), sharpness(problem, fit)
    anchored = bool(problem.fixed.any()) or (problem.votes.gold is not None and bool(problem.votes.gold.any()))
    seen = f"{common:.1%} of comparisons have several votes; mean (2p − 1)² of the margins {sharp:.3f}"
    if common < LITTLE_OVERLAP and sharp < FLAT:
        found.append(
            f"not identifiable: {seen}. The reliabilities stay near their starting value and prior. "
            "Collect several votes per comparison, give margins that say something, or anchor with gold comparisons."
        )
    average = float(np.average(reliability, weights=labels))
    mirror = "η → 1 − η with every direction turned round explains the labels as well or nearly so"
    anchor = "pin a trusted annotator or give gold comparisons to fix the sign"
    if average < 0.5 - NEAR_HALF and not anchored:
        found.append(
            f"mirror image? average reliability {average:.3f} is below ½ ({seen}): {mirror}. "
            f"Nothing was flipped; {anchor}."
        )
    elif average < 0.5 + NEAR_HALF and not anchored:
        found.append(f"average reliability {average:.3f} is near ½ ({seen}): {mirror}; {anchor}.")
    if problem.calibration.temperature:
        offset = float(problem.calibration.deviation(fit.parameters)[0])
        if abs(offset) > LOG_TEMPERATURE_SD:
            extreme = "separate the labels almost perfectly" if offset > 0 else "say nothing about the labels"
            found.append(
                f"the margins {extreme}: temperature {fit.parameters.temperature:.3g}, e^{offset:.1f} times what "
                "margins of size 1 have; the weak prior on log c decides how far it goes."
            )
            if offset < 0 and not anchored:
                found.extend(_contradiction(problem, evidence, fit, options))
    elif problem.votes.margin is not None and not np.any(problem.votes.margin):
        found.append("margin: all 0, so they say nothing and no temperature can be estimated.")
    found.extend(_against_gold(problem, fit))
    if not fit.converged:
        found.append(
            f"not converged after {fit.iterations} iterations (tolerance {options.tolerance:g}): raise max_iterations."
        )
    return found
