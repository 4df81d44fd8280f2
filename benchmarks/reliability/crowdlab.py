"""CROWDLAB (cleanlab) beside ours: votes and a model's margins together, label accuracy.

4,000 labels of ten annotators. The model's margins are calibrated log-odds, or overconfident eight times over; CROWDLAB
is given them as probabilities, with and without its own calibration.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.reliability.worlds import annotators
from benchmarks.table import Row, not_measured
from repo.reliability.em.votes import Array
from repo.reliability.estimator import AnnotatorReliability

LABELS = 4000
VOTES = (1, 2, 3)
SCALES = {"calibrated margins": 1.0, "margins × 8": 8.0}
SPREAD = 2.0
"""Deviation of the true log-odds: the model alone is right on .81 of the comparisons."""
SEEDS = (0, 1, 2)
FORMS = {"CROWDLAB": False, "CROWDLAB calibrating": True}


def peer() -> Callable[..., Any] | None:
    """Return CROWDLAB; None where cleanlab is not installed."""
    try:
        from cleanlab.multiannotator import get_label_quality_multiannotator
    except ImportError:
        return None
    return get_label_quality_multiannotator  # type: ignore[no-any-return]


def simulate(votes: int, seed: int) -> tuple[dict[str, Array], Array]:
    """Return the arrays for fit with calibrated margins, and every comparison's truth."""
    random = np.random.default_rng(seed)
    eta, comparisons = np.array(annotators()), LABELS // votes
    margin = SPREAD * random.standard_normal(comparisons)
    truth = np.where(random.random(comparisons) < 1 / (1 + np.exp(-margin)), 1, -1)
    comparison = np.repeat(np.arange(comparisons), votes)
    annotator = random.random((comparisons, len(eta))).argsort(1)[:, :votes].ravel()
    right = random.random(len(comparison)) < eta[annotator]
    label = np.where(right, truth[comparison], -truth[comparison])
    return {"annotator": annotator, "label": label, "comparison": comparison, "margin": margin[comparison]}, truth


def ours(arrays: dict[str, Array], truth: Array) -> float:
    """Return our label accuracy."""
    fitted = AnnotatorReliability().fit(**arrays)
    return float((np.where(fitted.direction_ > 0.5, 1, -1) == truth[fitted.comparisons_]).mean())


def theirs(crowdlab: Callable[..., Any], calibrate: bool, arrays: dict[str, Array], truth: Array) -> float | None:
    """Return CROWDLAB's label accuracy; None where it refuses, because every comparison has one label."""
    votes = pd.DataFrame({**arrays, "label": (arrays["label"] > 0).astype(int)})
    table = votes.pivot(index="comparison", columns="annotator", values="label")
    first = 1 / (1 + np.exp(-votes.groupby("comparison")["margin"].first().to_numpy()))
    try:
        found = crowdlab(table, np.stack([1 - first, first], 1), calibrate_probs=calibrate, verbose=False)
    except ValueError:
        if table.notna().sum(axis=1).max() > 1:
            raise
        return None
    consensus = found["label_quality"]["consensus_label"].to_numpy()
    return float((np.where(consensus == 1, 1, -1) == truth).mean())


def rows(quick: bool = False) -> list[Row]:
    """Return our label accuracy beside CROWDLAB's for each number of votes and each scale of the margins."""
    crowdlab = peer()
    return [
        _row(crowdlab, votes, scale, SEEDS[:1] if quick else SEEDS, quick)
        for votes in (VOTES[:2] if quick else VOTES)
        for scale in SCALES
    ]


def _row(crowdlab: Callable[..., Any] | None, votes: int, scale: str, seeds: tuple[int, ...], quick: bool) -> Row:
    what = f"{LABELS} labels, {votes} a comparison, {scale}, {len(seeds)} seed(s): label accuracy"
    if crowdlab is None:
        return not_measured(what, "cleanlab not installed", quick)
    accuracies: dict[str, list[float | None]] = {name: [] for name in ["ours", *FORMS]}
    for seed in seeds:
        arrays, truth = simulate(votes, seed)
        arrays["margin"] = SCALES[scale] * arrays["margin"]
        accuracies["ours"].append(ours(arrays, truth))
        for name, calibrate in FORMS.items():
            accuracies[name].append(theirs(crowdlab, calibrate, arrays, truth))
    means = {name: None if None in values else float(np.mean(values)) for name, values in accuracies.items()}
    mine = means.pop("ours")
    assert mine is not None
    peers = ", ".join(f"{name} {'refuses' if value is None else f'{value:.4f}'}" for name, value in means.items())
    ahead = all(value is None or mine > value for value in means.values())
    return Row(f"{what} ({peers})", "ours the highest", mine, None if quick else ahead)
