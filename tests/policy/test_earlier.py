"""A training that goes on from an earlier one: every vote counts once; weights and reference are the right ones."""

from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import Tensor

from repo.files import read_json
from repo.policy.earlier import Earlier
from repo.policy.loading import load_policy
from repo.policy.training import TrainingResult, train
from repo.reliability.eras import former, set_apart
from repo.reliability.state import AnnotatorRecord, ReliabilityState
from repo.settings import Settings


@pytest.fixture(scope="module")
def halves(annotations: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Two nights; every third comparison of the first has votes in both."""
    names = annotations["comparison_id"].unique()
    second = annotations["comparison_id"].isin(names[len(names) // 2 :])
    shared = annotations["comparison_id"].isin(names[: len(names) // 2 : 3])
    late = second | (shared & annotations.duplicated("comparison_id"))
    return annotations[~late].reset_index(drop=True), annotations[late].reset_index(drop=True)


@pytest.fixture(scope="module")
def first(
    halves: tuple[pd.DataFrame, pd.DataFrame], small_settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> TrainingResult:
    return train(halves[0], small_settings, tmp_path_factory.mktemp("first"))


def after(first: TrainingResult, votes: pd.DataFrame | None = None, state: ReliabilityState | None = None) -> Earlier:
    assert first.state is not None
    if votes is None:
        votes = pd.read_parquet(first.record / "posteriors.parquet").assign(version="1")
    state = state or ReliabilityState.load(first.state)
    return Earlier("1", first.policy, first.record / "base", "main", state, votes)


@pytest.fixture(scope="module")
def second(
    first: TrainingResult,
    halves: tuple[pd.DataFrame, pd.DataFrame],
    small_settings: Settings,
    tmp_path_factory: pytest.TempPathFactory,
) -> TrainingResult:
    return train(halves[1], small_settings, tmp_path_factory.mktemp("second"), earlier=after(first))


def labels_in(result: TrainingResult) -> dict[object, float]:
    assert result.state is not None
    return {name: record.labels for name, record in ReliabilityState.load(result.state).annotators.items()}


def test_every_vote_counts_once(
    first: TrainingResult, second: TrainingResult, halves: tuple[pd.DataFrame, pd.DataFrame]
) -> None:
    counts = [half["annotator_id"].value_counts().to_dict() for half in halves]
    assert labels_in(first) == counts[0]
    assert labels_in(second) == {name: counts[0].get(name, 0) + counts[1].get(name, 0) for name in labels_in(second)}
    assert sum(labels_in(second).values()) == len(halves[0]) + len(halves[1])


def test_only_new_votes_are_in_the_record(second: TrainingResult, halves: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    new = halves[1]
    found = pd.read_parquet(second.record / "posteriors.parquet")
    assert sorted(zip(found["file"], found["line"], strict=True)) == sorted(zip(new["file"], new["line"], strict=True))
    assert {row["annotator_id"] for row in second.reliability["annotators"]} == set(new["annotator_id"])
    assert second.reliability["anchors"]["pinned"] == {}
    assert second.summary["annotations"] == len(new)
    assert second.summary["retained_annotations"] == len(halves[0])
    assert set(second.summary["tokenization"]) == set(new["annotator_id"])


def test_the_second_starts_from_the_first_s_weights_and_keeps_its_base(
    first: TrainingResult, halves: tuple[pd.DataFrame, pd.DataFrame], small_settings: Settings, tmp_path: Path
) -> None:
    still = small_settings.model_copy(
        update={"train": small_settings.train.model_copy(update={"learning_rate": 1e-12})}
    )
    result = train(halves[1], still, tmp_path, earlier=after(first))
    weights = [load_policy(path).model.state_dict() for path in (result.policy, first.policy)]
    assert all(torch.allclose(weights[0][name], weights[1][name], atol=1e-6) for name in weights[1])
    bases: list[dict[str, Tensor]] = [load_policy(one.record / "base").model.state_dict() for one in (result, first)]
    assert all(torch.equal(bases[0][name], bases[1][name]) for name in bases[1])
    # Rewards are measured from the base: the champion's own margins stand there from the first visit on.
    margins = pd.read_parquet(result.record / "posteriors.parquet")
    assert margins["first_margin"].abs().max() > 1e-3


def test_a_cold_start_begins_at_the_base(
    first: TrainingResult, halves: tuple[pd.DataFrame, pd.DataFrame], small_settings: Settings, tmp_path: Path
) -> None:
    still = small_settings.model_copy(
        update={"train": small_settings.train.model_copy(update={"learning_rate": 1e-12})}
    )
    warm = after(first)
    cold = Earlier(warm.version, None, warm.base, warm.revision, warm.state, warm.votes)
    result = train(halves[1], still, tmp_path, earlier=cold)
    assert pd.read_parquet(result.record / "posteriors.parquet")["first_margin"].abs().max() < 1e-5
    weights = [load_policy(path).model.state_dict() for path in (result.policy, first.record / "base")]
    assert all(torch.allclose(weights[0][name], weights[1][name], atol=1e-6) for name in weights[1])


def test_votes_of_a_comparison_in_two_nights_speak_for_each_other(
    first: TrainingResult, halves: tuple[pd.DataFrame, pd.DataFrame], small_settings: Settings, tmp_path: Path
) -> None:
    """The same new votes, with and without somebody's sure earlier votes on the same comparisons."""
    votes = halves[1].assign(annotator_id="new", preference="a").drop_duplicates("comparison_id")
    sure = ReliabilityState("full", 1, 1.0, 0.0, {"sure": AnnotatorRecord((99.0,), (1.0,), 100.0)}, 0.7, 0.2)
    told: dict[str, float] = {}
    for side in ("a", "b"):
        known = votes.assign(annotator_id="sure", preference=side, version="1")
        result = train(votes, small_settings, tmp_path / side, earlier=after(first, known, sure))
        told[side] = result.reliability["annotators"][0]["reliability"]
    assert told["a"] > 0.8
    assert told["b"] < 0.2


def test_who_has_changed_is_named_and_begins_anew(
    first: TrainingResult, halves: tuple[pd.DataFrame, pd.DataFrame], small_settings: Settings, tmp_path: Path
) -> None:
    """Gold would say so plainly; here it is the others, of whom very much is known."""
    people = halves[1]["annotator_id"].unique()
    turned = people[0]
    flipped = halves[1]["annotator_id"] == turned
    votes = halves[1].assign(preference=halves[1]["gold"].where(~flipped, halves[1]["gold"].map({"a": "b", "b": "a"})))
    known = {str(name): AnnotatorRecord((500.0,), (2.0,), 502.0) for name in people}
    state = ReliabilityState("full", 1, 1.0, 0.0, known, 0.9, 0.1)
    settings = small_settings.model_copy(
        update={"retrain": small_settings.retrain.model_copy(update={"drift_odds": 3.0})}
    )
    result = train(votes, settings, tmp_path, earlier=after(first, state=state))
    drift = read_json(result.record / "drift.json")
    assert [row["annotator"] for row in drift["annotators"] if row["changed"]] == [turned]
    assert drift["annotators"][0]["beyond"] > 0
    assert result.state is not None
    after_it = ReliabilityState.load(result.state).annotators
    assert after_it[former(turned, "1")] == known[turned]
    assert after_it[turned].labels == flipped.sum()
    eta = {row["annotator_id"]: row["reliability"] for row in result.reliability["annotators"]}
    assert eta[turned] < 0.5


def test_votes_from_before_a_change_are_weighed_as_they_were_then(
    first: TrainingResult, small_settings: Settings
) -> None:
    state = ReliabilityState("full", 1, 1.0, 0.0, {"ann": AnnotatorRecord((95.0,), (5.0,), 100.0)}, 0.8, 0.1)
    state = set_apart(state, ["ann"], "4")
    state = ReliabilityState(
        "full", 1, 1.0, 0.0, {**state.annotators, "ann": AnnotatorRecord((10.0,), (90.0,), 100.0)}, 0.8, 0.1
    )
    votes = pd.DataFrame({"annotator_id": ["ann", "ann"], "version": ["2", "5"]})
    earlier = after(first, votes, state)
    known = earlier.known(small_settings)
    eta = [known[name] for name in earlier.stand_ins["annotator_id"]]
    assert eta[0] > 0.9
    assert eta[1] < 0.2
