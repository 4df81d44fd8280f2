"""What the page says about people and how sure it is of it."""

import re

import pandas as pd
import pytest
from reporting_examples import (
    HOSTILE,
    TRUTH,
    crowd_inputs,
    crowd_table,
    estimated,
    hostile_crowd,
    report_inputs,
    simulated_labels,
    text_of,
    trained_inputs,
)

from repo.files import read_jsonl
from repo.reliability.estimate import estimate
from repo.reporting.report import build_report, write_report
from repo.reporting.text import interval
from repo.settings import ReliabilitySettings


def test_every_annotators_interval_stands_beside_the_reliability(report, simulated):
    text = text_of(report.html)
    for entry in simulated.reliability["annotators"]:
        assert f"{entry['annotator_id']} {entry['reliability']:.2f} {interval(entry['interval'])}" in text
    labels, record = estimated(simulated_labels(100), confidence=0.8)
    assert "80% interval" in text_of(build_report(report_inputs(labels, record)).html)


def test_who_cannot_be_told_from_a_coin_or_is_known_only_roughly_is_said_to_be():
    report = build_report(trained_inputs(simulated_labels(25)))
    text = text_of(report.html)
    said = {"coin": "cannot be told from a coin", "rough": "known only roughly"}
    for entry in report.reliability["annotators"]:
        low, high = entry["interval"]
        kind = "coin" if low <= 0.5 <= high else "rough" if high - low > 0.3 else ""
        line = rf"{entry['annotator_id']} 0\.\d\d‡? (cannot be told from a coin|known only roughly)?"
        assert (re.search(line, text)[1] or "") == said.get(kind, "")
    assert re.search(r"\d annotators? of 10 cannot be told from a coin: the interval contains ½", text)


def test_annotators_in_general_are_described_and_who_is_mostly_known_by_them_is_marked():
    many = simulated_labels(400, truth=dict.fromkeys((f"regular-{i}" for i in range(8)), 0.7) | {"good": 0.95})
    rare = simulated_labels(3, truth={"rare": 0.8}, per_comparison=1).assign(comparison_id=["r0", "r1", "r2"])
    report = build_report(trained_inputs(pd.concat([many, rare], ignore_index=True)))
    text = text_of(report.html)
    found = report.reliability["population"]
    shares = {entry["annotator_id"]: entry["population_share"] for entry in report.reliability["annotators"]}
    assert found["told_apart"]
    assert f"Annotators in general have a reliability of {found['mean']:.2f}" in text
    assert shares["rare"] > 0.5 > shares["good"]
    assert re.search(r"rare 0\.\d\d‡", text)
    assert not re.search(r"good 0\.\d\d‡", text)


def test_where_people_cannot_be_told_apart_the_common_value_is_said():
    text = text_of(build_report(trained_inputs(simulated_labels(300, truth=dict.fromkeys("abcdef", 0.8)))).html)
    assert re.search(r"do not tell one annotator from another: everybody gets the common value of 0\.\d\d", text)


def test_nobody_is_named_where_all_intervals_overlap():
    text = text_of(build_report(trained_inputs(simulated_labels(12, truth=dict.fromkeys("abcdef", 0.8)))).html)
    assert "They cannot be told apart by these labels." in text
    assert "believed most" not in text.lower()


def test_warnings_stand_at_the_top_in_full():
    labels, record = estimated(simulated_labels(30), pinned={"nobody": 0.8})
    text = text_of(build_report(report_inputs(labels, record)).html)
    assert record["warnings"] == ["reliability.pinned names 'nobody', who gave no labels here."]
    callout = (
        "Check these results before using them reliability.pinned names &#39;nobody&#39;, who gave no labels here."
    )
    assert 0 < text.index(callout) < text.index("annotators10")


def test_no_warning_no_callout(report):
    assert "Check these results" not in report.html


def test_a_mirror_image_is_warned_of_and_not_hidden_by_a_good_average():
    turned = {name: 1 - value for name, value in TRUTH.items()}
    labels, record = estimated(simulated_labels(100, truth=turned), "none", initial=0.3)
    assert "mirror image?" in text_of(build_report(report_inputs(labels, record)).html)


def test_anchors_and_what_was_known_before_are_said_in_one_paragraph_and_marked():
    first = simulated_labels(100)
    state = estimate(first, ReliabilitySettings(), None, "none").fitted.state_
    labels = simulated_labels(150, truth={**TRUTH, "newcomer": 0.9})
    labels.loc[labels["comparison_id"] > "c0099", "gold"] = ""
    anchors = {"pinned": {"careful-1": 0.95}, "use_gold": True}
    text = text_of(build_report(trained_inputs(labels, state=state, forgetting=0.25, **anchors)).html)
    assert (
        "100 comparisons with a known better response were taken as given (gold). "
        "careful-1 (0.95) was pinned: not estimated, but set beforehand. "
        "Evidence about 10 annotators was carried over from an earlier estimate, a share of 25% of it forgotten; "
        "10 of the 11 annotators here were known before (the others are marked new)."
    ) in text
    assert "careful-1 pinned 0.95 given" in text
    assert re.search(r"newcomer new 0\.\d\d", text)
    assert "hasty-1 new" not in text


