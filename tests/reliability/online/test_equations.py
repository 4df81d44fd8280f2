"""The E-step and the M-step for the annotators, against the paper's formulas and against counting."""

import hypothesis.strategies as st
import numpy as np
import torch
from hypothesis import given

from repo.reliability.online.equations import TRAINING_BOUNDARY, moving_average, posterior, sums_by_annotator

margins = st.floats(-30, 30)
reliabilities = st.floats(0.01, 0.99)


@given(margins, reliabilities)
def test_posterior_is_bayes_rule(margin: float, eta: float) -> None:
    p = 1 / (1 + np.exp(-margin))
    expected = eta * p / (eta * p + (1 - eta) * (1 - p))
    got = posterior(torch.tensor(margin, dtype=torch.float64), torch.tensor(eta, dtype=torch.float64))
    assert np.isclose(float(got), expected, rtol=1e-9)


def test_posterior_stays_finite_where_the_plain_formula_underflows() -> None:
    w = posterior(torch.tensor([-2000.0, 2000.0]), torch.tensor([1 - TRAINING_BOUNDARY, TRAINING_BOUNDARY]))
    assert torch.equal(w, torch.tensor([0.0, 1.0]))


@given(margins, reliabilities)
def test_posterior_of_the_label_turned_round_is_the_complement(margin: float, eta: float) -> None:
    s, e = torch.tensor(margin, dtype=torch.float64), torch.tensor(eta, dtype=torch.float64)
    assert torch.isclose(posterior(s, e) + posterior(-s, 1 - e), torch.tensor(1.0, dtype=torch.float64))


def test_moving_average_moves_only_annotators_in_the_batch() -> None:
    eta = torch.tensor([0.9, 0.9, 0.9], dtype=torch.float64)
    w = torch.tensor([0.2, 0.4, 1.0])
    updated = moving_average(eta, *sums_by_annotator(w, torch.tensor([0, 0, 2]), 3), step_size=0.1)
    torch.testing.assert_close(updated, torch.tensor([0.84, 0.9, 0.91], dtype=torch.float64))


def test_half_weights_count_half() -> None:
    total, count = sums_by_annotator(
        torch.tensor([1.0, 0.0, 1.0]), torch.tensor([0, 0, 1]), 2, torch.tensor([0.5, 0.5, 1.0])
    )
    assert total.tolist() == [0.5, 1.0]
    assert count.tolist() == [1.0, 1.0]


def test_reliability_never_reaches_its_absorbing_ends() -> None:
    half = torch.full((2,), 0.5, dtype=torch.float64)
    updated = moving_average(half, torch.tensor([3.0, 0.0]), torch.tensor([3.0, 3.0]), step_size=1.0)
    assert updated.tolist() == [1 - TRAINING_BOUNDARY, TRAINING_BOUNDARY]


@given(st.floats(0.05, 0.95), st.floats(0.05, 0.95))
def test_iterating_finds_the_true_reliability_from_any_start(truth: float, start: float) -> None:
    """RE-PO Theorem 4.1 on the exact expectation: calibrated p in {.1, .3, .7, .9}, labels right with the truth."""
    p = torch.tensor([0.1, 0.3, 0.7, 0.9], dtype=torch.float64)
    margin = torch.logit(p)
    chance = truth * p + (1 - truth) * (1 - p)  # of seeing a label whose p is this
    weight = chance / chance.sum()
    eta = torch.tensor([start], dtype=torch.float64)
    for _ in range(400):
        w = posterior(margin, eta)
        eta = moving_average(eta, *sums_by_annotator(w, torch.zeros(4, dtype=torch.long), 1, weight), step_size=1.0)
    assert abs(float(eta[0]) - truth) < 1e-3
