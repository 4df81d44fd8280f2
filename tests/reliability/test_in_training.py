"""Reliabilities while a policy trains: the same numbers as the equations and as the array estimator."""

from typing import Any

import numpy as np
import pytest
import torch
from reliability_examples import World, world

from repo.reliability.em import moving_average, posterior, sums_by_annotator
from repo.reliability.estimator import AnnotatorReliability
from repo.reliability.in_training import (
    Estimator,
    FullReliability,
    FullTrust,
    IncrementalReliability,
    PaperReliability,
    Votes,
)


def votes_of(w: World, gold: dict[int, int] | None = None) -> Votes:
    """All of a world's annotations as one batch."""
    comparisons = int(w.comparison.max()) + 1
    margin, known = torch.zeros(comparisons, dtype=torch.float64), torch.zeros(comparisons)
    margin[torch.from_numpy(w.comparison)] = torch.from_numpy(w.margin)
    for comparison, side in (gold or {}).items():
        known[comparison] = side
    return Votes(
        row=torch.arange(len(w.label)),
        comparison=torch.from_numpy(w.comparison),
        annotator=torch.from_numpy(w.annotator),
        label=torch.from_numpy(w.label),
        position=torch.from_numpy(w.position) if len(w.position) else torch.ones(len(w.label)),
        weight=torch.ones(len(w.label), dtype=torch.float64),
        gold=known,
        margin=margin,
    )


def refit(w: World, **options: Any) -> Any:
    arrays = w.arrays("comparison") | ({"position": w.position} if len(w.position) else {})

    def fit(margins: torch.Tensor) -> AnnotatorReliability:
        return AnnotatorReliability(**options).fit(**arrays, margin=margins.numpy()[w.comparison])

    return fit


def paper(annotators: int, start: float = 0.9, step_size: float = 0.1) -> PaperReliability:
    eta = torch.full((annotators,), start)
    return PaperReliability(eta, torch.zeros(annotators, dtype=torch.bool), step_size)


def incremental(w: World, strength: float = 1.0) -> IncrementalReliability:
    annotators = len(w.eta)
    prior = torch.tensor([[0.9 * strength, 0.1 * strength]]).repeat(annotators, 1)
    return IncrementalReliability(prior, torch.full((annotators,), torch.nan), len(w.label))


def test_paper_is_equations_4_and_7() -> None:
    w = world(3)
    votes, estimator = votes_of(w), paper(len(w.eta))
    start = estimator.value
    got = estimator.posterior(votes)
    expected = posterior(torch.from_numpy(w.label * w.margin), start[votes.annotator])
    torch.testing.assert_close(got, expected)
    estimator.observe(votes, got)
    estimator.update()
    torch.testing.assert_close(
        estimator.value, moving_average(start, *sums_by_annotator(expected, votes.annotator, len(start)), 0.1)
    )


@pytest.mark.parametrize("coins", [1, 2])
def test_full_has_the_array_estimators_posterior(coins: int) -> None:
    w = world(4)
    fitted = refit(w, coins=coins, calibrate=False)
    estimator = FullReliability(len(w.eta), fitted)
    votes = votes_of(w)
    estimator.refresh(votes.margin)
    arrays = fitted(votes.margin)
    np.testing.assert_allclose(estimator.posterior(votes), arrays.posterior(), atol=1e-9)
    np.testing.assert_allclose(estimator.value, arrays.reliability_)


def test_incremental_visits_end_where_full_em_ends() -> None:
    w = world(5)
    estimator, votes = incremental(w), votes_of(w)
    for _ in range(300):
        estimator.observe(votes, estimator.posterior(votes))
        estimator.update()
    options = {"prior_mean": 0.9, "calibrate": False, "coins": 1, "tolerance": 1e-9}
    full = AnnotatorReliability(**options).fit(**w.arrays("comparison", "margin"))
    np.testing.assert_allclose(estimator.value, full.reliability_, atol=1e-6)


def test_a_visit_replaces_the_old_share_of_the_sums() -> None:
    w = world(6, comparisons=20)
    estimator, votes = incremental(w, strength=0.0), votes_of(w)
    for value in (0.3, 0.8):
        estimator.observe(votes, torch.full((len(w.label),), value))
    estimator.update()
    np.testing.assert_allclose(estimator.value, 0.8, atol=1e-6)


@pytest.mark.parametrize("name", ["paper", "full", "incremental"])
def test_gold_comparisons_are_known(name: str) -> None:
    w = world(7, comparisons=10)
    votes = votes_of(w, gold={0: 1, 1: -1})
    estimator: Estimator = {
        "paper": lambda: paper(len(w.eta)),
        "full": lambda: FullReliability(len(w.eta), refit(w, coins=1)),
        "incremental": lambda: incremental(w),
    }[name]()
    got = estimator.posterior(votes)
    for comparison, side in ((0, 1), (1, -1)):
        at = w.comparison == comparison
        np.testing.assert_array_equal(got[at], w.label[at] == side)
    rest = got[w.comparison > 1]
    assert ((rest > 0) & (rest < 1)).all()


def test_pinned_annotators_keep_their_reliability() -> None:
    w = world(8)
    votes = votes_of(w)
    fixed = torch.zeros(len(w.eta), dtype=torch.bool)
    fixed[0] = True
    by_paper = PaperReliability(torch.full((len(w.eta),), 0.7), fixed, 0.5)
    pinned = torch.where(fixed, 0.7, torch.nan)
    by_sums = IncrementalReliability(torch.full((len(w.eta), 2), 0.5), pinned, len(w.label))
    for estimator in (by_paper, by_sums):
        estimator.observe(votes, torch.ones(len(w.label)))
        estimator.update()
        assert float(estimator.value[0]) == pytest.approx(0.7)
        assert (estimator.value[1:] > 0.7).all()


@pytest.mark.parametrize("name", ["paper", "full", "incremental"])
def test_a_restored_estimator_goes_on_like_the_first(name: str) -> None:
    w = world(9)
    votes = votes_of(w)
    make = {
        "paper": lambda: paper(len(w.eta)),
        "full": lambda: FullReliability(len(w.eta), refit(w, coins=1)),
        "incremental": lambda: incremental(w),
    }[name]
    first: Estimator = make()
    second: Estimator = make()
    first.refresh(votes.margin)
    first.observe(votes, first.posterior(votes))
    first.update()
    second.restore({key: value.clone() for key, value in first.state().items()})
    for estimator in (first, second):
        estimator.observe(votes, estimator.posterior(votes))
        estimator.update()
    assert torch.equal(first.value, second.value)
    assert torch.equal(first.posterior(votes), second.posterior(votes))


def test_full_trust_believes_every_label_and_learns_nothing() -> None:
    w = world(1)
    votes, estimator = votes_of(w), FullTrust(len(w.eta))
    assert (estimator.posterior(votes) == 1).all()
    estimator.observe(votes, torch.zeros(len(w.label)))
    estimator.update()
    assert (estimator.value == 1).all()
