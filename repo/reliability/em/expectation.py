"""The arithmetic of the E-step: a block of comparisons with their votes, and the sums that a pass over them makes."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from repo.reliability.em.votes import Votes

Array = NDArray[Any]
T = TypeVar("T")


@dataclass(frozen=True)
class Parameters:
    """What EM estimates.

    Attributes:
        eta: reliability of every coin, shape [A, coins], each in (0, 1).
        temperature: c ≥ 0, what the margins are multiplied with before they are log-odds.
        intercept: b, log-odds of "first is better" at margin 0 (the prevalence, without margins).
    """

    eta: Array
    temperature: float = 1.0
    intercept: float = 0.0


@dataclass
class Expectation:
    """Sums over the data that the M-steps and the intervals need.

    Attributes:
        first: Σ q over the votes of every annotator and kind, shape [A, kinds].
        log_likelihood: marginal log-likelihood (RE-PO Eq. 3, by comparison).
        gradient: of the log-likelihood in (log c, b), shape [2].
        complete: information about (log c, b) if the directions were known, shape [2, 2].
        missing: what is lost of it because they are not, shape [2, 2]; complete − missing is the observed information.
        direction: q of each comparison, shape [M], or None where not asked for.
    """

    first: Array
    log_likelihood: float
    gradient: Array
    complete: Array
    missing: Array
    direction: Array | None = None

    def add(self, other: "Expectation") -> None:
        """Add the sums over other comparisons; directions stay apart."""
        self.first += other.first
        self.log_likelihood += other.log_likelihood
        self.gradient += other.gradient
        self.complete += other.complete
        self.missing += other.missing

    @classmethod
    def empty(cls, shape: tuple[int, ...], log_likelihood: float = 0.0) -> "Expectation":
        """Return sums over no data; `shape` is [A, kinds]."""
        return cls(np.zeros(shape), log_likelihood, np.zeros(2), np.zeros((2, 2)), np.zeros((2, 2)))


def sigmoid(x: Array) -> Array:
    """Return 1 / (1 + e^−x) without overflow, in x's precision."""
    return np.asarray(0.5 * np.tanh(0.5 * x) + 0.5)


def log_odds(p: Array) -> Array:
    """Return log p − log(1 − p)."""
    return np.asarray(np.log(p) - np.log1p(-p))


def vote_counts(votes: Votes) -> Array:
    """Return the (weighted) number of votes of every annotator and kind, shape [A, kinds]."""
    length = len(votes.annotators) * votes.kinds
    return np.bincount(votes.code, votes.weight, length).astype(float).reshape(-1, votes.kinds)


def chunk_bounds(votes: Votes, chunk: int | None) -> list[tuple[int, int]]:
    """Return ranges of comparisons of at most about `chunk` votes each, all of one size.

    By default they are small enough for a processor's cache. Sums by annotator cost a pass over all annotators per
    chunk, so a chunk has at least about as many votes as there are such sums twice over.
    """
    rows = chunk or max(2**18, 4 * votes.kinds * len(votes.annotators))
    ends = np.linspace(0, votes.size, -(-votes.size // rows) + 1).round().astype(np.int64)
    edges = np.unique(ends if votes.start is None else np.searchsorted(votes.start, ends))
    return list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))


def side_by_side(part: Callable[[tuple[int, int]], T], chunks: list[tuple[int, int]]) -> Iterator[T]:
    """Yield part(chunk) of each chunk in their order, computed in threads: numpy lets go of the interpreter's lock."""
    threads = min(len(chunks), os.cpu_count() or 1)
    if threads < 2:
        yield from map(part, chunks)
        return
    with ThreadPoolExecutor(threads) as pool:
        # A few at a time: sums by annotator of all chunks together may be as large as the data.
        for first in range(0, len(chunks), 4 * threads):
            yield from pool.map(part, chunks[first : first + 4 * threads])


