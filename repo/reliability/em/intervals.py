"""Intervals for the reliabilities, from the information about them and from the population they are drawn from."""

from dataclasses import replace
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repo.reliability.em.algorithms import Problem
from repo.reliability.em.expectation import Parameters, log_odds, sigmoid
from repo.reliability.em.left_out import opinions
from repo.reliability.em.population import (
    LEVELS,
    MOST_PEOPLE,
    OPINIONS,
    Likelihood,
    Population,
    fit_population,
    log_density,
)

Array = NDArray[Any]

SHARP = 0.25
"""Where the labels alone leave logit η a smaller standard deviation, their likelihood is taken to be normal."""

STEPS = np.linspace(-6, 6, 121)
"""Standard deviations at which such a likelihood is looked at."""


def interval(eta: Array, variance: Array, confidence: float) -> Array:
    """Return interval(s) normal on the logit scale, shape [..., 2]; `variance` is of logit η, inf gives (0, 1)."""
    quantile = NormalDist().inv_cdf((1 + confidence) / 2)
    inside = np.clip(eta, 1e-9, 1 - 1e-9)
    middle, half = np.log(inside) - np.log1p(-inside), quantile * np.sqrt(variance)
    return np.stack([sigmoid(middle - half), sigmoid(middle + half)], -1)


