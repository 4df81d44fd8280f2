"""From a table of annotations to reliability.json."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from repo.errors import UserError
from repo.reliability.estimate import estimate, votes_of
from repo.reliability.estimator import AnnotatorReliability
from repo.reliability.state import ReliabilityState
from repo.settings import ReliabilitySettings


def settings(**values: object) -> ReliabilitySettings:
    return ReliabilitySettings.model_validate(values)


def oracle_margin(table: pd.DataFrame) -> np.ndarray:
    """Uncalibrated margins that mostly know the better response."""
    random = np.random.default_rng(0)
    number, _ = pd.factorize(table["comparison_id"])
    noise = random.normal(0, 1, number.max() + 1)[number]
    return np.where(table["gold"] == "a", 1.5, -1.5) + noise


def test_a_table_becomes_the_arrays_of_fit(annotations: pd.DataFrame) -> None:
    arrays = votes_of(annotations, use_gold=False)
    assert set(arrays) == {"annotator", "label", "comparison", "margin", "position"}
    assert ((arrays["label"] > 0) == (annotations["preference"] == "a")).all()
    assert ((arrays["position"] > 0) == (annotations["shown_first"] == "a")).all()
    half = annotations.assign(weight=0.5)
    assert (votes_of(half, use_gold=False)["weight"] == 0.5).all()


def test_positions_count_only_where_all_are_known(annotations: pd.DataFrame) -> None:
    one_unknown = annotations.assign(shown_first=["", *annotations["shown_first"][1:]])
    assert "position" not in votes_of(one_unknown, use_gold=False)


def test_gold_known_in_one_row_is_known_of_its_comparison(annotations: pd.DataFrame) -> None:
    first_rows = ~annotations["comparison_id"].duplicated()
    some = annotations.assign(gold=annotations["gold"].where(first_rows, ""))
    gold = votes_of(some, use_gold=True)["gold"]
    assert ((gold > 0) == (annotations["gold"] == "a")).all()
    assert "gold" not in votes_of(some, use_gold=False)


def test_gold_that_contradicts_itself_is_refused_with_both_places(annotations: pd.DataFrame) -> None:
    first = annotations["comparison_id"] == annotations["comparison_id"].iloc[0]
    rows = annotations.index[first][:2]
    wrong = annotations.copy()
    wrong.loc[rows, "gold"] = ["a", "b"]
    lines = wrong.loc[rows, "line"].tolist()
    with pytest.raises(UserError, match=rf"a by simulated, line {lines[0]} and b by simulated, line {lines[1]}"):
        estimate(wrong, settings(use_gold=True), None, "none")


def test_which_response_is_called_a_changes_nothing(annotations: pd.DataFrame) -> None:
    """The share of `a` is a digest's choice: turning every comparison round moves neither η nor a posterior."""
    table = annotations.assign(shown_first="")
    turn = {"a": "b", "b": "a", "": ""}
    turned = table.assign(preference=table["preference"].map(turn), gold=table["gold"].map(turn))
    one, other = (estimate(side, settings(), None, "none") for side in (table, turned))
    np.testing.assert_allclose(other.posterior, one.posterior, atol=1e-9)
    assert one.record["calibration"]["intercept"] == 0


def test_a_state_of_two_coins_is_folded_where_the_batch_knows_no_positions(annotations: pd.DataFrame) -> None:
    two = AnnotatorReliability(coins=2).fit(**votes_of(annotations, use_gold=False)).state_
    found = estimate(annotations.assign(shown_first=""), settings(), None, "none", two)
    assert found.record["coins"] == 1
    assert all(row["known_before"] for row in found.record["annotators"])


def test_the_record_is_plain_json_and_sorted(annotations: pd.DataFrame) -> None:
    found = estimate(annotations, settings(), oracle_margin(annotations), "given")
    assert json.loads(json.dumps(found.record)) == found.record
    values = [row["reliability"] for row in found.record["annotators"]]
    assert values == sorted(values, reverse=True)
    assert all(row["interval"][0] < row["reliability"] < row["interval"][1] for row in found.record["annotators"])
    assert sum(row["annotations"] for row in found.record["annotators"]) == len(annotations)
    assert found.record["margins"] == "given"
    assert found.posterior.shape == (len(annotations),)


