import re
import subprocess
import sys
from dataclasses import replace

import pandas as pd
import pytest
from reporting_examples import (
    TRUTH,
    hostile_inputs,
    label,
    plain_record,
    record_of,
    report_inputs,
    simulated_labels,
    text_of,
    trained_inputs,
)

from repo.files import read_json, read_jsonl, write_json, write_jsonl
from repo.reporting.report import build_report, write_report
from repo.reporting.report import report_inputs as inputs_from_record
from repo.settings import load_settings


def test_the_headline_says_who_is_believed_and_how_much_is_doubted(report, simulated):
    doubtful = int((simulated.labels["posterior"] < 0.5).sum())
    text = text_of(report.html)
    assert "10 annotators gave 3,900 labels." in text
    assert re.search(r"careful-\d is believed most \(0\.9\d\), adversarial-1 least \(0\.(19|20|21)\)", text)
    assert f"{doubtful} labels ({round(100 * doubtful / 3900)}%) are doubtful." in text


def test_the_same_inputs_give_the_same_bytes_whatever_the_row_order(simulated, report):
    again = build_report(replace(simulated, labels=simulated.labels.sample(frac=1, random_state=1)))
    assert again.html == report.html
    assert again.doubtful == report.doubtful


def test_files_are_written_whole_and_enriched(report, simulated, tmp_path):
    write_report(report, tmp_path)
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == report.html
    doubtful = list(read_jsonl(tmp_path / "doubtful_labels.jsonl"))
    assert len(doubtful) == (simulated.labels["posterior"] < 0.5).sum()
    assert [row["posterior"] for row in doubtful] == sorted(row["posterior"] for row in doubtful)
    written = read_json(tmp_path / "reliability.json")
    assert {**written, "annotators": []} == {**simulated.reliability, "annotators": []}
    for entry, original in zip(written["annotators"], simulated.reliability["annotators"], strict=True):
        assert original.items() <= entry.items()
        assert entry["agreement_with_gold"] == pytest.approx(TRUTH[entry["annotator_id"]], abs=0.06)
        assert 0 < entry["majority_comparisons"] <= entry["gold_comparisons"] == entry["annotations"]
        assert entry["mean_posterior"] == pytest.approx(entry["reliability"], abs=0.005)


def test_hostile_text_is_escaped_everywhere_and_the_files_are_valid(tmp_path):
    report = build_report(hostile_inputs())
    assert "<script" not in report.html
    assert "&lt;script&gt;window.hacked=1" in report.html
    assert report.html.count("</style>") == 1
    assert "{{7*7}}" in report.html
    assert not re.search("[\x00\u202e\ud800-\udfff]", report.html)
    write_report(report, tmp_path)
    assert [row["preference"] for row in read_jsonl(tmp_path / "doubtful_labels.jsonl")] == ["a", "b"]
    assert len(read_json(tmp_path / "reliability.json")["annotators"]) == 2


def test_the_page_has_no_script_and_no_address_to_fetch(report):
    assert "<script" not in report.html
    assert not re.search(r"https?://|url\((?!#)|@import|src=", report.html)
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:" in report.html


def test_ten_thousand_annotators_make_a_bounded_page_that_says_what_it_leaves_out():
    labels = pd.DataFrame(
        [label(f"c{i}", f"worker-{i:05}", "ab"[i % 2], 0.4 + i / 20_000, shown_first="a") for i in range(10_000)]
    )
    report = build_report(report_inputs(labels))
    assert len(report.html) < 1_000_000
    assert len(report.reliability["annotators"]) == 10_000
    text = text_of(report.html)
    assert "9,560 further annotators stand in reliability.json" in text
    assert "worker-09999" in text
    assert "worker-00000" in text
    assert "They cannot be told apart by these labels." in text
    assert "Nobody can be told from a coin: every interval contains ½." in text
    assert "not identifiable" in text
    assert "Nobody judged the same comparison as somebody else" in text


def test_only_the_asked_number_of_doubtful_labels_is_shown_and_all_are_listed():
    labels = simulated_labels(comparisons=60)
    report = build_report(replace(trained_inputs(labels), doubtful=3))
    assert report.html.count('<article class="label">') == 3 < len(report.doubtful)
    assert f"The 3 least believed of {len(report.doubtful)} doubtful labels" in report.html


