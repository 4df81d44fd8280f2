"""A few gold comparisons or one trusted annotator turn the mirror image round."""

import numpy as np
import pytest

from repo.reliability.estimator import AnnotatorReliability

ETA = np.array([0.1, 0.2, 0.2, 0.15, 0.9])


def mostly_wrong(comparisons: int = 60) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Votes of five annotators, four of them mostly wrong."""
    random = np.random.default_rng(1)
    truth = np.where(random.random(comparisons) < 0.5, 1, -1)
    annotator = np.tile(np.arange(5), comparisons)
    comparison = np.repeat(np.arange(comparisons), 5)
    right = random.random(len(annotator)) < ETA[annotator]
    return annotator, np.where(right, truth[comparison], -truth[comparison]), comparison, truth


@pytest.mark.filterwarnings("ignore::repo.reliability.diagnostics.ReliabilityWarning")
def test_without_anchors_a_start_above_one_half_ends_in_the_mirror_image() -> None:
    annotator, label, comparison, truth = mostly_wrong()
    fitted = AnnotatorReliability(coins=1).fit(annotator, label, comparison)
    assert ((fitted.direction_ > 0.5) == (truth > 0)).mean() < 0.1


@pytest.mark.parametrize("coins", [1, 2])
def test_three_gold_comparisons_of_sixty_are_enough(coins: int) -> None:
    annotator, label, comparison, truth = mostly_wrong()
    gold = np.where(comparison < 3, truth[comparison], 0)
    fitted = AnnotatorReliability(coins=coins).fit(annotator, label, comparison, gold=gold)
    np.testing.assert_allclose(fitted.reliability_, ETA, atol=0.12)
    assert ((fitted.direction_ > 0.5) == (truth > 0))[3:].mean() > 0.9


def test_one_trusted_annotator_is_enough() -> None:
    annotator, label, comparison, _ = mostly_wrong()
    fitted = AnnotatorReliability(pinned={4: 0.9}).fit(annotator, label, comparison)
    np.testing.assert_allclose(fitted.reliability_, ETA, atol=0.12)
    assert fitted.reliability_[4] == 0.9


def test_annotators_without_gold_start_where_the_others_are() -> None:
    """One annotator per half; gold on the first half only, one label a comparison, calibrated margins."""
    random = np.random.default_rng(2)
    margin = random.normal(0, 3, 2000)
    truth = np.where(random.random(2000) < 1 / (1 + np.exp(-margin)), 1, -1)
    label = np.where(random.random(2000) < 0.2, truth, -truth)
    gold = np.where(np.arange(2000) < 50, truth, 0)
    fitted = AnnotatorReliability().fit(np.arange(2000) // 1000, label, margin=margin, gold=gold)
    np.testing.assert_allclose(fitted.reliability_, 0.2, atol=0.1)
