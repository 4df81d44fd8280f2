import pytest
from hypothesis import given
from hypothesis import strategies as st
from reporting_examples import crowd_inputs, crowd_table, record_of, simulated_labels

from repo.reporting.annotators import END_ROWS, LEANING_ROWS, Row, extremes, leaning, standing, tables, true_error
from repo.reporting.summaries import AnnotatorSummary, annotator_summaries


def summary(name="ann", interval=(0.8, 0.9), pinned=False, first=None, first_interval=None):
    reliability = sum(interval) / 2 if interval else 1.0
    return AnnotatorSummary(
        name, reliability, interval, 9, first, first_interval, None, pinned, False, None, 0, None, 0, None, 0
    )


@pytest.mark.parametrize(
    ("interval", "expected"),
    [
        ((0.90, 0.97), "better"),
        ((0.10, 0.30), "worse"),
        ((0.49, 0.60), "coin"),
        ((0.50, 0.60), "coin"),
        ((0.02, 0.99), "coin"),
        ((0.55, 0.86), "rough"),
        ((0.05, 0.45), "rough"),
        (None, "assumed"),
    ],
)
def test_only_an_interval_that_leaves_out_one_half_and_is_narrow_says_better_or_worse(interval, expected):
    assert standing(summary(interval=interval)) == expected


def test_a_pinned_annotator_was_not_estimated_whatever_the_interval():
    assert standing(summary(interval=(0.4, 0.6), pinned=True)) == "pinned"


BOUNDS = st.tuples(st.integers(0, 20), st.integers(0, 20)).map(sorted).map(tuple)


@given(st.lists(BOUNDS, max_size=6))
def test_somebody_is_named_exactly_where_two_intervals_are_apart(intervals):
    named = extremes([summary(str(i), bounds) for i, bounds in enumerate(intervals)])
    apart = any(one[0] > two[1] for one in intervals for two in intervals)
    assert (named is not None) == apart
    if named:
        most, least = named
        assert most.interval[0] == max(low for low, _ in intervals)
        assert least.interval[1] == min(high for _, high in intervals)


def test_a_few_labels_far_out_and_a_pinned_value_name_nobody():
    lucky, careful = summary("lucky", (0.5, 1.0)), summary("careful", (0.85, 0.9))
    pinned, hasty = summary("pinned", (0.99, 0.99), pinned=True), summary("hasty", (0.6, 0.7))
    most, least = extremes([pinned, lucky, careful, hasty])
    assert (most.annotator_id, least.annotator_id) == ("careful", "hasty")
    assert extremes([pinned, summary(interval=None)]) is None


def test_who_answers_one_class_most_of_the_time_is_found_and_nobody_else():
    inputs = crowd_inputs(coins=2)
    found = leaning(annotator_summaries(inputs.reliability, inputs.labels))
    assert {row.annotator_id for row in found.rows[:2]} == {"w10", "w11"}
    assert all(row.first_preference > 0.3 for row in found.rows[:2])
    fair = crowd_table(biased=0, tasks=400)
    found = leaning(annotator_summaries(record_of(fair, coins=2), fair))
    assert all(abs(row.first_preference) < 0.1 for row in found.rows)


def test_position_bias_is_found_where_positions_are_known():
    labels = simulated_labels(400, 3, {"fair-1": 0.9, "fair-2": 0.9, "first": 0.6}, first_bonus=0.45)
    record = record_of(labels)
    assert (record["coins"], record["positions_known"]) == (2, True)
    found = leaning(annotator_summaries(record, labels))
    assert found.rows[0].annotator_id == "first"
    assert found.rows[0].first_preference == pytest.approx(0.36, abs=0.08)


def test_either_sign_counts_strongest_first_and_the_rest_is_counted():
    rows = [summary(f"k{i:02}", first=-i / 100, first_interval=(-0.4, -0.001)) for i in range(1, 30)]
    fair = summary("fair", first=0.4, first_interval=(0.0, 0.5))
    one_coin = summary("one")
    found = leaning([fair, one_coin, *rows, summary("up", first=0.45, first_interval=(0.4, 0.5))])
    assert found.total == 30
    assert [row.annotator_id for row in found.rows[:3]] == ["up", "k29", "k28"]
    assert len(found.rows) == LEANING_ROWS


def test_a_long_table_keeps_both_ends_open():
    rows = [Row(summary(str(i)), None, False, False, "better") for i in range(50)]
    (_, folded, top), (_, between, middle), (_, _, bottom) = tables(rows)
    assert (folded, between) == (False, True)
    assert [*top, *middle, *bottom] == rows
    assert len(top) == len(bottom) == END_ROWS


def test_the_true_error_is_over_those_whose_truth_is_known():
    rows = [
        Row(summary(interval=(0.7, 0.9)), 0.9, False, False, "better"),
        Row(summary(), None, False, False, "better"),
    ]
    assert true_error(rows) == pytest.approx(0.1)
    assert true_error(rows[1:]) is None
