"""What gold comparisons and pinned annotators say of the others before EM."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from repo.reliability.em.algorithms import Problem, e_step
from repo.reliability.em.expectation import Parameters

Array = NDArray[Any]


def agreement_with_anchors(problem: Problem, eta: Array) -> tuple[Array, Array]:
    """Return how many labels of each annotator are right by the anchors, and of how many they say so; each shape [A].

    With η = ½ for everybody else and no margins, an E-step gives every comparison the direction q that gold and pinned
    annotators give it. From E[label · (2q − 1)] = (2η − 1)(2q − 1)², an annotator's agreement with these directions
    says 2η − 1, with the weight of n = Σ (2q − 1)² labels known for certain.

    Args:
        problem: data and anchors.
        eta: η of pinned annotators (those of others are not looked at), shape [A, coins].
    """
    votes, size = problem.votes, len(problem.votes.annotators)
    if not problem.fixed.any() and (votes.gold is None or not votes.gold.any()):
        return np.zeros(size), np.zeros(size)
    only_anchors = Parameters(np.where(problem.fixed[:, None], eta, 0.5), 0.0)
    known = e_step(problem, only_anchors, keep_direction=True).direction
    assert known is not None
    lean = 2 * (known if votes.start is None else np.repeat(known, votes.group_sizes())).astype(float) - 1  # [N]
    weight = 1.0 if votes.weight is None else votes.weight
    label = np.where(votes.code % 2 == 1, 1.0, -1.0)  # [N]
    agreement = np.bincount(votes.annotator, weight * label * lean, size)
    number = np.bincount(votes.annotator, weight * lean**2, size)
    return (number + agreement) / 2, number
