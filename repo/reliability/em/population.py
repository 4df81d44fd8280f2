"""The population behind the annotators: mean and spread of their reliabilities, by empirical Bayes.

logit η_k is a draw from N(level, level_sd²). With two coins the level is the mean of the two logits and the lean half
their difference, a draw of its own from N(lean, lean_sd²): the coins' correlation is (level_sd² − lean_sd²) /
(level_sd² + lean_sd²). What annotator k's votes say about η_k is integrated against it:

    L_k(η) = Π_i [η p₋ᵢ + (1 − η)(1 − p₋ᵢ)],    evidence(level, sd) = Π_k ∫ L_k(η) N(logit η; level, sd²) d logit η

p₋ᵢ = the others' probability of the side that vote i took, own votes left out of everything (see left_out.py). sd has a
half-Cauchy prior, and its posterior has the level integrated out: at the level that suits it best, a wide population
would look as well pinned down as a narrow one. People are told apart where that, each spread at its best level,
explains the votes better than sd = 0; else everybody gets the pooled value. The intervals take every spread into
account, as far as the votes leave it open.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repo.reliability.em.expectation import sigmoid

Array = NDArray[Any]

OPINIONS = np.linspace(-12, 12, 97)
"""Log-odds of p₋ᵢ that are told apart; votes are split between neighbours."""

LEVELS = np.linspace(-6, 6, 241)
COARSE_LEVELS, LEANS = np.linspace(-6, 6, 61), np.linspace(-4, 4, 41)
"""Grids of logit η: one coin; level and lean of two."""

POOLED = 0.005
"""A spread of logit η this small stands for none at all."""

SPREADS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.45, 0.6, 0.8, 1.0, 1.3, 1.6, 2.0, 2.5)
"""Standard deviations of logit η that are tried: .1 is two points of reliability at .8, 2.5 anything at all."""

SPREAD_SCALE = 1.0
"""Of the half-Cauchy prior of the spread (Gelman 2006): as often below as above."""

LEVEL_PRIOR = (1.5, 1.5)
"""Weak prior of the level: η between .19 and .99 within two standard deviations. Lean: around 0, as wide."""

MOST_PEOPLE = 2000
"""A sample of this many annotators fixes mean and spread to a few percent of the spread."""

LEAST_WEIGHT, LONGEST_SEARCH, TURNS, TINY = 1e-4, 30, 4, 1e-300


@dataclass(frozen=True)
class Likelihood:
    """log L_k on a grid.

    Attributes:
        axes: levels; for two coins levels and leans.
        values: shape [A, levels] or [A, levels, leans].
    """

    axes: tuple[Array, ...]
    values: Array

    @classmethod
    def of(cls, opinions: Array | None, evidence: Array) -> "Likelihood":
        """Return the likelihood of votes and of earlier evidence.

        Args:
            opinions: what left_out.opinions returned for OPINIONS, shape [A, coins, len(OPINIONS)]; None: no votes.
            evidence: pseudo-counts (right, wrong) from before, shape [A, coins, 2].
        """
        coins = evidence.shape[1]
        axes = (LEVELS,) if coins == 1 else (COARSE_LEVELS, LEANS)
        eta = coin_reliabilities(axes)  # [G, coins]
        values = np.zeros((len(evidence), len(eta)))
        if opinions is not None:
            table = np.log(_chances(eta))  # [ways, opinions, G]
            values += opinions.reshape(len(opinions), table.shape[0] * table.shape[1]) @ table.reshape(-1, len(eta))
        values += evidence[..., 0] @ np.log(eta).T + evidence[..., 1] @ np.log1p(-eta).T
        return cls(axes, values.reshape(-1, *map(len, axes)))

    def and_of(self, others: "Likelihood") -> "Likelihood":
        """Return that of these annotators and of others."""
        return Likelihood(self.axes, np.concatenate([self.values, others.values]))


def coin_reliabilities(axes: tuple[Array, ...]) -> Array:
    """Return η of every coin at every grid point, shape [G, coins]."""
    if len(axes) == 1:
        return sigmoid(axes[0])[:, None]
    level, lean = (grid.ravel() for grid in np.meshgrid(*axes, indexing="ij"))
    return np.stack([sigmoid(level + lean), sigmoid(level - lean)], 1)


def _chances(eta: Array) -> Array:
    """Return P(vote | opinion of the others) by way to vote (see left_out.opinions), opinion and grid point."""
    p = sigmoid(OPINIONS)[:, None]
    if eta.shape[1] == 1:
        return np.asarray(p * eta[:, 0] + (1 - p) * (1 - eta[:, 0]))[None]
    says_second = p * (1 - eta[:, 0]) + (1 - p) * eta[:, 1]
    return np.stack([says_second, 1 - says_second])


@dataclass(frozen=True)
class Candidate:
    """A spread that was tried: the best mean with it, how precisely that is known, and its posterior probability."""

    mean: float
    spread: float
    precision: float
    weight: float


@dataclass(frozen=True)
class Population:
    """What is known of annotators in general.

    Attributes:
        mean: level, or level and lean, of logit η.
        spread: their standard deviations.
        told_apart: whether the votes say that people differ.
        candidates: what the level may be, with weights that sum to 1; the intervals take all of it into account.
        people: how many annotators it was learnt from.
        pooled_precision: of the level, if everybody were alike and all labels were independent.
        pooled_variance: of the same, with what the labels share.
    """

    mean: Array
    spread: Array
    told_apart: bool
    candidates: tuple[Candidate, ...] = ()
    people: int = 0
    pooled_precision: float = np.inf
    pooled_variance: float = 0.0

    @property
    def shared_variance(self) -> float:
        """Return what is not known of the level because labels share a calibration, and one another's directions."""
        return max(self.pooled_variance - 1 / self.pooled_precision, 0.0)

    @property
    def coins(self) -> int:
        """1 or 2."""
        return len(self.mean)

    @property
    def correlation(self) -> float:
        """Of the logits of the two coins."""
        level, lean = self.spread**2
        return float((level - lean) / max(level + lean, TINY))

    def moments(self) -> tuple[Array, Array]:
        """Return mean and standard deviation over people of the η of each coin, each of shape [coins]."""
        mean, sd = self.mean[:1], self.spread[:1]
        if self.coins == 2:
            mean, sd = self.mean[0] + np.array([1, -1]) * self.mean[1], np.full(2, np.hypot(*self.spread))
        return _moments(mean, sd)

    def pseudo_counts(self) -> Array:
        """Return the prior of each coin as (right, wrong) counts, shape [coins, 2]."""
        mean, sd = self.moments()
        strength = mean * (1 - mean) / sd**2 - 1
        return np.stack([strength * mean, strength * (1 - mean)], -1)


