"""Preference metrics against hand-worked numbers, and intervals against their promise."""

import math

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from repo.evaluation.metrics import Judged, calibration_error, clustered_mean, preference_metrics


def judged(*margins: float) -> Judged:
    n = len(margins)
    return Judged(np.array(margins), np.ones(n), np.arange(n))


def test_metrics_of_four_judgements_by_hand() -> None:
    got = preference_metrics(judged(2.0, -1.0, 0.0, 3.0), bootstrap=50, confidence=0.9)
    assert got.judgements == 4
    assert got.accuracy.value == (1 + 0 + 0.5 + 1) / 4
    assert got.margin.value == 1.0
    expected = [math.log(1 + math.exp(-s)) for s in (2.0, -1.0, 0.0, 3.0)]
    assert got.nll.value == pytest.approx(sum(expected) / 4)


def test_half_weights_count_half() -> None:
    got = clustered_mean(np.array([1.0, 0.0]), np.array([0.5, 1.0]), np.array([0, 0]), 20, 0.9)
    assert got.value == pytest.approx(1 / 3)


def test_margins_that_are_not_finite_are_reported_as_such() -> None:
    got = preference_metrics(judged(1.0, float("nan")), bootstrap=20, confidence=0.9)
    assert got.accuracy.value is None
    assert got.calibration_error is None


def test_calibration_error_is_zero_for_honest_probabilities_and_large_for_boasting() -> None:
    random = np.random.default_rng(0)
    p = random.uniform(0.5, 0.99, 20_000)
    sign = np.where(random.random(20_000) < p, 1.0, -1.0)
    honest = sign * np.log(p / (1 - p))
    assert calibration_error(honest, np.ones(20_000)) < 0.02
    assert calibration_error(20 * honest, np.ones(20_000)) > 0.15


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=30))
def test_the_interval_holds_the_value(margins: list[float]) -> None:
    got = preference_metrics(judged(*margins), bootstrap=200, confidence=0.9).margin
    assert got.low is not None
    assert got.value is not None
    assert got.high is not None
    spread = 1e-9 + 0.5 * (max(margins) - min(margins))
    assert got.low - spread <= got.value <= got.high + spread


def test_intervals_over_prompts_are_wider_than_over_rows() -> None:
    """Ten prompts whose 50 judgements agree with each other hold the evidence of ten, not of 500."""
    values = np.repeat(np.random.default_rng(1).integers(0, 2, 10), 50).astype(float)
    by_prompt = clustered_mean(values, np.ones(500), np.repeat(np.arange(10), 50), 500, 0.9)
    by_row = clustered_mean(values, np.ones(500), np.arange(500), 500, 0.9)
    assert by_prompt.high - by_prompt.low > 4 * (by_row.high - by_row.low)  # type: ignore[operator]


def test_nine_of_ten_intervals_cover_the_truth() -> None:
    random = np.random.default_rng(2)
    covered = 0
    for _ in range(200):
        got = clustered_mean((random.random(200) < 0.7).astype(float), np.ones(200), np.arange(200), 300, 0.9)
        covered += got.low <= 0.7 <= got.high  # type: ignore[operator]
    assert 165 <= covered <= 194
