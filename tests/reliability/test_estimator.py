"""AnnotatorReliability: the promises of the method, each against the formula, a plain implementation or counting."""

import doctest
import warnings
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from reliability_examples import World, dawid_skene, marginal_log_likelihood, world

import repo.reliability.estimator
from repo.reliability.diagnostics import ReliabilityWarning
from repo.reliability.estimator import AnnotatorReliability
from repo.reliability.online.equations import moving_average, posterior, sums_by_annotator
from repo.reliability.online.equations import posterior as equation_4
from repo.reliability.state import ReliabilityState

pytestmark = pytest.mark.filterwarnings("ignore::repo.reliability.diagnostics.ReliabilityWarning")


def logit(eta: np.ndarray) -> np.ndarray:
    return np.log(eta) - np.log1p(-eta)


def fitted(w: World, *names: str, **options: object) -> AnnotatorReliability:
    return AnnotatorReliability(**options).fit(**w.arrays(*names))  # type: ignore[arg-type]


def test_the_docstring_example_holds() -> None:
    assert doctest.testmod(repo.reliability.estimator).failed == 0


@given(st.integers(0, 50))
@settings(max_examples=10, deadline=None)
def test_one_annotation_per_comparison_gives_equation_4(seed: int) -> None:
    w = world(seed, votes=1)
    model = fitted(w, "comparison", "margin", calibrate=False, coins=1, max_iterations=3)
    eta = torch.tensor(model.reliability_)[torch.tensor(w.annotator)]
    expected = equation_4(torch.tensor(w.label * w.margin), eta)
    np.testing.assert_allclose(model.posterior(), expected, atol=1e-12)


def test_without_margins_it_is_one_coin_dawid_and_skene() -> None:
    w = world(1, comparisons=60)
    model = fitted(w, "comparison", coins=1, prevalence=False, prior_strength=0, max_iterations=7, tolerance=0)
    eta, _ = dawid_skene(w.annotator, w.label, w.comparison, 0.9, 7)
    np.testing.assert_allclose(model.reliability_, eta, atol=1e-12)


def test_margins_of_zero_are_no_margins() -> None:
    w = world(1, comparisons=60)
    without = fitted(w, "comparison", coins=1, prevalence=False)
    w.margin = 0 * w.margin
    assert np.array_equal(fitted(w, "comparison", "margin", coins=1).reliability_, without.reliability_)


@pytest.mark.parametrize("coins", [1, 2])
def test_turning_every_comparison_round_turns_directions_and_nothing_else(coins: int) -> None:
    w = world(2)
    plain = fitted(w, "comparison", "margin", "position", coins=coins)
    turned = World(w.annotator, -w.label, w.comparison, -w.margin, -w.truth, w.eta, -w.position)
    other = fitted(turned, "comparison", "margin", "position", coins=coins)
    np.testing.assert_allclose(other.eta_, plain.eta_, atol=1e-8)
    np.testing.assert_allclose(other.direction_, 1 - plain.direction_, atol=1e-8)


def test_the_mirror_image_explains_the_labels_equally_well() -> None:
    w = world(3)
    options = {"coins": 1, "prevalence": False, "prior_strength": 0}
    plain = fitted(w, "comparison", **options)
    mirror = fitted(w, "comparison", initial=0.1, **options)
    np.testing.assert_allclose(mirror.reliability_, 1 - plain.reliability_, atol=1e-4)
    assert mirror.log_likelihood_ == pytest.approx(plain.log_likelihood_, abs=1e-6)


@given(st.integers(0, 100), st.sampled_from([1, 2]), st.sampled_from([0.0, 1.0]), st.floats(0.01, 100))
@settings(max_examples=20, deadline=None)
def test_full_em_never_lowers_the_objective(seed: int, coins: int, strength: float, unit: float) -> None:
    w = world(seed, comparisons=60)
    w.margin = w.margin * unit
    model = fitted(w, "comparison", "margin", coins=coins, prior_strength=strength, prevalence=True, max_iterations=60)
    assert np.diff(model.objectives_).min() >= -1e-9 * abs(model.objectives_[-1])


