"""Fortnights of simulated votes (repo.annotations.nightly): who is named as changed, and how far off the estimates end.

Only the reliabilities are estimated here, night after night, as a training does in the end; the margins are those of a
model that is mostly right, drawn anew each night. The whole pipeline runs once in `make demo-retraining`.
"""

import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np

from benchmarks.table import Row
from repo.annotations.nightly import Nightly
from repo.reliability.drift import drifts
from repo.reliability.eras import set_apart
from repo.reliability.estimator import AnnotatorReliability
from repo.reliability.state import ReliabilityState
from repo.settings import RetrainSettings, SimulationSettings

SEEDS, DAYS = range(5), 14
TURNED, LATEST = 7, 9
ERROR = 0.05
_COMPARISONS = 240 * DAYS
_VOTES = 5


def measure(seeds: Iterable[int] = SEEDS) -> list[Row]:
    """Return when the change was named, how many others were, and the largest error at the end."""
    named, false, tests, errors, apart = [], 0, 0, [], []
    for seed in seeds:
        settings = SimulationSettings(comparisons=_COMPARISONS, annotations_per_comparison=_VOTES, seed=seed)
        nights = Nightly(settings, DAYS)
        found, compared, error, difference = _fortnight(nights, seed)
        apart.append(difference)
        turning = nights.events.turning
        named.append(min((day for day, name in found if name == turning and day >= TURNED), default=DAYS + 1))
        false += sum(name != turning or day < TURNED for day, name in found)
        tests += compared
        errors.append(error)
    days = ", ".join(map(str, named))
    return [
        Row(
            f"day on which the annotator of day {TURNED} is named, by seed ({days}): latest",
            f"≤ {LATEST}",
            max(named),
            max(named) <= LATEST,
        ),
        Row(f"others named in {tests:,} comparisons of an annotator then and now", "0", false, false == 0),
        Row(
            "largest error of a reliability at the end, by seed: largest",
            f"≤ {ERROR:g}",
            max(errors),
            max(errors) <= ERROR,
        ),
        Row("the same: mean over seeds", "", float(np.mean(errors)), None),
        Row("largest difference from one fit of all nights' votes, by seed: largest", "", max(apart), None),
    ]


def _fortnight(nights: Nightly, seed: int) -> tuple[list[tuple[int, Any]], int, float, float]:
    """Return (day, name) of everybody named, how many were compared, and how far the estimates end from the truth and
    from those of one fit, to which whoever turned is another person from that day on.
    """
    random, least = np.random.default_rng(seed), RetrainSettings().drift_odds
    state: ReliabilityState | None = None
    found: list[tuple[int, Any]] = []
    together: dict[str, list[Any]] = {}
    compared = 0
    for day in (day for day in range(1, DAYS + 1) if day != nights.events.silent_on):
        arrays = _arrays(list(nights.rows_of(day)), random)
        fitted = _fit(arrays, state)
        drift = drifts(fitted, state, least) if state else []
        compared += len(drift)
        changed = [one.annotator for one in drift if one.changed]
        found += [(day, name) for name in changed]
        if state and changed:
            fitted = _fit(arrays, set_apart(state, changed, str(day)))
        state = fitted.state_
        for key, values in arrays.items():
            together.setdefault(key, []).extend(_of_day(day, nights, key, values))
    estimates, truth = _estimates(fitted), nights.reliabilities_on(DAYS)
    at_once = _estimates(_fit(together, None))
    error = max(abs(estimates[name] - truth[name]) for name in estimates)
    return found, compared, error, max(abs(estimates[name] - at_once[name]) for name in estimates)


def _of_day(day: int, nights: Nightly, key: str, values: list[Any]) -> list[Any]:
    """Return a day's values for the fit of all days."""
    if key == "annotator" and day < nights.events.turned_from:
        return [f"{name} before" if name == nights.events.turning else name for name in values]
    return [f"{day}: {value}" for value in values] if key == "comparison" else values


def _estimates(fitted: AnnotatorReliability) -> dict[str, float]:
    return {str(name): float(eta) for name, eta in zip(fitted.annotators_, fitted.reliability_, strict=True)}


def _arrays(rows: list[dict[str, Any]], random: np.random.Generator) -> dict[str, Any]:
    """Return the arrays of a fit; every row shows its pair its own way round, so each pair gets one here."""
    truth = {row["comparison_id"]: 1 if random.random() < 0.5 else -1 for row in rows}
    margin = {name: 1.6 * side + 1.2 * random.normal() for name, side in truth.items()}
    right = [1 if row["preference"] == row["gold"] else -1 for row in rows]
    return {
        "annotator": [row["annotator_id"] for row in rows],
        "label": [side * truth[row["comparison_id"]] for side, row in zip(right, rows, strict=True)],
        "comparison": [row["comparison_id"] for row in rows],
        "margin": [margin[row["comparison_id"]] for row in rows],
    }


def _fit(arrays: dict[str, Any], state: ReliabilityState | None) -> AnnotatorReliability:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return AnnotatorReliability(coins=1, prevalence=False).fit(**arrays, prior_state=state)
