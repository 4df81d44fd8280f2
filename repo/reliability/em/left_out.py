"""Every vote judged by the others: its comparison's posterior without it, its annotator's η without it.

EM's η_k has seen the very vote that it weighs, so people of few votes confirm themselves. Taking the vote's share out,

    η_k,₋ᵢ = (Σ w − w_i + prior right) / (n_k − 1 + prior),

is what integrating η_k out of P(vote | z, the annotator's other votes) gives to first order (CVB0: Asuncion, Welling,
Smyth & Teh, On smoothing and inference for topic models, UAI 2009). Where a comparison has a single vote nothing but
the margin stands against it, and RE-PO's Eq. 4 is kept as it is.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repo.reliability.em.algorithms import BOUNDARY, Problem, e_step
from repo.reliability.em.expectation import Block, Expectation, Parameters, chunk_bounds

Array = NDArray[Any]


@dataclass(frozen=True)
class LeftOut:
    """The votes of comparisons begin … end − 1, each judged by the others.

    Attributes:
        block: the votes.
        begin, end: which comparisons.
        direction: q with every vote weighed by η_k,₋ᵢ, shape [m].
        others: log-odds that the first response is better by margin and the other votes, ±inf for gold, shape [n].
        first, second: P(the vote | first is better), P(the vote | second is better), by η_k,₋ᵢ, each shape [n].
    """

    block: Block
    begin: int
    end: int
    direction: Array
    others: Array
    first: Array
    second: Array


def left_out(problem: Problem, parameters: Parameters, lone_votes: bool = False) -> Iterator[LeftOut]:
    """Yield the votes chunk by chunk, each judged by the others.

    Args:
        problem: the votes.
        parameters: where EM ended.
        lone_votes: leave out the own share of votes that are alone on their comparison, too, in place of Eq. 4.
    """
    model, votes = problem.model, problem.votes
    right, tosses = model.counts(e_step(problem, parameters).first, problem.number)
    right, tosses = right + problem.prior[..., 0], tosses + problem.prior.sum(2)  # each [A, coins]
    table = model.evidence(parameters.eta)[0].ravel().astype(votes.dtype)
    for begin, end in chunk_bounds(votes, problem.chunk):
        block = Block(votes, begin, end)
        prior = block.prior(parameters)
        q = block.by_vote(block.posterior(prior + block.evidence(table)))  # [n]
        own = np.full(len(q), True) if lone_votes else ~_alone(block)
        own &= ~problem.fixed[block.code // votes.kinds]
        chances = [_probability(problem, parameters, block, q, own, right, tosses, direction) for direction in (+1, -1)]
        evidence = np.log(chances[0]) - np.log(chances[1])  # [n]
        logit = prior + block.by_comparison(evidence)  # [m]; weighs the evidence
        others = block.by_vote(logit) - evidence
        if block.gold is not None:
            gold = block.by_vote(block.gold)
            others = np.where(gold == 0, others, np.inf * np.where(gold == 0, 1, gold))
        yield LeftOut(block, begin, end, block.posterior(logit), others, *chances)


def _alone(block: Block) -> Array:
    """Return which votes are the only one on their comparison, shape [n]."""
    return np.full(len(block.code), True) if block.start is None else np.asarray(block.by_vote(block.sizes == 1))


def _probability(
    problem: Problem,
    parameters: Parameters,
    block: Block,
    q: Array,
    own: Array,
    right: Array,
    tosses: Array,
    direction: int,
) -> Array:
    """Return P(vote | direction) by η of the annotator's other votes, shape [n]; by η itself where `own` is false."""
    model, kinds = problem.model, problem.votes.kinds
    annotator, kind = block.code // kinds, block.code % kinds
    side = np.array([model.side(k, direction) for k in range(kinds)])[kind]
    says_so = np.array([model.right(k, direction) for k in range(kinds)])[kind]
    chance = q if direction > 0 else 1 - q  # P(direction), [n]
    weight = 1.0 if block.weight is None else block.weight
    if model.coins == 1:
        own_tosses, own_right = weight * np.ones_like(q), weight * np.where(kind % 2 == 1, q, 1 - q)
    else:
        own_tosses, own_right = weight * chance, weight * chance * says_so
    left = tosses[annotator, side] - own_tosses
    enough = own & (left > BOUNDARY)
    mean = (right[annotator, side] - own_right) / np.where(enough, left, 1.0)
    eta = np.where(enough, np.clip(mean, BOUNDARY, 1 - BOUNDARY), parameters.eta[annotator, side])
    return np.asarray(np.where(says_so, eta, 1 - eta))