@pytest.mark.parametrize("estimator", ["full", "incremental"])
def test_the_order_of_rows_does_not_matter(estimator: str) -> None:
    w = world(4)
    order = np.random.default_rng(0).permutation(len(w.label))
    shuffled = World(
        *(getattr(w, name)[order] for name in ("annotator", "label", "comparison", "margin", "truth")), w.eta
    )
    plain, other = (fitted(x, "comparison", "margin", estimator=estimator, tolerance=1e-9) for x in (w, shuffled))
    np.testing.assert_allclose(other.reliability_, plain.reliability_, atol=1e-7)
    np.testing.assert_allclose(other.posterior(), plain.posterior()[order], atol=1e-6)


@pytest.mark.parametrize("coins", [1, 2])
def test_incremental_ends_where_full_ends(coins: int) -> None:
    w = world(5)
    plain, other = (
        fitted(w, "comparison", "margin", "position", coins=coins, estimator=name, tolerance=1e-9, batch_size=16)
        for name in ("full", "incremental")
    )
    np.testing.assert_allclose(other.eta_, plain.eta_, atol=1e-6)
    assert other.calibration_["temperature"] == pytest.approx(plain.calibration_["temperature"], rel=1e-5)


def test_paper_is_equations_4_and_7_batch_by_batch() -> None:
    w = world(6, votes=1)
    model = fitted(w, "margin", estimator="paper", calibrate=False, coins=1, batch_size=32)
    eta = torch.full((len(w.eta),), 0.9, dtype=torch.float64)
    for begin in range(0, len(w.label), 32):
        rows = slice(begin, begin + 32)
        annotator = torch.tensor(w.annotator[rows])
        posteriors = posterior(torch.tensor((w.label * w.margin)[rows]), eta[annotator])
        eta = moving_average(eta, *sums_by_annotator(posteriors, annotator, len(w.eta)), step_size=0.1)
    np.testing.assert_allclose(model.reliability_, eta, atol=1e-5)


def test_the_papers_posterior_is_equation_4_however_many_share_a_comparison() -> None:
    w = world(6)
    model = fitted(w, "comparison", "margin", estimator="paper", calibrate=False, coins=1)
    eta = torch.tensor(model.reliability_)[torch.tensor(w.annotator)]
    expected = posterior(torch.tensor(w.label * w.margin), eta)
    np.testing.assert_allclose(model.posterior(), expected, atol=1e-12)
    np.testing.assert_allclose(model.posterior(**w.arrays("comparison", "margin")), expected, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16])
def test_small_integers_are_ids_as_well(dtype: type) -> None:
    w = world(21)
    plain = fitted(w, "comparison")
    low = np.iinfo(dtype).min
    spread = (w.annotator.astype(int) * 30 + low).astype(dtype)
    other = AnnotatorReliability().fit(spread, w.label, w.comparison)
    np.testing.assert_allclose(other.reliability_, plain.reliability_, atol=1e-12)
    assert other.annotators_ == sorted({int(name) for name in spread})


def test_slow_convergence_is_extrapolated_to_the_same_optimum() -> None:
    w = world(22, comparisons=400, votes=2, scale=0.3, eta=np.array([0.7, 0.6, 0.65, 0.75, 0.6, 0.7]))
    options = {"coins": 1, "prior_strength": 1.0, "tolerance": 1e-10}
    fast = fitted(w, "comparison", "margin", **options, max_iterations=3000)
    slow = fitted(w, "comparison", "margin", **options, estimator="incremental", max_iterations=30000)
    assert fast.converged_
    assert fast.iterations_ < slow.iterations_ / 2
    np.testing.assert_allclose(fast.reliability_, slow.reliability_, atol=1e-5)


