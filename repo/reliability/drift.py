"""Whose reliability has changed: new votes held against what earlier ones said of the same people.

For each annotator k two stories are weighed by how well they predict the new votes, each vote judged by the margin of
its comparison and the other people's votes (em/left_out.py), so that the annotator's own past has no say in it:

    same:     η is who k was,            Beta(right + population's, wrong + population's) of the state
    changed:  η may be anything,         uniform on (0, 1)

The odds are the ratio of the two marginal likelihoods (a Bayes factor; Kass & Raftery, JASA 90, 1995). Under "same"
they exceed x with a chance of at most 1/x, so `least` bounds the rate of false alarms.
"""

from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repo.reliability.estimator import AnnotatorReliability
from repo.reliability.state import ReliabilityState

Array = NDArray[Any]

DRIFT_FILE = "drift.json"
"""In the record of a training that went on from an earlier one."""

_EDGES = np.linspace(-16, 16, 257)
"""Opinions of the others on a vote, log-odds."""
_NODES = (np.arange(1024) + 0.5) / 1024
_OLD_NODES = (np.arange(128) + 0.5) / 128
"""Nodes of equal probability over which marginal likelihoods are averaged."""
_MOST_STRENGTH = 100.0
"""Votes that the population is worth at most: it alone makes nobody's past certain."""


@dataclass(frozen=True)
class Drift:
    """One annotator then and now.

    Attributes:
        annotator: who.
        votes: new votes, or their weights' sum.
        before, before_interval: η by the state.
        now, now_interval: η by the new votes alone, uniform beforehand.
        odds: log10 of how many times likelier the new votes are where η has changed.
        changed: whether they speak of another η than before.
    """

    annotator: Hashable
    votes: float
    before: float
    before_interval: tuple[float, float]
    now: float
    now_interval: tuple[float, float]
    odds: float
    changed: bool

    @property
    def beyond(self) -> float:
        """How far the two intervals lie apart; 0 where they overlap."""
        return max(0.0, self.now_interval[0] - self.before_interval[1], self.before_interval[0] - self.now_interval[1])


def drifts(fitted: AnnotatorReliability, state: ReliabilityState, least: float) -> list[Drift]:
    """Return everybody who voted and whom the state knows, the most changed first.

    Args:
        fitted: a fit with one coin of the new votes, from `state`.
        state: what is known from earlier votes.
        least: odds from which on somebody is said to have changed; the intervals must lie apart as well.
    """
    state = state.with_coins(1)
    opinions = fitted.opinions(_EDGES)  # [A, E]
    found = [
        _drift(name, opinions[place], state, fitted.confidence, least)
        for place, name in enumerate(fitted.annotators_)
        if name in state.annotators and name not in fitted.pinned
    ]
    return sorted(found, key=lambda drift: (-drift.odds, str(drift.annotator)))


def believed(state: ReliabilityState, identifier: Hashable, otherwise: float) -> float:
    """Return η of an annotator by the state's evidence and population; `otherwise` is the mean where it has none."""
    right, wrong = _beta(state.with_coins(1), identifier, otherwise)
    return right / (right + wrong)


def _drift(name: Hashable, opinions: Array, state: ReliabilityState, confidence: float, least: float) -> Drift:
    from scipy import stats

    right, wrong = _beta(state, name, 0.5)
    old = stats.beta(right, wrong)
    ends = np.array([(1 - confidence) / 2, (1 + confidence) / 2])
    likelihood = _log_likelihood(opinions, _NODES)  # [nodes]
    odds = _log_mean(likelihood) - _log_mean(_log_likelihood(opinions, np.asarray(old.ppf(_OLD_NODES))))
    density = np.exp(likelihood - likelihood.max())
    share = np.cumsum(density) / density.sum()
    low, high = (float(_NODES[min(np.searchsorted(share, end), len(_NODES) - 1)]) for end in ends)
    drift = Drift(
        annotator=name,
        votes=float(opinions.sum()),
        before=right / (right + wrong),
        before_interval=(float(old.ppf(ends[0])), float(old.ppf(ends[1]))),
        now=float((density * _NODES).sum() / density.sum()),
        now_interval=(low, high),
        odds=float(odds / np.log(10)),
        changed=False,
    )
    return replace(drift, changed=bool(drift.odds >= np.log10(least)) and drift.beyond > 0)


def _beta(state: ReliabilityState, identifier: Hashable, otherwise: float) -> tuple[float, float]:
    """Return (right, wrong) of the Beta that says who somebody was: the population's votes and their own."""
    mean = otherwise if state.mean is None else float(np.clip(state.mean, 0.01, 0.99))
    spread = mean * (1 - mean) if state.sd is None else max(state.sd**2, 1e-9)
    strength = float(np.clip(mean * (1 - mean) / spread - 1, 1.0, _MOST_STRENGTH))
    own = state.counts(identifier)[0] if identifier in state.annotators else np.zeros(2)
    return strength * mean + float(own[0]), strength * (1 - mean) + float(own[1])


def _log_likelihood(opinions: Array, eta: Array) -> Array:
    """Return log P(the votes | η), shape of `eta`: a vote is right with the chance that the others give it."""
    met = np.flatnonzero(opinions)
    chance = 1 / (1 + np.exp(-_EDGES[met]))[:, None]  # [met, 1]
    return np.asarray(opinions[met] @ np.log(chance * eta + (1 - chance) * (1 - eta)))


def _log_mean(values: Array) -> float:
    top = float(values.max())
    return top + float(np.log(np.mean(np.exp(values - top))))
