import pytest

from pipelines.models.screens import models_table
from pipelines.summary import reliability_lines, warning_lines


def annotator(name, reliability, interval=(0.9, 0.97), **changes):
    return {
        "annotator_id": name,
        "reliability": reliability,
        "interval": interval and list(interval),
        "annotations": 1200,
        "first_preference": None,
        "pinned": False,
        "agreement_with_majority": 0.9,
        **changes,
    }


def record(*annotators, coins=1, population=None):
    return {"coins": coins, "confidence": 0.9, "population": population, "annotators": list(annotators)}


def test_the_table_shows_intervals_beside_the_truth():
    found = record(annotator("careful", 0.95), annotator("hasty", 0.7, (0.6, 0.8)))
    assert reliability_lines(found, {"careful": 0.9, "hasty": 0.8}) == [
        "annotator  reliability  90% interval  true   agrees with majority  labels",
        "careful    0.950        0.90–0.97     0.900  0.900                 1,200",
        "hasty      0.700        0.60–0.80     0.800  0.900                 1,200",
        "mean absolute error: 0.075",
    ]


def test_what_annotators_in_general_are_like_is_said():
    apart = {"mean": 0.75, "sd": 0.1, "told_apart": True}
    assert reliability_lines(record(annotator("a", 0.8), annotator("b", 0.7), population=apart), {})[-1] == (
        "annotators in general: 0.750, standard deviation 0.100"
    )
    same = {"mean": 0.75, "sd": 0.0, "told_apart": False}
    assert (
        "everybody gets the common value 0.750"
        in reliability_lines(record(annotator("a", 0.75), annotator("b", 0.75), population=same), {})[-1]
    )


def test_pinned_and_unestimated_annotators_have_no_interval():
    head, pinned, plain = reliability_lines(record(annotator("p", 0.8, pinned=True), annotator("n", 1.0, None)), {})
    assert head.split("  ")[-1] == "labels"
    assert pinned.split() == ["p", "0.800", "pinned", "0.900", "1,200"]
    assert plain.split() == ["n", "1.000", "0.900", "1,200"]


def test_the_preference_for_the_first_answer_is_a_column_only_with_two_coins():
    two = record(annotator("adversarial-number-1", 0.2, (0.15, 0.25), first_preference=-0.123), coins=2)
    lines = reliability_lines(two, {"adversarial-number-1": 0.2})
    assert lines[0].endswith("prefers first")
    assert lines[1].endswith("−0.12")
    assert max(map(len, lines)) <= 100
    assert "prefers first" not in reliability_lines(record(annotator("a", 0.9)), {})[0]


def test_only_both_ends_of_many_annotators_are_printed():
    lines = reliability_lines(record(*[annotator(f"k{i}", 0.9) for i in range(50)]), {})
    assert len(lines) == 22
    assert lines[11].startswith("… 30 more …")


@pytest.mark.parametrize("bad", ["\x1b[31m", "\n", "\u202e"])
def test_warnings_are_wrapped_and_cannot_break_the_terminal(bad):
    lines = warning_lines(["short", "mirror image? " + "average reliability is below one half " * 5 + bad + "end"])
    assert lines[0] == "warning: short"
    assert lines[1].startswith("warning: mirror image?")
    assert all(len(line) <= 100 and line.isprintable() for line in lines)
    assert all(line.startswith("  ") for line in lines[2:])
    assert "?" in lines[-1]


def test_a_model_without_versions_is_not_offered_in_place_of_itself():
    told = "no version of mine yet: `repo-pipeline run` makes one"
    assert models_table("mine", [], ["mine"]) == told
    assert models_table("mine", [], ["mine", "yours"]) == f"{told}; other models here: yours (--model NAME)"
