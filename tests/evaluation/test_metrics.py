"""Preference metrics against hand-worked numbers, and intervals against their promise."""

import math

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from scipy import stats

from repo.evaluation.metrics import Figure, Judged, calibration_error, gain, mean, preference_metrics, share


def judged(*margins: float) -> Judged:
    n = len(margins)
    return Judged(np.array(margins), np.ones(n), np.arange(n))


def test_metrics_of_four_judgements_by_hand() -> None:
    got = preference_metrics(judged(2.0, -1.0, 0.0, 3.0), 0.9)
    assert got.judgements == 4
    assert got.accuracy.value == (1 + 0 + 0.5 + 1) / 4
    assert got.margin.value == 1.0
    expected = [math.log(1 + math.exp(-s)) for s in (2.0, -1.0, 0.0, 3.0)]
    assert got.nll.value == pytest.approx(sum(expected) / 4)


def test_half_weights_count_half() -> None:
    got = mean(np.array([1.0, 0.0]), np.array([0.5, 1.0]), np.array([0, 0]), 0.9)
    assert (got.low, got.high) == (None, None)
    assert got.value == pytest.approx(1 / 3)


def test_margins_that_are_not_finite_are_reported_as_such() -> None:
    got = preference_metrics(judged(1.0, float("nan")), 0.9)
    assert got.accuracy.value is None
    assert got.calibration_error is None


def test_calibration_error_is_zero_for_honest_probabilities_and_large_for_boasting() -> None:
    random = np.random.default_rng(0)
    p = random.uniform(0.5, 0.99, 20_000)
    sign = np.where(random.random(20_000) < p, 1.0, -1.0)
    honest = sign * np.log(p / (1 - p))
    assert calibration_error(honest, np.ones(20_000)) < 0.02
    assert calibration_error(20 * honest, np.ones(20_000)) > 0.15


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=30), st.integers(1, 9))
def test_the_interval_holds_the_value_and_does_not_hang_on_the_numbering(margins: list[float], step: int) -> None:
    values, ones, unit = np.array(margins), np.ones(len(margins)), np.arange(len(margins)) // 2 * 2
    for figure in (mean, share, gain):
        inside = correct(values, figure)
        got = figure(inside, ones, unit, 0.9)
        assert got == figure(inside, ones, step * unit + 3, 0.9)
        if len(margins) > 2:
            assert got.low - 1e-9 <= got.value <= got.high + 1e-9  # type: ignore[operator]


def correct(values: np.ndarray, figure: object) -> np.ndarray:
    return values if figure is mean else np.sign(values) if figure is gain else (np.sign(values) + 1) / 2


def test_the_mean_s_interval_is_student_s_where_every_judgement_is_a_cluster() -> None:
    values = np.random.default_rng(4).normal(size=25)
    low, high = stats.t.interval(0.9, 24, values.mean(), stats.sem(values))
    got = mean(values, np.ones(25), np.arange(25), 0.9)
    assert (got.low, got.high) == (pytest.approx(low), pytest.approx(high))


def test_a_share_s_interval_is_wilson_s_where_there_are_many_clusters() -> None:
    right = np.repeat([1.0, 0.0], [1400, 600])
    expected = stats.binomtest(1400, 2000).proportion_ci(0.9, method="wilson")
    got = share(right, np.ones(2000), np.arange(2000), 0.9)
    assert (got.low, got.high) == (pytest.approx(expected.low, abs=2e-4), pytest.approx(expected.high, abs=2e-4))


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_all_right_or_all_wrong_is_not_certain(value: float) -> None:
    got = share(np.full(36, value), np.ones(36), np.arange(36), 0.9)
    assert got.value == value
    assert got.high - got.low == pytest.approx(0.074, abs=0.01)  # type: ignore[operator]


def test_two_policies_that_never_differ_are_not_known_to_be_equal() -> None:
    got = gain(np.zeros(60), np.ones(60), np.arange(60), 0.9)
    assert got.value == 0.0
    assert got.low == -got.high  # type: ignore[operator]
    assert 0.01 < got.high < 0.06  # type: ignore[operator]


def test_intervals_over_prompts_are_wider_than_over_rows() -> None:
    """Ten prompts whose 50 judgements agree with each other hold the evidence of ten, not of 500."""
    values = np.repeat(np.random.default_rng(1).integers(0, 2, 10), 50).astype(float)
    for figure in (mean, share, gain):
        by_prompt = figure(values, np.ones(500), np.repeat(np.arange(10), 50), 0.9)
        by_row = figure(values, np.ones(500), np.arange(500), 0.9)
        assert by_prompt.high - by_prompt.low > 4 * (by_row.high - by_row.low)  # type: ignore[operator]


@pytest.mark.parametrize("p", [0.5, 0.7, 0.9, 0.97])
@pytest.mark.parametrize(("clusters", "most"), [(36, 1), (80, 3)])
def test_nine_of_ten_intervals_cover_the_truth(p: float, clusters: int, most: int) -> None:
    """Judgements of one cluster lean the same way; gains are never told to be surer than they are."""
    random = np.random.default_rng(2)
    covered = {"share": 0, "gain": 0}
    better, worse = 0.6 * (1 - p), 0.4 * (1 - p)
    for _ in range(400):
        unit = np.repeat(np.arange(clusters), random.integers(1, most + 1, clusters))
        own = random.beta(2.3 * p, 2.3 * (1 - p), clusters) if most > 1 else np.full(clusters, p)
        right = (random.random(len(unit)) < own[unit]).astype(float)
        covered["share"] += holds(share(right, np.ones(len(unit)), unit, 0.9), p)
        difference = random.choice([1.0, -1.0, 0.0], p=[better, worse, 1 - better - worse], size=len(unit))
        covered["gain"] += holds(gain(difference, np.ones(len(unit)), unit, 0.9), better - worse)
    assert 0.86 <= covered["share"] / 400 <= 0.97
    assert covered["gain"] / 400 >= 0.86


def holds(figure: Figure, truth: float) -> bool:
    assert figure.low is not None
    assert figure.high is not None
    return figure.low <= truth <= figure.high
