"""EM by name: `paper` (RE-PO Eq. 7), `full` (Eq. 6), `incremental` (Neal & Hinton 1998).

Each is a function (Problem, start, options) → Fit. The prior of a coin is a pair of pseudo-counts (right, wrong):
log density right·log η + wrong·log(1 − η), so that its M-step is a mean over data and pseudo-counts together.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repo.reliability.em.calibration import CalibrationPrior
from repo.reliability.em.coins import CoinModel
from repo.reliability.em.expectation import Block, Expectation, Parameters, expect, vote_counts
from repo.reliability.em.votes import Votes

Array = NDArray[Any]

BOUNDARY = 1e-6
"""Reliabilities stay in [BOUNDARY, 1 − BOUNDARY]: 0 and 1 are absorbing, no later evidence could move them."""

HALVINGS = 20


@dataclass(frozen=True)
class Problem:
    """Data, model and priors of one fit.

    Attributes:
        prior: pseudo-counts (right, wrong) of every coin, shape [A, coins, 2].
        fixed: which annotators are pinned, shape [A].
        number: votes by annotator and kind, shape [A, kinds].
        default_prior: the part of the prior that is no earlier evidence.
    """

    votes: Votes
    model: CoinModel
    prior: Array
    fixed: Array
    calibration: CalibrationPrior
    number: Array
    chunk: int | None = None
    default_prior: tuple[float, float] = (0.0, 0.0)

    @classmethod
    def of(
        cls, votes: Votes, coins: int, prior: Array, fixed: Array, calibration: CalibrationPrior, chunk: int | None
    ) -> "Problem":
        """Return the problem for these votes."""
        return cls(votes, CoinModel(coins, votes.kinds), prior, fixed, calibration, vote_counts(votes), chunk)

    def expect(self, parameters: Parameters, keep_direction: bool = False) -> Expectation:
        """E-step over all the data."""
        wanted = bool(self.calibration.free.any())
        return expect(self.votes, self.model, parameters, self.number, self.chunk, wanted, keep_direction)

    def objective(self, parameters: Parameters, expectation: Expectation) -> float:
        """Return the penalised log-likelihood: what full EM never lowers."""
        log_prior = self.prior[..., 0] * np.log(parameters.eta) + self.prior[..., 1] * np.log1p(-parameters.eta)
        return float(
            expectation.log_likelihood + log_prior[~self.fixed].sum() + self.calibration.log_density(parameters)
        )

    def reliability(self, first: Array, current: Array) -> Array:
        """M-step for η, RE-PO Eq. 6 with prior: mean of w over an annotator's votes and pseudo-counts."""
        right, tosses = self.model.counts(first, self.number)
        return self.mean(right, tosses, current)

    def mean(self, right: Array, tosses: Array, current: Array) -> Array:
        """Return (right + prior) / (tosses + prior), `current` for pinned annotators and coins without any evidence."""
        total = tosses + self.prior.sum(2)
        seen = (total > 0) & ~self.fixed[:, None]
        mean = (right + self.prior[..., 0]) / np.where(seen, total, 1.0)
        return np.where(seen, np.clip(mean, BOUNDARY, 1 - BOUNDARY), current)


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


def distance(a: Parameters, b: Parameters) -> float:
    """Return the largest change of an η, of log c and of b."""
    change = float(np.abs(a.eta - b.eta).max())
    return max(change, abs(float(np.log(a.temperature / b.temperature))), abs(a.intercept - b.intercept))


def full(problem: Problem, start: Parameters, options: Options) -> Fit:
    """Full-batch EM (RE-PO Eq. 4 and 6) with the Newton step for the calibration; the objective never falls.

    The M-step for η alone cannot lower it. Where the Newton step did, it is halved and the E-step repeated.
    """
    parameters, history = start, list[float]()
    expectation = problem.expect(parameters)
    history.append(problem.objective(parameters, expectation))
    for iteration in range(1, options.max_iterations + 1):
        eta = problem.reliability(expectation.first, parameters.eta)
        temperature, intercept = problem.calibration.step(parameters, expectation)
        for _ in range(HALVINGS):
            proposal = Parameters(eta, temperature, intercept)
            expectation = problem.expect(proposal)
            objective = problem.objective(proposal, expectation)
            rounding = 1e-12 * abs(objective) if problem.votes.dtype == np.float64 else 1e-6 * abs(objective)
            if objective >= history[-1] - rounding:
                break
            temperature = float(np.sqrt(temperature * parameters.temperature))
            intercept = (intercept + parameters.intercept) / 2
        moved = distance(proposal, parameters)
        parameters = proposal
        history.append(objective)
        if moved < options.tolerance:
            return Fit(parameters, iteration, True, history)
    return Fit(parameters, options.max_iterations, False, history)


