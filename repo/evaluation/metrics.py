"""Preference metrics from margins: accuracy, log-likelihood and calibration, with intervals that respect clusters.

An interval treats everything held out together (a prompt, or a comparison) as one draw. It is computed, not resampled:
the variance of a weighted mean by linearisation over clusters (W. G. Cochran, Sampling Techniques, 3rd ed. 1977,
section 6.5), Student's t with one degree of freedom less than there are clusters. Shares and differences of shares get
intervals that keep a width where everybody agrees.
"""

from dataclasses import dataclass
from math import sqrt

import numpy as np
import numpy.typing as npt
from scipy.stats import t

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

CALIBRATION_BINS = 10


@dataclass(frozen=True)
class Figure:
    """A figure with its interval; None where it is not finite, and for the interval of a single cluster."""

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
    unit: Integers


@dataclass(frozen=True)
class PreferenceMetrics:
    """How a policy's margins agree with judgements; every figure is None where there are none.

    Attributes:
        judgements: how many.
        held_out: of how many prompts or comparisons that were held out.
        accuracy: share of positive margins; a margin of exactly 0 counts ½.
        nll: mean −log p.
        margin: mean S.
        calibration_error: expected calibration error of p for the side it favours; None if not finite.
    """

    judgements: int
    held_out: int
    accuracy: Figure
    nll: Figure
    margin: Figure
    calibration_error: float | None


def correctness(margin: Floats) -> Floats:
    """Return 1 where the margin is positive, ½ where it is 0, else 0; NaN stays NaN."""
    return np.where(np.isnan(margin), np.nan, (np.sign(margin) + 1) / 2)


def preference_metrics(judged: Judged, confidence: float) -> PreferenceMetrics:
    """Return the metrics of one policy against one set of judgements."""
    weight, unit = judged.weight, judged.unit
    return PreferenceMetrics(
        judgements=len(judged.margin),
        held_out=_clusters(unit),
        accuracy=share(correctness(judged.margin), weight, unit, confidence),
        nll=mean(_softplus(-judged.margin), weight, unit, confidence),
        margin=mean(judged.margin, weight, unit, confidence),
        calibration_error=_finite(calibration_error(judged.margin, weight)),
    )


def mean(values: Floats, weight: Floats, cluster: Integers, confidence: float) -> Figure:
    """Return the weighted mean of any values with its interval.

    Args:
        values, weight, cluster: shape [J]; clusters are whole numbers.
        confidence: coverage, e.g. 0.9.
    """
    if not len(values):
        return _NOTHING
    center, clusters = _center(values, weight), _clusters(cluster)
    half = _quantile(clusters, confidence) * sqrt(_variance(values, weight, cluster, center))
    return _figure(center, center - half, center + half)


def share(right: Floats, weight: Floats, cluster: Integers, confidence: float) -> Figure:
    """Return the weighted mean of values in [0, 1] with E. B. Wilson's interval (JASA 22, 1927).

    The sample size in it is the effective one: what a binomial share of the same variance would have had, at most the
    judgements' own; where all or none are right, that of the clusters.

    Args: as for `mean`.
    """
    if not len(right):
        return _NOTHING
    p = _center(right, weight)
    if not np.isfinite(p):
        return Figure(None, None, None)
    variance = _variance(right, weight, cluster, p)
    if p in (0.0, 1.0):
        size = _effective(np.bincount(_numbered(cluster), weight).astype(np.float64))
    else:
        size = min(_effective(weight), p * (1 - p) / variance if variance > 0 else np.inf)
    z = _quantile(_clusters(cluster), confidence)
    if not np.isfinite(z):
        return _figure(p, np.nan, np.nan)
    middle, reach = p + z * z / (2 * size), z * sqrt(p * (1 - p) / size + (z / (2 * size)) ** 2)
    low, high = ((middle + sign * reach) / (1 + z * z / size) for sign in (-1, 1))
    return _figure(p, min(low, p), max(high, p))


def gain(difference: Floats, weight: Floats, cluster: Integers, confidence: float) -> Figure:
    """Return the weighted mean of paired differences in [−1, 1] with A. Agresti and Y. Min's interval.

    Two imagined pairs are added, half a pair to each combination of right and wrong (Statistics in Medicine 24, 2005):
    two policies that never differ are not known to be equal, only not known to differ.

    Args: as for `mean`.
    """
    if not len(difference):
        return _NOTHING
    value = _center(difference, weight)
    clusters = _clusters(cluster)
    pair = weight.sum() / clusters
    total = weight.sum() + 2 * pair
    center = value * weight.sum() / total
    if not np.isfinite(center):
        return Figure(None, None, None)
    moments = _moments(difference, weight, cluster, center) + pair**2 * (1 + 2 * center**2)
    half = _quantile(clusters, confidence) * sqrt(moments) / total
    return _figure(value, center - half, center + half)


def calibration_error(margin: Floats, weight: Floats) -> float:
    """Return the expected calibration error of p = σ(|margin|) as the probability of being right, in [0, ½]."""
    if not len(margin):
        return float("nan")
    confidence = 1 / (1 + np.exp(-np.abs(margin)))  # [J]
    right = correctness(margin)  # [J]
    order = np.argsort(confidence, kind="stable")  # [J]
    gaps = [
        abs((weight[part] * (confidence[part] - right[part])).sum())
        for part in np.array_split(order, min(CALIBRATION_BINS, len(order)))
    ]
    return float(sum(gaps) / weight.sum())


_NOTHING = Figure(None, None, None)


def _figure(value: float, low: float, high: float) -> Figure:
    return Figure(_finite(value), _finite(low), _finite(high))


def _center(values: Floats, weight: Floats) -> float:
    return float((weight * values).sum() / weight.sum())


def _moments(values: Floats, weight: Floats, cluster: Integers, center: float) -> float:
    """Sum over clusters of the squared weighted deviation."""
    sums = np.bincount(_numbered(cluster), weight * (values - center))  # [U]
    return float((sums**2).sum())


def _variance(values: Floats, weight: Floats, cluster: Integers, center: float) -> float:
    clusters = _clusters(cluster)
    if clusters < 2:
        return float("nan")
    return clusters / (clusters - 1) * _moments(values, weight, cluster, center) / float(weight.sum()) ** 2


def _numbered(cluster: Integers) -> Integers:
    return np.unique(cluster, return_inverse=True)[1].astype(np.int64)


def _clusters(cluster: Integers) -> int:
    return len(np.unique(cluster))


def _effective(weight: Floats) -> float:
    """L. Kish's effective number: as many equal weights would know as much."""
    return float(weight.sum() ** 2 / (weight**2).sum())


def _quantile(clusters: int, confidence: float) -> float:
    return float(t.ppf((1 + confidence) / 2, clusters - 1)) if clusters > 1 else float("nan")


def _softplus(x: Floats) -> Floats:
    """Return log(1 + e^x); NaN stays NaN without a warning."""
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
