"""Input that cannot be right is refused by the array's name and the first bad index; the rest is sorted losslessly."""

from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from repo.reliability.em.checks import unique_integers
from repo.reliability.em.votes import group_votes, stable_order


def good() -> dict[str, Any]:
    return {
        "annotator": ["a", "b", "a", "b"],
        "label": [1, -1, 1, 1],
        "comparison": [7, 7, 9, 9],
        "margin": [0.5, 0.5, -1.0, -1.0],
    }


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"label": [], "annotator": []}, "label: empty"),
        ({"annotator": ["a"]}, r"annotator: shape \(1,\), but label has 4 entries"),
        ({"comparison": [1, 2, 3]}, r"comparison: shape \(3,\)"),
        ({"margin": [0.5] * 5}, r"margin: shape \(5,\)"),
        ({"label": [1, 0, 1, 1]}, r"label\[1\] = .*0.*: must be one of -1, \+1"),
        ({"label": [[1], [1]]}, r"label: shape \(2, 1\)"),
        ({"margin": [0.5, 0.5, np.nan, -1.0]}, r"margin\[2\] = nan"),
        ({"margin": [np.inf, -np.inf, 0, 0]}, r"margin\[0\] = inf"),
        ({"margin": [0.5, 0.5, -1.0, -2.0]}, r"margin\[3\]: differs from another row of the same comparison"),
        ({"gold": [0, 0, 1, -1]}, r"gold\[3\]: differs"),
        ({"gold": [0, 0, 2, 2]}, r"gold\[2\] = .*2"),
        ({"position": [1, 1, 0, 1]}, r"position\[2\]"),
        ({"weight": [1, -0.5, 1, 1]}, r"weight\[1\] = -0.5"),
        ({"weight": [1, 0, 1, 0]}, r"weight\[1\] = 0, as all weights of annotator 'b'"),
        ({"annotator": ["a", None, "a", "b"]}, r"annotator\[1\] = None: an id is missing"),
        ({"annotator": np.array([1, 2, np.nan, 1])}, r"annotator\[2\] = nan: an id is missing"),
        ({"annotators": ["a", "b", "c"]}, r"annotators\[2\] = 'c': has no labels"),
        ({"annotators": ["a"]}, r"annotator\[1\] = 'b': not among the declared"),
        ({"margin": None, "annotator": ["a", "b", "b", "c"], "pinned": ["b", "c"]}, r"comparison\[2\]: all votes on 9"),
    ],
)
def test_bad_input_is_named(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        group_votes(**{**good(), **changed})


def test_comparisons_of_pinned_annotators_only_still_calibrate_margins() -> None:
    assert group_votes(**good(), pinned=["a", "b"]).size == 4


def test_rows_are_sorted_by_comparison_and_go_back() -> None:
    votes = group_votes(["x", "y", "x"], [1, -1, -1], ["q", "p", "q"])
    assert votes.annotators == ["x", "y"]
    assert votes.comparisons is not None
    assert votes.comparisons.tolist() == ["p", "q"]
    assert votes.in_input_order(votes.annotator).tolist() == [0, 1, 0]
    assert votes.group_sizes().tolist() == [1, 2]


def test_any_hashable_is_an_id() -> None:
    assert group_votes([("a", 1), "b", 3], [1, 1, 1]).annotators == [("a", 1), "b", 3]


@given(st.lists(st.integers(-5, 10**9) | st.integers(-5, 5), min_size=1))
def test_integer_ids_are_indexed_as_by_unique(ids: list[int]) -> None:
    array = np.array(ids)
    distinct, index = unique_integers(array)
    assert np.array_equal(distinct[index], array)
    assert np.array_equal(distinct, np.unique(array))


@given(st.lists(st.integers(0, 5)))
def test_sorting_keeps_the_order_of_equal_rows(index: list[int]) -> None:
    assert stable_order(np.array(index, np.int32)).tolist() == np.argsort(index, kind="stable").tolist()
