"""Who has changed is named, nobody else, and former votes keep their own name."""

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from scipy import stats
from scipy.integrate import quad

from repo.reliability.drift import believed, drifts
from repo.reliability.eras import Eras, former, is_former, set_apart
from repo.reliability.estimator import AnnotatorReliability
from repo.reliability.state import AnnotatorRecord, ReliabilityState

PEOPLE = [0.95, 0.95, 0.95, 0.95, 0.8, 0.8, 0.8, 0.6, 0.6, 0.2]
CHANGED, DAY = 3, 7


def night(random: np.random.Generator, eta: Sequence[float], margins: bool) -> dict[str, list[Any]]:
    """95 comparisons, three votes each, and a model's margins on them."""
    rows: dict[str, list[Any]] = {"annotator": [], "label": [], "comparison": [], "margin": []}
    for comparison in range(95):
        truth = 1 if random.random() < 0.5 else -1
        margin = 2 * truth + random.normal() if margins else 0.0
        for k in random.permutation(len(eta))[:3]:
            label = truth if random.random() < eta[k] else -truth
            for name, value in zip(rows, (f"k{k}", label, comparison, margin), strict=True):
                rows[name].append(value)
    return rows


def fit(rows: dict[str, list[Any]], state: ReliabilityState | None) -> AnnotatorReliability:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return AnnotatorReliability(coins=1, prevalence=False).fit(**rows, prior_state=state)


def fortnight(seed: int, margins: bool) -> tuple[dict[int, list[Any]], AnnotatorReliability, list[float]]:
    """Return who was named on which day, the last fit, and the truth at the end."""
    random, eta = np.random.default_rng(seed), list(PEOPLE)
    state: ReliabilityState | None = None
    named: dict[int, list[Any]] = {}
    for day in range(1, 15):
        if day == DAY:
            eta[CHANGED] = 0.15
        rows = night(random, eta, margins)
        fitted = fit(rows, state)
        if state is not None:
            names = [one.annotator for one in drifts(fitted, state, 1000) if one.changed]
            if names:
                named[day] = names
                fitted = fit(rows, set_apart(state, names, str(day)))
        state = fitted.state_
    return named, fitted, eta


@pytest.mark.parametrize("seed", range(5))
def test_who_turns_is_named_by_the_third_night_and_nobody_else(seed: int) -> None:
    named, fitted, eta = fortnight(seed, margins=True)
    assert [name for names in named.values() for name in names] == [f"k{CHANGED}"]
    assert DAY <= min(named) <= DAY + 2
    # What was known of the old one does not weigh on the new one: 230 votes leave a standard error of .024.
    place = fitted.annotators_.index(f"k{CHANGED}")
    assert abs(fitted.reliability_[place] - eta[CHANGED]) < 3 * 0.024


def test_without_a_change_odds_above_x_come_at_most_once_in_x_times() -> None:
    random = np.random.default_rng(1)
    state = fit(night(random, PEOPLE, True), None).state_
    odds = [one.odds for _ in range(40) for one in drifts(fit(night(random, PEOPLE, True), state), state, 1000)]
    assert len(odds) == 400
    assert np.mean(np.array(odds) > 1) <= 0.1


def test_the_odds_are_the_ratio_of_two_beta_binomials_where_every_vote_is_known_to_be_right_or_wrong() -> None:
    right, wrong = 30, 10
    labels = [1] * right + [-1] * wrong
    gold = [1] * (right + wrong)
    state = ReliabilityState("full", 1, 1.0, 0.0, {"ann": AnnotatorRecord((90.0,), (10.0,), 100.0)}, 0.8, 0.1)
    fitted = AnnotatorReliability(coins=1, calibrate=False).fit(["ann"] * 40, labels, gold=gold, prior_state=state)
    (found,) = drifts(fitted, state, 1000)
    strength = 0.8 * 0.2 / 0.01 - 1
    a, b = 90 + strength * 0.8, 10 + strength * 0.2

    def marginal(density: Any) -> float:
        return float(quad(lambda eta: density(eta) * eta**right * (1 - eta) ** wrong, 0, 1, points=[0.75, 0.89])[0])

    expected = math.log10(marginal(stats.uniform.pdf) / marginal(stats.beta(a, b).pdf))
    assert found.odds == pytest.approx(expected, abs=0.02)
    assert found.before == pytest.approx(a / (a + b))
    assert found.now == pytest.approx((right + 1) / (right + wrong + 2), abs=1e-3)
    assert found.now_interval == pytest.approx(stats.beta(right + 1, wrong + 1).interval(0.9), abs=2e-3)
    assert not found.changed


def test_new_and_absent_annotators_are_not_compared() -> None:
    random = np.random.default_rng(2)
    state = fit(night(random, PEOPLE, True), None).state_
    later = night(random, [*PEOPLE, 0.9], True)
    later["annotator"] = ["k10" if name == "k0" else name for name in later["annotator"]]
    compared = {one.annotator for one in drifts(fit(later, state), state, 1000)}
    assert compared == {f"k{number}" for number in range(1, 10)}


def test_a_two_coin_state_is_compared_as_one_coin() -> None:
    random = np.random.default_rng(3)
    state = fit(night(random, PEOPLE, True), None).state_
    both = state.with_coins(2)
    rows = night(random, PEOPLE, True)
    one, two = (drifts(fit(rows, s.with_coins(1)), s, 1000) for s in (state, both))
    assert [d.odds for d in one] == pytest.approx([d.odds for d in two])


def test_a_vote_goes_by_the_name_of_its_time() -> None:
    record = AnnotatorRecord((9.0,), (1.0,), 10.0)
    state = ReliabilityState("full", 1, 1.0, 0.0, {"ann": record, "bob": record}, 0.8, 0.1)
    first = set_apart(state, ["ann"], "3")
    assert set(first.annotators) == {former("ann", "3"), "bob"}
    again = ReliabilityState("full", 1, 1.0, 0.0, {**first.annotators, "ann": AnnotatorRecord((1.0,), (9.0,), 10.0)})
    second = set_apart(again, ["ann"], "7")
    eras = Eras(second)
    assert [eras.name("ann", version) for version in ("1", "3", "4", "7", "8", "12")] == [
        *(former("ann", "3"),) * 2,
        *(former("ann", "7"),) * 2,
        *("ann",) * 2,
    ]
    assert eras.name("bob", "1") == "bob"
    assert is_former(former("ann", "3"))
    assert not is_former("ann")
    assert not is_former(7)


def test_what_is_believed_of_somebody_is_their_evidence_drawn_to_the_population() -> None:
    record = AnnotatorRecord((9.0,), (1.0,), 10.0)
    state = ReliabilityState("full", 1, 1.0, 0.0, {"ann": record}, 0.75, 0.125)
    strength = 0.75 * 0.25 / 0.125**2 - 1
    assert believed(state, "ann", 0.9) == pytest.approx((9 + strength * 0.75) / (10 + strength))
    assert believed(state, "somebody else", 0.9) == pytest.approx(0.75)
    assert believed(ReliabilityState("full", 1, 1.0, 0.0), "ann", 0.9) == pytest.approx(0.9)
