"""What the report claims about people: where each annotator stands, who can be told apart, who prefers one answer.

Every claim is held against the intervals: an estimate alone is no reason to name anybody.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from repo.reporting.summaries import AnnotatorSummary
from repo.reporting.text import count

END_ROWS, MIDDLE_ROWS = 20, 400
"""Annotators shown at either end of a long table, and at most in between."""
LEANING_ROWS = 20
"""Annotators named in the section on who prefers the first answer."""
DRIFT_ROWS, MOST_NAMED = 20, 30
"""Annotators shown as they were and are, and names of those who are new or gone."""
WIDE = 0.3
"""An interval wider than this (about 20 certain labels) says only roughly how reliable somebody is."""

Standing = Literal["assumed", "pinned", "coin", "rough", "worse", "better"]


@dataclass(frozen=True)
class Row:
    """An annotator's line in the table.

    Attributes:
        summary: estimates and counts.
        truth: the true reliability, where it is known.
        mostly_initial: more than half of the estimate is still the starting value (the paper's rule).
        mostly_population: more than half of what is known of the person is what is known of annotators in general.
        standing: what the interval allows to say.
    """

    summary: AnnotatorSummary
    truth: float | None
    mostly_initial: bool
    mostly_population: bool
    standing: Standing


@dataclass(frozen=True)
class Leaning:
    """Who prefers one answer beyond what chance explains.

    Attributes:
        rows: those shown, strongest first.
        total: how many there are.
    """

    rows: list[AnnotatorSummary]
    total: int


def standing(summary: AnnotatorSummary) -> Standing:
    """Return what the interval allows to say about an annotator."""
    if summary.pinned:
        return "pinned"
    if summary.interval is None:
        return "assumed"
    low, high = summary.interval
    if low <= 0.5 <= high:
        return "coin"
    if high - low > WIDE:
        return "rough"
    return "worse" if high < 0.5 else "better"


def extremes(summaries: list[AnnotatorSummary]) -> tuple[AnnotatorSummary, AnnotatorSummary] | None:
    """Return whose interval starts highest and whose ends lowest; None where no two intervals are apart.

    Some two intervals are apart exactly where these two are. Pinned annotators do not count: they were not estimated.
    """
    estimated = [(s.interval, s) for s in summaries if s.interval is not None and not s.pinned]
    if not estimated:
        return None
    (low, _), most = max(estimated, key=lambda pair: pair[0][0])
    (_, high), least = min(estimated, key=lambda pair: pair[0][1])
    return (most, least) if low > high else None


def leaning(summaries: list[AnnotatorSummary]) -> Leaning:
    """Return the annotators whose interval for `first_preference` leaves out 0; needs two coins."""
    found = [s for s in summaries if s.first_preference_interval and _leaves_out_zero(s.first_preference_interval)]
    found.sort(key=lambda s: (-abs(s.first_preference or 0.0), s.annotator_id))
    return Leaning(found[:LEANING_ROWS], len(found))


def changes(drift: Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
    """Return the rows of drift.json to show: everybody who has changed, then those nearest to it."""
    rows = drift["annotators"] if drift else []
    changed = [row for row in rows if row["changed"]]
    others = [row for row in rows if not row["changed"]]
    return [*changed, *others[: max(0, DRIFT_ROWS - len(changed))]]


def true_error(rows: list[Row]) -> float | None:
    """Return the mean absolute error of the reliabilities whose truth is known."""
    errors = [abs(row.summary.reliability - row.truth) for row in rows if row.truth is not None]
    return float(np.mean(errors)) if errors else None


def tables(rows: list[Row]) -> list[tuple[str, bool, list[Row]]]:
    """Split the annotators into (caption, folded, rows): one table, or both ends and a bounded middle."""
    if len(rows) <= 2 * END_ROWS:
        return [("Annotators, most reliable first", False, rows)]
    middle = rows[END_ROWS:-END_ROWS]
    return [
        (f"The {END_ROWS} most reliable annotators", False, rows[:END_ROWS]),
        (f"{count(min(len(middle), MIDDLE_ROWS), 'annotator')} in between", True, middle[:MIDDLE_ROWS]),
        (f"The {END_ROWS} least reliable annotators", False, rows[-END_ROWS:]),
    ]


def _leaves_out_zero(bounds: tuple[float, float]) -> bool:
    low, high = bounds
    return low > 0 or high < 0
