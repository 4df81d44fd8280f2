"""The population behind the annotators: found where there is one, pooled where nobody can be told apart."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from scipy import stats

from repo.reliability.em.population import (
    LEVEL_PRIOR,
    LEVELS,
    OPINIONS,
    Likelihood,
    fit_axis,
    fit_population,
    log_density,
)
from repo.reliability.estimator import AnnotatorReliability

pytestmark = pytest.mark.filterwarnings("ignore::repo.reliability.diagnostics.ReliabilityWarning")


def known_labels(right: np.ndarray, number: np.ndarray) -> Likelihood:
    """Likelihood of people of whose labels so many are known to be right."""
    return Likelihood.of(None, np.stack([right, number - right], -1)[:, None].astype(float))


def one_label_each(people: int = 1000, eta: float = 0.85, seed: int = 0) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    comparison = np.arange(people) // 5
    truth = np.where(random.random(people) < 0.5, 1, -1)
    right = random.random(people) < eta
    label = np.where(right, truth[comparison], -truth[comparison])
    return {"annotator": np.arange(people), "label": label, "comparison": comparison}


@pytest.mark.parametrize(("mean", "sd"), [(1.5, 0.6), (0.5, 1.2), (2.0, 0.3)])
def test_mean_and_spread_are_found(mean: float, sd: float) -> None:
    random = np.random.default_rng(1)
    number = np.full(600, 60)
    right = random.binomial(number, 1 / (1 + np.exp(-random.normal(mean, sd, 600))))
    found = fit_population(known_labels(right, number), np.zeros(1))
    assert found.told_apart
    assert found.mean[0] == pytest.approx(mean, abs=0.12)
    assert found.spread[0] == pytest.approx(sd, rel=0.2)


def test_people_who_are_alike_are_pooled() -> None:
    number = np.full(200, 50)
    right = np.random.default_rng(2).binomial(number, 0.8)
    found = fit_population(known_labels(right, number), np.zeros(1))
    assert not found.told_apart
    assert found.moments()[0][0] == pytest.approx(right.sum() / number.sum(), abs=2e-3)


def test_the_evidence_is_the_beta_binomials_where_every_label_is_known() -> None:
    """A population that is a Beta in η: the grid's integral against scipy's closed form, relative to no spread."""
    right, number = np.array([7, 9, 3]), np.array([10, 10, 10])
    likelihood = known_labels(right, number).values
    eta = 1 / (1 + np.exp(-LEVELS))
    density = stats.beta(4, 2).pdf(eta) * eta * (1 - eta)
    integral = (np.exp(likelihood) * density).sum(1) * (LEVELS[1] - LEVELS[0])
    closed = stats.betabinom(number, 4, 2).pmf(right) / stats.binom(number, 0.5).pmf(right) * 0.5**number
    np.testing.assert_allclose(integral, closed, rtol=1e-3)


def test_a_spread_is_as_probable_as_the_evidence_with_the_level_integrated_out() -> None:
    """Where every likelihood is normal, Laplace is exact: the people are jointly normal, alike through their level."""
    peaks, sd, tried = np.array([0.4, 1.1, 1.3, 2.2]), 0.4, (0.3, 0.6, 1.0)
    values = -0.5 * ((LEVELS - peaks[:, None]) / sd) ** 2
    center, wide = LEVEL_PRIOR

    def weights(values: np.ndarray) -> np.ndarray:
        found = {part.spread: part.weight for part in fit_axis(values, LEVELS, 1.0, center).candidates}
        return np.array([found[spread] for spread in tried])

    def evidence(spread: float) -> float:
        covariance = (spread**2 + sd**2) * np.eye(len(peaks)) + wide**2
        return float(stats.multivariate_normal(np.full(len(peaks), center), covariance).pdf(peaks))

    prior = weights(np.zeros_like(values))
    posterior, expected = weights(values), prior * [evidence(spread) for spread in tried]
    np.testing.assert_allclose(posterior / posterior.sum(), expected / expected.sum(), rtol=1e-3)


def test_an_opinion_counts_as_the_marginal_likelihood_says() -> None:
    opinions = np.zeros((1, 1, len(OPINIONS)))
    opinions[0, 0, [60, 30]] = 1.0
    eta, p = 1 / (1 + np.exp(-LEVELS)), 1 / (1 + np.exp(-OPINIONS[[60, 30], None]))
    expected = np.log(p * eta + (1 - p) * (1 - eta)).sum(0)
    np.testing.assert_allclose(Likelihood.of(opinions, np.zeros((1, 1, 2))).values[0], expected, atol=1e-12)


@pytest.mark.parametrize("initial", [0.55, 0.9, 0.97])
def test_one_label_each_gives_everybody_the_pooled_value_whatever_the_start(initial: float) -> None:
    model = AnnotatorReliability(initial=initial).fit(**one_label_each())
    assert model.population_ is not None
    assert not model.population_["told_apart"]
    np.testing.assert_allclose(model.reliability_, 0.85, atol=0.03)
    assert ((model.interval_[:, 0] <= 0.85) & (model.interval_[:, 1] >= 0.85)).mean() >= 0.87
    assert model.population_share_.min() > 0.9


@given(st.integers(0, 200), st.floats(0.6, 0.95), st.floats(0.0, 0.2), st.integers(3, 40))
@settings(max_examples=15, deadline=None)
def test_every_reliability_lies_inside_its_interval(seed: int, mean: float, sd: float, labels: int) -> None:
    random = np.random.default_rng(seed)
    eta = np.clip(random.normal(mean, sd, 12), 0.05, 0.99)
    annotator = np.repeat(np.arange(12), labels)
    random.shuffle(annotator)
    comparison = np.arange(len(annotator)) % max(len(annotator) // 3, 1)
    truth = np.where(random.random(len(annotator)) < 0.5, 1, -1)
    label = np.where(random.random(len(annotator)) < eta[annotator], truth[comparison], -truth[comparison])
    model = AnnotatorReliability(coins=1).fit(annotator, label, comparison)
    assert (model.interval_[:, 0] <= model.reliability_).all()
    assert (model.reliability_ <= model.interval_[:, 1]).all()


def test_people_are_not_pooled_where_the_pooled_value_contradicts_itself() -> None:
    """Told apart at the pooled value, not told apart at their own: pooling and parting in turn must end in parting."""
    random = np.random.default_rng(181)
    eta = np.clip(random.normal(0.75, 0.1875, 12), 0.05, 0.99)
    annotator = np.repeat(np.arange(12), 26)
    random.shuffle(annotator)
    comparison = np.arange(len(annotator)) % (len(annotator) // 3)
    truth = np.where(random.random(len(annotator)) < 0.5, 1, -1)
    label = np.where(random.random(len(annotator)) < eta[annotator], truth[comparison], -truth[comparison])
    model = AnnotatorReliability(coins=1).fit(annotator, label, comparison)
    assert model.population_ is not None
    assert model.population_["told_apart"]
    assert np.corrcoef(model.reliability_, eta)[0, 1] > 0.8


def test_few_labels_are_drawn_to_the_others() -> None:
    random = np.random.default_rng(4)
    annotator = np.concatenate([np.repeat(np.arange(20), 60), [20, 20]])
    comparison = np.concatenate([np.tile(np.arange(240), 5), [0, 1]])
    truth = np.where(random.random(240) < 0.5, 1, -1)[comparison]
    right = random.random(len(annotator)) < 0.8
    right[-2:] = False
    model = AnnotatorReliability(coins=1).fit(annotator, np.where(right, truth, -truth), comparison)
    assert model.reliability_[20] > 0.6
    assert model.population_share_[20] > 0.5


def test_nothing_speaks_against_a_lone_vote() -> None:
    """No margins, nobody overlaps: the label is the vote, η stays at η₀, and turning sides round changes nothing."""
    label = np.where(np.random.default_rng(5).random(60) < 0.3, 1, -1)
    for sides in (label, -label):
        model = AnnotatorReliability(initial=0.8).fit(np.arange(60) % 3, sides)
        np.testing.assert_allclose(model.reliability_, 0.8, atol=1e-6)
        np.testing.assert_allclose(model.posterior(), 0.8, atol=1e-6)
        assert model.calibration_["intercept"] == 0


def test_the_density_is_a_mixture_over_what_the_spread_may_be() -> None:
    found = fit_population(known_labels(np.array([8, 9, 7, 8]), np.full(4, 10)), np.zeros(1))
    assert sum(part.weight for part in found.candidates) == pytest.approx(1, abs=1e-3)
    density = np.exp(log_density(found, LEVELS))
    assert LEVELS[density.argmax()] == pytest.approx(float(found.mean[0]), abs=0.3)
