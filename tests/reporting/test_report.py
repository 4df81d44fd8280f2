import re
import subprocess
import sys

import pandas as pd
import pytest
from reporting_examples import TRUTH, hostile_inputs, label, reliability_json, report_inputs, simulated_labels

from repo.files import read_json, read_jsonl, write_json, write_jsonl
from repo.reporting.report import build_report, write_report
from repo.reporting.report import report_inputs as inputs_from_record
from repo.settings import load_settings


def text_of(html):
    body = re.sub(r"<style>.*?</style>|<svg.*?</svg>", "", html, flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", "", body))


def test_the_headline_says_who_is_believed_and_how_much_is_doubted(report, simulated):
    doubtful = int((simulated.labels["posterior"] < 0.5).sum())
    text = text_of(report.html)
    assert "10 annotators gave 3,900 labels." in text
    assert re.search(r"careful-\d is believed most \(0\.9\d\), adversarial-1 least \(0\.1\d\)", text)
    assert f"{doubtful} labels ({round(100 * doubtful / 3900)}%) are doubtful." in text


def test_the_same_inputs_give_the_same_bytes_whatever_the_row_order(simulated, report):
    again = build_report(report_inputs(simulated_labels(), true_reliability=TRUTH))
    assert again.html == report.html
    assert again.doubtful == report.doubtful


def test_files_are_written_whole_and_enriched(report, simulated, tmp_path):
    write_report(report, tmp_path)
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == report.html
    doubtful = list(read_jsonl(tmp_path / "doubtful_labels.jsonl"))
    assert len(doubtful) == (simulated.labels["posterior"] < 0.5).sum()
    assert [row["posterior"] for row in doubtful] == sorted(row["posterior"] for row in doubtful)
    written = read_json(tmp_path / "reliability.json")
    assert {k: written[k] for k in ("schema_version", "estimator", "initial", "step_size")} == {
        k: simulated.reliability[k] for k in ("schema_version", "estimator", "initial", "step_size")
    }
    for entry, original in zip(written["annotators"], simulated.reliability["annotators"], strict=True):
        assert original.items() <= entry.items()
        assert entry["agreement_with_gold"] == pytest.approx(TRUTH[entry["annotator_id"]], abs=0.06)
        assert 0 < entry["majority_comparisons"] <= entry["gold_comparisons"] == entry["annotations"]
        assert entry["mean_posterior"] == pytest.approx(entry["reliability"])


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
    labels = pd.DataFrame([label(f"c{i}", f"worker-{i:05}", "ab"[i % 2], 0.4 + i / 20_000) for i in range(10_000)])
    report = build_report(report_inputs(labels))
    assert len(report.html) < 1_000_000
    assert len(report.reliability["annotators"]) == 10_000
    text = text_of(report.html)
    assert "9,560 further annotators stand in reliability.json" in text
    assert "worker-09999" in text
    assert "worker-00000" in text
    assert "They gave too few labels each to be told apart." in text
    assert "Nobody judged the same comparison as somebody else" in text


def test_only_the_asked_number_of_doubtful_labels_is_shown_and_all_are_listed():
    labels = simulated_labels(comparisons=60)
    report = build_report(report_inputs(labels, doubtful=3))
    assert report.html.count('<article class="label">') == 3 < len(report.doubtful)
    assert f"The 3 least believed of {len(report.doubtful)} doubtful labels" in report.html


def test_inputs_are_collected_from_a_trainings_record(tmp_path):
    labels = simulated_labels(comparisons=20)
    labels.to_parquet(tmp_path / "posteriors.parquet", index=False)
    write_json(tmp_path / "reliability.json", reliability_json(labels))
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
    text = text_of(build_report(report_inputs(labels, reliability=reliability_json(labels, "none"))).html)
    assert "Every label was believed: this run estimated no reliabilities." in text
    assert "Eq. 7" not in text
    assert "starting value" not in text


def test_data_without_annotators_is_not_called_one_person():
    labels = pd.DataFrame([label(f"c{i}", "everyone") for i in range(30)])
    text = text_of(build_report(report_inputs(labels, history=[])).html)
    assert "The data names no annotators: its 30 labels share one reliability, 0.90." in text
    assert "No label has a posterior below ½." in text
    assert "No training metrics were logged." in text


def test_an_average_reliability_below_one_half_is_called_suspect():
    labels = pd.DataFrame([label(f"c{i}", f"k{i % 2}", posterior=0.3) for i in range(40)])
    assert "Check these results before using them." in build_report(report_inputs(labels)).html


def test_importing_the_package_loads_neither_torch_nor_mlflow():
    code = (
        "import sys, repo.reporting.report, repo.reporting.validation_page;"
        "assert not {'torch', 'mlflow', 'great_expectations', 'kfp', 'datasets'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
