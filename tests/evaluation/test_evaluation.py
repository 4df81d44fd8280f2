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
from repo.evaluation.summary import one_line
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