@pytest.mark.parametrize("coins", [1, 2])
def test_chunks_change_nothing(coins: int) -> None:
    w = world(7)
    whole, parts = (
        fitted(w, "comparison", "margin", "position", coins=coins, chunk=chunk, max_iterations=20)
        for chunk in (None, 37)
    )
    np.testing.assert_allclose(parts.eta_, whole.eta_, atol=1e-10)
    np.testing.assert_allclose(parts.interval_, whole.interval_, atol=1e-8)


@pytest.mark.parametrize("coins", [1, 2])
def test_the_optimum_is_stationary_by_autograd(coins: int) -> None:
    w = world(8)
    model = fitted(
        w, "comparison", "margin", "position", coins=coins, prior_strength=0, prevalence=True, tolerance=1e-10
    )
    temperature, intercept = (model.calibration_[name] for name in ("temperature", "intercept"))
    at = [torch.tensor(x, dtype=torch.float64) for x in (logit(model.eta_), np.log(temperature), intercept)]
    value = marginal_log_likelihood(w, *(x.requires_grad_() for x in at))
    assert value.item() == pytest.approx(model.log_likelihood_, rel=1e-12)
    gradients = torch.autograd.grad(value, at)
    assert float(gradients[0].abs().max()) < 1e-4
    # What is left of the calibration's gradient is its weak prior's.
    assert abs(float(gradients[1])) < 0.5
    assert abs(float(gradients[2])) < 0.1


def test_temperature_is_found_whatever_unit_the_margins_have() -> None:
    w = world(9, annotators=20, comparisons=3000, votes=1, scale=3)
    w.margin = w.margin / 50
    model = fitted(w, "margin")
    assert model.calibration_["temperature"] == pytest.approx(50, rel=0.2)
    assert np.abs(model.reliability_ - w.eta).mean() < 0.05


def test_few_votes_per_annotator_do_not_inflate_the_temperature() -> None:
    w = world(10, annotators=800, comparisons=4000, votes=1, scale=2)
    assert fitted(w, "margin").calibration_["temperature"] == pytest.approx(1, rel=0.4)


@pytest.mark.parametrize("eta", [0.935, 0.77])
def test_one_annotator_with_many_votes_is_found(eta: float) -> None:
    """Nobody to compare with: only the spread of the margins tells noise from weak margins."""
    random = np.random.default_rng(2)
    margin = random.normal(0, 3, 4000)
    truth = np.where(random.random(4000) < 1 / (1 + np.exp(-margin)), 1, -1)
    label = np.where(random.random(4000) < eta, truth, -truth)
    found = AnnotatorReliability().fit(["only"] * 4000, label, margin=0.1 * margin)
    assert found.reliability_[0] == pytest.approx(eta, abs=0.03)
    assert found.calibration_["temperature"] == pytest.approx(10, rel=0.25)


@pytest.mark.parametrize("seed", range(3))
def test_who_labels_alone_and_leans_nowhere_has_one_coin(seed: int) -> None:
    w = world(seed, annotators=20, comparisons=2000, votes=1)
    assert fitted(w, "comparison", "margin", "position", prevalence=False).coins_ == 1


def test_the_population_does_not_drag_the_temperature_of_weak_margins_along() -> None:
    """Of people who judge alone, 300 labels each."""
    worlds = [world(seed, annotators=20, comparisons=6000, votes=1, scale=1.5) for seed in range(6)]
    found = [np.log(fitted(w, "margin", prevalence=False).calibration_["temperature"]) for w in worlds]
    assert abs(np.mean(found)) < 0.1


@pytest.mark.parametrize("seed", range(4))
def test_a_single_annotator_is_not_held_near_the_start(seed: int) -> None:
    w = world(seed, annotators=1, comparisons=2000, votes=1, scale=4, eta=np.array([0.6]))
    assert fitted(w, "margin", prevalence=False).reliability_[0] == pytest.approx(0.6, abs=0.06)


def test_two_coins_show_who_prefers_the_response_displayed_first() -> None:
    w = world(11, annotators=4, comparisons=2000, votes=1, scale=4, eta=np.array([0.95, 0.9, 0.8, 0.8]))
    careless = (w.annotator == 3) & (np.random.default_rng(0).random(len(w.label)) < 0.4)
    w.label = np.where(careless, w.position, w.label)
    model = fitted(w, "margin", "position")
    assert model.coins_ == 2
    assert np.abs(model.first_preference_[:3]).max() < 0.07
    assert model.first_preference_[3] == pytest.approx(0.2, abs=0.06)