class Block:
    """The comparisons begin … end − 1 with their votes."""

    def __init__(self, votes: Votes, begin: int, end: int) -> None:
        self.dtype = votes.dtype
        self.size = end - begin
        self.start: Array | None = None
        rows = slice(begin, end)
        if votes.start is not None:
            stop = int(votes.start[end]) if end < len(votes.start) else votes.size
            rows = slice(int(votes.start[begin]), stop)
            self.start = votes.start[begin:end] - rows.start
            self.sizes = np.diff(self.start, append=stop - rows.start)
        self.code = votes.code[rows]
        self.weight = None if votes.weight is None else votes.weight[rows]
        self.margin = None if votes.margin is None else votes.margin[begin:end]
        self.gold = None if votes.gold is None else votes.gold[begin:end]

    def prior(self, parameters: Parameters) -> Array:
        """Return c·S + b of each comparison, before any vote; without margins b alone, shape []."""
        if self.margin is None:
            return np.asarray(parameters.intercept, self.dtype)
        scaled = self.margin * self.dtype.type(parameters.temperature)
        return np.asarray(scaled if parameters.intercept == 0 else scaled + self.dtype.type(parameters.intercept))

    def evidence(self, table: Array) -> Array:
        """Return Σ weight · log-odds over the votes of each comparison, from log-odds by annotator and kind."""
        return self.by_comparison(np.take(table, self.code))

    def by_comparison(self, evidence: Array) -> Array:
        """Return Σ weight · evidence over the votes of each comparison; changes `evidence`."""
        if self.weight is not None:
            evidence *= self.weight
        return evidence if self.start is None else np.add.reduceat(evidence, self.start)

    def posterior(self, logit: Array) -> Array:
        """Return q; where gold says the direction, 1 or 0."""
        posterior = sigmoid(logit)
        return posterior if self.gold is None else np.asarray(np.where(self.gold == 0, posterior, self.gold > 0))

    def by_vote(self, values: Array) -> Array:
        """Return values given by comparison for each vote."""
        return values if self.start is None else np.repeat(values, self.sizes)

    def sum_by_code(self, values: Array, length: int) -> Array:
        """Return Σ weight · value by annotator and kind; values are given by comparison."""
        by_vote = self.by_vote(values)
        return np.bincount(self.code, by_vote if self.weight is None else by_vote * self.weight, length)

    def log_likelihood(self, logit: Array, prior: Array) -> float:
        """Return Σ log[cosh(L/2) / cosh(prior/2)]: what the midpoints of the votes' log-probabilities leave out."""
        joint = log_cosh_half(logit)
        if self.gold is not None:
            joint = np.where(self.gold == 0, joint, self.gold * (logit / 2))
        return float(np.sum(joint - log_cosh_half(prior), dtype=np.float64))

    def add_calibration(self, result: Expectation, q: Array, prior: Array, parameters: Parameters) -> None:
        """Add this block's share of gradient and information in (log c, b)."""
        p = sigmoid(prior)
        if self.margin is None:
            result.gradient[1] += _sum(q) - self.size * float(p)
            result.complete[1, 1] += self.size * float(p * (1 - p))
            result.missing[1, 1] += _sum(q * (1 - q))
            return
        slope = prior - self.dtype.type(parameters.intercept)
        difference, known, lost = q - p, p * (1 - p), q * (1 - q)
        result.gradient += [_dot(difference, slope), _sum(difference)]
        for total, variance in ((result.complete, known), (result.missing, lost)):
            cross = _dot(variance, slope)
            total += [[_dot(variance * slope, slope), cross], [cross, _sum(variance)]]


def log_cosh_half(x: Array) -> Array:
    """Return log(2 cosh(x / 2)) without overflow."""
    size = np.abs(x)
    return np.asarray(size / 2 + np.log1p(np.exp(-size)))


def _sum(x: Array) -> float:
    return float(np.sum(x, dtype=np.float64))


def _dot(x: Array, y: Array) -> float:
    return float(np.dot(x, y))