def test_margins_and_labels_find_the_realised_agreement(annotations: pd.DataFrame) -> None:
    found = estimate(annotations, settings(), oracle_margin(annotations), "given")
    realised = (annotations["preference"] == annotations["gold"]).groupby(annotations["annotator_id"]).mean()
    errors = [abs(row["reliability"] - realised[row["annotator_id"]]) for row in found.record["annotators"]]
    assert np.mean(errors) < 0.1


def test_two_coins_need_positions_or_classes(annotations: pd.DataFrame) -> None:
    """Always a: right on comparisons whose better response is a only."""
    random = np.random.default_rng(1)
    biased = random.random(len(annotations)) < 0.5
    table = annotations.assign(
        shown_first="",
        preference=np.where((annotations["annotator_id"] == "hasty-1") | biased, "a", annotations["gold"]),
    )
    table = pd.concat([table.assign(comparison_id=table["comparison_id"] + f"-{copy}") for copy in range(10)])
    assert estimate(table, settings(), None, "none").record["coins"] == 1
    assert estimate(table, settings(), None, "none", classes=True).record["coins"] == 2
    asked = estimate(table, settings(coins=2), None, "none").record
    assert asked["coins"] == 2
    leaning = {row["annotator_id"]: row["first_preference_interval"] for row in asked["annotators"]}
    assert leaning["hasty-1"][0] > 0


def test_reliabilities_found_in_training_are_kept(annotations: pd.DataFrame) -> None:
    given = {name: 0.3 + 0.05 * k for k, name in enumerate(sorted(set(annotations["annotator_id"])))}
    found = estimate(
        annotations, settings(estimator="paper", calibrate=False), oracle_margin(annotations), "last_visit", given=given
    )
    assert {row["annotator_id"]: row["reliability"] for row in found.record["annotators"]} == given
    assert found.fitted is not None
    eta = annotations["annotator_id"].map(given).to_numpy()
    own = np.where(annotations["preference"] == "a", 1, -1) * oracle_margin(annotations)
    np.testing.assert_allclose(found.posterior, 1 / (1 + np.exp(-own) * (1 - eta) / eta))  # RE-PO Eq. 4


def test_plain_training_believes_every_label(annotations: pd.DataFrame) -> None:
    found = estimate(annotations, settings(estimator="none"), None, "last_visit")
    assert (found.posterior == 1).all()
    assert {row["reliability"] for row in found.record["annotators"]} == {1.0}
    assert {row["interval"] for row in found.record["annotators"]} == {None}
    same_keys = estimate(annotations, settings(), None, "none").record
    assert set(found.record) == set(same_keys)


def test_a_pinned_annotator_who_is_not_there_is_named(annotations: pd.DataFrame) -> None:
    found = estimate(annotations, settings(pinned={"nobody": 0.9, "careful-1": 0.95}), None, "none")
    assert any("'nobody'" in warning for warning in found.record["warnings"])
    pinned = {row["annotator_id"]: row["reliability"] for row in found.record["annotators"] if row["pinned"]}
    assert pinned == {"careful-1": 0.95}


def test_an_earlier_state_is_the_prior(annotations: pd.DataFrame, tmp_path: Path) -> None:
    many = [annotations.assign(comparison_id=annotations["comparison_id"] + f"-{copy}") for copy in range(10)]
    earlier = AnnotatorReliability().fit(**votes_of(pd.concat(many), use_gold=True, margin=None)).state_
    earlier.save(tmp_path / "state.json")
    few = annotations[annotations["comparison_id"].isin(annotations["comparison_id"].unique()[:5])]
    state = ReliabilityState.load(tmp_path / "state.json")
    alone, informed = (
        {row["annotator_id"]: row for row in estimate(few, settings(), None, "none", s).record["annotators"]}
        for s in (None, state)
    )
    width = {name: row["interval"][1] - row["interval"][0] for name, row in alone.items()}
    for name, row in informed.items():
        assert row["known_before"]
        assert row["interval"][1] - row["interval"][0] < width[name]


def test_wrong_arrays_are_named(annotations: pd.DataFrame) -> None:
    margin = oracle_margin(annotations)
    margin[3] = np.nan
    with pytest.raises(ValueError, match=r"margin\[3\]"):
        estimate(annotations, settings(), margin, "given")
