"""`submit`: what Kubeflow is given, and what the screen tells of the run."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubeflow_server import Call, Fault, Kubeflow

from pipelines.compiling import COMPILED
from pipelines.kubeflow import submission
from pipelines.kubeflow.uploads import digest
from repo.settings import load_settings, to_parameters

DATA = "s3://bucket/votes.jsonl"


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submission, "PAUSE", 0.02)


def task(name: str, state: str, message: str = "") -> dict[str, Any]:
    return {
        "task_id": name,
        "display_name": name,
        "state": state,
        **({"error": {"message": message}} if message else {}),
    }


@pytest.mark.parametrize(
    ("option", "graph", "source"), [("--data", "training", "data"), ("--inbox", "retraining", "inbox")]
)
def test_a_run_gets_the_source_and_every_setting(
    call: Call, kubeflow: Kubeflow, option: str, graph: str, source: str
) -> None:
    done = call("submit", option, DATA, "--set", "train.loss=ipo", "--set", "policy.lora.rank=4", "--model", "mine")
    assert done.exit_code == 0, done.output
    (run,) = kubeflow.runs
    parameters = run["runtime_config"]["parameters"]
    settings = load_settings(None, ["train.loss=ipo", "policy.lora.rank=4", "registry.model=mine"])
    assert parameters == {source: DATA, "name": parameters["name"], **to_parameters(settings)}
    assert [pipeline["display_name"] for pipeline in kubeflow.pipelines] == [f"repo-{graph}"]
    spec, platform = yaml.safe_load_all((COMPILED / f"{graph}.yaml").read_text())
    assert kubeflow.versions[0]["pipeline_spec"] == {"pipeline_spec": spec, "platform_spec": platform}
    assert kubeflow.experiments[0]["display_name"] == settings.registry.experiment
    assert f"page: {kubeflow.url}/#/runs/details/{run['run_id']}" in done.stdout
    assert parameters["name"] in done.stdout
    assert "Run details" not in done.output


def test_the_same_pipeline_is_uploaded_once(call: Call, kubeflow: Kubeflow) -> None:
    assert "uploaded" in call("submit", "--data", DATA).stdout
    assert "already there" in call("submit", "--data", DATA).stdout
    assert [version["display_name"] for version in kubeflow.versions] == [digest("training")]
    assert len(kubeflow.calls("POST", "upload_version")) == 1
    assert len(kubeflow.runs) == 2
    assert len(kubeflow.experiments) == 1


@pytest.mark.parametrize("path", ["/pipelines$", "/upload_version", "/experiments"])
def test_two_that_upload_at_once_agree(call: Call, kubeflow: Kubeflow, path: str) -> None:
    kubeflow.faults.append(Fault("POST", path, 409, b'{"message": "Already exist error"}', done=True, times=1))
    done = call("submit", "--data", DATA)
    assert done.exit_code == 0, done.output
    assert len(kubeflow.runs) == len(kubeflow.versions) == len(kubeflow.experiments) == 1


def test_a_conflict_over_something_that_is_not_there_is_told(call: Call, kubeflow: Kubeflow) -> None:
    kubeflow.faults.append(Fault("POST", "/upload_version", 409, b'{"message": "Already exist error"}'))
    done = call("submit", "--data", DATA)
    assert done.exit_code == 1
    assert "there is one already (409): Already exist error" in done.stderr


def test_caching_is_fixed_in_the_compiled_pipelines() -> None:
    for graph in ("training", "retraining"):
        compiled = next(yaml.safe_load_all((COMPILED / f"{graph}.yaml").read_text()))
        dags = [compiled["root"]["dag"], *(entry["dag"] for entry in compiled["components"].values() if "dag" in entry)]
        steps = submission.steps_of(graph)
        tasks = [task for dag in dags for name, task in dag["tasks"].items() if name in steps]
        assert len(tasks) == len(steps)
        assert all(task["cachingOptions"] == {} for task in tasks)


def test_waiting_shows_each_steps_states_and_ends_well(call: Call, kubeflow: Kubeflow) -> None:
    kubeflow.states = [
        ("PENDING", []),
        ("RUNNING", [task("open-run", "RUNNING"), task("root-driver", "SUCCEEDED")]),
        ("RUNNING", [task("open-run", "SUCCEEDED"), task("validate", "RUNNING")]),
        ("SUCCEEDED", [task("open-run", "SUCCEEDED"), task("validate", "SUCCEEDED")]),
    ]
    done = call("submit", "--data", DATA, "--wait")
    assert done.exit_code == 0, done.output
    told = [line.split()[2:] for line in done.stdout.splitlines() if " s  " in line]
    assert told == [
        ["open-run", "running"],
        ["open-run", "succeeded"],
        ["validate", "running"],
        ["validate", "succeeded"],
    ]
    assert done.stdout.endswith("succeeded\n")


@pytest.mark.parametrize("state", ["FAILED", "CANCELED", "SKIPPED"])
def test_waiting_ends_with_an_error_where_the_run_does_not_succeed(call: Call, kubeflow: Kubeflow, state: str) -> None:
    kubeflow.states = [("RUNNING", []), (state, [task("train", "FAILED", "no GPU\nleft"), task("gate", "PENDING")])]
    done = call("submit", "--data", DATA, "--wait")
    assert done.exit_code == 1
    assert f": {state.lower()}" in done.stderr
    assert "train: no GPU left" in done.stderr
    assert "gate:" not in done.stderr


def test_a_server_that_is_away_for_a_while_does_not_end_the_wait(call: Call, kubeflow: Kubeflow) -> None:
    kubeflow.states = [("RUNNING", []), ("SUCCEEDED", [])]
    kubeflow.faults = [Fault(path="/runs/", status=503, times=2), Fault(path="/runs/", status=0, times=1)]
    done = call("submit", "--data", DATA, "--wait")
    assert done.exit_code == 0, done.output
    assert done.stdout.count("asked again") == 3


def test_a_server_that_stays_away_ends_it_and_the_page_is_known(call: Call, kubeflow: Kubeflow) -> None:
    kubeflow.faults = [Fault(path="/runs/", status=503)]
    done = call("submit", "--data", DATA, "--wait")
    assert done.exit_code == 1
    assert "(503)" in done.stderr
    assert "/#/runs/details/" in done.stdout


def test_json_is_all_there_is_on_standard_output(call: Call, kubeflow: Kubeflow) -> None:
    kubeflow.states = [("RUNNING", [task("train", "RUNNING")]), ("FAILED", [task("train", "FAILED", "no GPU")])]
    done = call("submit", "--data", DATA, "--wait", "--json")
    assert done.exit_code == 1
    told = json.loads(done.stdout)
    assert told["run_id"] == kubeflow.runs[0]["run_id"]
    assert told["state"] == "FAILED"
    assert told["steps"] == [{"name": "train", "state": "FAILED", "error": "no GPU"}]
    assert told["version"]["name"] == digest("training")


def test_an_interrupted_wait_leaves_the_run_alone(kubeflow: Kubeflow, call: Call) -> None:
    kubeflow.states = [("RUNNING", [task("train", "RUNNING")])]
    command = [sys.executable, "-m", "pipelines.cli", "submit", "--data", DATA, "--wait"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as waiting:
        assert waiting.stdout
        assert waiting.stderr
        while "  train  running" not in waiting.stdout.readline():
            assert waiting.poll() is None, waiting.stderr.read()
        waiting.send_signal(signal.SIGINT)
        assert waiting.wait(timeout=60) == 130
        assert f"the run goes on: {kubeflow.url}/#/runs/details/run-" in waiting.stderr.read()
    assert not kubeflow.calls("POST", "terminate")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--data", "votes.jsonl"], "votes.jsonl: a path; the steps run in pods"),
        (["--data", f"{DATA}, votes.csv"], "votes.csv: a path"),
        (["--data", " "], "no source named"),
        (["--inbox", "file:///inbox"], "file:///inbox: a path"),
        (["--data", "s3://key:secret-word@bucket/votes.jsonl"], "the source: s3://***@bucket/votes.jsonl holds"),
        (["--data", "https://host/votes.csv?sig=secret-word"], "https://host/votes.csv?*** holds"),
        (
            ["--data", DATA, "--set", "reliability.prior_state=s3://me:secret-word@b/state.json"],
            "reliability.prior_state: ",
        ),
        (["--data", DATA, "--inbox", DATA], "--data or --inbox, one of them"),
        ([], "--data or --inbox, one of them"),
    ],
)
def test_what_the_pods_cannot_see_or_nobody_may_see_is_refused(
    call: Call, kubeflow: Kubeflow, arguments: list[str], problem: str
) -> None:
    done = call("submit", *arguments)
    assert done.exit_code == 1
    assert problem in done.stderr
    assert "secret-word" not in done.output
    assert not kubeflow.requests


def test_settings_that_name_files_of_this_machine_are_refused(call: Call, kubeflow: Kubeflow, tmp_path: Path) -> None:
    for setting in ("policy.base", "reliability.prior_state"):
        done = call("submit", "--data", DATA, "--set", f"{setting}={tmp_path}")
        assert done.exit_code == 1
        assert f"{setting}: {tmp_path} is on this machine" in done.stderr
    assert not kubeflow.requests


def test_a_path_inside_the_pods_is_taken_as_such(call: Call, kubeflow: Kubeflow) -> None:
    done = call("submit", "--data", "/mnt/votes.jsonl", "--in-cluster")
    assert done.exit_code == 0, done.output
    assert kubeflow.runs[0]["runtime_config"]["parameters"]["data"] == "/mnt/votes.jsonl"
