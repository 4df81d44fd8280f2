"""How sure the estimates are: observed information by Louis' (1982) formula, on the logit scale.

For a comparison with posterior q, going from direction −1 to +1 changes the complete-data score by Δ_m (one entry per
coin whose votes it has, and (c·S, 1) for the calibration). Observed information = complete information − Σ q(1−q) Δ Δᵀ.
"""

from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repo.reliability.em.algorithms import Problem
from repo.reliability.em.expectation import Block, Parameters, chunk_bounds
from repo.reliability.em.votes import Votes

Array = NDArray[Any]

MAX_DENSE_COINS = 2000
MAX_PAIRS = 50_000_000

FLAT = 1e-3
"""A curvature that leaves logit η a standard deviation of 30: an interval of all of (0, 1)."""


def logit_variance(problem: Problem, parameters: Parameters) -> Array:
    """Return the variance of logit η of every coin, shape [A, coins]; huge or inf where data and prior say nothing.

    Up to MAX_DENSE_COINS coins the whole information matrix is inverted. Beyond, information that annotators share
    through common comparisons is left out (an annotator's own, and what it shares with the calibration, is kept).
    """
    eta = parameters.eta
    difference, own, shared, calibration = _parts(problem, parameters)
    if eta.size <= MAX_DENSE_COINS and _pairs(problem.votes) <= MAX_PAIRS:
        matrix = np.zeros((eta.size, eta.size))
        _add_shared(matrix, problem, parameters, difference)
        _add_blocks(matrix, own)
        variance = _dense_variance(matrix, shared.reshape(eta.size, -1), calibration, _coins(problem.fixed, eta))
    else:
        variance = _arrow_variance(own, shared, calibration, problem.fixed)
    return variance.reshape(eta.shape)


def _parts(problem: Problem, parameters: Parameters) -> tuple[Array, Array, Array, Array]:
    """Return (score differences, own [A, coins, coins], shared [A, coins, ·], calibration [·, ·]) of the information.

    `own` is that of each annotator's coins, `shared` what they share with the free ones of (log c, b).
    """
    model, eta = problem.model, parameters.eta
    expectation = problem.expect(parameters)
    _, tosses = model.counts(expectation.first, problem.number)
    complete = (tosses + problem.prior.sum(2)) * eta * (1 - eta)
    difference = model.score_difference(eta)
    lost, cross = _lost_by_code(problem, parameters)
    blocks = np.einsum("ak,akc,akd->acd", lost, difference, difference)
    own = complete[..., None] * np.eye(model.coins) - blocks
    shared = -np.einsum("xak,akc->acx", cross, difference)[..., problem.calibration.free]
    free = np.flatnonzero(problem.calibration.free)
    return difference, own, shared, problem.calibration.information(expectation)[np.ix_(free, free)]


def _lost_by_code(problem: Problem, parameters: Parameters) -> tuple[Array, Array]:
    """Return Σ weight² q(1−q) [A, kinds] and Σ weight·q(1−q)·(c·S, 1) [2, A, kinds] over each annotator's votes."""
    shape, length = problem.number.shape, problem.number.size
    lost, cross = np.zeros(length), np.zeros((2, length))
    table = problem.model.evidence(parameters.eta)[0].ravel().astype(problem.votes.dtype)
    for begin, end in chunk_bounds(problem.votes, problem.chunk):
        block = Block(problem.votes, begin, end)
        prior = block.prior(parameters)
        q = block.posterior(prior + block.evidence(table))
        variance = q * (1 - q)
        by_vote = block.by_vote(variance)
        weight = 1.0 if block.weight is None else block.weight
        lost += np.bincount(block.code, by_vote * weight * weight, length)
        if problem.calibration.temperature:
            cross[0] += block.sum_by_code(variance * (prior - parameters.intercept), length)
        if problem.calibration.intercept:
            cross[1] += block.sum_by_code(variance, length)
    return lost.reshape(shape), cross.reshape(2, *shape)


