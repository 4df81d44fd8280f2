"""The gate's rules, one by one."""

from copy import deepcopy
from typing import Any

import pytest

from repo.evaluation.gate import decide
from repo.settings import GateSettings

EVALUATION: dict[str, Any] = {
    "target": "gold",
    "policies": {
        "candidate": {
            "gold": {
                "judgements": 80,
                "accuracy": {"value": 0.8, "low": 0.7, "high": 0.9},
                "nll": {"value": 0.5, "low": 0.4, "high": 0.6},
                "calibration_error": 0.05,
            }
        }
    },
    "gains": {"base": {"value": 0.3, "low": 0.2, "high": 0.4}, "champion": {"value": 0.1, "low": 0.01, "high": 0.2}},
}


def evaluation(*path: str, value: float | None) -> dict[str, Any]:
    changed = deepcopy(EVALUATION)
    node = changed
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    return changed


def test_a_good_candidate_is_promoted_with_every_rule_as_reason() -> None:
    verdict = decide(EVALUATION, GateSettings())
    assert verdict.decision == "promote"
    assert [rule.name for rule in verdict.rules] == [
        "judgements",
        "finite",
        "accuracy",
        "gain_over_base",
        "gain_over_champion",
        "calibration",
    ]
    assert len(verdict.reasons) == 6


def test_without_a_champion_its_rule_is_absent() -> None:
    first = deepcopy(EVALUATION)
    del first["gains"]["champion"]
    assert "gain_over_champion" not in [rule.name for rule in decide(first, GateSettings()).rules]


@pytest.mark.parametrize(
    ("path", "value", "rule"),
    [
        (("policies", "candidate", "gold", "judgements"), 29, "judgements"),
        (("policies", "candidate", "gold", "accuracy", "low"), 0.49, "accuracy"),
        (("gains", "base", "low"), 0.0, "gain_over_base"),
        (("gains", "champion", "low"), -0.01, "gain_over_champion"),
        (("policies", "candidate", "gold", "calibration_error"), 0.9, "calibration"),
        (("policies", "candidate", "gold", "nll", "high"), None, "finite"),
        (("gains", "base", "value"), float("nan"), "finite"),
    ],
)
def test_each_rule_rejects_with_its_reason(path: tuple[str, ...], value: float | None, rule: str) -> None:
    verdict = decide(evaluation(*path, value=value), GateSettings(max_calibration_error=0.5))
    assert verdict.decision == "reject"
    failed = [r for r in verdict.rules if not r.passed]
    assert rule in [r.name for r in failed]
    assert verdict.reasons == [r.reason for r in failed]


def test_a_gain_that_chance_explains_does_not_promote_unless_the_figure_itself_was_asked_to_decide() -> None:
    by_chance = evaluation("gains", "champion", value={"value": 0.02, "low": -0.06, "high": 0.1})  # type: ignore[arg-type]
    assert decide(by_chance, GateSettings()).decision == "reject"
    assert decide(by_chance, GateSettings(decide_by="value")).decision == "promote"
    assert "a lower end of" not in " ".join(decide(by_chance, GateSettings(decide_by="value")).reasons)


def test_a_figure_without_interval_is_told_so_and_rejects() -> None:
    """A single prompt leaves none, nor do margins too large to be squared."""
    lone = deepcopy(EVALUATION)
    figures = [*lone["policies"]["candidate"]["gold"].values(), *lone["gains"].values()]
    for figure in figures:
        if isinstance(figure, dict):
            figure |= {"low": None, "high": None}
    reasons = {rule.name: rule.reason for rule in decide(lone, GateSettings()).rules if not rule.passed}
    assert set(reasons) == {"finite", "accuracy", "gain_over_base", "gain_over_champion"}
    assert "0.800 (no interval)" in reasons["accuracy"]
    [alone] = [rule for rule in decide(lone, GateSettings(decide_by="value")).rules if not rule.passed]
    assert alone.name == "finite"
