"""How sure the estimates are: observed information by Louis' (1982) formula, on the logit scale.

For a comparison with posterior q, going from direction −1 to +1 changes the complete-data score by Δ_m (one entry per
coin whose votes it has, and (c·S, 1) for the calibration). Observed information = complete information − Σ q(1−q) Δ Δᵀ.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from repo.reliability.em.algorithms import Problem, e_step
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
    expectation = e_step(problem, parameters)
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
    """Subtract Σ q(1−q) Δ Δᵀ over pairs of different votes on one comparison: all pairs, less each vote with itself."""
    from scipy.sparse import csr_array

    votes, coins = problem.votes, problem.model.coins
    if votes.start is None:
        return
    direction = e_step(problem, parameters, keep_direction=True).direction
    assert direction is not None
    spread = np.sqrt(direction * (1 - direction)).astype(float)  # [M]
    comparison = np.repeat(np.arange(votes.comparison_count), votes.group_sizes())
    weight = np.ones(votes.size) if votes.weight is None else votes.weight.astype(float)
    delta = difference.reshape(-1, coins)[votes.code] * (weight * spread[comparison])[:, None]  # [N, coins]
    coin = votes.annotator.astype(np.int64)[:, None] * coins + np.arange(coins)  # [N, coins]
    rows = np.repeat(comparison, coins)
    shape = (votes.comparison_count, len(matrix))
    by_comparison = csr_array((delta.ravel(), (rows, coin.ravel())), shape)
    matrix -= (by_comparison.T @ by_comparison).toarray()
    own = np.empty((len(votes.annotators), coins, coins))
    for side, other in np.ndindex(coins, coins):
        own[:, side, other] = np.bincount(votes.annotator, delta[:, side] * delta[:, other], len(own))
    _add_blocks(matrix, own)


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
