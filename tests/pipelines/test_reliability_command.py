"""`repo-pipeline reliability` as a user calls it: real files in, reliabilities and labels out, mistakes as text."""

import csv
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result

from pipelines.cli import main
from repo.annotations.simulation import simulate
from repo.files import read_json, read_jsonl, write_jsonl
from repo.reliability.estimator import AnnotatorReliability
from repo.settings import SimulationSettings

SHARED = Path(__file__).resolve().parents[2].parent / "shared/data"
WRITTEN = {"reliability.json", "reliability_state.json", "labels.csv", "report.html", "doubtful_labels.jsonl"}

Command = Callable[..., Result]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run `repo-pipeline reliability` in an empty directory; this process has loaded the libraries already."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str | Path, code: int = 0) -> Result:
        done = CliRunner().invoke(main, ["reliability", *map(str, arguments)])
        assert done.exit_code == code, done.output
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done

    return run


def write_crowd(
    path: Path, tasks: int = 60, worker: str = "w", classes: tuple[str, str] = ("0", "1")
) -> dict[str, int]:
    """Write the labels of five workers, of whom the last is mostly wrong; returns the truth by task."""
    random = np.random.default_rng(3)
    truth = {f'task,\n"{number}"': int(random.integers(2)) for number in range(tasks)}
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["task", "worker", "label"])
        for task, answer in truth.items():
            for number, eta in enumerate((0.95, 0.9, 0.8, 0.7, 0.15)):
                rows.writerow([task, f"{worker}{number}", classes[answer if random.random() < eta else 1 - answer]])
    return truth


