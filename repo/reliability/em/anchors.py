"""Where EM starts when some comparisons or annotators are known: near what those say, not at the same η for everybody.

EM climbs from its start. Where most annotators are wrong, a start above ½ ends in the mirror image however clearly the
gold contradicts it, because the gold comparisons are few among many. What they say of each annotator is a better start.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from repo.reliability.em.algorithms import Problem
from repo.reliability.em.expectation import Parameters

Array = NDArray[Any]

LEAST, MOST = 0.02, 0.98


def anchored_start(problem: Problem, eta: Array) -> Array:
    """Return η to start from, shape [A, coins]; `eta` itself where there is neither gold nor a pinned annotator.

    With η = ½ for everybody else and no margins, an E-step gives every comparison the direction q that gold and pinned
    annotators give it. From E[label · (2q − 1)] = (2η − 1)(2q − 1)², an annotator's agreement with these directions
    says 2η − 1, with the weight of n = Σ (2q − 1)² labels known for certain. Annotators with few of them are drawn
    towards what they all have on average, by the weight of one label.

    Args:
        problem: data, anchors, and η of pinned annotators in `eta`.
        eta: the start without anchors, shape [A, coins].
    """
    votes = problem.votes
    if not problem.fixed.any() and (votes.gold is None or not votes.gold.any()):
        return eta
    only_anchors = Parameters(np.where(problem.fixed[:, None], eta, 0.5), 0.0)
    known = problem.expect(only_anchors, keep_direction=True).direction
    assert known is not None
    lean = 2 * (known if votes.start is None else np.repeat(known, votes.group_sizes())).astype(float) - 1
    weight = 1.0 if votes.weight is None else votes.weight
    label = np.where(votes.code % 2 == 1, 1.0, -1.0)
    size = len(votes.annotators)
    agreement = np.bincount(votes.annotator, weight * label * lean, size)
    number = np.bincount(votes.annotator, weight * lean**2, size)
    others = ~problem.fixed
    if not number[others].any():
        return eta
    right = (number + agreement) / 2
    initial = float(eta[others].mean())
    average = (right[others].sum() + initial) / (number[others].sum() + 1)
    start = np.clip((right + average) / (number + 1), LEAST, MOST)
    return np.where(problem.fixed[:, None], eta, start[:, None])