def interval_with_population(
    problem: Problem,
    parameters: Parameters,
    variance: Array,
    evidence: tuple[Array, Array],
    population: Population,
    confidence: float,
) -> Array:
    """Return the credible interval of one-coin reliabilities, shape [A, 2]; that of pinned annotators is their η.

    Quantiles of L_k(η) · density of the population, whose mean and spread are known to a degree only. Every L_k is
    flattened to the observed information: what annotators share with one another and with the calibration is not
    theirs.

    Args:
        problem: its prior is the evidence plus the population's pseudo-counts.
        parameters: where EM ended.
        variance: of logit η, what logit_variance returned, shape [A, 1].
        evidence: pseudo-counts from before of these annotators [A, 1, 2] and of others [B, 1, 2].
        population: of the annotators.
        confidence: coverage.
    """
    chances = ((1 - confidence) / 2, (1 + confidence) / 2)
    eta = parameters.eta[:, 0]
    peak, information = (of_coin[:, 0] for of_coin in _of_the_labels(problem, parameters, variance, evidence[0]))

    def flattened(people: Array) -> Likelihood:
        found = Likelihood.of(opinions(problem, parameters, OPINIONS, people), evidence[0][people])
        share = information[people] / np.maximum(_curvature(found.values, log_odds(eta[people])), 1e-12)
        return Likelihood(found.axes, found.values * np.minimum(share, 1.0)[:, None])

    free = np.flatnonzero(~problem.fixed)
    known = flattened(free[:: -(-len(free) // MOST_PEOPLE)]).and_of(Likelihood.of(None, evidence[1][:MOST_PEOPLE]))
    population = replace(fit_population(known, population.mean), pooled_variance=population.pooled_variance)
    result = np.repeat(eta[:, None], 2, 1)
    sharp = information[free] > SHARP**-2
    people = free[sharp]
    nodes = peak[people, None] + STEPS / np.sqrt(information[people, None])  # [people, steps]
    result[people] = sigmoid(_quantiles(nodes, log_density(population, nodes) - 0.5 * STEPS**2, chances))
    density = log_density(population, LEVELS)
    for people in np.array_split(free[~sharp], 1 + len(free) // MOST_PEOPLE):
        values = flattened(people).values
        result[people] = sigmoid(_quantiles(np.broadcast_to(LEVELS, values.shape), values + density, chances))
    return result


def variance_with_population(
    problem: Problem, parameters: Parameters, variance: Array, evidence: Array, population: Population
) -> Array:
    """Return the posterior variance of logit η of every coin around where EM stands, shape [A, coins]; 0 where pinned.

    As in interval_with_population, but for any number of coins, each by itself, and with normal likelihoods.
    """
    peak, information = _of_the_labels(problem, parameters, variance, evidence)
    result = np.zeros_like(peak)
    for side in range(peak.shape[1]):
        reach = np.minimum(1 / np.sqrt(np.maximum(information[:, side], 1e-12)), 1.0)[:, None]  # [A, 1]
        center = np.where(reach < 1, peak[:, side, None], 0.0)
        nodes = center + STEPS * reach  # [A, steps]
        values = (
            log_density(population, nodes, side) - 0.5 * information[:, side, None] * (nodes - peak[:, side, None]) ** 2
        )
        density = np.exp(values - values.max(1, keepdims=True))
        from_here = (nodes - log_odds(parameters.eta[:, side, None])) ** 2
        result[:, side] = (density * from_here).sum(1) / density.sum(1)
    return np.where(problem.fixed[:, None], 0.0, result)


def _of_the_labels(problem: Problem, parameters: Parameters, variance: Array, evidence: Array) -> tuple[Array, Array]:
    """Return peak and curvature of what labels and evidence alone say of logit η, each of shape [A, coins].

    Where EM stands, the pulls of labels and prior are equal; the peak is a Newton step on the labels alone from there.
    """
    eta, prior = parameters.eta, problem.prior - evidence
    strength = prior.sum(2)
    information = np.maximum(1 / np.maximum(variance, 1e-300) - strength * eta * (1 - eta), 0.0)
    pull = (strength * eta - prior[..., 0]) / np.maximum(information, 1e-12)
    return np.clip(log_odds(eta) + pull, -12, 12), information


def _curvature(values: Array, level: Array) -> Array:
    """Return minus the second derivative of each row of log-likelihoods on LEVELS, near `level`."""
    step = LEVELS[1] - LEVELS[0]
    reach = 4  # grid points either way: rounding and the split of opinions average out
    middle = np.clip(np.rint((level - LEVELS[0]) / step).astype(int), reach, len(LEVELS) - 1 - reach)
    rows = np.arange(len(values))
    low, at, high = (values[rows, middle + offset] for offset in (-reach, 0, reach))
    return np.asarray((2 * at - low - high) / (reach * step) ** 2)


def _quantiles(nodes: Array, log_weights: Array, chances: tuple[float, ...]) -> Array:
    """Return quantiles of distributions given on equidistant nodes, row by row, shape [A, len(chances)]."""
    density = np.exp(log_weights - log_weights.max(1, keepdims=True))
    below = np.cumsum(density, 1)
    below = (below - density / 2) / below[:, -1:]
    rows, found = np.arange(len(nodes)), []
    for chance in chances:
        right = np.clip((below < chance).sum(1), 1, nodes.shape[1] - 1)
        low, high = below[rows, right - 1], below[rows, right]
        part = np.clip((chance - low) / np.maximum(high - low, 1e-300), 0, 1)
        found.append(nodes[rows, right - 1] + part * (nodes[rows, right] - nodes[rows, right - 1]))
    return np.stack(found, 1)


def overall(tosses: Array, eta: Array) -> Array:
    """Return the reliability of each annotator, shape [A]: η, or with two coins their mean by expected tosses.

    Args:
        tosses: expected number of tosses of each coin, those of the prior included, shape [A, coins].
        eta: shape [A, coins].
    """
    mean = (tosses * eta).sum(1) / tosses.sum(1)
    # One coin, or two alike, such as a pinned annotator's: exactly that.
    return np.asarray(np.where(eta[:, 0] == eta[:, -1], eta[:, 0], mean))


def overall_variance(tosses: Array, eta: Array, variance: Array) -> Array:
    """Return the variance of the overall reliability's logit, shape [A]; the two coins are taken as independent."""
    if eta.shape[1] == 1:
        return variance[:, 0]
    share = tosses / tosses.sum(1, keepdims=True)
    mean = (share * eta).sum(1)
    spread = (share**2 * variance * (eta * (1 - eta)) ** 2).sum(1)
    return np.asarray(spread / (mean * (1 - mean)) ** 2)
