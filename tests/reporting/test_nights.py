"""What is told from many nights together: whose reliability changed, by the nights and by the truth."""

import json
from dataclasses import asdict

from night_examples import NAMED, TRUTH, around, drift, fortnight, night, quiet
from pydantic import TypeAdapter

from repo.reporting.nights import Change, Night, NightBatch, by_reliability, changes, kept_out

TURNED = {"ann": [0.9, 0.9, 0.2, 0.2, 0.2]}


def nights_that_name(*places, annotator="ann", total=5):
    return [night(f"day-{i}", drift=[drift(annotator)] if i in places else []) for i in range(total)]


def test_a_night_survives_json() -> None:
    nights = fortnight()
    text = json.dumps([asdict(night) for night in nights], allow_nan=False)
    again = TypeAdapter(list[Night]).validate_json(text)
    assert [asdict(night) for night in again] == json.loads(text)
    assert changes(again, TRUTH) == changes(nights, TRUTH)


def test_a_change_is_found_on_time_late_again_or_for_nothing() -> None:
    assert [(c.named, c.turned, c.again) for c in changes(nights_that_name(2), TURNED)] == [(2, 2, False)]
    assert [(c.named, c.turned, c.again) for c in changes(nights_that_name(3, 4), TURNED)] == [
        (3, 2, False),
        (4, 2, True),
    ]
    false, missed = changes(nights_that_name(1), TURNED)
    assert (false.named, false.turned, false.judged) == (1, None, True)
    assert missed == Change("ann", turned=2, judged=True)


def test_without_the_truth_nothing_is_judged() -> None:
    for truth in (None, {}, {"somebody else": [0.5] * 5}):
        (change,) = changes(nights_that_name(3), truth)
        assert (change.named, change.turned, change.judged) == (3, None, False)


def test_who_comes_or_goes_has_not_changed() -> None:
    assert changes(nights_that_name(), {"ann": [None, 0.9, 0.9, None, None]}) == []


def test_two_true_changes_of_one_annotator_are_told_apart() -> None:
    twice = {"ann": [0.9, 0.2, 0.2, 0.9, 0.9]}
    assert [(c.named, c.turned, c.again) for c in changes(nights_that_name(2, 4), twice)] == [
        (2, 1, False),
        (4, 3, False),
    ]
    assert [(c.named, c.turned) for c in changes(nights_that_name(4), twice)] == [(4, 3), (None, 1)]


def test_the_fortnights_change_is_found_a_night_late() -> None:
    (change,) = changes(fortnight(), TRUTH)
    assert (change.annotator, change.named, change.turned) == ("careful-4", NAMED - 1, 6)


def test_a_batch_kept_out_night_after_night_counts_once_and_a_waiting_one_not() -> None:
    broken, waiting = NightBatch("b.jsonl", "quarantined", "why"), NightBatch("c.jsonl", "waiting")
    taken, copy = NightBatch("a.jsonl", "consumed"), NightBatch("d.jsonl", "duplicate", "of a.jsonl")
    nights = [night(batches=[taken, broken]), night(batches=[broken, waiting, copy])]
    assert kept_out(nights) == [broken, copy]


def test_annotators_are_ranked_by_their_latest_estimate() -> None:
    first = night(reliabilities={"gone": around(0.7), "ann": around(0.9)})
    then = night(reliabilities={"ann": around(0.1), "new": around(0.8)})
    assert by_reliability([first, quiet(), then]) == ["new", "gone", "ann"]


def test_the_champion_after_a_night_is_the_candidate_only_where_it_was_promoted() -> None:
    values = {"candidate_accuracy": around(0.8), "champion_accuracy": around(0.7)}
    assert night(outcome="promoted", **values).champions_accuracy == around(0.8)
    assert night(outcome="rejected", **values).champions_accuracy == around(0.7)
    assert quiet().champions_accuracy is None
