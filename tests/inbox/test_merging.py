"""Each vote once, one id a comparison, and what is trained on again."""

from collections.abc import Callable

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from repo.annotations.schema import VIRTUAL_ANNOTATOR, pair_digest
from repo.inbox.merging import merge
from repo.settings import RetrainSettings

ALL = RetrainSettings()


@pytest.fixture
def votes(annotations: pd.DataFrame) -> Callable[[slice], pd.DataFrame]:
    return lambda rows: annotations[rows].reset_index(drop=True)


def keys(table: pd.DataFrame) -> list[tuple[str, str]]:
    digests = [pair_digest(*row) for row in zip(table["prompt"], table["response_a"], table["response_b"], strict=True)]
    return list(zip(table["annotator_id"], digests, strict=True))


@given(
    nights=st.lists(
        st.lists(st.lists(st.integers(0, 143), min_size=1, max_size=20, unique=True), min_size=1, max_size=3),
        min_size=1,
        max_size=4,
    )
)
def test_whatever_is_delivered_in_whatever_batches_each_vote_is_new_once(
    annotations: pd.DataFrame, nights: list[list[list[int]]]
) -> None:
    earlier: dict[str, pd.DataFrame] = {}
    for version, batches in enumerate(nights, start=1):
        tables = {
            f"{number}.jsonl": annotations.iloc[rows].reset_index(drop=True) for number, rows in enumerate(batches)
        }
        merged = merge(tables, earlier, ALL)
        counted = [key for table in earlier.values() for key in keys(table)]
        assert sorted(keys(merged.retained)) == sorted(counted)
        assert not set(keys(merged.new)) & set(counted)
        assert list(merged.new.columns) == [*annotations.columns, "batch"]
        assert list(merged.retained.columns) == [*annotations.columns, "version"]
        earlier[str(version)] = merged.new.drop(columns="batch")
    everything = [key for table in earlier.values() for key in keys(table)]
    assert len(everything) == len(set(everything))
    assert set(everything) == set(keys(annotations.iloc[[row for night in nights for rows in night for row in rows]]))


def test_a_vote_that_says_something_else_later_stands_as_it_was_and_is_said(
    votes: Callable[[slice], pd.DataFrame],
) -> None:
    first = votes(slice(0, 6))
    turned = first.assign(preference=first["preference"].map({"a": "b", "b": "a"}))
    merged = merge({"again.jsonl": pd.concat([turned, votes(slice(6, 9))], ignore_index=True)}, {"1": first}, ALL)
    assert len(merged.new) == 3
    assert merged.retained["preference"].tolist() == first["preference"].tolist()
    (note,) = merged.notes
    assert note.startswith("again.jsonl: 6 of its annotations left out")
    assert "6 of them say something else now" in note


def test_the_halves_of_a_tie_in_one_batch_are_no_repetition(votes: Callable[[slice], pd.DataFrame]) -> None:
    tie = votes(slice(0, 1)).assign(weight=0.5)
    halves = pd.concat([tie.assign(preference="a"), tie.assign(preference="b")], ignore_index=True)
    assert len(merge({"x.jsonl": halves}, {}, ALL).new) == 2
    assert len(merge({"y.jsonl": halves}, {"1": halves}, ALL).new) == 0


def test_votes_of_nobody_in_particular_cannot_be_told_apart(votes: Callable[[slice], pd.DataFrame]) -> None:
    unnamed = votes(slice(0, 6)).assign(annotator_id=VIRTUAL_ANNOTATOR)
    assert len(merge({"x.jsonl": unnamed}, {"1": unnamed}, ALL).new) == 6


def test_files_that_number_their_comparisons_from_one_are_told_apart(votes: Callable[[slice], pd.DataFrame]) -> None:
    first, second = votes(slice(0, 6)), votes(slice(6, 12))
    assert set(first["comparison_id"]) != set(second["comparison_id"])
    renamed = {name: number for number, name in enumerate(first["comparison_id"].unique())}
    numbered = {name: number for number, name in enumerate(second["comparison_id"].unique())}
    first = first.assign(comparison_id=first["comparison_id"].map(renamed).astype("str"))
    second = second.assign(comparison_id=second["comparison_id"].map(numbered).astype("str"))
    merged = merge({"b.jsonl": second}, {"1": first}, ALL)
    together = pd.concat([merged.retained, merged.new])
    pairs = [key[1] for key in keys(together)]
    assert (
        len(set(zip(together["comparison_id"], pairs, strict=True)))
        == len(set(pairs))
        == together["comparison_id"].nunique()
    )


def test_one_pair_under_two_ids_is_one_comparison(votes: Callable[[slice], pd.DataFrame]) -> None:
    rows = votes(slice(0, 3))
    assert rows["comparison_id"].nunique() == 1
    merged = merge({"b.jsonl": rows[1:].assign(comparison_id="other")}, {"1": rows[:1]}, ALL)
    assert set(merged.new["comparison_id"]) == set(merged.retained["comparison_id"]) == set(rows["comparison_id"])


def test_a_window_holds_the_newest_versions(votes: Callable[[slice], pd.DataFrame]) -> None:
    earlier = {str(version): votes(slice(12 * version, 12 * version + 12)) for version in range(1, 6)}
    new = {"b.jsonl": votes(slice(0, 12))}
    for window, kept in ((0, set()), (2, {"4", "5"}), (9, set(earlier))):
        merged = merge(new, earlier, RetrainSettings(retain="window", window=window))
        assert set(merged.retained["version"]) == kept
    # What is not retained still counts only once.
    assert len(merge({"b.jsonl": votes(slice(12, 24))}, earlier, RetrainSettings(retain="window", window=0)).new) == 0


def test_a_replay_draws_whole_comparisons_others_every_time(votes: Callable[[slice], pd.DataFrame]) -> None:
    earlier = {"1": votes(slice(0, 60)), "2": votes(slice(60, 120))}
    new = {"b.jsonl": votes(slice(120, 144))}
    settings = RetrainSettings(retain="replay", replay=30)
    drawn = merge(new, earlier, settings).retained
    assert 27 <= len(drawn) <= 30
    assert (drawn.groupby("comparison_id").size() == 3).all()
    assert drawn.equals(merge(new, earlier, settings).retained)
    later = merge(new, {"1": earlier["1"], "3": earlier["2"]}, settings).retained
    assert set(later["comparison_id"]) != set(drawn["comparison_id"])
    assert len(merge(new, earlier, RetrainSettings(retain="replay", replay=10_000)).retained) == 120
