"""Around EM: prior and start from what is known, choice of the coin model, intervals, the state to carry over."""

from collections.abc import Hashable, Mapping
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repo.reliability.estimators import Fit, Problem
from repo.reliability.expectation import Parameters
from repo.reliability.state import AnnotatorRecord, ReliabilityState

Array = NDArray[Any]


def prior_counts(
    annotators: list[Hashable], coins: int, mean: float, strength: float, state: ReliabilityState | None
) -> Array:
    """Return pseudo-counts (right, wrong) of every coin, [A, coins, 2]: the default prior plus the state's evidence.

    An annotator's coins share the default prior of `strength` votes.
    """
    counts = np.empty((len(annotators), coins, 2))
    counts[...] = strength * mean / coins, strength * (1 - mean) / coins
    if state is not None:
        if state.coins != coins:
            raise ValueError(
                f"prior_state has {state.coins} coin(s) per annotator, this fit {coins}: set coins={state.coins}"
            )
        for row, identifier in enumerate(annotators):
            if record := state.annotators.get(identifier):
                counts[row, :, 0] += record.right
                counts[row, :, 1] += record.wrong
    return counts


def start(
    annotators: list[Hashable],
    prior: Array,
    default_strength: float,
    initial: float,
    pinned: Mapping[Any, float],
) -> Array:
    """Return η at the start: `initial`; for annotators known from before, one vote's worth of it beside that."""
    known = prior.sum(2) > default_strength / prior.shape[1] * (1 + 1e-12)
    eta = np.where(known, (prior[..., 0] + initial) / (prior.sum(2) + 1), initial)
    for row, identifier in enumerate(annotators):
        if identifier in pinned:
            eta[row] = pinned[identifier]
    return eta


def bayesian_information_criterion(problem: Problem, log_likelihood: float) -> float:
    """Return log-likelihood − ½ · parameters · log M (comparisons are the observations); larger is better."""
    parameters = problem.model.coins * int((~problem.fixed).sum())
    return log_likelihood - 0.5 * parameters * float(np.log(problem.votes.comparison_count))


def interval(eta: Array, variance: Array, confidence: float) -> Array:
    """Return interval(s) normal on the logit scale, shape [..., 2]; `variance` is of logit η, inf gives (0, 1)."""
    quantile = NormalDist().inv_cdf((1 + confidence) / 2)
    inside = np.clip(eta, 1e-9, 1 - 1e-9)
    middle, half = np.log(inside) - np.log1p(-inside), quantile * np.sqrt(variance)
    return np.stack([_expit(middle - half), _expit(middle + half)], -1)


def _expit(x: Array) -> Array:
    return np.asarray(0.5 * np.tanh(0.5 * x) + 0.5)


def overall(tosses: Array, eta: Array) -> Array:
    """Return the reliability of each annotator, shape [A]: η, or with two coins their mean by expected tosses.

    Args:
        tosses: expected number of tosses of each coin, those of the prior included, shape [A, coins].
        eta: shape [A, coins].
    """
    return np.asarray((tosses * eta).sum(1) / tosses.sum(1))


def overall_variance(tosses: Array, eta: Array, variance: Array) -> Array:
    """Return the variance of the overall reliability's logit, shape [A]; the two coins are taken as independent."""
    if eta.shape[1] == 1:
        return variance[:, 0]
    share = tosses / tosses.sum(1, keepdims=True)
    mean = (share * eta).sum(1)
    spread = (share**2 * variance * (eta * (1 - eta)) ** 2).sum(1)
    return np.asarray(spread / (mean * (1 - mean)) ** 2)


def next_state(
    name: str,
    problem: Problem,
    fit: Fit,
    variance: Array,
    old: ReliabilityState | None,
) -> ReliabilityState:
    """Return the evidence after this fit: the old one (already faded) for annotators not seen; new for those seen.

    A variance v of logit η is that of 1 / (v η(1 − η)) certain votes, a share η of them right.
    """
    parameters = fit.parameters
    records = {} if old is None else dict(old.annotators)
    labels = problem.number.sum(1)
    worth = 1 / np.maximum(variance * parameters.eta * (1 - parameters.eta), 1e-300)
    right = np.maximum(worth * parameters.eta - problem.default_prior[0], 0.0)
    wrong = np.maximum(worth * (1 - parameters.eta) - problem.default_prior[1], 0.0)
    for row, identifier in enumerate(problem.votes.annotators):
        if not problem.fixed[row]:
            before = records[identifier].labels if identifier in records else 0.0
            records[identifier] = AnnotatorRecord(
                tuple(right[row].tolist()), tuple(wrong[row].tolist()), before + float(labels[row])
            )
    return ReliabilityState(name, problem.model.coins, parameters.temperature, parameters.intercept, records)


def start_parameters(eta: Array, problem: Problem, state: ReliabilityState | None) -> Parameters:
    """Return where EM starts: c = 1 / rms(S) where it is estimated (or the state's), else 1."""
    calibration = problem.calibration
    temperature = float(np.exp(calibration.center)) if calibration.temperature else 1.0
    if state is not None and calibration.temperature:
        temperature = state.temperature
    return Parameters(eta, temperature, 0.0)
