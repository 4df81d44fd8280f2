"""From a table of annotations to reliabilities and their record: what training and the stand-alone command share."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from repo.errors import UserError
from repo.reliability.diagnostics import ReliabilityWarning
from repo.reliability.estimator import AnnotatorReliability
from repo.reliability.state import ReliabilityState
from repo.settings import ReliabilitySettings

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[Any]

SCHEMA_VERSION = 3
_SIDES = {"a": 1, "b": -1}


@dataclass(frozen=True)
class Estimate:
    """Reliabilities of a table's annotators.

    Attributes:
        fitted: the estimator, fitted; None where every label is believed.
        posterior: w of each row of the table, shape [N].
        record: the content of reliability.json.
    """

    fitted: AnnotatorReliability | None
    posterior: Array
    record: dict[str, Any]


def votes_of(table: "pd.DataFrame", use_gold: bool, margin: Array | None = None) -> dict[str, Any]:
    """Return a canonical annotation table (without ties) as the arrays of AnnotatorReliability.fit.

    Args:
        table: see repo.annotations.schema; the columns gold, shown_first and weight may be missing.
        use_gold: hand over the gold comparisons.
        margin: log-odds that response a is better, the same for all rows of a comparison, shape [N].
    """
    arrays: dict[str, Any] = {
        "annotator": table["annotator_id"].tolist(),
        "label": _signs(table["preference"]),
        "comparison": table["comparison_id"].tolist(),
        "margin": margin,
    }
    if "weight" in table and (table["weight"] != 1).any():
        arrays["weight"] = table["weight"].to_numpy()
    if positions_known(table):
        arrays["position"] = _signs(table["shown_first"])
    if use_gold and "gold" in table:
        arrays["gold"] = gold_of(table)
    return arrays


def gold_of(table: "pd.DataFrame") -> Array:
    """Return +1 (a is known to be better), −1 or 0 of every row's comparison, shape [N]; one row that knows is enough.

    Raises:
        UserError: two rows of one comparison know better about each other.
    """
    signed = table.assign(_gold=_signs(table["gold"]))
    sides = signed.groupby("comparison_id")["_gold"]
    lowest, highest = sides.transform("min").to_numpy(), sides.transform("max").to_numpy()
    contradicted = lowest * highest < 0
    if contradicted.any():
        name = table["comparison_id"].to_numpy()[contradicted][0]
        rows = signed[(table["comparison_id"] == name) & (signed["_gold"] != 0)].drop_duplicates("_gold")
        places = [f"{row['gold']} by {row['file']}, line {row['line']}" for _, row in rows.iterrows()]
        problem = f"the gold of comparison {name!r} contradicts itself: {' and '.join(places)}"
        raise UserError(problem, "correct the gold of one of these rows, or empty it")
    return np.asarray(np.where(highest > 0, 1, lowest), np.int8)


def vote_log_odds(table: "pd.DataFrame", reliability: Mapping[str, Any] | None) -> Array:
    """Return what every vote adds to the log-odds that response a is better, its weight included, shape [N]; no model.

    Args:
        table: canonical annotations without ties.
        reliability: content of a reliability.json. Who is not in it has the population's mean. None: every vote counts
            the same.
    """
    label = _signs(table["preference"]).astype(np.float64)  # [N]
    if reliability is None:
        log_odds = label  # [N]
    else:
        for_a, for_b = _vote_probabilities(table, label, reliability)  # [N] each
        log_odds = np.log(for_a) - np.log(for_b)
    return np.asarray(log_odds * table["weight"].to_numpy(), np.float64)


def direction_log_odds(table: "pd.DataFrame", votes: Array) -> Array:
    """Return log P(a is better | votes) − log P(b is better | votes) of every row's comparison, shape [N].

    Args:
        table: canonical annotations without ties.
        votes: what every vote adds, shape [N]; see vote_log_odds.
    """
    rows = table["comparison_id"].to_frame().assign(_odds=votes)
    return exact(rows.groupby("comparison_id")["_odds"].transform("sum").to_numpy())


def exact(log_odds: Array) -> Array:
    """Return sums of log-odds rounded: opposite votes of equal people must cancel, whatever the order of the sum."""
    return np.asarray(log_odds.round(9), np.float64)


def _vote_probabilities(table: "pd.DataFrame", label: Array, reliability: Mapping[str, Any]) -> tuple[Array, Array]:
    """Return P(this vote | a is better) and P(this vote | b is better) of every row, shape [N] each."""
    rows = {row["annotator_id"]: row for row in reliability["annotators"]}
    population = reliability["population"]
    unknown = {"reliability": population["mean"] if population else reliability["initial"], "first_preference": None}
    believed = [rows.get(name, unknown) for name in table["annotator_id"]]
    eta = np.array([row["reliability"] for row in believed])  # [N]
    # Two coins: how often right where what was displayed first is better, and where the second is.
    lean = np.array([row["first_preference"] or 0.0 for row in believed])  # [N]
    shown = _signs(table["shown_first"]) if positions_known(table) else np.zeros(len(table))  # [N]
    right_a, right_b = (np.clip(eta + side * shown * lean, _SURE, 1 - _SURE) for side in (1, -1))  # [N] each
    return np.where(label > 0, right_a, 1 - right_a), np.where(label > 0, 1 - right_b, right_b)


_SURE = 1e-3
"""No vote is believed beyond this: plain training takes every reliability for 1."""


def positions_known(table: "pd.DataFrame") -> bool:
    """Return whether it is known of every row which response was displayed first."""
    return "shown_first" in table and bool(table["shown_first"].isin(list(_SIDES)).all())


def _signs(side: "pd.Series[str]") -> Array:
    return side.map(_SIDES).fillna(0).to_numpy().astype(np.int8)


def estimator_of(settings: ReliabilitySettings, **changes: Any) -> AnnotatorReliability:
    """Return the array estimator that these settings ask for."""
    options: dict[str, Any] = {
        "estimator": settings.estimator,
        "calibrate": settings.calibrated,
        "coins": settings.coins,
        "initial": settings.initial,
        "prior_strength": None if settings.prior_strength == "auto" else settings.prior_strength,
        "step_size": settings.step_size,
        "pinned": settings.pinned,
        "confidence": settings.confidence,
    }
    return AnnotatorReliability(**options | changes)


def estimate(
    table: "pd.DataFrame",
    settings: ReliabilitySettings,
    margin: Array | None,
    origin: str,
    state: ReliabilityState | None = None,
    given: dict[str, float] | None = None,
    classes: bool = False,
) -> Estimate:
    """Estimate the annotators' reliabilities from their labels and, where there are any, a model's margins.

    Args:
        table: canonical annotations without ties.
        settings: estimator, priors, anchors.
        margin: log-odds (up to a temperature) that response a is better, by row, shape [N]; None for no model.
        origin: where the margins come from; goes into the record.
        state: what an earlier training found.
        given: reliabilities found during training by the paper's rule: they are kept and only intervals and posteriors
            are computed.
        classes: "a" and "b" are the same two classes in every comparison, so that two coins mean something without
            display positions.

    Raises:
        ValueError: naming the array and the first bad index; see AnnotatorReliability.fit.
    """
    if settings.estimator == "none":
        return _full_trust(table, settings, origin)
    arrays = votes_of(table, settings.use_gold, margin)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReliabilityWarning)  # they stand in the record
        # Which response is called a is the digest's choice: how often it is the better one means nothing, and where it
        # is not known which was displayed first, neither does leaning towards it.
        meaning: dict[str, Any] = {} if classes else {"prevalence": False}
        if settings.coins == "auto" and not classes and "position" not in arrays:
            meaning["coins"] = 1
        estimator = estimator_of(settings, **meaning)
        if given is None:
            fitted = estimator.fit(**arrays, prior_state=state, forgetting=settings.forgetting)
        else:
            fitted = estimator.adopt(given, **arrays)
    return Estimate(fitted, fitted.posterior(), _record(table, fitted, settings, arrays, origin, state))


def _record(
    table: "pd.DataFrame",
    fitted: AnnotatorReliability,
    settings: ReliabilitySettings,
    arrays: dict[str, Any],
    origin: str,
    state: ReliabilityState | None,
) -> dict[str, Any]:
    """Return the content of reliability.json: plain values only, most reliable annotator first."""
    gold = arrays.get("gold")
    counts = table["annotator_id"].value_counts().to_dict()
    two = fitted.coins_ == 2
    share = [None] * len(fitted.annotators_) if fitted.population_ is None else fitted.population_share_.tolist()
    rows = [
        {
            "annotator_id": str(name),
            "reliability": float(fitted.reliability_[k]),
            "interval": fitted.interval_[k].tolist(),
            "annotations": int(counts[name]),
            "first_preference": float(fitted.first_preference_[k]) if two else None,
            "first_preference_interval": fitted.first_preference_interval_[k].tolist() if two else None,
            "population_share": share[k],
            "pinned": name in settings.pinned,
            "known_before": state is not None and name in state.annotators,
        }
        for k, name in enumerate(fitted.annotators_)
    ]
    return {
        **_asked(settings, origin),
        "coins": fitted.coins_,
        "positions_known": "position" in arrays,
        "calibration": fitted.calibration_,
        "iterations": fitted.iterations_,
        "converged": fitted.converged_,
        "population": fitted.population_,
        "log_likelihood": fitted.log_likelihood_,
        "anchors": {
            "gold_comparisons": 0 if gold is None else int(table["comparison_id"][gold != 0].nunique()),
            "pinned": dict(settings.pinned),
        },
        "prior": None if state is None else {"annotators": len(state.annotators), "forgetting": settings.forgetting},
        "warnings": [*fitted.warnings_, *_unused(fitted, settings)],
        "annotators": sorted(rows, key=lambda row: (-float(str(row["reliability"])), str(row["annotator_id"]))),
    }


def _asked(settings: ReliabilitySettings, origin: str) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "estimator": settings.estimator,
        "calibrated": settings.calibrated,
        "coins_asked": settings.coins,
        "initial": settings.initial,
        "step_size": settings.step_size,
        "prior_strength": settings.prior_strength,
        "confidence": settings.confidence,
        "margins": origin,
    }


def _full_trust(table: "pd.DataFrame", settings: ReliabilitySettings, origin: str) -> Estimate:
    """Return what plain training takes for granted: every label is right, and nothing is known of anybody."""
    rows = [
        {
            "annotator_id": str(name),
            "reliability": 1.0,
            "interval": None,
            "annotations": int(count),
            "first_preference": None,
            "first_preference_interval": None,
            "population_share": None,
            "pinned": False,
            "known_before": False,
        }
        for name, count in table["annotator_id"].value_counts().sort_index().items()
    ]
    record = {
        **_asked(settings, origin),
        "coins": 1,
        "positions_known": positions_known(table),
        "calibration": {"temperature": 1.0, "intercept": 0.0},
        "iterations": 0,
        "converged": True,
        "population": None,
        "log_likelihood": None,
        "anchors": {"gold_comparisons": 0, "pinned": {}},
        "prior": None,
        "warnings": [],
        "annotators": rows,
    }
    return Estimate(None, np.ones(len(table)), record)


def _unused(fitted: AnnotatorReliability, settings: ReliabilitySettings) -> list[str]:
    """Name pinned annotators who are not in the data: most likely a slip of the pen."""
    missing = [name for name in settings.pinned if name not in fitted.annotators_]
    return [f"reliability.pinned names {', '.join(map(repr, missing))}, who gave no labels here."] if missing else []
