import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reporting_examples import label, record_of

from repo.reporting.summaries import (
    agreement_with_majority,
    annotator_summaries,
    doubtful_labels,
    mostly_initial,
    pairwise_agreement,
    votes,
)


def table(*rows):
    return pd.DataFrame([label(*row) if isinstance(row, tuple) else row for row in rows])


THREE = table(
    ("c1", "ann", "a", 0.9),
    ("c1", "bob", "a", 0.8),
    ("c1", "cy", "b", 0.3),
    ("c2", "ann", "b", 0.7),
    ("c2", "bob", "a", 0.4),
    ("c3", "cy", "a", 0.6),
)
"""c1: ann and bob against cy; c2: ann against bob; c3: cy alone."""


def summary_of(labels, name):
    return next(s for s in annotator_summaries(record_of(labels), labels) if s.annotator_id == name)


def test_agreement_with_the_majority_of_the_others_by_hand():
    result = agreement_with_majority(votes(THREE))
    # c1: for ann and bob the other two are split, so it counts for cy only; c2: each has one other, who disagrees.
    assert result.to_dict("index") == {
        "ann": {"agreement": 0.0, "comparisons": 1},
        "bob": {"agreement": 0.0, "comparisons": 1},
        "cy": {"agreement": 0.0, "comparisons": 1},
    }


def test_an_annotator_whom_nobody_overlaps_has_no_agreement():
    labels = table(("c1", "ann"), ("c2", "bob"))
    summary = summary_of(labels, "ann")
    assert (summary.agreement_with_majority, summary.majority_comparisons) == (None, 0)
    assert (summary.agreement_with_gold, summary.gold_comparisons) == (None, 0)


def test_agreement_with_gold_counts_only_comparisons_that_have_gold():
    labels = table(
        label("c1", "ann", "a", gold="a"),
        label("c2", "ann", "b", gold="a"),
        label("c3", "ann", "b"),
        label("c4", "bob"),
    )
    summary = summary_of(labels, "ann")
    assert (summary.agreement_with_gold, summary.gold_comparisons) == (0.5, 2)
    assert summary_of(labels, "bob").agreement_with_gold is None


def test_a_split_tie_agrees_by_one_half_and_decides_no_majority():
    tie = [label("c1", "ann", side, weight=0.5) for side in "ab"]
    labels = table(*tie, ("c1", "bob", "a"), ("c1", "cy", "a"))
    result = agreement_with_majority(votes(labels))["agreement"].to_dict()
    assert result == {"ann": 0.5, "bob": 1.0, "cy": 1.0}


def test_summaries_are_sorted_and_carry_estimates_posteriors_and_doubts():
    record = record_of(THREE, coins=2, pinned={"ann": 0.8})
    summaries = annotator_summaries({**record, "annotators": record["annotators"][::-1]}, THREE)
    assert [s.annotator_id for s in summaries] == [entry["annotator_id"] for entry in record["annotators"]]
    for summary, entry in zip(summaries, record["annotators"], strict=True):
        own = THREE[THREE["annotator_id"] == summary.annotator_id]["posterior"]
        assert summary.mean_posterior == pytest.approx(own.mean())
        assert summary.doubtful == (own < 0.5).sum()
        assert summary.interval == tuple(entry["interval"])
        assert summary.first_preference_interval == tuple(entry["first_preference_interval"])
        assert (summary.pinned, summary.known_before) == (summary.annotator_id == "ann", False)


def test_an_annotator_without_training_labels_keeps_the_estimate_alone():
    record = record_of(THREE)
    unseen = {**record["annotators"][0], "annotator_id": "new", "annotations": 0}
    summaries = annotator_summaries({**record, "annotators": [*record["annotators"], unseen]}, THREE)
    new = next(s for s in summaries if s.annotator_id == "new")
    assert (new.mean_posterior, new.doubtful, new.agreement_with_majority) == (None, 0, None)


