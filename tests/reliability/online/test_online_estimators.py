"""Reliabilities while a policy trains: the same numbers as the equations and as the array estimator."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from reliability_examples import World, world

from repo.reliability.estimator import AnnotatorReliability
from repo.reliability.online.equations import moving_average, posterior, sums_by_annotator
from repo.reliability.online.estimators import (
    BatchVotes,
    Estimator,
    FullTrust,
    IncrementalReliability,
    MovingReliability,
    shared_posterior,
)


def votes_of(w: World, gold: dict[int, int] | None = None) -> BatchVotes:
    """All of a world's annotations as one batch."""
    comparisons = int(w.comparison.max()) + 1
    margin, known = torch.zeros(comparisons, dtype=torch.float64), torch.zeros(comparisons)
    margin[torch.from_numpy(w.comparison)] = torch.from_numpy(w.margin)
    for comparison, side in (gold or {}).items():
        known[comparison] = side
    return BatchVotes(
        row=torch.arange(len(w.label)),
        comparison=torch.from_numpy(w.comparison),
        annotator=torch.from_numpy(w.annotator),
        label=torch.from_numpy(w.label),
        weight=torch.ones(len(w.label), dtype=torch.float64),
        gold=known,
        margin=margin,
    )


def moving(w: World, shared: bool, pinned: int | None = None) -> MovingReliability:
    fixed = torch.arange(len(w.eta)) == (-1 if pinned is None else pinned)
    return MovingReliability(torch.full((len(w.eta),), 0.9), fixed, 0.1, shared)


def incremental(w: World, strength: float = 1.0, pinned: int | None = None) -> IncrementalReliability:
    prior = torch.tensor([[0.9 * strength, 0.1 * strength]]).repeat(len(w.eta), 1)
    known = torch.where(torch.arange(len(w.eta)) == (-1 if pinned is None else pinned), 0.9, torch.nan)
    rows = torch.full((len(w.label),), 0.9)
    return IncrementalReliability(torch.from_numpy(w.annotator), torch.ones(len(w.label)), rows, prior, known)


MAKE: dict[str, Callable[[World], Estimator]] = {
    "paper": lambda w: moving(w, shared=False),
    "full": lambda w: moving(w, shared=True),
    "incremental": incremental,
}


def test_paper_is_equations_4_and_7() -> None:
    w = world(3)
    votes, estimator = votes_of(w), moving(w, shared=False)
    start = estimator.value
    got = estimator.posterior(votes)
    expected = posterior(torch.from_numpy(w.label * w.margin), start[votes.annotator])
    torch.testing.assert_close(got, expected)
    estimator.observe(votes, got)
    estimator.update()
    torch.testing.assert_close(
        estimator.value, moving_average(start, *sums_by_annotator(expected, votes.annotator, len(start)), 0.1)
    )


def test_with_one_label_a_comparison_the_shared_posterior_is_equation_4() -> None:
    w = world(3, votes=1)
    votes = votes_of(w)
    eta = torch.from_numpy(np.asarray(w.eta, float)).clamp(0.05, 0.95)
    expected = posterior(torch.from_numpy(w.label * w.margin), eta[votes.annotator])
    torch.testing.assert_close(shared_posterior(votes, eta), expected)


def test_the_shared_posterior_is_the_array_estimators() -> None:
    w = world(4)
    fitted = AnnotatorReliability(coins=1, calibrate=False, prior_strength=0).fit(**w.arrays("comparison", "margin"))
    got = shared_posterior(votes_of(w), torch.from_numpy(fitted.reliability_))
    np.testing.assert_allclose(got, fitted.posterior(), atol=1e-9)


def test_incremental_visits_end_where_full_em_ends() -> None:
    w = world(5)
    estimator, votes = incremental(w), votes_of(w)
    for _ in range(300):
        estimator.observe(votes, estimator.posterior(votes))
        estimator.update()
    options = {"prior_mean": 0.9, "prior_strength": 1.0, "calibrate": False, "coins": 1, "tolerance": 1e-9}
    full = AnnotatorReliability(**options).fit(**w.arrays("comparison", "margin"))
    np.testing.assert_allclose(estimator.value, full.reliability_, atol=1e-6)


def test_a_visit_replaces_the_old_share_of_the_sums() -> None:
    w = world(6, comparisons=20)
    estimator, votes = incremental(w, strength=0.0), votes_of(w)
    for value in (0.3, 0.8):
        estimator.observe(votes, torch.full((len(w.label),), value))
    estimator.update()
    np.testing.assert_allclose(estimator.value, 0.8, atol=1e-6)


@pytest.mark.parametrize("name", MAKE)
def test_gold_comparisons_are_known(name: str) -> None:
    w = world(7, comparisons=10)
    votes = votes_of(w, gold={0: 1, 1: -1})
    got = MAKE[name](w).posterior(votes)
    for comparison, side in ((0, 1), (1, -1)):
        at = w.comparison == comparison
        np.testing.assert_array_equal(got[at], w.label[at] == side)
    rest = got[w.comparison > 1]
    assert ((rest > 0) & (rest < 1)).all()


@pytest.mark.parametrize("make", [lambda w: moving(w, shared=True, pinned=0), lambda w: incremental(w, pinned=0)])
def test_pinned_annotators_keep_their_reliability(make: Callable[[World], Estimator]) -> None:
    w = world(8)
    estimator = make(w)
    estimator.observe(votes_of(w), torch.ones(len(w.label)))
    estimator.update()
    assert float(estimator.value[0]) == pytest.approx(0.9)
    assert (estimator.value[1:] > 0.905).all()


@pytest.mark.parametrize("name", MAKE)
def test_a_restored_estimator_goes_on_like_the_first(name: str) -> None:
    w = world(9)
    votes, first, second = votes_of(w), MAKE[name](w), MAKE[name](w)
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
