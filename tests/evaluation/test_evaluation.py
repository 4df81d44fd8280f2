"""Candidate and base on real forwards of tiny policies."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from repo.evaluation.evaluation import PolicySource, evaluate, margins_of
from repo.evaluation.exam import Exam
from repo.evaluation.gate import decide
from repo.evaluation.summary import one_line, to_markdown
from repo.policy.losses import DPO, SimPO
from repo.policy.training import TrainingResult, train
from repo.settings import Settings, build_settings


@pytest.fixture(scope="module")
def trained(
    annotations: pd.DataFrame, small_settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> TrainingResult:
    return train(annotations, small_settings, tmp_path_factory.mktemp("evaluated"))


@pytest.fixture(scope="module")
def sources(trained: TrainingResult) -> dict[str, PolicySource]:
    base = trained.record / "base"
    return {
        "candidate": PolicySource(trained.policy, base, DPO()),
        "base": PolicySource(base, base, DPO()),
    }


@pytest.fixture(scope="module")
def score(sources: dict[str, PolicySource], small_settings: Settings) -> Callable[[pd.DataFrame], dict[str, Any]]:
    return lambda held_out: evaluate(Exam.of(held_out, "prompt"), sources, small_settings)


def test_every_target_is_scored_and_the_result_is_strict_json(
    score: Callable[[pd.DataFrame], dict[str, Any]], annotations: pd.DataFrame
) -> None:
    result = score(annotations)
    json.dumps(result, allow_nan=False)
    assert result["target"] == "gold"
    assert set(result["policies"]["candidate"]) == {"labels", "consensus", "gold"}
    assert result["policies"]["candidate"]["gold"]["judgements"] == annotations["comparison_id"].nunique()
    assert result["policies"]["candidate"]["labels"]["judgements"] == len(annotations)


def test_a_base_that_is_its_own_reference_is_at_chance(
    score: Callable[[pd.DataFrame], dict[str, Any]], annotations: pd.DataFrame
) -> None:
    base = score(annotations)["policies"]["base"]["gold"]
    assert base["accuracy"]["value"] == 0.5
    assert base["nll"]["value"] == pytest.approx(np.log(2))


def test_accuracy_counts_positive_margins(
    score: Callable[[pd.DataFrame], dict[str, Any]],
    sources: dict[str, PolicySource],
    annotations: pd.DataFrame,
    small_settings: Settings,
) -> None:
    comparisons = annotations.drop_duplicates("comparison_id").reset_index(drop=True)
    margin = margins_of(comparisons, sources, small_settings)["candidate"].a_over_b
    expected = np.mean((margin > 0) == (comparisons["gold"] == "a"))
    assert score(annotations)["policies"]["candidate"]["gold"]["accuracy"]["value"] == pytest.approx(expected)


def test_without_gold_the_consensus_is_the_target_and_even_splits_say_nothing(
    score: Callable[[pd.DataFrame], dict[str, Any]], annotations: pd.DataFrame
) -> None:
    rows = annotations.assign(gold="").groupby("comparison_id").head(2)
    even = rows.groupby("comparison_id")["preference"].nunique().eq(2).sum()
    result = score(rows)
    assert result["target"] == "consensus"
    assert even > 0
    assert result["policies"]["candidate"]["consensus"]["judgements"] == rows["comparison_id"].nunique() - even


def test_a_target_that_is_not_there_is_scored_as_no_judgement_and_rejects(
    sources: dict[str, PolicySource], annotations: pd.DataFrame, small_settings: Settings
) -> None:
    settings = build_settings(small_settings.model_dump() | {"gate": {"target": "gold"}}, "test")
    result = evaluate(Exam.of(annotations.assign(gold=""), "prompt"), sources, settings)
    json.dumps(result, allow_nan=False)
    verdict = decide(result, settings.gate)
    assert verdict.decision == "reject"
    assert verdict.reasons[0] == "0 judgements by gold, at least 30 asked"


def test_comparisons_that_a_policy_cannot_read_are_left_out_and_counted(
    sources: dict[str, PolicySource], annotations: pd.DataFrame, small_settings: Settings
) -> None:
    long = "word " * 400
    cut = annotations["comparison_id"] == annotations["comparison_id"].iloc[0]
    table = annotations.assign(
        response_a=annotations["response_a"].where(~cut, long + "one"),
        response_b=annotations["response_b"].where(~cut, long + "two"),
    )
    result = evaluate(Exam.of(table, "prompt"), sources, small_settings)
    assert result["left_out"] == 1
    assert result["unusable"] == {"candidate": 1, "base": 1}
    assert result["comparisons"] == annotations["comparison_id"].nunique() - 1
    assert next(rule for rule in decide(result, small_settings.gate).rules if rule.name == "finite").passed
    assert "1 left out" in one_line(result)


def test_a_policy_without_reference_is_judged_by_its_own_likelihoods(
    trained: TrainingResult, annotations: pd.DataFrame, small_settings: Settings
) -> None:
    path: Path = trained.record / "base"
    source = {"candidate": PolicySource(path, path, SimPO(gamma=0.0))}
    margins = margins_of(annotations.drop_duplicates("comparison_id"), source, small_settings)["candidate"]
    np.testing.assert_allclose(margins.a_over_b, 2.0 * margins.likelihood, rtol=1e-4, atol=1e-5)


def test_intervals_take_what_was_held_out_for_one_draw(
    sources: dict[str, PolicySource], annotations: pd.DataFrame, small_settings: Settings
) -> None:
    """All comparisons of one prompt: with prompts as draws there would be no interval."""
    exam = Exam.of(annotations.assign(prompt="the same question"), "comparison")
    accuracy = evaluate(exam, sources, small_settings)["policies"]["candidate"]["gold"]["accuracy"]
    assert accuracy["high"] - accuracy["low"] > 0.05


def test_twelve_of_twelve_right_is_no_certainty_and_does_not_pass_by_default(
    sources: dict[str, PolicySource], annotations: pd.DataFrame, small_settings: Settings
) -> None:
    comparisons = annotations.drop_duplicates("comparison_id").reset_index(drop=True)
    margin = margins_of(comparisons, sources, small_settings)["candidate"].a_over_b
    right = comparisons[(margin > 0) == (comparisons["gold"] == "a")].drop_duplicates("prompt").head(12)
    exam = Exam.of(annotations[annotations["comparison_id"].isin(right["comparison_id"])], "prompt")
    many = build_settings(small_settings.model_dump() | {"gate": {"target": "gold", "min_judgements": 12}}, "test")
    result = evaluate(exam, sources, many)
    accuracy = result["policies"]["candidate"]["gold"]["accuracy"]
    assert (accuracy["value"], accuracy["high"]) == (1.0, pytest.approx(1))
    assert accuracy["low"] == pytest.approx(0.788, abs=5e-4)
    assert decide(result, many.gate).reasons == ["they are on 12 held-out prompts, at least 20 asked"]
    assert decide(result, small_settings.gate).decision == "reject"


def test_gold_rests_on_no_annotator_and_votes_do(
    score: Callable[[pd.DataFrame], dict[str, Any]], annotations: pd.DataFrame
) -> None:
    assert "leave_one_out" not in score(annotations)
    result = score(annotations.assign(gold=""))
    json.dumps(result, allow_nan=False)
    found = result["leave_one_out"]
    assert (found["over"], found["annotators"], len(found["dearest"])) == ("base", 10, 5)
    name = found["dearest"][0]["annotator_id"]
    rest = score(annotations[annotations["annotator_id"] != name].assign(gold=""))
    assert found["dearest"][0]["gain"] == pytest.approx(rest["gains"]["base"]["value"])
    assert f"| {name} |" in to_markdown(result, "")


def test_a_champion_is_whom_the_gain_without_somebody_is_over(
    sources: dict[str, PolicySource], annotations: pd.DataFrame, small_settings: Settings
) -> None:
    again = sources | {"champion": sources["candidate"]}
    found = evaluate(Exam.of(annotations.assign(gold=""), "prompt"), again, small_settings)["leave_one_out"]
    assert found["over"] == "champion"
    assert {row["gain"] for row in found["dearest"]} == {0.0}


def test_gold_on_too_few_prompts_is_not_what_the_gate_looks_at(
    score: Callable[[pd.DataFrame], dict[str, Any]], annotations: pd.DataFrame
) -> None:
    """Thirty comparisons with gold, but of fifteen prompts."""
    few = annotations["prompt"].isin(annotations["prompt"].unique()[:15])
    assert annotations[few]["comparison_id"].nunique() == 30
    assert score(annotations.assign(gold=annotations["gold"].where(few, "")))["target"] == "consensus"