def _pairs(votes: Votes) -> int:
    return int((votes.group_sizes().astype(float) ** 2).sum())


def _coins(fixed: Array, eta: Array) -> Array:
    return np.repeat(fixed, eta.shape[1])


def _add_shared(matrix: Array, problem: Problem, parameters: Parameters, difference: Array) -> None:
    """Subtract Σ q(1−q) Δ Δᵀ over pairs of different votes on one comparison, by their distance in rows."""
    votes, coins = problem.votes, problem.model.coins
    if votes.start is None:
        return
    expectation = problem.expect(parameters, keep_direction=True)
    assert expectation.direction is not None
    sizes = votes.group_sizes()
    variance = np.repeat(expectation.direction * (1 - expectation.direction), sizes)
    weight = 1.0 if votes.weight is None else votes.weight
    delta = difference.reshape(-1, coins)[votes.code] * np.broadcast_to(weight, votes.size)[:, None]
    last = np.repeat(votes.start + sizes - 1, sizes)
    coin = votes.annotator.astype(np.int64) * coins
    rows = np.arange(votes.size)
    for distance in range(1, int(sizes.max())):
        rows = rows[rows + distance <= last[rows]]
        other = rows + distance
        for side in range(coins):
            for side_of_other in range(coins):
                place = (coin[rows] + side) * len(matrix) + coin[other] + side_of_other
                value = variance[rows] * delta[rows, side] * delta[other, side_of_other]
                pairs = np.bincount(place, value, matrix.size).reshape(matrix.shape)
                matrix -= pairs + pairs.T


def _add_blocks(matrix: Array, own: Array) -> None:
    coins = own.shape[1]
    index = np.arange(len(own))[:, None] * coins + np.arange(coins)
    matrix[index[:, :, None], index[:, None, :]] += own


def _dense_variance(matrix: Array, shared: Array, calibration: Array, fixed: Array) -> Array:
    whole = np.block([[matrix, shared], [shared.T, calibration]])
    free = np.flatnonzero(~np.concatenate([fixed, np.zeros(len(calibration), bool)]))
    variance = _inverse_diagonal(whole[np.ix_(free, free)])
    result = np.zeros(len(whole))
    result[free] = variance
    return result[: len(matrix)]


def _inverse_diagonal(matrix: Array) -> Array:
    """Return the diagonal of the inverse; directions with less curvature than FLAT are taken to have that."""
    scale = np.sqrt(np.maximum(np.diagonal(matrix), 1e-300))
    try:
        factor = np.linalg.cholesky(matrix / scale / scale[:, None] - 1e-9 * np.eye(len(matrix)))
    except np.linalg.LinAlgError:
        values, vectors = np.linalg.eigh(matrix)
        return np.asarray((vectors**2 / np.maximum(values, FLAT)).sum(1))
    return np.asarray((np.linalg.inv(factor) ** 2).sum(0) / scale**2)


def _arrow_variance(own: Array, shared: Array, calibration: Array, fixed: Array) -> Array:
    """Invert [[own blocks, shared], [sharedᵀ, calibration]] by its Schur complement, own blocks one by one."""
    sound = np.linalg.eigvalsh(own)[:, 0] > 1e-9
    inverse = np.linalg.inv(np.where(sound[:, None, None], own, np.eye(own.shape[1])))
    variance = np.diagonal(inverse, axis1=1, axis2=2).copy()
    if len(calibration):
        carried = inverse @ shared
        use = sound & ~fixed
        schur = calibration - np.einsum("acx,acy->xy", shared[use], carried[use])
        if np.linalg.eigvalsh(schur).min() <= 0:
            schur = calibration
        variance += np.einsum("acx,xy,acy->ac", carried, np.linalg.inv(schur), carried)
    variance[~sound] = np.inf
    variance[fixed] = 0.0
    return variance


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
