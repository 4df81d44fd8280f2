"""Where EM starts: one function of everything that is known before it.

Known are gold comparisons, pinned annotators, the state that an earlier fit left, the population in that state, and η₀.
EM climbs from its start. Where most annotators are wrong, a start above ½ ends in the mirror image however clearly gold
contradicts it, because the gold comparisons are few among many; so everything that says how often somebody is right
counts from the first step on.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repo.reliability.em.algorithms import Problem
from repo.reliability.em.anchors import agreement_with_anchors
from repo.reliability.em.expectation import Parameters
from repo.reliability.state import ReliabilityState

Array = NDArray[Any]

LEAST, MOST = 0.02, 0.98


@dataclass(frozen=True)
class Known:
    """What is known of the annotators of a fit before their votes are looked at.

    Attributes:
        evidence: pseudo-counts (right, wrong) of every coin from the state, shape [A, coins, 2].
        elsewhere: the same of the state's annotators who gave no votes here, shape [B, coins, 2].
        pinned: η of pinned annotators, NaN for the others, shape [A].
        expected: η of somebody of whom nothing is known: the mean of the state's population, else η₀.
        temperature: the state's, or None.
    """

    evidence: Array
    elsewhere: Array
    pinned: Array
    expected: float
    temperature: float | None

    @property
    def fixed(self) -> Array:
        """Return which annotators are pinned, shape [A]."""
        return ~np.isnan(self.pinned)


def known_before(
    annotators: list[Hashable],
    coins: int,
    pinned: Mapping[Any, float],
    initial: float,
    state: ReliabilityState | None,
) -> Known:
    """Collect what is known; a state with another number of coins is folded into, or spread over, those of this fit."""
    given = np.array([pinned.get(identifier, np.nan) for identifier in annotators])
    if state is None:
        return Known(np.zeros((len(annotators), coins, 2)), np.zeros((0, coins, 2)), given, initial, None)
    state = state.with_coins(coins)
    here = set(annotators)
    nothing = np.zeros((coins, 2))
    evidence = [state.counts(identifier) if identifier in state.annotators else nothing for identifier in annotators]
    others = [state.counts(identifier) for identifier in state.annotators if identifier not in here]
    elsewhere = np.array(others).reshape(-1, coins, 2)
    expected = initial if state.mean is None else state.mean
    return Known(np.array(evidence), elsewhere, given, expected, state.temperature)


def before_any_vote(known: Known) -> Array:
    """Return η of every annotator by what is known before, `known.expected` by the weight of one label, shape [A]."""
    right, number = known.evidence[..., 0].sum(1), known.evidence.sum((1, 2))  # each [A]
    return np.where(known.fixed, known.pinned, (right + known.expected) / (number + 1))


def where_em_starts(problem: Problem, known: Known) -> Parameters:
    """Return the parameters that EM starts from.

    η of an annotator is the share of right labels among those of the state and those that gold or pinned annotators say
    are right or wrong, drawn by the weight of one label to what everybody has on average; and that, by the weight of
    one label, to `known.expected`. Without any such labels it is `known.expected`, for everybody but pinned annotators.

    c = 1 / rms(S), or the state's, where it is estimated, else 1; b = 0.
    """
    pinned, fixed = known.pinned[:, None], known.fixed
    expected = np.where(fixed[:, None], pinned, known.expected) * np.ones(problem.prior.shape[:2])  # [A, coins]
    right, number = agreement_with_anchors(problem, expected)
    right, number = right + known.evidence[..., 0].sum(1), number + known.evidence.sum((1, 2))  # each [A]
    eta = expected
    if number[~fixed].any():
        average = (right[~fixed].sum() + known.expected) / (number[~fixed].sum() + 1)
        eta = np.clip((right + average) / (number + 1), LEAST, MOST)[:, None] * np.ones_like(expected)
    temperature = 1.0
    if problem.calibration.temperature:
        temperature = known.temperature or float(np.exp(problem.calibration.center))
    return Parameters(np.where(fixed[:, None], pinned, eta), temperature, 0.0)