def test_doubtful_labels_come_least_believed_first_with_the_others_counted():
    reliability = annotator_summaries(record_of(THREE), THREE)
    first, second = doubtful_labels(THREE, reliability)
    assert (first["annotator_id"], first["posterior"]) == ("cy", 0.3)
    assert (first["others_agree"], first["others_disagree"]) == (0, 2)
    assert (second["annotator_id"], second["others_agree"], second["others_disagree"]) == ("bob", 0, 1)
    assert first["chosen"] == "Put it in the microwave."
    assert first["rejected"] == "Seven minutes in boiling water."


def test_a_posterior_of_exactly_one_half_is_not_doubtful():
    labels = table(("c1", "ann", "a", 0.5), ("c2", "ann", "a", np.nextafter(0.5, 0)))
    found = doubtful_labels(labels, annotator_summaries(record_of(labels), labels))
    assert [row["comparison_id"] for row in found] == ["c2"]


def test_a_doubtful_label_bears_its_classs_name_and_no_margin_where_there_was_no_model():
    row = table(label("t1", "ann", "b", 0.1, margin=np.nan))
    (found,) = doubtful_labels(row, annotator_summaries(record_of(row), row), ("yes", "no"))
    assert (found["preference"], found["label"], found["margin"]) == ("b", "no", None)


def test_messages_are_shown_as_roles_and_contents():
    messages = '[{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]'
    answer = '[{"role": "assistant", "content": "x"}]'
    row = label("c1", "ann", "a", 0.1, messages=True, prompt=messages, response_a=answer, response_b=answer)
    (found,) = doubtful_labels(table(row), annotator_summaries(record_of(table(row)), table(row)))
    assert (found["prompt"], found["chosen"]) == ("user: Hi\nassistant: Hello", "assistant: x")


def test_pairwise_agreement_by_hand():
    pairs = pairwise_agreement(THREE, ["ann", "bob", "cy"])
    np.testing.assert_array_equal(pairs.shared, [[0, 2, 1], [2, 0, 1], [1, 1, 0]])
    np.testing.assert_array_equal(pairs.agreement, [[np.nan, 0.5, 0], [0.5, np.nan, 0], [0, 0, np.nan]])


def test_pairwise_agreement_is_empty_when_nobody_shares_a_comparison():
    assert not pairwise_agreement(table(("c1", "ann"), ("c2", "bob")), ["ann", "bob"]).shared.any()


def test_the_starting_value_dominates_below_seven_updates_at_a_tenth():
    assert [mostly_initial(n, 1, 0.1) for n in (0, 6, 7)] == [True, True, False]
    assert mostly_initial(3, 2, 0.1)
    assert not mostly_initial(4, 2, 0.1)
    assert not mostly_initial(1, 1, 1.0)


BALLOTS = st.dictionaries(
    st.tuples(st.sampled_from(["c1", "c2", "c3"]), st.sampled_from(["k1", "k2", "k3", "k4"])),
    st.sampled_from(["a", "b"]),
    min_size=1,
)


@given(BALLOTS)
@settings(max_examples=60, deadline=None)
def test_agreements_equal_counting_one_ballot_at_a_time(ballots):
    labels = table(*[(c, k, side) for (c, k), side in ballots.items()])
    names = sorted({k for _, k in ballots})
    majority = agreement_with_majority(votes(labels))
    pairs = pairwise_agreement(labels, names)
    for name in names:
        hits = []
        for (c, k), side in ballots.items():
            others = [s for (c2, k2), s in ballots.items() if c2 == c and k2 != name]
            if k == name and others.count("a") != others.count("b"):
                hits.append(side == ("a" if others.count("a") > others.count("b") else "b"))
        assert (name in majority.index) == bool(hits)
        if hits:
            assert majority.at[name, "agreement"] == pytest.approx(sum(hits) / len(hits))
            assert majority.at[name, "comparisons"] == len(hits)
    for (i, one), (j, two) in itertools.permutations(enumerate(names), 2):
        both = [c for (c, k) in ballots if k == one and (c, two) in ballots]
        assert pairs.shared[i, j] == len(both)
        if both:
            same = sum(ballots[c, one] == ballots[c, two] for c in both)
            assert pairs.agreement[i, j] == pytest.approx(same / len(both))
