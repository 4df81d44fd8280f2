"""Which of a training's margins to believe: those of the first or of the last visit to each comparison.

Both are recorded before the update that the visit leads to. At the last visit the policy knows most, and where it
generalises, its margins give the best estimates by far. But with several epochs it has been trained on that very label
before: where it learns single labels by heart, the margin repeats the label, and every annotator looks right. At the
first visit no margin can know its own label.

The two can be told apart without any truth: on comparisons first visited late in the first epoch, when the policy was
nearly as good as later, margins that generalise agree with the labels about as often at the first as at the last visit.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Visit = Literal["first_visit", "last_visit"]

LATE = 0.75
"""Comparisons first visited after this share of the first epoch are compared."""

MEMORISED = 0.1
"""More than this growth in agreement with the labels, beyond chance, and the last visit's margins are not believed."""


@dataclass(frozen=True)
class Memorisation:
    """How often margins agreed with the labels of the comparisons first visited late in the first epoch.

    Attributes:
        first, last: share of labels on the margin's side at the first and at the last visit.
        standard_error: of last − first.
        labels: how many there were.
    """

    first: float
    last: float
    standard_error: float
    labels: int

    @property
    def found(self) -> bool:
        """Whether agreement grew by more than MEMORISED and by more than chance would let it."""
        growth = self.last - self.first
        return growth > MEMORISED and growth > 2 * self.standard_error

    @property
    def visit(self) -> Visit:
        """Whose margins to believe."""
        return "first_visit" if self.found else "last_visit"

    def words(self, visit: Visit) -> str:
        """Return the warning that memorisation deserves; `visit` is the one whose margins are in use."""
        consequence = (
            "the estimates stand on the first visit's margins, which know less but cannot repeat a label."
            if visit == "first_visit"
            else "the last visit's margins were asked for all the same: reliabilities may be too high."
        )
        return (
            f"the policy has learnt labels by heart: its margins agreed with {self.first:.0%} of {self.labels:,} "
            f"labels at the first visit, {self.last:.0%} at the last; {consequence} Fewer epochs or a lower learning "
            "rate would help the policy too."
        )


def memorisation(first: Array, last: Array, late: Array) -> Memorisation:
    """Compare the margins of two visits.

    Args:
        first, last: S of each label as given, at the first and at the last visit, shape [N].
        late: whether the first visit fell late into the first epoch (see LATE), bool, shape [N].
    """
    agree_first, agree_last = (0.5 + 0.5 * np.sign(margin[late]) for margin in (first, last))  # [labels] each
    labels = int(late.sum())
    if not labels:
        return Memorisation(0.5, 0.5, 0.0, 0)
    change = agree_last - agree_first  # [labels]
    error = float(change.std() / np.sqrt(labels))
    return Memorisation(float(agree_first.mean()), float(agree_last.mean()), error, labels)