def test_gold_fixes_the_directions_it_names() -> None:
    w = world(12, eta=np.full(6, 0.3))
    gold = np.where(w.comparison < 60, w.truth, 0)
    model = AnnotatorReliability(coins=1).fit(w.annotator, w.label, w.comparison, gold=gold)
    assert np.array_equal(model.direction_[:60] > 0.5, gold[::3][:60] > 0)
    np.testing.assert_allclose(model.reliability_, 0.3, atol=0.15)


def test_pinned_annotators_stay_and_fix_the_sign() -> None:
    w = world(13, eta=np.array([0.3, 0.3, 0.3, 0.3, 0.97]))
    model = fitted(w, "comparison", coins=1, pinned={4: 0.97, "someone else": 0.5})
    assert model.reliability_[4] == 0.97
    assert tuple(model.interval_[4]) == pytest.approx((0.97, 0.97))
    np.testing.assert_allclose(model.reliability_[:4], 0.3, atol=0.15)


def test_half_votes_either_way_cancel() -> None:
    w = world(14, comparisons=50)
    tie = {"annotator": [0, 0], "label": [1, -1], "comparison": [50, 50]}
    arrays = {name: np.concatenate([getattr(w, name), values]) for name, values in tie.items()}
    model = AnnotatorReliability(coins=1, prevalence=False).fit(**arrays, weight=[1.0] * len(w.label) + [0.5, 0.5])
    assert model.direction_[50] == pytest.approx(0.5)
    assert model.counts_[0] == (w.annotator == 0).sum() + 1


def test_new_data_get_posteriors_from_the_fit() -> None:
    w = world(15)
    model = fitted(w, "comparison", "margin", prior_strength=0)
    np.testing.assert_allclose(model.posterior(**w.arrays("comparison", "margin")), model.posterior(), atol=1e-12)
    assert model.posterior(["a stranger"], [1])[0] == pytest.approx(0.9)


def test_strangers_are_taken_from_the_population() -> None:
    model = fitted(world(15), "comparison", "margin")
    assert model.population_ is not None
    assert model.posterior(["a stranger"], [1])[0] == pytest.approx(model.population_["mean"])


def test_intervals_cover_what_they_promise() -> None:
    inside = []
    for seed in range(12):
        random = np.random.default_rng(seed)
        w = world(seed, comparisons=500, votes=3, eta=random.uniform(0.55, 0.97, 15))
        model = fitted(w, "comparison", "margin", coins=1)
        inside.append((model.interval_[:, 0] <= w.eta) & (w.eta <= model.interval_[:, 1]))
    assert 0.82 <= np.mean(inside) <= 0.97


@pytest.mark.parametrize("initial", [0.1, 0.9])
def test_mirror_images_are_warned_about_and_not_flipped(initial: float) -> None:
    w = world(16, comparisons=800, scale=3, eta=np.array([0.2, 0.3, 0.25, 0.2]))
    message = "average reliability 0.2.* is below" if initial < 0.5 else "contradict the margins.*mean η 0.2.* for 0.7"
    with pytest.warns(ReliabilityWarning, match=message):
        model = AnnotatorReliability(initial=initial).fit(**w.arrays("comparison", "margin"))
    np.testing.assert_allclose(model.reliability_, w.eta if initial < 0.5 else 1 - w.eta, atol=0.1)


def test_data_that_say_nothing_are_called_so() -> None:
    w = world(17, votes=1)
    with pytest.warns(ReliabilityWarning, match="not identifiable: 0.0% of comparisons have several votes"):
        AnnotatorReliability(prevalence=False).fit(**w.arrays())


