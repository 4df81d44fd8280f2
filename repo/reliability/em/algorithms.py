"""The algorithm: E-step, M-step, and the loop that alternates them (RE-PO Eq. 4 and 6, by comparison).

What the letters mean, and what is estimated, says `repo.reliability.estimator.AnnotatorReliability`. How a pass over
the votes is computed stands in expectation.py, what a vote says about an annotator in coins.py, the Newton step for the
margins in calibration.py, where EM starts in repo/reliability/start.py.

The prior of a coin is a pair of pseudo-counts (right, wrong): log density right·log η + wrong·log(1 − η), so that its
M-step is a mean over votes and pseudo-counts together.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repo.reliability.em.calibration import CalibrationPrior
from repo.reliability.em.coins import CoinModel
from repo.reliability.em.expectation import (
    Block,
    Expectation,
    Parameters,
    chunk_bounds,
    log_odds,
    side_by_side,
    vote_counts,
)
from repo.reliability.em.votes import Votes

Array = NDArray[Any]

BOUNDARY = 1e-6
"""Reliabilities stay in [BOUNDARY, 1 − BOUNDARY]: 0 and 1 are absorbing, no later evidence could move them."""

HALVINGS = 20

PLAIN = 20
"""Iterations before the first extrapolation: most fits need no more, and follow the textbook step by step."""


@dataclass(frozen=True)
class Problem:
    """Data, model and priors of one fit.

    Attributes:
        prior: pseudo-counts (right, wrong) of every coin, shape [A, coins, 2].
        fixed: which annotators are pinned, shape [A].
        number: votes by annotator and kind, shape [A, kinds].
    """

    votes: Votes
    model: CoinModel
    prior: Array
    fixed: Array
    calibration: CalibrationPrior
    number: Array
    chunk: int | None = None

    @classmethod
    def of(
        cls, votes: Votes, coins: int, prior: Array, fixed: Array, calibration: CalibrationPrior, chunk: int | None
    ) -> "Problem":
        """Return the problem for these votes."""
        return cls(votes, CoinModel(coins, votes.kinds), prior, fixed, calibration, vote_counts(votes), chunk)

    def mean(self, right: Array, tosses: Array, current: Array) -> Array:
        """Return (right + prior) / (tosses + prior), `current` for pinned annotators and coins without any evidence."""
        total = tosses + self.prior.sum(2)  # [A, coins]
        seen = (total > 0) & ~self.fixed[:, None]
        mean = (right + self.prior[..., 0]) / np.where(seen, total, 1.0)
        return np.where(seen, np.clip(mean, BOUNDARY, 1 - BOUNDARY), current)


def e_step(problem: Problem, parameters: Parameters, keep_direction: bool = False) -> Expectation:
    """q_m = P(z_m = +1 | labels) of every comparison, summed up by annotator and kind of vote.

        L_m = c·S_m + b + Σ_{votes v on m} weight_v · log[P(v | z = +1) / P(v | z = −1)],    q_m = σ(L_m)

    One coin: the log-odds of a vote are label · logit η_k. With one vote a comparison this is RE-PO Eq. 4.
    """
    votes = problem.votes
    evidence, midpoint = problem.model.evidence(parameters.eta)  # each [A, kinds]
    table = evidence.ravel().astype(votes.dtype)  # by vote.code
    result = Expectation.empty(problem.number.shape, float((problem.number * midpoint).sum()))
    if keep_direction:
        result.direction = np.empty(votes.comparison_count, votes.dtype)  # [M]

    def part(bounds: tuple[int, int]) -> Expectation:
        block = Block(votes, *bounds)
        prior = block.prior(parameters)  # c·S + b, [m]
        logit = prior + block.evidence(table)  # L, [m]
        q = block.posterior(logit)  # [m]
        sums = Expectation.empty(problem.number.shape, block.log_likelihood(logit, prior))
        sums.first = block.sum_by_code(q, table.size).reshape(problem.number.shape)
        if problem.calibration.free.any():
            block.add_calibration(sums, q, prior, parameters)
        if result.direction is not None:
            result.direction[slice(*bounds)] = q
        return sums

    for sums in side_by_side(part, chunk_bounds(votes, problem.chunk)):
        result.add(sums)
    return result


def m_step(problem: Problem, parameters: Parameters, expectation: Expectation) -> Parameters:
    """η_k = (Σ w + prior right) / (n_k + prior), RE-PO Eq. 6 by coin, w = q or 1 − q; a Newton step for (log c, b)."""
    right, tosses = problem.model.counts(expectation.first, problem.number)  # each [A, coins]
    eta = problem.mean(right, tosses, parameters.eta)
    temperature, intercept = problem.calibration.step(parameters, expectation)
    return Parameters(eta, temperature, intercept)


def objective(problem: Problem, parameters: Parameters, expectation: Expectation) -> float:
    """Return the penalised log-likelihood: what full EM never lowers."""
    eta, free = parameters.eta, ~problem.fixed
    log_prior = problem.prior[..., 0] * np.log(eta) + problem.prior[..., 1] * np.log1p(-eta)
    return float(expectation.log_likelihood + log_prior[free].sum() + problem.calibration.log_density(parameters))


@dataclass(frozen=True)
class Options:
    """When to stop, and how the estimators by batches visit the data."""

    tolerance: float = 1e-6
    max_iterations: int = 1000
    batch_size: int = 64
    step_size: float = 0.1


@dataclass
class Fit:
    """Where EM ended; `history` is the penalised log-likelihood before each iteration (`full` only)."""

    parameters: Parameters
    iterations: int
    converged: bool
    history: list[float] = field(default_factory=list)


Algorithm = Callable[[Problem, Parameters, Options], Fit]


@dataclass(frozen=True)
class _Point:
    parameters: Parameters
    expectation: Expectation
    objective: float


def full(problem: Problem, start: Parameters, options: Options) -> Fit:
    """Full-batch EM: M-step and E-step in turn until nothing moves; the objective never falls.

    After PLAIN iterations every third step is followed by an extrapolation (SQUAREM, Varadhan & Roland 2008), taken
    where it raises the objective: thousands of slow steps become tens.
    """
    points = [_at(problem, start)]
    history = [points[-1].objective]
    for iteration in range(1, options.max_iterations + 1):
        points = [*points[-2:], _step(problem, points[-1])]
        moved = distance(problem, points[-1].parameters, points[-2].parameters)
        if moved >= options.tolerance and iteration > PLAIN and iteration % 3 == 0:
            points[-1] = _leap(problem, *points)
        history.append(points[-1].objective)
        if moved < options.tolerance:
            return Fit(points[-1].parameters, iteration, True, history)
    return Fit(points[-1].parameters, options.max_iterations, False, history)


def _at(problem: Problem, parameters: Parameters) -> _Point:
    expectation = e_step(problem, parameters)
    return _Point(parameters, expectation, objective(problem, parameters, expectation))


def _step(problem: Problem, point: _Point) -> _Point:
    """M-step, then E-step. The M-step for η cannot lower the objective; where the Newton step did, it is halved."""
    before = point.parameters
    proposal = m_step(problem, before, point.expectation)
    rounding = (1e-12 if problem.votes.dtype == np.float64 else 1e-6) * abs(point.objective)
    for _ in range(HALVINGS):
        after = _at(problem, proposal)
        if after.objective >= point.objective - rounding:
            break
        temperature = float(np.sqrt(proposal.temperature * before.temperature))
        proposal = Parameters(proposal.eta, temperature, (proposal.intercept + before.intercept) / 2)
    return after


def _leap(problem: Problem, first: _Point, second: _Point, third: _Point) -> _Point:
    """Return the extrapolation of three steps in a row where that is better than the third, else the third."""
    at = [_flat(point.parameters) for point in (first, second, third)]
    step, bend = at[1] - at[0], at[2] - 2 * at[1] + at[0]
    size = float(np.linalg.norm(bend))
    if size == 0:
        return third
    length = max(float(np.linalg.norm(step)) / size, 1.0)
    leap = _at(problem, _unflat(at[0] + 2 * length * step + length**2 * bend, third.parameters, problem.fixed))
    return leap if leap.objective > third.objective else third


def _flat(parameters: Parameters) -> Array:
    log_temperature = np.log(max(parameters.temperature, 1e-300))
    return np.concatenate([log_odds(parameters.eta).ravel(), [log_temperature, parameters.intercept]])


def _unflat(flat: Array, like: Parameters, fixed: Array) -> Parameters:
    eta = np.clip(1 / (1 + np.exp(-np.clip(flat[:-2], -30, 30))), BOUNDARY, 1 - BOUNDARY).reshape(like.eta.shape)
    eta = np.where(fixed[:, None], like.eta, eta)
    return Parameters(eta, float(np.exp(np.clip(flat[-2], -600, 600))), float(flat[-1]))


def distance(problem: Problem, a: Parameters, b: Parameters) -> float:
    """Return how far η (root mean square over labels), log c and b moved, the largest of the three.

    By labels, so that one annotator of a hundred thousand cannot keep all the others waiting.
    """
    labels = problem.number.sum(1, keepdims=True)
    change = float(np.sqrt((labels * (a.eta - b.eta) ** 2).sum() / (labels.sum() * a.eta.shape[1])))
    return max(change, abs(float(np.log(a.temperature / b.temperature))), abs(a.intercept - b.intercept))
