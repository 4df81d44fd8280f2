"""Three crowd-sourced sets with gold and without margins, against crowd-kit; our defaults, blind to the gold.

No single method is the best on every set: one default must be better on average than each of them, and near the best on
every set.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.table import Row, not_measured, shown
from repo.reliability.estimator import AnnotatorReliability

DATA = Path(__file__).resolve().parents[2].parent / "shared/data"
"""Real annotations, beside the checkout; never copied into it."""
CROWD = DATA / "crowd"
SETS = ("rte", "sp", "bluebird")
NEAR = 0.01
"""Label accuracy by which the best method on a single set may be ahead: 8 of rte's 800 tasks, 1 of bluebird's 108."""
ONE_COIN = "OneCoinDawidSkene"
LACKING = "crowd-kit not installed"
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
        ONE_COIN: OneCoinDawidSkene,
    }
    return models if quick else {**models, "GLAD": GLAD, "MACE": MACE}


@dataclass(frozen=True)
class Measured:
    """What one set gave.

    Attributes:
        accuracy: label accuracy by method; "ours" and crowd-kit's, as far as it is installed.
        coins: of our fit.
        skill_error: mean error of workers' skills: ours by the mean posterior of their labels, which has no prior, as
            crowd-kit's has none; ours by η; and crowd-kit's OneCoinDawidSkene.
        coverage: share of workers whose interval holds their share of right labels.
    """

    accuracy: dict[str, float]
    coins: int
    skill_error: dict[str, float]
    coverage: float


def measure(name: str, models: dict[str, Callable[[], Any]]) -> Measured:
    """Fit ours and every model to a set."""
    labels, gold = read(name)
    ours = AnnotatorReliability().fit(**arrays(labels))
    true_skills = skills(labels, gold)
    by_posterior = pd.Series(ours.posterior()).groupby(labels["worker"].to_numpy()).mean()
    found = {"posterior": by_posterior, "η": pd.Series(ours.reliability_, index=ours.annotators_)}
    predicted = pd.Series((ours.direction_ > 0.5).astype(int), index=ours.comparisons_)
    labelled = {"ours": predicted}
    for peer, model in models.items():
        fitted = model().fit(labels)
        labelled[peer] = fitted.labels_
        if peer == ONE_COIN:
            found[peer] = fitted.skills_
    return Measured(
        {method: accuracy(chosen, gold) for method, chosen in labelled.items()},
        ours.coins_,
        {method: float(np.abs(skill - true_skills).mean()) for method, skill in found.items()},
        covered(ours, true_skills),
    )


def covered(fitted: AnnotatorReliability, true_skills: "pd.Series[Any]") -> float:
    """Return the share of workers whose interval holds their share of right labels, of those with gold tasks."""
    shares = true_skills.reindex(fitted.annotators_).to_numpy()
    low, high = fitted.interval_.T
    known = ~np.isnan(shares)
    return float(((low <= shares) & (shares <= high))[known].mean())


def rows(quick: bool = False) -> list[Row]:
    """Return accuracy and skill error on every set, the mean accuracy, and the speed on sp."""
    models = peers(quick)
    if not CROWD.is_dir():
        return [not_measured("crowd sets", "no shared data", quick)]
    measured = {name: measure(name, models) for name in SETS}
    return [
        *(row for name, found in measured.items() for row in _on_set(name, found, quick)),
        _mean(list(measured.values()), quick),
        *(same_model(name, models, quick) for name in SETS[:2]),
        *speed(models, quick),
    ]


def _on_set(name: str, found: Measured, quick: bool) -> list[Row]:
    ours, theirs = _apart(found.accuracy)
    if not theirs:
        return [not_measured(f"{name}: label accuracy and skill error beside ours, {ours:.4f}", LACKING, quick)]
    best = max(theirs.values())
    error, one_coin = found.skill_error["posterior"], found.skill_error[ONE_COIN]
    what = f"{name}: label accuracy, {found.coins} coin(s) ({shown(theirs)})"
    skill = f"{name}: mean skill error (mean posterior of a worker's labels)"
    return [
        Row(what, f"≥ {best - NEAR:.4f}", ours, ours >= best - NEAR),
        Row(skill, f"< {one_coin:.4f}", error, error < one_coin),
        Row(f"{name}: the same by η, which has a prior", "", found.skill_error["η"], None),
        Row(f"{name}: workers whose 90 % interval holds their share of right labels", "", found.coverage, None),
    ]


def _mean(measured: list[Measured], quick: bool) -> Row:
    means = {method: float(np.mean([found.accuracy[method] for found in measured])) for method in measured[0].accuracy}
    ours, theirs = _apart(means)
    what = f"mean label accuracy on {', '.join(SETS)}"
    if not theirs:
        return not_measured(f"{what} beside ours, {ours:.4f}", LACKING, quick)
    best = max(theirs.values())
    return Row(f"{what} ({shown(theirs)})", f"> {best:.4f}", ours, ours > best)


def _apart(accuracy: dict[str, float]) -> tuple[float, dict[str, float]]:
    theirs = dict(accuracy)
    return theirs.pop("ours"), theirs


def same_model(name: str, models: dict[str, Callable[[], Any]], quick: bool) -> Row:
    """Return how far one coin without prior is from crowd-kit's, which stops earlier (at a gain of 1e-5 a label)."""
    what = f"{name}: mean |η − crowd-kit's OneCoinDawidSkene|, one coin, no prior"
    if not models:
        return not_measured(what, LACKING, quick)
    labels, _ = read(name)
    theirs = models[ONE_COIN]().fit(labels).skills_
    ours = AnnotatorReliability(coins=1, prior_strength=0).fit(**arrays(labels))
    difference = float(np.abs(pd.Series(ours.reliability_, index=ours.annotators_) - theirs).mean())
    return Row(what, "≤ 2e-3", difference, difference <= 2e-3)


def speed(models: dict[str, Callable[[], Any]], quick: bool) -> list[Row]:
    """Return how much faster than crowd-kit's DawidSkene we fit the same model to the same stopping rule, on sp."""
    if not models:
        return [not_measured("sp: times faster than DawidSkene, same model and stopping rule", LACKING, quick)]
    labels, _ = read("sp")
    data = arrays(labels)
    model = partial(AnnotatorReliability, coins=2, prior_strength=0)
    gains = np.diff(model(tolerance=0, max_iterations=100).fit(**data).objectives_) / len(labels)
    iterations = int(np.argmax(gains < TOLERANCE)) + 1
    same = seconds(lambda: model(max_iterations=iterations).fit(**data))
    whole = seconds(lambda: AnnotatorReliability().fit(**data).interval_)
    theirs = seconds(lambda: models["DawidSkene"]().fit(labels))
    return [
        Row(
            f"sp: times faster than DawidSkene ({theirs:.3f} s), same model (no prior) and stopping rule",
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
