"""Temperature where most comparisons have one vote: annotators as draws from one distribution.

Estimating c together with every η inflates c when annotators have few votes each: A reliabilities fitted to the same
votes drag it along (Neyman & Scott 1948). Here η_k is integrated out instead, over a discrete distribution on GRID
whose weights are estimated too (Kiefer & Wolfowitz 1956), every vote on its own:

    l(c, π) = Σ_k log Σ_g π_g Π_{votes v of k} (η_g p_v + (1 − η_g)(1 − p_v)),    p_v = σ(label · c · S)
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from repo.reliability.em.calibration import CalibrationPrior
from repo.reliability.em.expectation import Expectation, Parameters, sigmoid
from repo.reliability.em.votes import Votes

Array = NDArray[Any]

GRID = 1 / (1 + np.exp(-np.linspace(-5.2, 5.2, 41)))
"""About as far apart as MANY_VOTES certain votes tell reliabilities apart."""

MANY_VOTES = 200
"""With more votes an annotator on average, the bias of a joint fit is small, and GRID would be too coarse."""

MAX_VOTES = 50_000
"""A sample of this many votes fixes c to a few percent."""

TOLERANCE = 1e-4
MAX_ITERATIONS = 100


def mostly_alone(votes: Votes) -> bool:
    """Return whether most votes are the only one on their comparison: only margins tell c and η apart."""
    return 2 * int((votes.group_sizes() == 1).sum()) > votes.size


def few_each(votes: Votes) -> bool:
    """Return whether annotators have few votes each."""
    return votes.size < MANY_VOTES * len(votes.annotators)


def mixture_temperature(votes: Votes, prior: CalibrationPrior, eta: Array, fixed: Array) -> float:
    """Return c at the maximum of l(c, π) plus the weak prior on log c.

    Args:
        votes: with margins.
        prior: of log c.
        eta: the reliability of pinned annotators, shape [A].
        fixed: which annotators are pinned, shape [A].
    """
    annotator, label, margin, gold = _sample(votes)
    # Of a hundred thousand annotators a sample may know a few: A are those in it.
    people, annotator = np.unique(annotator, return_inverse=True)
    eta, fixed = eta[people], fixed[people]
    # Each annotator's possible reliabilities, [G, A]; a pinned one has a single one.
    grid = np.where(fixed, eta, GRID[:, None])
    weights = np.full(len(GRID), 1 / len(GRID))
    temperature = float(np.exp(prior.center))
    for _ in range(MAX_ITERATIONS):
        logit = temperature * margin
        p = np.where(gold == 0, sigmoid(logit), gold > 0)
        p_label = np.where(label > 0, p, 1 - p)
        responsibility = _responsibilities(grid, weights, annotator, p_label)
        weights = responsibility[:, ~fixed].sum(1) + 1 / len(GRID)
        weights /= weights.sum()
        w = _posterior(grid, responsibility, annotator, p_label)
        sums = _calibration_sums(logit, np.where(label > 0, w, 1 - w))
        proposal, _ = prior.step(Parameters(eta[:, None], temperature), sums)
        moved = abs(np.log(proposal / temperature))
        temperature = proposal
        if moved < TOLERANCE:
            break
    return temperature


def _sample(votes: Votes) -> tuple[Array, Array, Array, Array]:
    rows = np.arange(votes.size)
    if votes.size > MAX_VOTES:
        rows = np.sort(np.random.default_rng(0).choice(votes.size, MAX_VOTES, replace=False, shuffle=False))
    comparison = rows if votes.start is None else np.searchsorted(votes.start, rows, side="right") - 1
    assert votes.margin is not None
    gold = np.zeros(len(rows)) if votes.gold is None else votes.gold[comparison]
    code = votes.code[rows]
    return code // votes.kinds, np.where(code % 2 == 1, 1, -1), votes.margin[comparison].astype(float), gold


def _responsibilities(grid: Array, weights: Array, annotator: Array, p_label: Array) -> Array:
    """Return P(η_k = grid point | k's votes), shape [G, A]."""
    log_likelihood = np.empty(grid.shape)
    for point, reliability in enumerate(grid):
        eta = reliability[annotator]
        log_likelihood[point] = np.bincount(annotator, np.log(eta * p_label + (1 - eta) * (1 - p_label)))
    log_likelihood += np.log(weights)[:, None]
    log_likelihood -= log_likelihood.max(0)
    likelihood = np.exp(log_likelihood)
    return np.asarray(likelihood / likelihood.sum(0))


def _posterior(grid: Array, responsibility: Array, annotator: Array, p_label: Array) -> Array:
    """Return w of each vote, averaged over what its annotator's reliability may be."""
    w = np.zeros(len(p_label))
    for reliability, share in zip(grid, responsibility, strict=True):
        eta = reliability[annotator]
        right = eta * p_label
        w += share[annotator] * right / (right + (1 - eta) * (1 - p_label))
    return w


def _calibration_sums(logit: Array, q: Array) -> Expectation:
    p = sigmoid(logit)
    sums = Expectation.empty((1, 2))
    sums.gradient[0] = ((q - p) * logit).sum()
    sums.complete[0, 0] = (p * (1 - p) * logit**2).sum()
    sums.missing[0, 0] = (q * (1 - q) * logit**2).sum()
    return sums