def read_labels(directory: Path) -> list[dict[str, str]]:
    with (directory / "labels.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def reliabilities(directory: Path) -> dict[str, float]:
    return {row["annotator_id"]: row["reliability"] for row in read_json(directory / "reliability.json")["annotators"]}


def test_a_crowd_table_gives_every_file_and_labels_that_are_right(command: Command, tmp_path: Path) -> None:
    truth = write_crowd(tmp_path / "crowd.csv", classes=("no", "yes"))
    done = command("--annotations", "crowd.csv", "--output", "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == WRITTEN
    labels = read_labels(tmp_path / "out")
    assert [row["comparison"] for row in labels] == list(truth)
    assert {row["votes"] for row in labels} == {"5"}
    assert all(0.5 <= float(row["posterior"]) <= 1 for row in labels)
    right = [row["label"] == ("no", "yes")[answer] for row, answer in zip(labels, truth.values(), strict=True)]
    assert np.mean(right) > 0.9
    found = reliabilities(tmp_path / "out")
    assert found["w4"] < 0.35
    assert found["w0"] > 0.8
    for name, value in found.items():
        assert re.search(rf"^{name} +{value:.3f} ", done.stdout, re.MULTILINE)
    assert "out/report.html" in done.stdout


def test_it_is_the_library_estimate(command: Command, tmp_path: Path) -> None:
    write_crowd(tmp_path / "crowd.csv")
    record = json.loads(command("--annotations", "crowd.csv", "--json").stdout)
    frame = pd.read_csv("crowd.csv", dtype=str)
    ours = AnnotatorReliability().fit(
        frame["worker"].tolist(), np.where(frame["label"] == "1", 1, -1), frame["task"].tolist()
    )
    expected = dict(zip(ours.annotators_, ours.reliability_.tolist(), strict=True))
    assert {row["annotator_id"]: row["reliability"] for row in record["annotators"]} == pytest.approx(expected)
    assert record["margins"] == "none"
    assert not (tmp_path / "out").exists()


def test_json_is_what_the_file_holds_and_nothing_else_is_on_stdout(command: Command, tmp_path: Path) -> None:
    write_crowd(tmp_path / "crowd.csv")
    with open("crowd.csv", "a") as file:
        file.write("extra,,1\n")
    done = command("--annotations", "crowd.csv", "--output", "out", "--json")
    assert json.loads(done.stdout) == read_json(tmp_path / "out/reliability.json")
    assert "1 of 301 rows are left out, the first: crowd.csv, line " in done.stderr
    assert [row["reasons"] for row in read_jsonl(tmp_path / "out/quarantine.jsonl")] == [["worker is missing"]]


@pytest.fixture
def simulated(tmp_path: Path) -> pd.DataFrame:
    """One vote a comparison, written to votes.jsonl; with the response (1: response_a) that is better."""
    rows = pd.DataFrame(simulate(SimulationSettings(comparisons=400, annotations_per_comparison=1, prompts=100)))
    write_jsonl(tmp_path / "votes.jsonl", rows.drop(columns="gold").to_dict("records"))
    return rows.assign(better=np.where(rows["gold"] == "a", 1, -1), said=np.where(rows["preference"] == "a", 1, -1))


def test_margins_tell_who_is_right_where_nobody_overlaps(
    command: Command, simulated: pd.DataFrame, tmp_path: Path
) -> None:
    scale = np.abs(np.random.default_rng(0).normal(2, 1, len(simulated))) / 10
    of_a = simulated["better"] * scale
    pd.DataFrame({"comparison_id": simulated["comparison_id"], "margin": of_a}).to_csv("pairs.csv", index=False)
    pd.DataFrame({"line": range(1, 401), "margin": of_a * simulated["said"]}).to_json(
        "lines.jsonl", orient="records", lines=True
    )
    agreement = (simulated["better"] == simulated["said"]).groupby(simulated["annotator_id"]).mean()
    weak = ("--set", "reliability.prior_strength=1")  # the population's prior would draw them together
    command("--annotations", "votes.jsonl", "--margins", "pairs.csv", "--output", "weak", *weak)
    assert (pd.Series(reliabilities(tmp_path / "weak")) - agreement).abs().mean() < 0.02
    command("--annotations", "votes.jsonl", "--margins", "pairs.csv", "--output", "out")
    found = pd.Series(reliabilities(tmp_path / "out"))
    assert found.std() < agreement.std()
    assert found.corr(agreement) > 0.98
    assert read_json(tmp_path / "out/reliability.json")["margins"] == "given"
    by_line = json.loads(command("--annotations", "votes.jsonl", "--margins", "lines.jsonl", "--json").stdout)
    assert {row["annotator_id"]: row["reliability"] for row in by_line["annotators"]} == pytest.approx(found.to_dict())
    names = np.where(simulated["better"] == 1, "response_a", "response_b")
    given = pd.DataFrame(read_labels(tmp_path / "out"))
    assert (given["label"].to_numpy() == names).mean() > 0.98
    without = json.loads(command("--annotations", "votes.jsonl", "--json").stdout)
    assert "not identifiable" in " ".join(without["warnings"])


def test_gold_turns_a_crowd_that_is_mostly_wrong(command: Command, tmp_path: Path) -> None:
    truth = write_crowd(tmp_path / "crowd.csv")
    frame = pd.read_csv("crowd.csv", dtype=str)
    frame["label"] = np.where(frame["label"] == "1", "0", "1")
    frame.to_csv("wrong.csv", index=False)
    pd.DataFrame({"item": list(truth), "truth": list(truth.values())})[:30].to_csv("truth.csv", index=False)
    command("--annotations", "wrong.csv", "--output", "alone")
    command("--annotations", "wrong.csv", "--gold", "truth.csv", "--output", "anchored")
    answers = [str(answer) for answer in truth.values()]
    right = {
        name: np.mean([r["label"] == a for r, a in zip(read_labels(tmp_path / name), answers, strict=True)])
        for name in ("alone", "anchored")
    }
    assert right["alone"] < 0.1
    assert right["anchored"] > 0.9
    assert read_json(tmp_path / "anchored/reliability.json")["anchors"]["gold_comparisons"] == 30


def test_gold_counts_beside_the_state_of_strangers(command: Command, tmp_path: Path) -> None:
    truth = write_crowd(tmp_path / "crowd.csv")
    frame = pd.read_csv("crowd.csv", dtype=str)
    frame.assign(worker="stranger-" + frame["worker"]).to_csv("strangers.csv", index=False)
    frame["label"] = np.where(frame["label"] == "1", "0", "1")
    frame.to_csv("wrong.csv", index=False)
    pd.DataFrame({"item": list(truth), "truth": list(truth.values())})[:6].to_csv("truth.csv", index=False)
    command("--annotations", "strangers.csv", "--output", "earlier")
    state = ("--prior-state", "earlier/reliability_state.json")
    command("--annotations", "wrong.csv", "--gold", "truth.csv", *state, "--output", "anchored")
    answers = [str(answer) for answer in truth.values()]
    given = [row["label"] for row in read_labels(tmp_path / "anchored")]
    assert np.mean([label == answer for label, answer in zip(given, answers, strict=True)]) > 0.9
    assert read_json(tmp_path / "anchored/reliability.json")["prior"]["annotators"] == 5


def test_one_label_each_gives_everybody_the_common_value(command: Command, tmp_path: Path) -> None:
    random = np.random.default_rng(6)
    truth = random.integers(2, size=120)
    rows = [
        (task, f"p{task}-{k}", answer if random.random() < 0.85 else 1 - answer)
        for task, answer in enumerate(truth)
        for k in range(5)
    ]
    pd.DataFrame(rows, columns=["task", "worker", "label"]).to_csv("crowd.csv", index=False)
    done = command("--annotations", "crowd.csv", "--output", "out")
    assert "do not tell annotators apart: everybody gets the common value 0.8" in done.output
    found = read_json(tmp_path / "out/reliability.json")
    assert not found["population"]["told_apart"]
    values = [row["reliability"] for row in found["annotators"]]
    assert max(values) - min(values) < 1e-3
    assert abs(np.mean(values) - 0.85) < 0.04


def test_the_annotations_own_gold_is_an_anchor_only_when_asked(command: Command, tmp_path: Path) -> None:
    rows = list(simulate(SimulationSettings(comparisons=12, prompts=6)))
    write_jsonl(tmp_path / "votes.jsonl", rows)
    (tmp_path / "one.csv").write_text("comparison_id,gold\nsimulated-0,response_a\n")
    counts = []
    for more in ([], ["--gold", "one.csv"], ["--set", "reliability.use_gold=true"]):
        record = json.loads(command("--annotations", "votes.jsonl", *more, "--json").stdout)
        counts.append(record["anchors"]["gold_comparisons"])
    assert counts == [0, 1, 12]


def test_an_earlier_state_is_the_prior_and_fades(command: Command, tmp_path: Path) -> None:
    write_crowd(tmp_path / "crowd.csv")
    command("--annotations", "crowd.csv", "--output", "first")
    write_crowd(tmp_path / "few.csv", tasks=12)
    state = ["--prior-state", "first/reliability_state.json"]
    widths = []
    for more in ([], [*state, "--set", "reliability.forgetting=0.7"], state):
        record = json.loads(command("--annotations", "few.csv", *more, "--json").stdout)
        widths.append(np.mean([row["interval"][1] - row["interval"][0] for row in record["annotators"]]))
    assert widths[0] > widths[1] > widths[2]
    assert record["prior"] == {"annotators": 5, "forgetting": 0.0}


def test_chosen_and_rejected_are_named_as_the_first_row_has_them(command: Command, tmp_path: Path) -> None:
    rows = []
    for number in range(12):
        pair = [f"answer {number}", f"other {number}"]
        for voter in range(3):
            chosen = pair[::-1] if voter == 0 and number % 2 else pair
            rows.append(
                {"prompt": f"q{number}", "chosen": chosen[0], "rejected": chosen[1], "annotator_id": f"w{voter}"}
            )
    write_jsonl(tmp_path / "votes.jsonl", rows)
    command("--annotations", "votes.jsonl", "--output", "out")
    labels = [row["label"] for row in read_labels(tmp_path / "out")]
    assert labels == ["chosen", "rejected"] * 6


def test_ids_that_mean_something_to_csv_html_or_a_terminal_pass_through(command: Command, tmp_path: Path) -> None:
    evil = "=1+1,<script>\x1b[31m\n"
    write_crowd(tmp_path / "crowd.csv", worker=evil)
    done = command("--annotations", "crowd.csv", "--output", "out")
    assert f"{evil}0" in reliabilities(tmp_path / "out")
    assert "\x1b" not in done.stdout + done.stderr
    assert "<script>" not in (tmp_path / "out/report.html").read_text()


def test_many_annotators_are_shown_by_both_ends(command: Command, tmp_path: Path) -> None:
    rows = ["item,worker,label", *(f"{t},{w},{int((t + (w % 5 == t % 5)) % 2)}" for t in range(12) for w in range(40))]
    (tmp_path / "crowd.csv").write_text("\n".join(rows))
    done = command("--annotations", "crowd.csv")
    assert "… 20 more …" in done.stdout
    assert "--output DIR" in done.stdout


def test_an_earlier_output_is_replaced_and_anything_else_is_left_alone(command: Command, tmp_path: Path) -> None:
    write_crowd(tmp_path / "crowd.csv")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/quarantine.jsonl").write_text("{}\n")
    command("--annotations", "crowd.csv", "--output", "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == WRITTEN
    (tmp_path / "out/thesis.tex").write_text("all of it")
    done = command("--annotations", "crowd.csv", "--output", "out", code=1)
    assert "thesis.tex" in done.stderr


def test_a_failure_while_writing_leaves_nothing_behind(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_crowd(tmp_path / "crowd.csv")
    before = set(tmp_path.iterdir())
    monkeypatch.setattr("pipelines.reliability.labels_csv", lambda outcome: os.stat("no such file"))
    assert "cannot be written" in command("--annotations", "crowd.csv", "--output", "out", code=1).stderr
    assert set(tmp_path.iterdir()) == before


def test_a_batch_that_fails_leaves_its_quarantine_and_no_earlier_output_is_lost(
    command: Command, tmp_path: Path
) -> None:
    write_crowd(tmp_path / "crowd.csv", tasks=20)
    command("--annotations", "crowd.csv", "--output", "earlier")
    with open("crowd.csv", "a") as file:
        file.write("t,,1\n" * 40)
    assert "a new --output DIR" in command("--annotations", "crowd.csv", "--output", "earlier", code=1).stderr
    assert {path.name for path in (tmp_path / "earlier").iterdir()} == WRITTEN
    done = command("--annotations", "crowd.csv", "--output", "out", code=1)
    assert "at most 20.0% of rows in quarantine" in done.stderr
    assert "quarantine.jsonl is in out" in done.stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["quarantine.jsonl"]
    assert len(list(read_jsonl(tmp_path / "out/quarantine.jsonl"))) == 40


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--annotations", "nowhere.csv"], "nowhere.csv"),
        (["--annotations", "three.csv"], "'maybe' (1 times)"),
        (["--margins", "short.csv"], "no margin for 59 of 60 comparisons"),
        (["--gold", "short.csv"], "truth, gold"),
        (["--prior-state", "nowhere.json"], "nowhere.json"),
        (["--prior-state", "crowd.csv"], "not a reliability state"),
        (["--set", "reliability.estimator=none"], "estimates nothing"),
        (["--set", "reliability.use_gold=true"], "--gold FILE"),
        (["--set", "reliability.pinned={w0: .9, w1: .9, w2: .9, w3: .9, w4: .9}"], "come from pinned annotators"),
        (["--set", "reliability.coinz=2"], "reliability.coins"),
        (["--output", "crowd.csv"], "not a directory"),
        (["--output", "crowd.csv/out"], "not a directory"),
    ],
    ids=lambda value: "" if isinstance(value, str) else " ".join(value)[:40],
)
def test_mistakes_are_told_with_a_remedy(command: Command, tmp_path: Path, arguments: list[str], words: str) -> None:
    first = next(iter(write_crowd(tmp_path / "crowd.csv")))
    (tmp_path / "three.csv").write_text("task,worker,label\n1,1,yes\n1,2,no\n1,3,maybe\n2,1,yes\n2,2,no\n")
    pd.DataFrame({"task": [first], "margin": [1.0]}).to_csv("short.csv", index=False)
    before = {path.name for path in tmp_path.iterdir()}
    given = {"--annotations": "crowd.csv"} | dict(zip(arguments[::2], arguments[1::2], strict=True))
    done = command(*(part for pair in given.items() for part in pair), code=1)
    assert words in done.stderr
    assert "\n  → " in done.stderr
    assert done.stdout == ""
    assert {path.name for path in tmp_path.iterdir()} == before


def test_help_comes_with_examples_and_without_the_heavy_libraries(repo_pipeline: Callable[..., Any]) -> None:
    done = repo_pipeline("reliability", "-h")
    assert done.returncode == 0
    assert "repo-pipeline reliability --annotations votes.jsonl --margins margins.csv" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100


def test_a_published_crowd_set_is_labelled_as_well_as_by_its_best_estimators(command: Command, tmp_path: Path) -> None:
    data = SHARED / "crowd/bluebird"
    if not data.is_dir():
        pytest.skip("shared/data/crowd is not there")
    command("--annotations", data / "label.csv", "--output", "out")
    truth = pd.read_csv(data / "truth.csv").set_index("item")["truth"]
    labels = pd.read_csv(tmp_path / "out/labels.csv").set_index("comparison")["label"]
    assert (labels.reindex(truth.index) == truth).mean() >= 0.889
