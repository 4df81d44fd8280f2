"""The estimators that see the votes batch by batch: `incremental` (Neal & Hinton 1998), `paper` (RE-PO Eq. 4 and 7)."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repo.reliability.em.algorithms import BOUNDARY, Fit, Options, Problem, distance, e_step
from repo.reliability.em.expectation import Block, Parameters
from repo.reliability.em.votes import Votes

Array = NDArray[Any]


def incremental(problem: Problem, start: Parameters, options: Options) -> Fit:
    """Incremental EM: running sums per annotator; a visit to a batch of comparisons replaces its old share of the sums.

    η moves after every batch, the calibration after every pass. It ends where full EM ends.
    """
    parameters = start
    batches = [_Batch(problem, block) for block in comparison_batches(problem.votes, options.batch_size)]
    first = np.zeros(problem.number.size)  # Σ q by annotator and kind, flat
    for batch in batches:
        batch.revisit(parameters, first)
    for iteration in range(1, options.max_iterations + 1):
        before, eta = parameters, parameters.eta.copy()
        parameters = replace(parameters, eta=eta)
        for batch in batches:
            batch.revisit(parameters, first)
            eta[batch.annotators] = batch.reliability(first, eta)
        if problem.calibration.free.any():
            temperature, intercept = problem.calibration.step(parameters, e_step(problem, parameters))
            parameters = replace(parameters, temperature=temperature, intercept=intercept)
        if distance(problem, parameters, before) < options.tolerance:
            return Fit(parameters, iteration, True)
    return Fit(parameters, options.max_iterations, False)


def paper(problem: Problem, start: Parameters, options: Options) -> Fit:
    """The paper's rule: every annotation on its own, in the given order, η a moving average (RE-PO Eq. 4 and 7).

    The votes must not be grouped. `max_iterations` is the number of passes. Prior and calibration play no part.
    """
    eta = start.eta.copy()
    batches = [_Batch(problem, block) for block in comparison_batches(problem.votes, options.batch_size)]
    for _ in range(options.max_iterations):
        for batch in batches:
            w, tosses = batch.counts(replace(start, eta=eta))
            eta[batch.annotators] = batch.moving_average(eta, w, tosses, options.step_size)
    return Fit(replace(start, eta=eta), options.max_iterations, True)


def comparison_batches(votes: Votes, size: int) -> list[Block]:
    """Return the comparisons in their order, `size` at a time."""
    edges = [*range(0, votes.comparison_count, size), votes.comparison_count]
    return [Block(votes, begin, end) for begin, end in pairwise(edges)]


class _Batch:
    """Some comparisons, and their present share of the running sums; costs nothing that grows with all annotators."""

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

    def _sums(self, parameters: Parameters) -> Array:
        """E-step: Σ weight · q by this batch's codes."""
        block, kinds = self.block, self.part.votes.kinds
        table = self.model.evidence(parameters.eta[self.annotators])[0][self.row, self.codes % kinds]
        logit = block.prior(parameters) + block.by_comparison(table[self.local])
        values = block.by_vote(block.posterior(logit))
        weighted = values if block.weight is None else values * block.weight
        return np.asarray(np.bincount(self.local, weighted, len(self.codes)))

    def revisit(self, parameters: Parameters, first: Array) -> None:
        """E-step; replaces this batch's share of `first`."""
        share = self._sums(parameters)
        first[self.codes] += share - self.share
        self.share = share

    def reliability(self, first: Array, eta: Array) -> Array:
        """M-step for this batch's annotators (RE-PO Eq. 6)."""
        sums = first.reshape(-1, self.part.votes.kinds)[self.annotators]
        return self.part.mean(*self.model.counts(sums, self.part.number), eta[self.annotators])

    def counts(self, parameters: Parameters) -> tuple[Array, Array]:
        """E-step: (Σ w, votes) of the coins of this batch's annotators."""
        first, number = np.zeros((2, len(self.annotators), self.part.votes.kinds))
        place = self.row, self.codes % self.part.votes.kinds
        first[place] = self._sums(parameters)
        number[place] = np.bincount(self.local, self.block.weight, len(self.codes))
        right, tosses = self.model.counts(first, number)
        return right, tosses

    def moving_average(self, eta: Array, w: Array, tosses: Array, step_size: float) -> Array:
        """Return (1 − α) η + α · Σ w / votes for the coins seen in the batch (RE-PO Eq. 7); the others keep theirs."""
        before, seen = eta[self.annotators], (tosses > 0) & ~self.part.fixed[:, None]
        mean = (1 - step_size) * before + step_size * w / np.where(seen, tosses, 1.0)
        return np.asarray(np.where(seen, np.clip(mean, BOUNDARY, 1 - BOUNDARY), before))
