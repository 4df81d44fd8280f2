"""Batches hold whole comparisons with all their annotations, in an order only the seed decides."""

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
from hypothesis import given

from repo.errors import UserError
from repo.policy.batches import PreferenceData, collate, epoch_batches, tokenize_annotations
from repo.policy.loading import Policy


@pytest.fixture(scope="module")
def data(annotations: pd.DataFrame, tiny_policy: Policy) -> PreferenceData:
    shuffled = annotations.sample(frac=1.0, random_state=0)
    return tokenize_annotations(shuffled, tiny_policy.tokenizer, 128, 48)


@given(st.integers(1, 50), st.integers(1, 20), st.integers(0, 3), st.integers(0, 3))
def test_an_epoch_visits_every_comparison_once(comparisons: int, size: int, seed: int, epoch: int) -> None:
    batches = list(epoch_batches(comparisons, size, seed, epoch))
    assert sorted(np.concatenate(batches)) == list(range(comparisons))
    again = list(epoch_batches(comparisons, size, seed, epoch))
    assert all(np.array_equal(a, b) for a, b in zip(batches, again, strict=True))


def test_epochs_differ() -> None:
    first, second = (np.concatenate(list(epoch_batches(40, 8, 0, epoch))) for epoch in (0, 1))
    assert not np.array_equal(first, second)


def test_a_batch_holds_every_annotation_of_its_comparisons(data: PreferenceData) -> None:
    chosen = np.array([7, 0, 31])
    rows, position = data.annotations_of(chosen)
    assert np.array_equal(data.comparison[rows], chosen[position])
    for comparison in chosen:
        assert (data.comparison[rows] == comparison).sum() == (data.comparison == comparison).sum()


def test_arrays_and_table_tell_the_same_story(data: PreferenceData, annotations: pd.DataFrame) -> None:
    key = ["comparison_id", "annotator_id"]
    expected = annotations.set_index(key)["preference"].sort_index()
    got = data.table.assign(
        annotator_id=[data.annotators[i] for i in data.annotator], preference=np.where(data.prefers_a, "a", "b")
    )
    pd.testing.assert_series_equal(got.set_index(key)["preference"].sort_index(), expected)


def test_dropped_and_truncated_rows_are_counted_per_annotator(annotations: pd.DataFrame, tiny_policy: Policy) -> None:
    rows = annotations.copy()
    first = rows["comparison_id"] == rows["comparison_id"].iloc[0]
    rows.loc[first, "response_a"] = "word " * 300 + "a"
    rows.loc[first, "response_b"] = "word " * 300 + "b"
    data = tokenize_annotations(rows, tiny_policy.tokenizer, 128, 48)
    assert {name for name, c in data.counts.items() if c.dropped} == set(rows.loc[first, "annotator_id"])
    assert sum(c.annotations for c in data.counts.values()) == len(rows)
    assert len(data.table) == len(rows) - int(first.sum())
    assert data.comparison.max() + 1 == len(data.encoded)


def test_nothing_left_is_an_error(annotations: pd.DataFrame, tiny_policy: Policy) -> None:
    same = annotations.assign(response_a="word " * 90 + "a", response_b="word " * 90 + "b")
    with pytest.raises(UserError, match="max_length"):
        tokenize_annotations(same, tiny_policy.tokenizer, 32, 16)


def test_conversations_are_padded_on_the_left_by_a_twentieth_at_most(data: PreferenceData) -> None:
    batches, conversations = collate(data.encoded, pad=2)
    assert sorted(conversations) == list(range(2 * len(data.encoded)))
    left = iter(conversations.tolist())
    for batch in batches:
        texts = []
        for _ in range(len(batch.input_ids)):
            second, comparison = divmod(next(left), len(data.encoded))
            e = data.encoded[comparison]
            texts.append((e.prompt, e.response_b if second else e.response_a))
        assert batch.span == max(len(response) for _, response in texts) + 1
        assert batch.response_length.tolist() == [len(response) for _, response in texts]
        assert batch.attention_mask.float().mean() >= 0.95
        for row, (prompt, response) in enumerate(texts):
            size = len(prompt) + len(response)
            assert batch.attention_mask[row].tolist() == [0] * (batch.input_ids.shape[1] - size) + [1] * size
            assert batch.input_ids[row, -size:].tolist() == [*prompt, *response]
            assert batch.position_ids[row, -size:].tolist() == list(range(size))
