"""Descriptions for MLflow: what they say, and that nothing in the data can become part of their markup."""

import html
import re

from hypothesis import given
from hypothesis import strategies as st

from repo.reporting.notes import (
    ANNOTATORS_NAMED,
    Places,
    escaped,
    line_note,
    nothing_trained,
    promoted,
    run_note,
    version_note,
)
from repo.reporting.text import short, showable

PLACES = Places("#/experiments/1/runs/r?a=b", "#/experiments/1/runs/s/artifacts/report/report.html", "#/models/m/1")
HOSTILE = "<img src=x onerror=window.hacked=1>"
TEXTS = (
    st.text()
    | st.text("<>[]()|*_`~&#;:/@!\\\"'\n\t =x1.-")
    | st.sampled_from(
        [
            HOSTILE,
            "[x](javascript:window.hacked=1)",
            "www.example.com",
            "a|b",
            "**x**",
            "@someone",
            "&lt;b&gt;",
            "~~x~~",
        ]
    )
)


def figure(value: float | None) -> dict[str, float | None]:
    return {"value": value, "low": value and value - 0.1, "high": value and value + 0.1}


def evaluation(**policies: float | None) -> dict[str, object]:
    return {
        "target": "gold",
        "confidence": 0.9,
        "policies": {name: {"gold": {"accuracy": figure(value)}} for name, value in policies.items()},
        "gains": {name: figure(0.25) for name in policies if name != "candidate"},
    }


def annotator(name: str, reliability: float = 0.8, **changes: object) -> dict[str, object]:
    return {
        "annotator_id": name,
        "reliability": reliability,
        "interval": [reliability - 0.1, reliability + 0.1],
        "first_preference": None,
        "first_preference_interval": None,
        "pinned": False,
        **changes,
    }


def verdict(*reasons: str, decision: str = "promote") -> dict[str, object]:
    return {"decision": decision, "reasons": list(reasons)}


def note(*annotators: dict[str, object], drift: dict[str, object] | None = None, reason: str = "fine") -> str:
    figures = evaluation(candidate=0.75, base=0.5, champion=0.7)
    return run_note(figures, verdict(reason), {"annotators": list(annotators)}, drift, PLACES, "job-7")


def test_a_run_says_verdict_reasons_figures_and_where_to_look():
    text = note(annotator("ann"), reason="accuracy 0.750, at least 0.5 asked")
    assert text.startswith("**Passed the gate.**\n")
    assert f"[Report]({PLACES.report})" in text
    assert f"[model version]({PLACES.version})" in text
    assert "job-7" in text
    assert "* accuracy 0.750, at least 0.5 asked" in text
    assert "| candidate | 0.750 (0.650 to 0.850) |  |" in text
    assert "| champion | 0.700 (0.600 to 0.800) | 0.250 (0.150 to 0.350) |" in text
    assert "No annotator stands out." in text


def test_only_who_stands_out_beyond_their_interval_is_named():
    drift = {
        "annotators": [
            {"annotator": "turned", "before": 0.9, "now": 0.3, "changed": True},
            {"annotator": "steady", "before": 0.9, "now": 0.8, "changed": False},
        ]
    }
    text = note(
        annotator("wrong", 0.2),
        annotator("coin", 0.45),
        annotator("pinned", 0.2, pinned=True, interval=None),
        annotator("turned"),
        annotator("steady"),
        annotator("leaning", first_preference=0.4, first_preference_interval=[0.2, 0.6]),
        annotator("even", first_preference=0.1, first_preference_interval=[-0.2, 0.4]),
        drift=drift,
    )
    assert "* wrong 0.20: more often wrong than right (0.10–0.30)\n" in text
    assert "* turned 0.80: was 0.90, new votes say 0.30\n" in text
    assert "* leaning 0.80: prefers the first answer (+0.40)\n" in text
    assert not [name for name in ("coin", "pinned", "steady", "even") if name in text]


def test_of_many_annotators_the_worst_are_named_and_the_others_counted():
    text = note(*(annotator(f"a{i}", 0.1 + i / 1000) for i in range(ANNOTATORS_NAMED + 3)))
    assert "* a0 0.10" in text
    assert f"* a{ANNOTATORS_NAMED} " not in text
    assert "and 3 more annotators: see the report" in text


def test_a_version_says_how_it_was_made_and_a_line_how_it_is_loaded():
    people = {"annotators": [annotator("ann"), annotator("bob")]}
    text = version_note(evaluation(candidate=None), verdict("no", decision="reject"), people, "ipo", ["day.1"], PLACES)
    assert text.startswith(f"**Verdict: reject.** Made by [this run]({PLACES.run})")
    assert "loss ipo; accuracy against gold not finite (not finite to not finite)" in text
    assert "2 annotators" in text
    assert "from 1 batch: day&#46;1" in text
    assert "models:/some-line@champion" in line_note("some-line")
    assert "version 3 became champion, in place of version 2" in promoted("m", "3", "2")


@given(TEXTS)
def test_escaped_text_reads_as_it_was_and_means_nothing(text):
    shown = escaped(text, 10**6)
    assert not re.search(r"[<>\[\]|*_`~@:/\\\"'!\n]", shown)
    assert not re.search(r"&(?!#\d+;)|#(?!\d+;)", shown)
    assert not re.search(r"\.(?!\d)", shown)
    assert html.unescape(shown) == short(showable(text), 10**6)


@given(TEXTS, TEXTS, st.lists(TEXTS, max_size=30))
def test_whatever_the_data_holds_a_description_keeps_its_shape_and_is_kept_whole(name, reason, batches):
    people = [annotator(f"{name}{i}", 0.2) for i in range(12)]
    figures = evaluation(candidate=0.75, base=0.5)
    texts = [
        note(*people, reason=reason),
        version_note(figures, verdict(*[reason] * 9), {"annotators": people}, "dpo", batches, PLACES),
        nothing_trained(reason),
    ]
    links = [re.findall(r"\]\(([^)]*)\)", text) for text in texts]
    assert links == [[PLACES.report, PLACES.version], [PLACES.run, PLACES.report], []]
    assert "<" not in "".join(texts)
    assert max(map(len, texts)) < 8000
    rows = [line for line in texts[0].splitlines() if line.startswith("|")]
    assert {len(re.findall(r"\|", row)) for row in rows} == {4}
