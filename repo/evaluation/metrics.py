"""Preference metrics from margins: accuracy, log-likelihood and calibration, with bootstrap intervals."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

CALIBRATION_BINS = 10


@dataclass(frozen=True)
class Figure:
    """A figure with its bootstrap interval; None where it is not finite."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Judged:
    """Judgements to compare margins with: one entry a judgement.

    Attributes:
        margin: S in the direction the judgement says is right, so p = σ(margin) is the probability given to it.
        weight: its weight.
        unit: index of the prompt or comparison held out, integers from 0: judgements of one are not independent.
    """

    margin: Floats
    weight: Floats
    unit: npt.NDArray[np.int64]


@dataclass(frozen=True)
class PreferenceMetrics:
    """How a policy's margins agree with judgements.

    Attributes:
        judgements: how many.
        accuracy: share of positive margins; a margin of exactly 0 counts ½.
        nll: mean −log p.
        margin: mean S.
        calibration_error: expected calibration error of p for the side it favours; None if not finite.
    """

    judgements: int
    accuracy: Figure
    nll: Figure
    margin: Figure
    calibration_error: float | None


def correctness(margin: Floats) -> Floats:
    """Return 1 where the margin is positive, ½ where it is 0, else 0; NaN stays NaN."""
    return np.where(np.isnan(margin), np.nan, (np.sign(margin) + 1) / 2)


def preference_metrics(judged: Judged, bootstrap: int, confidence: float, seed: int = 0) -> PreferenceMetrics:
    """Return the metrics of one policy against one set of judgements."""

    def figure(values: Floats) -> Figure:
        return clustered_mean(values, judged.weight, judged.unit, bootstrap, confidence, seed)

    return PreferenceMetrics(
        judgements=len(judged.margin),
        accuracy=figure(correctness(judged.margin)),
        nll=figure(_softplus(-judged.margin)),
        margin=figure(judged.margin),
        calibration_error=_finite(calibration_error(judged.margin, judged.weight)),
    )


def clustered_mean(
    values: Floats, weight: Floats, cluster: npt.NDArray[np.int64], bootstrap: int, confidence: float, seed: int = 0
) -> Figure:
    """Return the weighted mean with a percentile bootstrap interval that resamples whole clusters.

    Args:
        values, weight, cluster: shape [J]; clusters are numbered from 0.
        bootstrap: replications.
        confidence: coverage, e.g. 0.9.
        seed: the same seed draws the same clusters, so that differences between policies are paired.
    """
    clusters = int(cluster.max()) + 1
    totals = np.bincount(cluster, weight * values, clusters)  # [U]
    weights = np.bincount(cluster, weight, clusters)  # [U]
    draws = np.random.default_rng(seed).multinomial(clusters, np.full(clusters, 1 / clusters), size=bootstrap)  # [K, U]
    drawn_weights = draws @ weights  # [K]
    # A replication may miss every judged prompt; it says nothing about the mean.
    means = (draws @ totals)[drawn_weights > 0] / drawn_weights[drawn_weights > 0]  # [K] or fewer
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return Figure(_finite(totals.sum() / weights.sum()), _finite(low), _finite(high))


def calibration_error(margin: Floats, weight: Floats) -> float:
    """Return the expected calibration error of p = σ(|margin|) as the probability of being right, in [0, ½]."""
    confidence = 1 / (1 + np.exp(-np.abs(margin)))  # [J]
    right = correctness(margin)  # [J]
    order = np.argsort(confidence, kind="stable")  # [J]
    gaps = [
        abs((weight[part] * (confidence[part] - right[part])).sum())
        for part in np.array_split(order, min(CALIBRATION_BINS, len(order)))
    ]
    return float(sum(gaps) / weight.sum())


def _softplus(x: Floats) -> Floats:
    """Return log(1 + e^x); NaN stays NaN without a warning."""
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
