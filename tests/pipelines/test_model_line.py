"""One line of models over several runs: the exam it owns, what the gate believes, and whose line it is."""

import json
import random
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from mlflow import MlflowClient
from pipeline_runs import SMALL, Run, options

from repo.annotations.simulation import simulate
from repo.files import read_json, write_jsonl
from repo.settings import SimulationSettings
from repo.tracking.store import Store

pytestmark = pytest.mark.slow

ROWS = list(simulate(SimulationSettings(comparisons=120, prompts=60, utility_scale=1.0)))
OTHER = [
    {**row, "comparison_id": f"other-{row['comparison_id']}"}
    for row in simulate(SimulationSettings(comparisons=80, prompts=40, seed=7))
]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    write_jsonl(path, rows)
    return path


def without_gold(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key != "gold"} for row in rows]


def artifacts(store: Path, name: str) -> list[Path]:
    return sorted(store.glob(f"artifacts/**/{name}"), key=lambda path: path.stat().st_mtime)


@pytest.fixture(scope="module")
def line(repo_pipeline: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three runs: the first one of the line; the same data again; other data that hold the exam's rows once more."""
    folder = tmp_path_factory.mktemp("line")
    first = write(folder / "first.jsonl", [*without_gold(ROWS[1:]), ROWS[0]])
    shuffled = random.Random(0).sample(without_gold(ROWS), len(ROWS))
    later = write(folder / "later.jsonl", [*without_gold(OTHER), *shuffled])
    usual = (*SMALL[:-1], "gate.min_judgements=5")
    last = ("data.held_out=0.02", "reliability.prior_state=models:/repo-policy@champion")
    for data, settings in ((first, usual), (first, usual), (later, (*usual, *last))):
        done = repo_pipeline("run", "--data", data, "--store", folder / "store", *options(settings))
        assert done.returncode == 0, done.stdout + done.stderr
        (folder / f"output-{len(list(folder.glob('output-*')))}.txt").write_text(done.stdout)
    return folder


@pytest.fixture
def client(line: Path, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    for name, value in Store(line / "store").environment().items():
        monkeypatch.setenv(name, value)
    return MlflowClient()


def test_every_version_names_the_one_exam_of_its_line(line: Path, client: MlflowClient) -> None:
    versions = [client.get_model_version("repo-policy", number).tags for number in ("1", "2", "3")]
    assert len({(tags["exam"], tags["exam_digest"]) for tags in versions}) == 1
    assert len(artifacts(line / "store", "exam.json")) == 1
    owned = json.loads(client.get_registered_model("repo-policy").tags["exam"])
    assert (owned["mlflow_uri"], owned["digest"]) == (versions[0]["exam"], versions[0]["exam_digest"])


def test_what_is_judged_never_trains_also_when_later_files_hold_it_again(line: Path) -> None:
    exam = pd.read_parquet(artifacts(line / "store", "exam/annotations.parquet")[0])
    trained = [pd.read_parquet(path) for path in artifacts(line / "store", "split/train.parquet")]
    assert len(trained) == 3
    for table in trained:
        assert not set(table["prompt"]) & set(exam["prompt"])
    assert set(trained[2]["prompt"]) & {str(row["prompt"]) for row in OTHER}
    assert "of the model line's evaluation set are left out" in (line / "output-2.txt").read_text()


def test_a_later_run_may_begin_with_what_the_champion_knows_of_annotators(line: Path) -> None:
    reports = [read_json(path) for path in artifacts(line / "store", "report/reliability.json")]
    assert [bool(report["prior"]) for report in reports] == [False, False, True]


def test_champion_and_candidate_sit_the_same_exam(line: Path) -> None:
    found = [read_json(path) for path in artifacts(line / "store", "evaluation.json")]
    exam = read_json(artifacts(line / "store", "exam.json")[0])
    assert {evaluation["comparisons"] for evaluation in found} == {exam["comparisons"]}
    champions = [evaluation["policies"]["champion"]["consensus"] for evaluation in found[1:]]
    assert champions[0] == champions[1] == found[0]["policies"]["candidate"]["consensus"]


def test_the_gate_looks_at_annotators_and_with_a_champion_at_what_became_of_them(line: Path) -> None:
    verdicts = [read_json(path) for path in artifacts(line / "store", "verdict.json")]
    names = [{rule["name"] for rule in verdict["rules"]} for verdict in verdicts]
    assert all("leave_one_out" in rules for rules in names)
    assert ["large_annotators" in rules for rules in names] == [False, True, True]
    [page, *_] = artifacts(line / "store", "evaluation.md")
    assert "Without one annotator's votes" in page.read_text()


def test_one_row_of_gold_is_not_what_the_gate_looks_at(line: Path) -> None:
    assert {read_json(path)["target"] for path in artifacts(line / "store", "evaluation.json")} == {"consensus"}


def test_the_same_policy_again_is_no_gain(line: Path) -> None:
    verdicts = [read_json(path) for path in artifacts(line / "store", "verdict.json")]
    again = next(rule for rule in verdicts[1]["rules"] if rule["name"] == "gain_over_champion")
    assert not again["passed"]
    assert "gain in accuracy over the champion 0.000 (-0." in again["reason"]
    assert [verdict["decision"] for verdict in verdicts[:2]] == ["promote", "reject"]


def test_a_toy_never_replaces_a_real_model(line: Path, repo_pipeline: Run) -> None:
    name = ("registry.model=repo-policy",)
    done = repo_pipeline("demo", "--store", line / "store", *options((*SMALL, *name)))
    assert done.returncode == 1
    assert "repo-policy holds models of real annotations" in done.stderr
    assert "registry.model" in done.stderr.split("→")[1]
    assert len(artifacts(line / "store", "verdict.json")) == 3


def test_an_exam_that_is_gone_is_told_before_any_training(line: Path, repo_pipeline: Run, tmp_path: Path) -> None:
    """Stands last of the tests on this store."""
    exam = artifacts(line / "store", "exam.json")[0].parent
    exam.rename(tmp_path / "kept")
    runs = len(artifacts(line / "store", "split.json"))
    done = repo_pipeline("run", "--data", line / "first.jsonl", "--store", line / "store", *options(SMALL))
    (tmp_path / "kept").rename(exam)
    assert done.returncode == 1
    assert "the evaluation set of this model line cannot be had" in done.stderr
    assert "evaluation.exam=renew" in done.stderr.split("→")[1]
    assert len(artifacts(line / "store", "split.json")) == runs


def test_too_few_judgements_reject(repo_pipeline: Run, tmp_path: Path) -> None:
    data = write(tmp_path / "votes.jsonl", ROWS[:150])
    settings = tuple(s for s in SMALL if not s.startswith("gate.min_judgements"))
    done = repo_pipeline("run", "--data", data, "--store", tmp_path / "store", *options(settings))
    assert done.returncode == 0, done.stderr
    assert "verdict: reject" in done.stdout
    assert "at least 30 asked" in done.stdout


def test_a_few_held_out_prompts_that_all_agree_do_not_promote_however_often_each_was_judged(
    repo_pipeline: Run, tmp_path: Path
) -> None:
    """Three people always prefer the same words: every answer is met, and 42 of them are not too few."""
    rows = [
        {
            "prompt": f"prompt {number}",
            "response_a": f"yes, of course, gladly {number}",
            "response_b": f"no, never, go away {number}",
            "preference": "a",
            "annotator_id": name,
        }
        for number in range(60)
        for name in ("ann", "bob", "cem")
    ]
    learnt = (*(s for s in SMALL if not s.startswith("gate.")), "train.epochs=4", "gate.target=labels")
    data = write(tmp_path / "votes.jsonl", rows)
    done = repo_pipeline("run", "--data", data, "--store", tmp_path / "store", *options(learnt))
    assert done.returncode == 0, done.stderr
    [verdict] = [read_json(path) for path in artifacts(tmp_path / "store", "verdict.json")]
    assert verdict["decision"] == "reject"
    assert verdict["reasons"] == ["they are on 14 held-out prompts, at least 20 asked"]
    accuracy = next(rule["reason"] for rule in verdict["rules"] if rule["name"] == "accuracy")
    assert "1.000 (0.8" in accuracy


def test_a_policy_that_is_not_finite_is_rejected_and_everything_ends(
    repo_pipeline: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One step of an enormous rate: its loss is finite, what it leaves behind is not."""
    data = write(tmp_path / "votes.jsonl", ROWS)
    broken = (
        "train.learning_rate=1e30",
        "train.weight_decay=1e10",
        "train.batch_size=1000",
        "train.epochs=1",
        "train.warmup=0",
    )
    done = repo_pipeline("run", "--data", data, "--store", tmp_path / "store", *options((*SMALL, *broken)))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "verdict: reject" in done.stdout
    assert "not finite: " in done.stdout
    monkeypatch.setenv("MLFLOW_TRACKING_URI", Store(tmp_path / "store").tracking_uri)
    client = MlflowClient()
    experiment = client.get_experiment_by_name("repo")
    assert {run.info.status for run in client.search_runs([experiment.experiment_id])} == {"FINISHED"}
    assert list(client.get_registered_model("repo-policy").aliases) == ["challenger"]
