"""Annotator models: what a vote says about the comparison, and what the posteriors say about the annotator.

One coin: P(annotator is right) = η. Two coins: one η for comparisons whose first-displayed response is the better one
(without positions: the first in the data), one for the others; their difference is position bias (or class bias).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class CoinModel:
    """How `coins` reliabilities per annotator relate to votes of `kinds` kinds (see votes.Votes).

    Sides: the latent direction z ∈ {+1, −1} (first response better, or second) times the position of the first response
    picks the coin; label = z is a right vote.
    """

    coins: int
    kinds: int

    def side(self, kind: int, direction: int) -> int:
        """Return which coin was tossed by a vote of this kind if the direction is this one."""
        shown = direction if kind < 2 else -direction
        return 0 if self.coins == 1 or shown > 0 else 1

    def right(self, kind: int, direction: int) -> bool:
        """Return whether a vote of this kind is right if the direction is this one."""
        return (kind % 2 == 1) == (direction > 0)

    def log_probability(self, eta: Array, direction: int) -> Array:
        """Return log P(vote | direction) by annotator and kind, shape [A, kinds]; eta has shape [A, coins]."""
        log_right, log_wrong = np.log(eta), np.log1p(-eta)
        columns = [
            (log_right if self.right(kind, direction) else log_wrong)[:, self.side(kind, direction)]
            for kind in range(self.kinds)
        ]
        return np.stack(columns, 1)

    def evidence(self, eta: Array) -> tuple[Array, Array]:
        """Return a vote's log-odds for the first response, and the mean of its two log-probabilities; [A, kinds]."""
        first, second = self.log_probability(eta, +1), self.log_probability(eta, -1)
        return first - second, (first + second) / 2

    def counts(self, first: Array, number: Array) -> tuple[Array, Array]:
        """Return (expected right votes, expected tosses) of every coin, shapes [A, coins].

        Args:
            first: Σ P(first response is better) over the votes of each kind, shape [A, kinds].
            number: how many votes there are of each kind, shape [A, kinds].
        """
        right, tosses = np.zeros((2, len(first), self.coins))
        for kind in range(self.kinds):
            for direction, expected in ((+1, first[:, kind]), (-1, number[:, kind] - first[:, kind])):
                side = self.side(kind, direction)
                tosses[:, side] += expected
                if self.right(kind, direction):
                    right[:, side] += expected
        return right, tosses

    def score_difference(self, eta: Array) -> Array:
        """Return the score of logit η under direction +1 minus that under −1, shape [A, kinds, coins]."""
        difference = np.zeros((len(eta), self.kinds, self.coins))
        for kind in range(self.kinds):
            for direction in (+1, -1):
                side = self.side(kind, direction)
                difference[:, kind, side] += direction * (self.right(kind, direction) - eta[:, side])
        return difference
