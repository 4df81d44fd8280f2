"""Losses against their published formulas, worked out without our code's helpers."""

import math

import pytest
import torch

from repo.errors import UserError
from repo.policy.losses import CPO, DPO, IPO, LOSSES, PairLogps, SimPO, make_loss

PAIR = PairLogps(
    first=torch.tensor([-20.0]),
    second=torch.tensor([-30.0]),
    reference_first=torch.tensor([-22.0]),
    reference_second=torch.tensor([-27.0]),
    first_length=torch.tensor([10.0]),
    second_length=torch.tensor([12.0]),
)


def minus_log_sigmoid(x: float) -> float:
    return math.log(1 + math.exp(-x))


def test_dpo_is_the_log_sigmoid_of_the_scaled_log_ratio() -> None:
    assert DPO(beta=0.1)(PAIR).item() == pytest.approx(minus_log_sigmoid(0.1 * (2 - -3)))


def test_ipo_pulls_the_mean_log_ratio_to_its_target() -> None:
    assert IPO(beta=0.5)(PAIR).item() == pytest.approx((2 / 10 - -3 / 12 - 1) ** 2)


def test_simpo_uses_mean_log_probabilities_and_a_target_margin() -> None:
    margin = 2.0 * (-20 / 10) - 2.0 * (-30 / 12)
    assert SimPO(beta=2.0, gamma=0.5)(PAIR).item() == pytest.approx(minus_log_sigmoid(margin - 0.5))


def test_cpo_adds_the_winner_s_nll_inside_or_outside_the_link() -> None:
    preference = minus_log_sigmoid(0.1 * 10)
    assert CPO(beta=0.1, nll=1.0)(PAIR).item() == pytest.approx(preference + 2.0)
    outside = CPO(beta=0.1, nll=1.0, link="preference")
    assert outside(PAIR).item() == pytest.approx(preference)
    anchor = outside.anchor(PAIR)
    assert anchor is not None
    assert anchor.item() == pytest.approx(2.0)
    assert CPO().anchor(PAIR) is None


@pytest.mark.parametrize("name", LOSSES)
def test_swapping_twice_changes_nothing(name: str) -> None:
    loss = make_loss(name, {})
    assert torch.equal(loss(PAIR.swapped().swapped()), loss(PAIR))


@pytest.mark.parametrize("name", LOSSES)
def test_rewards_favour_the_response_that_gained_most(name: str) -> None:
    better = PairLogps(*(torch.tensor([x]) for x in (-10.0, -30.0, -20.0, -20.0, 10.0, 10.0)))
    first, second = make_loss(name, {}).rewards(better)
    assert first > second


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("dop", {}, "unknown loss 'dop'"),
        ("dpo", {"gamma": 1.0}, "no option 'gamma'"),
        ("dpo", {"beta": "high"}, "a number"),
        ("dpo", {"beta": float("nan")}, "a number"),
        ("cpo", {"link": "sideways"}, "literal, preference"),
    ],
)
def test_a_mistake_in_the_loss_is_named(name: str, options: dict[str, object], words: str) -> None:
    with pytest.raises(UserError, match=words):
        make_loss(name, options)