def incremental(problem: Problem, start: Parameters, options: Options) -> Fit:
    """Incremental EM: running sums per annotator; a visit to a batch of comparisons replaces its old share of the sums.

    η moves after every batch, the calibration after every pass. It ends where full EM ends.
    """
    parameters = start
    batches = [_Batch(problem, block) for block in comparison_batches(problem.votes, options.batch_size)]
    first = np.zeros(problem.number.size)
    for batch in batches:
        batch.revisit(parameters, first)
    for iteration in range(1, options.max_iterations + 1):
        before = parameters
        for batch in batches:
            batch.revisit(parameters, first)
            parameters = replace(parameters, eta=batch.updated(first, parameters.eta))
        if problem.calibration.free.any():
            temperature, intercept = problem.calibration.step(parameters, problem.expect(parameters))
            parameters = replace(parameters, temperature=temperature, intercept=intercept)
        if distance(parameters, before) < options.tolerance:
            return Fit(parameters, iteration, True)
    return Fit(parameters, options.max_iterations, False)


class _Batch:
    """Some comparisons and their present share of the running sums; costs nothing that grows with all annotators."""

    def __init__(self, problem: Problem, block: Block) -> None:
        self.model, self.block = problem.model, block
        self.codes, self.local = np.unique(block.code, return_inverse=True)
        self.share: Array = np.zeros(len(self.codes))
        self.annotators, self.row = np.unique(self.codes // problem.votes.kinds, return_inverse=True)
        self.part = replace(
            problem,
            prior=problem.prior[self.annotators],
            fixed=problem.fixed[self.annotators],
            number=problem.number[self.annotators],
        )

    def revisit(self, parameters: Parameters, first: Array) -> None:
        """E-step; replaces this batch's share of `first` (Σ q by annotator and kind, flat)."""
        block, kinds = self.block, self.part.votes.kinds
        table = self.model.evidence(parameters.eta[self.annotators])[0][self.row, self.codes % kinds]
        logit = block.prior(parameters) + block.by_comparison(table[self.local])
        values = block.by_vote(block.posterior(logit))
        share: Array = np.bincount(
            self.local, values if block.weight is None else values * block.weight, len(self.codes)
        )
        first[self.codes] += share - self.share
        self.share = share

    def updated(self, first: Array, eta: Array) -> Array:
        """M-step for this batch's annotators."""
        eta = eta.copy()
        sums = first.reshape(-1, self.part.votes.kinds)[self.annotators]
        eta[self.annotators] = self.part.reliability(sums, eta[self.annotators])
        return eta


def comparison_batches(votes: Votes, size: int) -> list[Block]:
    """Return the comparisons in their order, `size` at a time."""
    edges = [*range(0, votes.comparison_count, size), votes.comparison_count]
    return [Block(votes, begin, end) for begin, end in pairwise(edges)]


def paper(problem: Problem, start: Parameters, options: Options) -> Fit:
    """The paper's rule: every annotation on its own, in the given order, η a moving average (RE-PO Eq. 4 and 7).

    The votes must not be grouped. `max_iterations` is the number of passes. Prior and calibration play no part.
    """
    eta, shape = start.eta, problem.number.shape
    blocks = comparison_batches(problem.votes, options.batch_size)
    for _ in range(options.max_iterations):
        for block in blocks:
            evidence = problem.model.evidence(eta)[0].ravel()
            posterior = block.posterior(block.prior(start) + block.evidence(evidence))
            first = block.sum_by_code(posterior, problem.number.size).reshape(shape)
            number = np.bincount(block.code, block.weight, problem.number.size).astype(float).reshape(shape)
            eta = moved_towards_mean(problem, eta, *problem.model.counts(first, number), options.step_size)
    return Fit(replace(start, eta=eta), options.max_iterations, True)


def moved_towards_mean(problem: Problem, eta: Array, right: Array, tosses: Array, step_size: float) -> Array:
    """Return η ← (1 − α) η + α · right / tosses for the coins seen in a batch (RE-PO Eq. 7); the others keep theirs."""
    seen = (tosses > 0) & ~problem.fixed[:, None]
    mean = right / np.where(seen, tosses, 1.0)
    return np.where(seen, np.clip((1 - step_size) * eta + step_size * mean, BOUNDARY, 1 - BOUNDARY), eta)


ESTIMATORS: dict[str, Callable[[Problem, Parameters, Options], Fit]] = {
    "paper": paper,
    "full": full,
    "incremental": incremental,
}