def test_without_anchors_or_prior_there_is_no_word_of_them(report):
    text = text_of(report.html)
    assert not re.search("pinned:|carried over|taken as given", text)


def test_who_prefers_the_answer_displayed_first_is_shown_with_the_evidence():
    truth = {**TRUTH, "top": 0.5}
    text = text_of(build_report(trained_inputs(simulated_labels(600, truth=truth, first_bonus=0.45))).html)
    section = text[text.index("Who prefers the first answer") :]
    assert re.search(r"top \+0\.4\d \+0\.\d\d to \+0\.\d\d 9\d% \d+", section)
    assert "Of those who prefer nothing, about 10% stand here by chance." in section
    assert "Preference for the response displayed first" in section


def test_where_nobody_prefers_the_first_answer_one_sentence_says_so():
    labels, record = estimated(simulated_labels(60), coins=2)
    fair = [{**entry, "first_preference_interval": [-0.1, 0.1]} for entry in record["annotators"]]
    text = text_of(build_report(report_inputs(labels, {**record, "annotators": fair})).html)
    assert "Nobody measurably prefers the response displayed first: every 90% interval" in text


def test_without_positions_the_section_says_what_first_means():
    labels = simulated_labels(60).assign(shown_first="")
    text = text_of(build_report(trained_inputs(labels, coins=2)).html)
    assert "do not say of every label which response was displayed first" in text
    assert "the response that stands first in the data" in text


def test_with_one_coin_one_sentence_says_why_there_is_no_such_section(report):
    assert 'id="first"' not in report.html
    assert "is not shown: a second reliability" in text_of(report.html)
    unknown = build_report(trained_inputs(simulated_labels(60).assign(shown_first="")))
    assert 'id="first"' not in unknown.html
    assert "is not shown: the data do not say of every label which response was displayed first." in text_of(
        unknown.html
    )


TRUST = {
    "full": "Estimator full: all labels at once",
    "incremental": "Estimator incremental: running sums",
    "paper": "Estimator paper: RE-PO Eq. 4",
    "first_visit": "recorded at each comparison’s first visit",
    "last_visit": "recorded at each comparison’s last visit",
    "given": "handed over in a file, and how they were made",
    "none": "No model was asked",
    "calibrated": "The margins are calibrated: multiplied by",
    "raw": "The margins enter as they are",
}


@pytest.mark.parametrize(
    ("estimator", "calibrate", "origin", "said"),
    [
        ("full", True, "first_visit", {"full", "first_visit", "calibrated"}),
        ("full", False, "given", {"full", "given", "raw"}),
        ("incremental", True, "last_visit", {"incremental", "last_visit", "calibrated"}),
        ("paper", False, "last_visit", {"paper", "last_visit", "raw"}),
        ("paper", True, "first_visit", {"paper", "first_visit", "calibrated"}),
        ("full", True, "none", {"full", "none"}),
    ],
)
def test_how_far_to_trust_follows_estimator_calibration_and_margins(estimator, calibrate, origin, said):
    labels, record = estimated(simulated_labels(20), origin, estimator=estimator, calibrate=calibrate)
    text = text_of(build_report(report_inputs(labels, record)).html)
    assert {name for name, words in TRUST.items() if words in text} == said
    if "calibrated" in said:
        assert f"multiplied by {record['calibration']['temperature']:.3g}," in text
    # Only the paper's rule on raw margins leaves reliabilities where they started.
    assert ("still the starting value" in text) == ((estimator, calibrate) == ("paper", False))


def test_a_stand_alone_estimate_speaks_of_no_training():
    labels, record = estimated(simulated_labels(60), "given")
    html = build_report(report_inputs(labels, record, model_name=None, history=[])).html
    assert not re.search("Model trained|#training|model in training", html)
    assert html.count('<article class="label">') > 0


def test_a_crowd_table_is_shown_by_ids_and_class_names(tmp_path):
    report = build_report(crowd_inputs(classes=("spam", "fine")))
    text = text_of(report.html)
    assert "12 annotators gave 720 labels." in text
    assert "tasks judged120" in text
    assert not re.search("comparison|response|Prompt|Training", text)
    assert "Who prefers the label “spam”" in text
    assert re.search(r"t\d{3} w1[01] spam <?(&lt;)?0\.\d\d 0\.\d\d \d \d label\.csv, line \d+", text)
    write_report(report, tmp_path)
    lines = list(read_jsonl(tmp_path / "doubtful_labels.jsonl"))
    assert {(row["preference"], row["label"]) for row in lines} == {("a", "spam"), ("b", "fine")}
    assert {row["margin"] for row in lines} == {None}


def test_a_crowd_table_with_one_coin_says_why_no_class_is_called_preferred():
    text = text_of(build_report(crowd_inputs(crowd_table(biased=0), coins=1)).html)
    assert "Whether anybody prefers the label “1” to “0” is not shown: a second reliability" in text


def test_hostile_names_in_a_crowd_table_are_escaped(tmp_path):
    report = build_report(hostile_crowd())
    assert "<script" not in report.html
    assert not re.search("[\x00\u202e\ud800-\udfff]", report.html)
    assert len(report.html) < 500_000
    write_report(report, tmp_path)
    assert next(read_jsonl(tmp_path / "doubtful_labels.jsonl"))["label"][:-1] == HOSTILE
