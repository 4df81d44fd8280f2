"""What the report says in numbers: pure computations on the labels of a training run; no files, figures or words."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from repo.annotations.schema import display_text
from repo.reporting.text import encodable

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True)
class AnnotatorSummary:
    """One annotator: the estimated reliability beside what can be counted without any model.

    The fields of reliability.json keep their names and meanings (repo.reliability.estimate); the others are counted
    here. `interval` is None where nothing was estimated, `first_preference` and its interval with one coin,
    `population_share` where no population was.
    """

    annotator_id: str
    reliability: float
    interval: tuple[float, float] | None
    annotations: int
    first_preference: float | None
    first_preference_interval: tuple[float, float] | None
    population_share: float | None
    pinned: bool
    known_before: bool
    mean_posterior: float | None
    doubtful: int
    agreement_with_majority: float | None
    majority_comparisons: int
    agreement_with_gold: float | None
    gold_comparisons: int


@dataclass(frozen=True)
class PairwiseAgreement:
    """Agreement of every two annotators; `agreement` is NaN where they share no comparison."""

    annotators: list[str]
    agreement: Matrix
    shared: Matrix


def is_doubtful(labels: pd.DataFrame) -> "pd.Series[bool]":
    """Return which labels are doubtful: posterior under one half."""
    return labels["posterior"] < 0.5


def votes(labels: pd.DataFrame) -> pd.DataFrame:
    """Return one row per comparison and annotator.

    `vote` lies in [−1, 1]: 1 is response a, −1 response b, 0 a split tie; `gold` is ±1 likewise, 0 where unknown.
    """
    sides = {"a": 1.0, "b": -1.0}
    signed = pd.DataFrame(
        {
            "comparison_id": labels["comparison_id"],
            "annotator_id": labels["annotator_id"],
            "weight": labels["weight"],
            "signed": labels["preference"].map(sides).fillna(0.0) * labels["weight"],
            "gold": labels["gold"].map(sides).fillna(0.0),
        }
    )
    table = signed.groupby(["comparison_id", "annotator_id"], sort=True, as_index=False).agg(
        signed=("signed", "sum"), weight=("weight", "sum"), gold=("gold", "first")
    )
    table["vote"] = table["signed"] / table["weight"]
    return table[["comparison_id", "annotator_id", "vote", "gold"]]


def agreement_with_majority(table: pd.DataFrame) -> pd.DataFrame:
    """Return, per annotator, `agreement` with the majority of the *others* and the `comparisons` it was measured on.

    Args:
        table: what `votes` returns. Comparisons that nobody else judged, or on which the others are split evenly,
            do not count; a split tie agrees by one half.
    """
    others = table.groupby("comparison_id")["vote"].transform("sum") - table["vote"]
    return _agreement(table, pd.Series(np.sign(others.to_numpy()), index=table.index))


def agreement_with_gold(table: pd.DataFrame) -> pd.DataFrame:
    """Return, per annotator, `agreement` with the known better response and the `comparisons` that have one."""
    return _agreement(table, table["gold"])


def annotator_summaries(reliability: dict[str, Any], labels: pd.DataFrame) -> list[AnnotatorSummary]:
    """Return one summary per annotator of reliability.json, most reliable first."""
    table = votes(labels)
    majority = agreement_with_majority(table).to_dict("index")
    gold = agreement_with_gold(table).to_dict("index")
    posteriors = labels["posterior"].groupby(labels["annotator_id"]).mean()
    doubtful = is_doubtful(labels).groupby(labels["annotator_id"]).sum()
    summaries = []
    for entry in reliability["annotators"]:
        name = entry["annotator_id"]
        with_majority, on_majority = _entry(majority, name)
        with_gold, on_gold = _entry(gold, name)
        summaries.append(
            AnnotatorSummary(
                annotator_id=name,
                reliability=entry["reliability"],
                interval=_bounds(entry["interval"]),
                annotations=entry["annotations"],
                first_preference=entry["first_preference"],
                first_preference_interval=_bounds(entry["first_preference_interval"]),
                population_share=entry["population_share"],
                pinned=entry["pinned"],
                known_before=entry["known_before"],
                mean_posterior=float(posteriors[name]) if name in posteriors.index else None,
                doubtful=int(doubtful.get(name, 0)),
                agreement_with_majority=with_majority,
                majority_comparisons=on_majority,
                agreement_with_gold=with_gold,
                gold_comparisons=on_gold,
            )
        )
    return sorted(summaries, key=lambda summary: (-summary.reliability, summary.annotator_id))


def pairwise_agreement(labels: pd.DataFrame, annotators: list[str]) -> PairwiseAgreement:
    """Return how often every two of `annotators` chose the same response, over the comparisons both judged."""
    table = votes(labels[labels["annotator_id"].isin(annotators)])
    table = table[table.groupby("comparison_id")["vote"].transform("size") > 1]
    given = table.pivot(index="comparison_id", columns="annotator_id", values="vote").reindex(columns=annotators)
    judged = given.notna().to_numpy(dtype=np.float64)
    vote = given.fillna(0.0).to_numpy(dtype=np.float64)
    shared = judged.T @ judged
    with np.errstate(invalid="ignore"):
        agreement = (1 + vote.T @ vote / shared) / 2
    np.fill_diagonal(shared, 0)
    np.fill_diagonal(agreement, np.nan)
    return PairwiseAgreement(annotators, agreement, shared)


def doubtful_labels(
    labels: pd.DataFrame, summaries: list[AnnotatorSummary], classes: tuple[str, str] | None = None
) -> list[dict[str, Any]]:
    """Return every doubtful label as a JSON-ready record, the least believed first.

    `others_agree` and `others_disagree` count the other annotators who judged the same comparison; `margin` is None
    where there was no model. With the names of both classes, `label` is the name of the one that the annotator chose.
    """
    reliability = {summary.annotator_id: summary.reliability for summary in summaries}
    table = votes(labels)
    side = np.sign(table["vote"])
    counts = Counter(zip(table["comparison_id"], side, strict=True))
    own = dict(zip(zip(table["comparison_id"], table["annotator_id"], strict=True), side, strict=True))
    rows = labels[is_doubtful(labels)].sort_values(["posterior", "file", "line"], kind="stable")
    records = [_record(row, reliability, counts, own) for row in rows.to_dict("records")]
    if classes is None:
        return records
    name = dict(zip("ab", map(encodable, classes), strict=True))
    return [{**record, "label": name[record["preference"]]} for record in records]


def mostly_initial(annotations: int, epochs: float, step_size: float) -> bool:
    """Tell whether over half of a reliability must still be η₀.

    RE-PO Eq. 7 keeps (1−α)ⁿ of it after n updates, and an annotator has at most labels × epochs of them.
    """
    return bool((1 - step_size) ** (annotations * epochs) > 0.5)


def _agreement(table: pd.DataFrame, truth: "pd.Series[float]") -> pd.DataFrame:
    """Mean over comparisons of (1 + vote · truth) / 2, where truth is ±1."""
    scores = pd.DataFrame({"annotator_id": table["annotator_id"], "score": (1 + table["vote"] * truth) / 2})[truth != 0]
    return scores.groupby("annotator_id").agg(agreement=("score", "mean"), comparisons=("score", "size"))


def _bounds(interval: Sequence[float] | None) -> tuple[float, float] | None:
    return None if interval is None else (interval[0], interval[1])


def _entry(agreement: dict[Any, dict[Any, Any]], name: str) -> tuple[float | None, int]:
    found = agreement.get(name)
    return (float(found["agreement"]), int(found["comparisons"])) if found else (None, 0)


def _record(
    row: dict[Any, Any],
    reliability: dict[str, float],
    counts: Counter[tuple[str, float]],
    own: dict[tuple[str, str], float],
) -> dict[str, Any]:
    chosen_side = row["preference"]
    other_side = "b" if chosen_side == "a" else "a"
    comparison, annotator = row["comparison_id"], row["annotator_id"]
    sign = 1.0 if chosen_side == "a" else -1.0
    mine = own[comparison, annotator]

    def text(column: str) -> str:
        # JSON messages may escape a lone surrogate, which no UTF-8 file can hold.
        return encodable(display_text(row[column], bool(row["messages"])))

    return {
        "posterior": float(row["posterior"]),
        "margin": float(row["margin"]) if np.isfinite(row["margin"]) else None,
        "annotator_id": annotator,
        "reliability": reliability.get(annotator),
        "comparison_id": comparison,
        "preference": chosen_side,
        "gold": row["gold"],
        "others_agree": counts[comparison, sign] - int(mine == sign),
        "others_disagree": counts[comparison, -sign] - int(mine == -sign),
        "prompt": text("prompt"),
        "chosen": text(f"response_{chosen_side}"),
        "rejected": text(f"response_{other_side}"),
        "file": row["file"],
        "line": int(row["line"]),
    }
