"""Losses against their published formulas, worked out without our code's helpers."""

import math
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from repo.errors import UserError
from repo.policy.losses import CPO, DPO, IPO, LOSSES, PairLogps, PreferenceLoss, SimPO, loss_record, make_loss

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
        ("dpo", {"beta": -0.1}, "a number ≥ 0"),
        ("dpo", {"beta": "-1e-1"}, "a number ≥ 0"),
        ("dpo", {"beta": True}, "a number"),
        ("cpo", {"link": "sideways"}, "literal, preference"),
    ],
)
def test_a_mistake_in_the_loss_is_named(name: str, options: dict[str, object], words: str) -> None:
    with pytest.raises(UserError, match=words):
        make_loss(name, options)


OWN = """
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Optional

from repo import PairLogps, PreferenceLoss


class NoDataclass(PreferenceLoss):
    def __call__(self, pair: PairLogps):
        return pair.first


@dataclass(frozen=True)
class Options(NoDataclass):
    shift: float = 0.0
    scale: float = field(default=1.0, metadata={"minimum": 0})
    power: int = 1
    flip: bool = False
    name: str = ""
    shape: Literal["round", "square"] = "round"
    margin: Optional[float] = None
    cap: int | None = None
    rate: Literal["auto"] | float = "auto"


@dataclass(frozen=True)
class Needy(NoDataclass):
    beta: float
    sizes: list[float] = field(default_factory=list)

    def __post_init__(self):
        if self.beta > 1:
            raise ValueError("beta is at most 1")


@dataclass(frozen=True)
class Unknown(NoDataclass):
    beta: Gone = 0


@dataclass(frozen=True)
class Unfinished(PreferenceLoss):
    beta: float = 1.0


NoLoss = dict
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_losses.py").write_text(OWN)
    (tmp_path / "broken_losses.py").write_text("def (\n")
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(
    ("option", "given", "read"),
    [
        ("shift", -0.5, -0.5),
        ("shift", "-1e-1", -0.1),
        ("scale", 2, 2.0),
        ("power", 3, 3),
        ("power", "1e3", 1000),
        ("flip", True, True),
        ("name", "5", "5"),
        ("shape", "square", "square"),
        ("margin", None, None),
        ("margin", "1e-1", 0.1),
        ("cap", 3, 3),
        ("rate", "auto", "auto"),
        ("rate", "1e-1", 0.1),
    ],
)
def test_options_of_a_loss_of_your_own_are_read_by_their_types(option: str, given: object, read: object) -> None:
    loss = make_loss("own_losses:Options", {option: given})
    assert (getattr(loss, option), type(getattr(loss, option))) == (read, type(read))
    record = loss_record(loss)
    assert (record["loss"], record["loss_importable"]) == ("own_losses:Options", True)
    assert make_loss(record["loss"], record["loss_options"]) == loss


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("own_losses:Options", {"scale": -1}, "a number ≥ 0"),
        ("own_losses:Options", {"power": 1.5}, "a whole number"),
        ("own_losses:Options", {"power": True}, "a whole number"),
        ("own_losses:Options", {"flip": 1}, "true or false"),
        ("own_losses:Options", {"name": 5}, "text"),
        ("own_losses:Options", {"shape": "flat"}, "one of round, square"),
        ("own_losses:Options", {"margin": "wide"}, "a number or null"),
        ("own_losses:Options", {"shift": "inf"}, "a number"),
        ("own_losses:Options", {"beta": 1}, "no option 'beta'"),
        ("own_losses:Needy", {}, "needs 'beta'"),
        ("own_losses:Needy", {"beta": 2}, "beta is at most 1"),
        ("own_losses:Needy", {"beta": 1, "sizes": 1}, "cannot hold an option"),
        ("own_losses:Unknown", {}, "Gone"),
        ("own_losses:Unfinished", {}, "__call__"),
        ("own_losses:NoDataclass", {}, "dataclass"),
        ("own_losses:NoLoss", {}, "no PreferenceLoss"),
        ("own_losses:Nowhere", {}, "no class 'Nowhere'"),
        ("own_losses:", {}, "no class ''"),
        ("no_such_losses:Hinge", {}, "No module named 'no_such_losses'"),
        ("broken_losses:Hinge", {}, "SyntaxError"),
    ],
)
def test_a_mistake_in_a_loss_of_your_own_is_one_line_with_a_remedy(
    name: str, options: dict[str, object], words: str
) -> None:
    with pytest.raises(UserError, match=words) as caught:
        make_loss(name, options)
    assert "\n" not in caught.value.problem
    assert caught.value.remedy


@pytest.mark.parametrize("name", LOSSES)
def test_our_losses_are_recorded_by_their_short_names(name: str) -> None:
    record = loss_record(make_loss(name, {"beta": 0.3}))
    assert (record["loss"], record["loss_options"]["beta"], record["loss_importable"]) == (name, 0.3, True)


def test_a_loss_that_no_other_process_finds_is_recorded_as_such() -> None:
    @dataclass(frozen=True)
    class Local(DPO):
        scale: object = torch.tensor(1.0)

    record = loss_record(Local())
    assert record["loss"].endswith("<locals>.Local")
    assert record["loss_options"] == {"beta": 0.1, "scale": "tensor(1.)"}
    assert record["loss_importable"] is False
    with pytest.raises(UserError, match="no class") as caught:
        make_loss(record["loss"], record["loss_options"])
    assert "inside a function" in caught.value.remedy


def test_a_loss_from_a_script_of_the_past_is_told_with_what_to_do() -> None:
    with pytest.raises(UserError, match="no class 'Hinge' in the module '__main__'") as caught:
        make_loss("__main__:Hinge", {})
    assert "train again" in caught.value.remedy


def test_what_a_module_needs_and_does_not_find_is_not_taken_for_the_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "needy_losses.py").write_text("import no_such_package\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match="No module named 'no_such_package'") as caught:
        make_loss("needy_losses:Hinge", {})
    assert "python -c 'import needy_losses'" in caught.value.remedy


def test_a_class_that_is_no_dataclass_is_recorded_with_what_it_holds() -> None:
    class Plain(PreferenceLoss):
        def __init__(self) -> None:
            self.beta = 0.5

        def __call__(self, pair: PairLogps) -> torch.Tensor:
            return pair.first

    assert loss_record(Plain())["loss_options"] == {"beta": 0.5}
