"""EM and the population in turn: the annotators' prior is learnt from what EM says of the annotators.

1. EM with a weak prior, half a vote either way.
2. What the votes say of each annotator, all own shares left out → mean and spread of the population.
3. The population as prior pseudo-counts of every annotator; EM again, from where it was; until the prior stays.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repo.reliability.em.algorithms import Options, Problem, full
from repo.reliability.em.calibration import CalibrationPrior
from repo.reliability.em.expectation import Parameters, log_odds
from repo.reliability.em.information import logit_variance
from repo.reliability.em.left_out import opinions
from repo.reliability.em.population import (
    MOST_PEOPLE,
    OPINIONS,
    Likelihood,
    Population,
    fit_population,
)

Array = NDArray[Any]

ROUNDS = 15
ROUGH = 1e-4
"""Tolerance of EM before the prior stays: the population asks for no more."""

WEAK = 1.0
"""Votes, half of them right, that the prior is worth before anything is known of the population."""


@dataclass(frozen=True)
class Hierarchy:
    """A problem whose prior is the population, and where EM with it ended."""

    problem: Problem
    population: Population
    parameters: Parameters


def with_population(
    problem: Problem,
    start: Parameters,
    evidence: Array,
    elsewhere: Array,
    calibration: CalibrationPrior,
    options: Options,
) -> Hierarchy:
    """Estimate the population and return the problem with it as prior.

    Args:
        problem: the votes; its prior is not looked at.
        start: where EM starts.
        evidence: pseudo-counts from before of every coin, shape [A, coins, 2].
        elsewhere: those of people without votes here, shape [B, coins, 2]; they belong to the population as well.
        calibration: what is not known of (log c, b), whether EM estimates it or it was found before.
        options: of the EM runs.
    """
    pooled, variance = pooled_reliability(problem, start, evidence, calibration, options)
    sample = _sample(np.flatnonzero(~problem.fixed))
    abroad = Likelihood.of(None, elsewhere[_sample(np.arange(len(elsewhere)))])
    counts = np.full_like(evidence, WEAK / 2 / problem.model.coins)
    rough = replace(options, tolerance=max(options.tolerance, ROUGH))
    parameters, pooled_before, differ = start, False, False
    for _ in range(ROUNDS):
        problem = replace(problem, prior=evidence + counts)
        parameters = full(problem, parameters, rough).parameters
        here = Likelihood.of(opinions(problem, parameters, OPINIONS, sample), evidence[sample])
        population = fit_population(here.and_of(abroad), _center(parameters, problem.fixed), differ)
        # With the pooled value for everybody, the labels contradict it: from now on people differ.
        differ = differ or (pooled_before and population.told_apart)
        pooled_before = not population.told_apart
        if not population.told_apart:
            population = replace(population, mean=pooled)
        population = replace(population, pooled_variance=variance)
        before, counts = counts, np.broadcast_to(population.pseudo_counts(), evidence.shape)
        if _settled(before, counts):
            break
    problem = replace(problem, prior=evidence + counts)
    return Hierarchy(problem, population, full(problem, parameters, options).parameters)


def pooled_reliability(
    problem: Problem, start: Parameters, evidence: Array, calibration: CalibrationPrior, options: Options
) -> tuple[Array, float]:
    """Return level (and lean) of logit η if everybody but the pinned annotators were one person, shape [coins].

    Beside it the variance of the level, with what is not known of the calibration.
    """
    votes, fixed = problem.votes, problem.fixed
    # Person 0 is everybody; pinned annotators stay themselves.
    person = np.where(fixed, np.cumsum(fixed), 0)  # [A]
    people = int(fixed.sum()) + 1
    code = (person[votes.code // votes.kinds] * votes.kinds + votes.code % votes.kinds).astype(votes.code.dtype)
    together = replace(votes, annotators=list(range(people)), code=code)
    eta = np.concatenate([start.eta[~fixed].mean(0, keepdims=True), start.eta[fixed]])  # [people, coins]
    prior = np.zeros((people, *evidence.shape[1:]))
    prior[0] = evidence[~fixed].sum(0) + WEAK / 2 / problem.model.coins
    one = Problem.of(together, problem.model.coins, prior, np.arange(people) > 0, problem.calibration, problem.chunk)
    # Half a vote either way first: where η and c are hardly told apart, votes of mean η₀ would hold EM near η₀.
    nearby = full(one, replace(start, eta=eta), options).parameters
    prior = prior.copy()
    prior[0] = evidence[~fixed].sum(0) + _half_a_vote(eta[0])
    one = replace(one, prior=prior)
    found = full(one, nearby, options).parameters
    of_coins = logit_variance(replace(one, calibration=calibration), found)[0]
    return _axes(log_odds(found.eta[0])), float(of_coins.sum()) / len(of_coins) ** 2


def _half_a_vote(eta: Array) -> Array:
    """Return pseudo-counts (right, wrong) of mean η, the rarer of them half a vote over all coins, shape [coins, 2].

    Without them labels that all agree would put the pooled value at 1, where their information about it vanishes.
    """
    both = np.clip(np.stack([eta, 1 - eta], -1), 0.01, 0.99)
    return np.asarray(WEAK / 2 / len(eta) * both / both.min(-1, keepdims=True))


def _axes(logit: Array) -> Array:
    """Return (level) of one coin's logit, (level, lean) of two coins', along the last axis."""
    if logit.shape[-1] == 1:
        return logit
    first, second = logit[..., 0], logit[..., 1]
    return np.stack([(first + second) / 2, (first - second) / 2], -1)


def _center(parameters: Parameters, fixed: Array) -> Array:
    return np.asarray(np.clip(_axes(log_odds(parameters.eta[~fixed])), -3, 3).mean(0))


def _sample(people: Array) -> Array:
    if len(people) <= MOST_PEOPLE:
        return people
    return np.sort(np.random.default_rng(0).choice(people, MOST_PEOPLE, replace=False))


def _settled(before: Array, after: Array) -> bool:
    """Whether mean (to a thousandth) and strength (to a twentieth) of every prior stay."""
    strengths = before.sum(-1), after.sum(-1)
    means = before[..., 0] / strengths[0], after[..., 0] / strengths[1]
    same_strength = np.abs(np.log(strengths[0] / strengths[1])).max() < 0.05
    return bool(same_strength and np.abs(means[0] - means[1]).max() < 1e-3)
