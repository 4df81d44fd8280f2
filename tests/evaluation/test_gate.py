"""The gate's rules, one by one."""

from copy import deepcopy
from typing import Any

import pytest

from repo.evaluation.gate import Rule, Verdict, decide
from repo.settings import GateSettings

EVALUATION: dict[str, Any] = {
    "target": "gold",
    "split_by": "prompt",
    "policies": {
        "candidate": {
            "gold": {
                "judgements": 80,
                "held_out": 40,
                "accuracy": {"value": 0.8, "low": 0.7, "high": 0.9},
                "nll": {"value": 0.5, "low": 0.4, "high": 0.6},
                "calibration_error": 0.05,
            }
        }
    },
    "gains": {"base": {"value": 0.3, "low": 0.2, "high": 0.4}, "champion": {"value": 0.1, "low": 0.01, "high": 0.2}},
}


TWO: dict[str, Any] = {
    "over": "champion",
    "annotators": 2,
    "dearest": [
        {"annotator_id": "ann", "votes": 60, "held_out": 30, "gain": 0.0},
        {"annotator_id": "bob", "votes": 20, "held_out": 20, "gain": 0.2},
    ],
    "fewest": [{"annotator_id": "bob", "votes": 20, "held_out": 20, "gain": 0.2}],
}
"""What is left without each of two annotators: just enough by the defaults."""


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
        "held_out",
        "finite",
        "accuracy",
        "gain_over_base",
        "gain_over_champion",
        "calibration",
    ]
    assert len(verdict.reasons) == 7


def test_without_a_champion_its_rule_is_absent() -> None:
    first = deepcopy(EVALUATION)
    del first["gains"]["champion"]
    assert "gain_over_champion" not in [rule.name for rule in decide(first, GateSettings()).rules]


@pytest.mark.parametrize(
    ("path", "value", "rule"),
    [
        (("policies", "candidate", "gold", "judgements"), 29, "judgements"),
        (("policies", "candidate", "gold", "held_out"), 19, "held_out"),
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


def without_one(**changes: Any) -> Rule:
    rules = decide(EVALUATION | {"leave_one_out": TWO | changes}, GateSettings()).rules
    return next(rule for rule in rules if rule.name == "leave_one_out")


def dearest(gain: float | None) -> list[dict[str, Any]]:
    return [TWO["dearest"][0] | {"gain": gain}]


def test_a_gain_that_stands_without_each_annotator_passes_at_its_bound() -> None:
    rule = without_one()
    assert rule.passed
    assert "without annotator ann the gain over the champion would be 0.000, at least 0 asked" in rule.reason


@pytest.mark.parametrize("gain", [-0.001, None, float("nan")])
def test_a_gain_that_rests_on_one_annotator_rejects_and_names_them(gain: float | None) -> None:
    rule = without_one(dearest=dearest(gain))
    assert not rule.passed
    assert "without annotator ann" in rule.reason


def test_without_a_champion_the_gain_over_the_base_must_stand_alone() -> None:
    assert not without_one(over="base").passed
    assert without_one(over="base", dearest=dearest(0.01)).passed


def test_too_few_prompts_left_are_no_evidence_however_large_the_gain_on_them() -> None:
    rule = without_one(fewest=[{"annotator_id": "bob", "votes": 50, "held_out": 19, "gain": 1.0}])
    assert (rule.passed, rule.reason) == (
        False,
        "without annotator bob 19 held-out prompts would be left, at least 20 asked",
    )


def test_nobody_is_blamed_for_prompts_that_are_too_few_with_everybody() -> None:
    few = evaluation("policies", "candidate", "gold", "held_out", value=19)
    gone = TWO | {"fewest": [{"annotator_id": "bob", "votes": 50, "held_out": 19, "gain": 1.0}]}
    assert decide(few | {"leave_one_out": gone}, GateSettings()).reasons == [
        "they are on 19 held-out prompts, at least 20 asked"
    ]


def test_the_only_annotator_cannot_be_left_out_and_may_pass() -> None:
    alone = without_one(annotators=1, dearest=[], fewest=[])
    assert alone.passed
    assert "no second annotator" in alone.reason


def test_an_exam_that_cannot_tell_who_counts_how_much_says_so_with_its_remedy() -> None:
    rule = without_one(dearest=[], fewest=[])
    assert rule.passed
    assert "cannot be told" in rule.reason
    assert "evaluation.exam=renew" in rule.reason


def test_one_expert_among_helpers_can_be_allowed() -> None:
    changed = EVALUATION | {"leave_one_out": TWO | {"dearest": dearest(-0.5)}}
    assert decide(changed, GateSettings()).decision == "reject"
    assert decide(changed, GateSettings(leave_one_out=False)).decision == "promote"


def test_an_id_cannot_break_a_table_or_a_terminal() -> None:
    nasty = [{**dearest(-0.5)[0], "annotator_id": "a|b\n\x1b[31m"}]
    verdict = decide(EVALUATION | {"leave_one_out": TWO | {"dearest": nasty}}, GateSettings())
    [reason] = verdict.reasons
    assert reason.isprintable()
    assert "a\\|b" in verdict.to_markdown()


def large(before: tuple[float, float, float], now: tuple[float, float, float]) -> Verdict:
    figures = {
        who: dict(zip(("value", "low", "high"), f, strict=True))
        for who, f in (("champion", before), ("candidate", now))
    }
    return decide(EVALUATION | {"large_annotators": [{"annotator_id": "ann", "share": 0.4, **figures}]}, GateSettings())


@pytest.mark.parametrize(
    ("before", "now", "decision"),
    [
        ((0.85, 0.8, 0.9), (0.7, 0.65, 0.75), "promote"),
        ((0.86, 0.8, 0.9), (0.7, 0.65, 0.75), "reject"),
        ((0.9, 0.7, 0.99), (0.6, 0.4, 0.7), "promote"),
        ((0.9, 0.7, 0.99), (0.6, 0.4, 0.69), "reject"),
        ((0.5, 0.45, 0.55), (0.2, 0.1, 0.3), "promote"),
        ((0.7, 0.65, 0.75), (0.9, 0.85, 0.95), "promote"),
        ((0.9, 0.8, 0.95), (float("nan"), 0.4, 0.6), "reject"),
    ],
    ids=["at the bound", "beyond it", "intervals touch", "intervals apart", "a coin before", "a rise", "not finite"],
)
def test_a_large_annotator_who_collapsed_rejects(
    before: tuple[float, float, float], now: tuple[float, float, float], decision: str
) -> None:
    assert large(before, now).decision == decision


def test_a_collapse_is_told_with_both_intervals_and_the_share() -> None:
    [reason] = large((0.9, 0.85, 0.95), (0.5, 0.45, 0.55)).reasons
    for words in ("ann", "40%", "0.900 (0.850 to 0.950)", "0.500 (0.450 to 0.550)", "0.15"):
        assert words in reason