def judged_by_others(problem: Problem, parameters: Parameters) -> tuple[Parameters, Expectation]:
    """Return η and q with every vote's own share taken out, where comparisons have several votes.

    Where they have one, q is RE-PO's Eq. 4 with that η. The log-likelihood stays that of `parameters`.
    """
    result = e_step(problem, parameters, keep_direction=True)
    if problem.votes.start is None:
        return parameters, result
    result.direction = np.empty(problem.votes.comparison_count, problem.votes.dtype)
    first = np.zeros(problem.number.size)
    for part in left_out(problem, parameters):
        result.direction[part.begin : part.end] = part.direction
        first += part.block.sum_by_code(part.direction, first.size)
    result.first = first.reshape(problem.number.shape)
    right, tosses = problem.model.counts(result.first, problem.number)
    judged = replace(parameters, eta=problem.mean(right, tosses, parameters.eta))
    alone = problem.votes.group_sizes() == 1
    if alone.any():
        direction = e_step(problem, judged, keep_direction=True).direction
        assert direction is not None
        result.direction[alone] = direction[alone]
    return judged, result


@dataclass(frozen=True)
class Score:
    """How well each vote is predicted by the others: log-likelihood by comparison, shape [M]."""

    by_comparison: Array

    def better_than(self, other: "Score") -> bool:
        """Whether this one predicts better, by more than the standard error over comparisons."""
        gain = self.by_comparison - other.by_comparison
        return bool(gain.sum() > gain.std() * np.sqrt(len(gain)))


def prediction_score(problem: Problem, parameters: Parameters, lone_votes: bool) -> Score:
    """Σ log[q₋ᵢ P(vote | +1) + (1 − q₋ᵢ) P(vote | −1)]: the leave-one-vote-out predictive log-likelihood.

    Args:
        problem: the votes.
        parameters: where EM ended.
        lone_votes: count votes that are alone on their comparison. They tell only how often an annotator says "first",
            which means something where that is a displayed position, and nothing where it is a class of unknown share.
    """
    scores = np.zeros(problem.votes.comparison_count)
    for part in left_out(problem, parameters, lone_votes):
        q = 1 / (1 + np.exp(-np.clip(part.others, -500, 500)))
        value = np.log(q * part.first + (1 - q) * part.second)
        block = part.block
        counted = np.ones(len(value)) if block.weight is None else block.weight.astype(float)
        if not lone_votes:
            counted = np.where(_alone(block), 0.0, counted)
        value = value * counted
        scores[part.begin : part.end] = value if block.start is None else np.add.reduceat(value, block.start)
    return Score(scores)


def opinions(problem: Problem, parameters: Parameters, edges: Array, people: Array) -> Array:
    """Return how often these annotators' votes met which opinion of the others, shape [len(people), ways, len(edges)].

    Opinions are log-odds, each split between the two neighbouring of the (equidistant) `edges`. With one coin there is
    one way to vote, and an opinion is the others' log-odds that the vote is right. With two there are two ways,
    saying "displayed second" and saying "displayed first" (without positions: in the data), and an opinion is the
    others' log-odds that the response displayed first is better.
    """
    kinds, ways, size = problem.votes.kinds, problem.model.coins, len(edges)
    counts = np.zeros(len(people) * ways * size)
    rank = np.full(len(problem.votes.annotators), -1)
    rank[people] = np.arange(len(people))
    for part in left_out(problem, parameters):
        block = part.block
        wanted = rank[block.code // kinds] >= 0
        person, kind = rank[block.code[wanted] // kinds], block.code[wanted] % kinds
        says_first, shown = np.where(kind % 2 == 1, 1, -1), np.where(kind < 2, 1, -1)
        towards = says_first if ways == 1 else shown
        row = person if ways == 1 else person * 2 + (says_first * shown > 0)
        place = (np.clip(part.others[wanted] * towards, edges[0], edges[-1]) - edges[0]) / (edges[1] - edges[0])
        low = np.minimum(place.astype(np.int64), size - 2)
        share = place - low
        weight = 1.0 if block.weight is None else block.weight[wanted]
        counts += np.bincount(row * size + low, weight * (1 - share), counts.size)
        counts += np.bincount(row * size + low + 1, weight * share, counts.size)
    return counts.reshape(-1, ways, size)
