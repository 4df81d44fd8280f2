"""Where EM starts: prior and parameters from all that is known before it."""

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repo.reliability.em.algorithms import Problem
from repo.reliability.em.expectation import Parameters
from repo.reliability.state import ReliabilityState

Array = NDArray[Any]


def prior_counts(
    annotators: list[Hashable], coins: int, mean: float, strength: float, state: ReliabilityState | None
) -> Array:
    """Return pseudo-counts (right, wrong) of every coin, [A, coins, 2]: the default prior plus the state's evidence.

    An annotator's coins share the default prior of `strength` votes.
    """
    counts = np.empty((len(annotators), coins, 2))
    counts[...] = strength * mean / coins, strength * (1 - mean) / coins
    if state is not None:
        if state.coins != coins:
            raise ValueError(
                f"prior_state has {state.coins} coin(s) per annotator, this fit {coins}: set coins={state.coins}"
            )
        for row, identifier in enumerate(annotators):
            if record := state.annotators.get(identifier):
                counts[row, :, 0] += record.right
                counts[row, :, 1] += record.wrong
    return counts


def start(
    annotators: list[Hashable],
    prior: Array,
    default_strength: float,
    initial: float,
    pinned: Mapping[Any, float],
) -> Array:
    """Return η at the start: `initial`; for annotators known from before, one vote's worth of it beside that."""
    known = prior.sum(2) > default_strength / prior.shape[1] * (1 + 1e-12)
    eta = np.where(known, (prior[..., 0] + initial) / (prior.sum(2) + 1), initial)
    for row, identifier in enumerate(annotators):
        if identifier in pinned:
            eta[row] = pinned[identifier]
    return eta


def start_parameters(eta: Array, problem: Problem, state: ReliabilityState | None) -> Parameters:
    """Return where EM starts: c = 1 / rms(S) where it is estimated (or the state's), else 1."""
    calibration = problem.calibration
    temperature = float(np.exp(calibration.center)) if calibration.temperature else 1.0
    if state is not None and calibration.temperature:
        temperature = state.temperature
    return Parameters(eta, temperature, 0.0)
