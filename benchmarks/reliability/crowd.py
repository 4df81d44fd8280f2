"""Three crowd-sourced sets with gold and without margins, against crowd-kit; our defaults, blind to the gold."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.reliability.table import Row
from repo.reliability.estimator import AnnotatorReliability

CROWD = Path(__file__).resolve().parents[2].parent / "shared/data/crowd"
SETS = ("rte", "sp", "bluebird")
TOLERANCE = 1e-5
"""crowd-kit stops when the objective gains less than this per label."""


def read(name: str) -> tuple[pd.DataFrame, pd.Series]:
    """Return (task, worker, label ∈ {0, 1}) and the gold label by task."""
    labels = pd.read_csv(CROWD / name / "label.csv").rename(columns={"item": "task"})
    return labels, pd.read_csv(CROWD / name / "truth.csv").set_index("item")["truth"]


def arrays(labels: pd.DataFrame) -> dict[str, Any]:
    """Return what fit() takes."""
    columns = {"annotator": labels["worker"], "comparison": labels["task"], "label": 2 * labels["label"] - 1}
    return {name: column.to_numpy() for name, column in columns.items()}


def accuracy(predicted: "pd.Series[Any]", gold: "pd.Series[Any]") -> float:
    """Return the share of gold tasks labelled right."""
    return float((predicted.reindex(gold.index) == gold).mean())


def skills(labels: pd.DataFrame, gold: "pd.Series[Any]") -> "pd.Series[Any]":
    """Return each worker's share of labels that agree with gold."""
    return (labels["label"] == labels["task"].map(gold)).groupby(labels["worker"]).mean()


def seconds(action: Callable[[], object]) -> float:
    """Return the shortest wall time of five."""
    times = []
    for _ in range(5):
        begin = time.perf_counter()
        action()
        times.append(time.perf_counter() - begin)
    return min(times)


def peers(quick: bool) -> dict[str, Callable[[], Any]]:
    """Return crowd-kit's binary label models by name; empty where crowd-kit is not installed."""
    try:
        from crowdkit.aggregation import GLAD, MACE, DawidSkene, MajorityVote, OneCoinDawidSkene
    except ImportError:
        return {}
    models: dict[str, Callable[[], Any]] = {
        "MajorityVote": MajorityVote,
        "DawidSkene": DawidSkene,
        "OneCoinDawidSkene": OneCoinDawidSkene,
    }
    return models if quick else {**models, "GLAD": GLAD, "MACE": MACE}


def rows(quick: bool = False) -> list[Row]:
    """Return accuracy and skill error on every set, and the speed on sp."""
    if not CROWD.is_dir():
        return [Row(f"crowd sets (not found: {CROWD.name} under shared/data)", "", "not measured", None)]
    models = peers(quick)
    result = []
    for name in SETS:
        labels, gold = read(name)
        ours = AnnotatorReliability().fit(**arrays(labels))
        predicted = pd.Series((ours.direction_ > 0.5).astype(int), index=ours.comparisons_)
        true_skills = skills(labels, gold)
        # Crowd-kit's skill is the mean posterior of a worker's labels, without a prior: compared like with like.
        error = float(
            np.abs(pd.Series(ours.posterior()).groupby(labels["worker"].to_numpy()).mean() - true_skills).mean()
        )
        error_of_eta = float(np.abs(pd.Series(ours.reliability_, index=ours.annotators_) - true_skills).mean())
        share = accuracy(predicted, gold)
        if not models:
            result.append(Row(f"{name}: label accuracy (crowd-kit not installed: not measured)", "", share, None))
            result.append(Row(f"{name}: skill error (crowd-kit not installed: not measured)", "", error, None))
            continue
        fitted = {peer: model().fit(labels) for peer, model in models.items()}
        accuracies = {peer: accuracy(model.labels_, gold) for peer, model in fitted.items()}
        best = max(accuracies, key=lambda peer: accuracies[peer])
        one_coin = float(np.abs(fitted["OneCoinDawidSkene"].skills_ - true_skills).mean())
        shown = ", ".join(f"{peer} {value:.4f}" for peer, value in accuracies.items())
        # Counted in tasks: equal accuracies may differ in the last bit.
        reached = round(share * len(gold)) >= round(accuracies[best] * len(gold))
        result.append(
            Row(f"{name}: label accuracy, {ours.coins_} coin(s) ({shown})", f"≥ {accuracies[best]:.4f}", share, reached)
        )
        result.append(
            Row(
                f"{name}: mean skill error (mean posterior of a worker's labels)",
                f"< {one_coin:.4f}",
                error,
                error < one_coin,
            )
        )
        result.append(Row(f"{name}: the same by η, which has a prior", "", error_of_eta, None))
    return [*result, *(same_model(name, models) for name in SETS[:2]), *speed(models)]


def same_model(name: str, models: dict[str, Callable[[], Any]]) -> Row:
    """Return how far one coin without prior is from crowd-kit's, which stops earlier (at a gain of 1e-5 a label)."""
    what = f"{name}: mean |η − crowd-kit's OneCoinDawidSkene|, one coin, no prior"
    if not models:
        return Row(f"{what} (crowd-kit not installed)", "", "not measured", None)
    labels, _ = read(name)
    theirs = models["OneCoinDawidSkene"]().fit(labels).skills_
    ours = AnnotatorReliability(coins=1, prior_strength=0).fit(**arrays(labels))
    difference = float(np.abs(pd.Series(ours.reliability_, index=ours.annotators_) - theirs).mean())
    return Row(what, "≤ 2e-3", difference, difference <= 2e-3)


def speed(models: dict[str, Callable[[], Any]]) -> list[Row]:
    """Return how much faster than crowd-kit's DawidSkene we fit the same model to the same stopping rule, on sp."""
    labels, _ = read("sp")
    data = arrays(labels)
    gains = np.diff(AnnotatorReliability(coins=2, tolerance=0, max_iterations=100).fit(**data).objectives_) / len(
        labels
    )
    iterations = int(np.argmax(gains < TOLERANCE)) + 1
    same = seconds(lambda: AnnotatorReliability(coins=2, max_iterations=iterations).fit(**data))
    whole = seconds(lambda: AnnotatorReliability().fit(**data).interval_)
    if not models:
        return [Row("sp: time of the same model in s (crowd-kit not installed: not measured)", "", same, None)]
    theirs = seconds(lambda: models["DawidSkene"]().fit(labels))
    return [
        Row(
            f"sp: times faster than DawidSkene ({theirs:.3f} s), same model and stopping rule",
            "≥ 5",
            theirs / same,
            theirs / same >= 5,
        ),
        Row(
            "sp: the same for our default: both coin models to 1e-6 in every parameter, and intervals",
            "",
            theirs / whole,
            None,
        ),
    ]
