"""Everything known before EM counts together: gold, pinned annotators, an earlier state, its population, η₀."""

import itertools

import numpy as np
import pytest

from repo.reliability.diagnostics import ReliabilityWarning
from repo.reliability.em.algorithms import Problem
from repo.reliability.em.calibration import CalibrationPrior
from repo.reliability.em.votes import group_votes
from repo.reliability.estimator import AnnotatorReliability
from repo.reliability.start import before_any_vote, known_before, where_em_starts
from repo.reliability.state import AnnotatorRecord, ReliabilityState

ETA = np.array([0.2] * 8 + [0.9] * 2)
"""Ten workers, eight of them adversarial: a start above ½ ends in the mirror image unless something known says no."""

pytestmark = pytest.mark.filterwarnings("ignore::repo.reliability.diagnostics.ReliabilityWarning")


def mostly_wrong(comparisons: int = 200, votes: int = 5) -> dict[str, np.ndarray]:
    random = np.random.default_rng(3)
    truth = np.where(random.random(comparisons) < 0.5, 1, -1)
    annotator = np.concatenate([random.permutation(10)[:votes] for _ in range(comparisons)])
    comparison = np.repeat(np.arange(comparisons), votes)
    right = random.random(len(annotator)) < ETA[annotator]
    return {
        "annotator": annotator,
        "label": np.where(right, truth[comparison], -truth[comparison]),
        "comparison": comparison,
        "truth": truth,
    }


def evidence(eta: float, labels: float, coins: int) -> AnnotatorRecord:
    share = labels / coins
    return AnnotatorRecord((eta * share,) * coins, ((1 - eta) * share,) * coins, labels)


def state(people: str, coins: int) -> ReliabilityState | None:
    if people == "nobody":
        return None
    if people == "strangers":
        records = {name: evidence(0.9, 100, coins) for name in ("x", "y", "z")}
    else:
        records = {k: evidence(float(ETA[k]), 60, coins) for k in range(10)}
    return ReliabilityState("full", coins, 1.0, 0.0, records, 0.8, 0.1)


@pytest.mark.parametrize("coins", [1, 2, "auto"])
@pytest.mark.parametrize("state_coins", [1, 2])
@pytest.mark.parametrize(
    ("people", "gold", "pinned"),
    list(itertools.product(["nobody", "strangers", "themselves"], [False, True], [False, True])),
)
def test_every_anchor_counts_whatever_else_is_known(
    people: str, gold: bool, pinned: bool, coins: int, state_coins: int
) -> None:
    world = mostly_wrong()
    truth = world.pop("truth")
    if gold:
        world["gold"] = np.where(world["comparison"] < 10, truth[world["comparison"]], 0)
    model = AnnotatorReliability(coins=coins, pinned={8: 0.9, 9: 0.9} if pinned else {})
    model.fit(**world, prior_state=state(people, state_coins))
    right = ((model.direction_ > 0.5) == (truth > 0)).mean()
    if gold or pinned or people == "themselves":
        assert right > 0.85
        np.testing.assert_allclose(model.reliability_, ETA, atol=0.12)
    else:
        assert right < 0.15  # nothing known speaks against the mirror image


def test_a_start_is_the_share_of_labels_known_to_be_right() -> None:
    votes = group_votes([0, 0, 0, 0, 1, 1], [1, 1, 1, -1, 1, 1], gold=[1, 1, 1, 1, 0, 0])
    known = known_before(votes.annotators, 1, {}, 0.7, None)
    problem = Problem.of(votes, 1, known.evidence, known.fixed, CalibrationPrior(False, False), None)
    average = (3 + 0.7) / (4 + 1)
    eta = where_em_starts(problem, known).eta[:, 0]
    np.testing.assert_allclose(eta, [(3 + average) / (4 + 1), average])


def test_who_is_in_no_state_starts_from_its_population() -> None:
    known = known_before(
        ["ann", "new"], 1, {}, 0.9, ReliabilityState("full", 1, 2.0, 0.0, {"ann": evidence(0.5, 9, 1)}, 0.6)
    )
    np.testing.assert_allclose(before_any_vote(known), [(4.5 + 0.6) / 10, 0.6])
    assert known.temperature == 2.0


def test_two_coins_of_a_state_are_folded_into_one_and_one_stands_for_both() -> None:
    two = ReliabilityState("full", 2, 1.0, 0.0, {"ann": AnnotatorRecord((6.0, 2.0), (1.0, 3.0), 12.0)})
    one = two.with_coins(1)
    assert one.annotators["ann"] == AnnotatorRecord((8.0,), (4.0,), 12.0)
    assert one.with_coins(2).annotators["ann"] == AnnotatorRecord((4.0, 4.0), (2.0, 2.0), 12.0)


def test_a_fit_that_contradicts_its_own_gold_says_so() -> None:
    world = mostly_wrong()
    truth = world.pop("truth")
    # Gold on comparisons that the good ones did not judge is too little against what the margins claim.
    margin = -5.0 * truth[world["comparison"]]
    gold = np.where(world["comparison"] < 12, truth[world["comparison"]], 0)
    with pytest.warns(ReliabilityWarning, match="contradicts its own gold.* on 0 of 12"):
        AnnotatorReliability(calibrate=False, coins=1).fit(**world, margin=margin, gold=gold)


def test_gold_that_agrees_raises_no_such_warning() -> None:
    world = mostly_wrong()
    truth = world.pop("truth")
    gold = np.where(world["comparison"] < 12, truth[world["comparison"]], 0)
    model = AnnotatorReliability(coins=1).fit(**world, gold=gold)
    assert not any("gold" in warning for warning in model.warnings_)