def _moments(mean: Array, sd: Array) -> tuple[Array, Array]:
    """Return mean and standard deviation of σ(x), x normal, by quadrature."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(31)
    eta = sigmoid(mean[..., None] + sd[..., None] * nodes)
    weights = weights / weights.sum()
    average = np.where(sd > POOLED, (eta * weights).sum(-1), sigmoid(mean))
    variance = ((eta - average[..., None]) ** 2 * weights).sum(-1)
    return average, np.sqrt(np.maximum(variance, 1e-300))


def fit_population(likelihood: Likelihood, start: Array, differ: bool = False) -> Population:
    """Return mean and spread of highest evidence, and how probable others are.

    Two coins: level and lean in turn, the other one integrated out.

    Args:
        likelihood: of the annotators to learn from (pinned ones left out).
        start: level (and lean) to search from.
        differ: people are known to differ in their level.
    """
    people = len(likelihood.values)
    if len(start) == 1:
        level = fit_axis(likelihood.values, likelihood.axes[0], float(start[0]), LEVEL_PRIOR[0], differ)
        mean, spread = np.array([level.mean]), np.array([level.spread])
        return Population(mean, spread, level.told_apart, level.candidates, people, level.pooled_precision)
    levels, leans = likelihood.axes
    largest = likelihood.values.max((1, 2), keepdims=True)
    relative = np.exp(likelihood.values - largest)  # [A, levels, leans]
    level, lean = (Axis(float(mean), SPREAD_SCALE, True) for mean in start)
    for _ in range(TURNS):
        level = fit_axis(np.log(relative @ lean.on(leans) + TINY), levels, level.mean, LEVEL_PRIOR[0], differ)
        lean = fit_axis(np.log(level.on(levels) @ relative + TINY), leans, lean.mean, 0.0)
    mean, spread = np.array([level.mean, lean.mean]), np.array([level.spread, lean.spread])
    return Population(mean, spread, level.told_apart, level.candidates, people, level.pooled_precision)


@dataclass(frozen=True)
class Axis:
    """Mean and spread along one axis; see Population."""

    mean: float
    spread: float
    told_apart: bool
    candidates: tuple[Candidate, ...] = ()
    pooled_precision: float = np.inf

    def on(self, axis: Array) -> Array:
        """Return the distribution on grid points, shape [G]."""
        return _on_grid(axis, self.mean, self.spread)


def _on_grid(axis: Array, mean: float, spread: float) -> Array:
    step = axis[1] - axis[0]
    density = np.exp(-0.5 * ((axis - np.clip(mean, axis[0], axis[-1])) / max(spread, step)) ** 2)
    return np.asarray(density / density.sum())


def fit_axis(values: Array, axis: Array, start: float, center: float, differ: bool = False) -> Axis:
    """Return mean and spread along one axis.

    Args:
        values: log-likelihood of each annotator on the axis, shape [A, G].
        axis: grid, shape [G].
        start: where to search from.
        center: of the mean's prior.
        differ: people are known to differ.
    """
    evidence = _Evidence(values, axis, center)
    tried = (POOLED, *SPREADS)
    found = [evidence.best_mean(start, spread) for spread in tried]
    heights, precisions = np.array([value for _, _, value in found]), np.array([known for _, known, _ in found])
    likelihoods, prior = np.exp(heights - heights.max()), _spread_prior()
    told_apart = differ or bool(np.average(likelihoods[1:], weights=prior[1:]) > likelihoods[0])
    # The mean integrated out, by Laplace: taken at its best value, spreads come out too small (ML against REML).
    weight = likelihoods * prior / np.sqrt(precisions)
    weight /= weight.sum()
    candidates = tuple(
        Candidate(mean, spread, precision, float(share))
        for (mean, precision, _), spread, share in zip(found, tried, weight, strict=True)
        if share > LEAST_WEIGHT
    )
    if not told_apart:
        return Axis(found[0][0], POOLED, False, candidates, found[0][1])
    means, likely = np.array([mean for mean, _, _ in found[1:]]), weight[1:] / weight[1:].sum()
    return Axis(float(likely @ means), float(np.exp(likely @ np.log(SPREADS))), True, candidates, found[0][1])


def _spread_prior() -> Array:
    """Return the half-Cauchy probability of POOLED and each of SPREADS, as far as they are nearest."""
    middles = np.convolve((POOLED, *SPREADS), [0.5, 0.5], "valid")
    below = 2 / np.pi * np.arctan(np.array([0.0, *middles, np.inf]) / SPREAD_SCALE)
    return np.diff(below)


class _Evidence:
    """log evidence of a mean and spread along an axis, plus log prior of the mean."""

    def __init__(self, values: Array, axis: Array, center: float) -> None:
        self.largest = values.max(1)  # [A]
        self.relative = np.exp(values - self.largest[:, None])  # [A, G]
        self.total = values.sum(0)  # [G]
        self.axis, self.step, self.center = axis, axis[1] - axis[0], center

    def __call__(self, mean: float, spread: float) -> float:
        """Return log evidence + log prior."""
        log_prior = -0.5 * ((mean - self.center) / LEVEL_PRIOR[1]) ** 2
        if spread == POOLED:
            return self._at_one_point(mean) + log_prior
        likelihoods = self.relative @ _on_grid(self.axis, mean, spread)
        return float((np.log(likelihoods + TINY) + self.largest).sum()) + log_prior

    def _at_one_point(self, level: float) -> float:
        """Return Σ log L_k(level), by the parabola through the three nearest grid points."""
        place = float(np.clip((level - self.axis[0]) / self.step, 1, len(self.total) - 2))
        middle = round(place)
        low, at, high = self.total[middle - 1 : middle + 2]
        offset = place - middle
        return float(at + offset * (high - low) / 2 + offset**2 * (high + low - 2 * at) / 2)

    def best_mean(self, start: float, spread: float) -> tuple[float, float, float]:
        """Return the mean of highest evidence for this spread, its precision, and that evidence."""
        mean, value = start, self(start, spread)
        for _ in range(LONGEST_SEARCH):
            up, down = self(mean + self.step, spread), self(mean - self.step, spread)
            slope, precision = (up - down) / (2 * self.step), max((2 * value - up - down) / self.step**2, 1e-3)
            proposal = float(np.clip(mean + np.clip(slope / precision, -1.0, 1.0), self.axis[0], self.axis[-1]))
            proposed = self(proposal, spread)
            if proposed <= value or abs(proposal - mean) < 1e-4:
                break
            mean, value = proposal, proposed
        return mean, precision, value


def log_density(population: Population, levels: Array, side: int = 0) -> Array:
    """Return the log density of the logit of one of an annotator's coins, in the shape of `levels`.

    A mixture over the candidates, each widened by what is not known of its mean.

    Args:
        population: of one coin or two.
        levels: logit η.
        side: which of two coins.
    """
    lean, spread = (0.0, 0.0) if population.coins == 1 else (population.mean[1], population.spread[1])
    parts = []
    for part in population.candidates:
        mean, variance = _without_oneself(part, population.people)
        mean += lean if side == 0 else -lean
        variance += part.spread**2 + spread**2 + population.shared_variance
        parts.append(np.log(part.weight) - 0.5 * ((levels - mean) ** 2 / variance + np.log(variance)))
    return _log_sum(np.stack(parts, -1))


def _log_sum(values: Array) -> Array:
    """Return log Σ exp over the last axis."""
    largest = values.max(-1, keepdims=True)
    return np.asarray(np.log(np.exp(values - largest).sum(-1)) + largest[..., 0])


def _without_oneself(part: Candidate, people: int) -> tuple[float, float]:
    """Return mean and variance of a candidate's mean as the others alone would give it: one of `people` left out."""
    center, own = LEVEL_PRIOR[0], LEVEL_PRIOR[1] ** -2.0
    data = max(part.precision - own, 0.0)
    if data == 0:
        return center, 1 / own
    from_data = part.mean + own * (part.mean - center) / data
    kept = data * (1 - 1 / people)
    return (own * center + kept * from_data) / (own + kept), 1 / (own + kept)