def test_good_data_raise_no_warning() -> None:
    w = world(18, eta=np.array([0.95, 0.9, 0.8, 0.7, 0.9]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert AnnotatorReliability().fit(**w.arrays("comparison", "margin")).warnings_ == []


def test_margins_that_separate_the_labels_leave_a_finite_temperature() -> None:
    w = world(19, votes=1, eta=np.ones(4))
    w.label = np.sign(w.margin).astype(int)
    model = fitted(w, "margin", coins=1)
    assert 1 < model.calibration_["temperature"] < 1e6
    assert model.reliability_.min() > 0.9


def test_yesterdays_evidence_is_todays_prior(tmp_path: Path) -> None:
    w = world(20, comparisons=600, eta=np.array([0.95, 0.9, 0.85, 0.6]))
    first, second = (np.flatnonzero(half) for half in (w.comparison < 300, w.comparison >= 300))

    def part(rows: np.ndarray) -> dict[str, np.ndarray]:
        return {name: values[rows] for name, values in w.arrays("comparison").items()}

    yesterday = AnnotatorReliability(coins=1).fit(**part(first))
    yesterday.state_.save(tmp_path / "state.json")
    state = ReliabilityState.load(tmp_path / "state.json")
    assert state == yesterday.state_
    today = AnnotatorReliability().fit(**part(second), prior_state=state)
    alone, forgotten = (
        AnnotatorReliability(coins=1).fit(**part(second)),
        AnnotatorReliability().fit(**part(second), prior_state=state, forgetting=1.0),
    )
    whole = fitted(w, "comparison", coins=1)
    np.testing.assert_allclose(today.reliability_, whole.reliability_, atol=0.015)
    np.testing.assert_allclose(np.diff(today.interval_), np.diff(whole.interval_), rtol=0.2)
    np.testing.assert_allclose(forgotten.reliability_, alone.reliability_, atol=1e-5)
    assert today.state_.annotators[0].labels == (w.annotator == 0).sum()


def test_annotators_who_are_not_seen_today_are_kept_and_fade() -> None:
    model = AnnotatorReliability(coins=1).fit(["a", "b"] * 20, [1, 1] * 20, np.repeat(np.arange(20), 2))
    later = AnnotatorReliability().fit(
        ["a", "c"] * 20, [1, 1] * 20, np.repeat(np.arange(20), 2), prior_state=model.state_, forgetting=0.25
    )
    assert later.state_.annotators["b"].labels == 15
    assert set(later.state_.annotators) == {"a", "b", "c"}
    assert later.annotators_ == ["a", "c"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"estimator": "papers"}, "estimator = 'papers': must be one of paper, full, incremental"),
        ({"coins": 3}, "coins = 3"),
        ({"initial": 1.0}, r"initial = 1.0: must be inside \(0, 1\)"),
        ({"pinned": {"a": 0.5, "b": 1.0}}, r"pinned\['b'\] = 1.0: must be inside \(0, 1\)"),
        ({"prior_strength": -1}, "prior_strength = -1"),
        ({"batch_size": 0}, "batch_size = 0"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AnnotatorReliability(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize("comparisons", [5, 15, 100])
@pytest.mark.parametrize("with_margins", [False, True])
def test_labels_that_all_agree_are_much_but_no_certainty(comparisons: int, with_margins: bool) -> None:
    """The more of them, the closer to 1 and the surer; η stands inside its own interval."""
    random = np.random.default_rng(comparisons)
    direction = random.choice([-1, 1], comparisons)
    annotator = np.tile(["ann", "bob", "eve"], comparisons)
    comparison = np.repeat(np.arange(comparisons), 3)
    margin = np.repeat(direction * random.exponential(1.0, comparisons), 3) if with_margins else None
    found = AnnotatorReliability(coins=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found.fit(annotator, np.repeat(direction, 3), comparison, margin=margin)
    low, high = found.interval_.T
    assert (found.reliability_ > 0.95).all()
    assert (found.reliability_ < 1).all()
    assert ((low <= found.reliability_) & (found.reliability_ <= high)).all()
    assert (1 - low < 10 / (3 * comparisons + 10)).all()