def test_inputs_are_collected_from_a_trainings_record(tmp_path):
    labels = simulated_labels(comparisons=20)
    labels.to_parquet(tmp_path / "posteriors.parquet", index=False)
    write_json(tmp_path / "reliability.json", record_of(labels))
    write_jsonl(tmp_path / "history.jsonl", [{"step": 5, "epoch": 1.0, "loss": 0.6}])
    settings = load_settings(overrides=["train.loss=ipo", "train.log_every=7"])
    simulated = inputs_from_record(tmp_path, settings, "simulated")
    assert simulated.true_reliability == settings.simulation.reliabilities
    assert {("train.loss", "ipo"), ("train.log_every", "7"), ("reliability.initial", "0.9")} <= set(simulated.settings)
    assert "train.warmup" not in dict(simulated.settings)
    own = inputs_from_record(tmp_path, settings, "votes.jsonl")
    assert own.true_reliability is None
    assert "Annotations from votes.jsonl" in build_report(own).html


def test_plain_training_claims_no_reliabilities():
    labels = pd.DataFrame([label(f"c{i}", "ann", posterior=1.0) for i in range(30)])
    text = text_of(build_report(report_inputs(labels, plain_record(labels))).html)
    assert "Every label was believed: this run estimated no reliabilities." in text
    assert "Eq. 7" not in text
    assert "starting value" not in text


def test_data_without_annotators_is_not_called_one_person():
    labels = simulated_labels(300, 1, {"everyone": 0.9})
    text = text_of(build_report(trained_inputs(labels)).html)
    assert re.search(
        r"The data names no annotators: its 300 labels share one reliability, 0\.\d\d \(90% interval", text
    )
    few = pd.DataFrame([label(f"c{i}", "everyone", "ab"[i % 2]) for i in range(30)])
    text = text_of(build_report(report_inputs(few, history=[])).html)
    assert "which cannot be told from a coin’s." in text
    assert "No label is doubtful." in text
    assert "No label has a posterior below ½." in text
    assert "No training metrics were logged." in text


def test_importing_the_package_loads_neither_torch_nor_mlflow():
    code = (
        "import sys, repo.reporting.report, repo.reporting.validation_page;"
        "assert not {'torch', 'mlflow', 'great_expectations', 'kfp', 'datasets'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_retraining_says_who_has_changed_who_is_new_and_who_is_gone(simulated):
    rows = [
        drift_row("hasty-1", before=0.8, now=0.2, odds=5.3, changed=True, beyond=0.41),
        *(drift_row(f"careful-{i}") for i in range(1, 41)),
    ]
    drift = {"version": "7", "least_odds": 1000.0, "annotators": rows, "new": ["<b>new</b>"], "gone": ["old"]}
    html = build_report(replace(simulated, drift=drift)).html
    text = text_of(html[html.index('id="drift"') : html.index('id="doubtful"')])
    assert "1 annotator has another reliability than before: hasty-1." in text
    assert "20 more annotators" not in text
    assert "21 more annotators without a change" in text
    assert "New annotators: &lt;b&gt;new&lt;/b&gt;" in text
    assert "Without a vote this time: old." in text
    assert text.index("hasty-1 changed") < text.index("careful-1")


def test_a_retraining_in_which_nobody_changed_says_so(simulated):
    drift = {"version": "7", "least_odds": 1000.0, "annotators": [drift_row("ann")], "new": [], "gone": []}
    text = text_of(build_report(replace(simulated, drift=drift)).html)
    assert (
        "Changes since version 7 Nobody’s reliability has changed: nobody’s new votes are 1,000 times likelier" in text
    )


def test_a_training_on_its_own_has_no_section_on_changes(report):
    assert 'id="drift"' not in report.html


def drift_row(name, before=0.9, now=0.9, odds=-1.2, changed=False, beyond=0.0):
    return {
        "annotator": name,
        "votes": 30.0,
        "before": before,
        "before_interval": [before - 0.02, before + 0.02],
        "now": now,
        "now_interval": [now - 0.05, now + 0.05],
        "odds": odds,
        "changed": changed,
        "beyond": beyond,
    }


def test_where_everybody_is_pinned_the_report_says_that_nothing_was_estimated():
    text = text_of(build_report(trained_inputs(simulated_labels(30), pinned=TRUTH)).html)
    assert "everybody’s reliability was given beforehand, and none was estimated" in text
